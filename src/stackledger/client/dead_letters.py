"""The client's part about dead letters: messages of a fleet that nobody could do anything with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from stackledger.client import arguments
from stackledger.client.workers import WorkerClient
from stackledger.domain.errors import Ambiguous, InvalidValue, NotFound, Refused
from stackledger.domain.names import quoted

if TYPE_CHECKING:
    from stackledger.client.dead_letter_reading import Reading
    from stackledger.client.dead_letter_results import DeadLetter, OpenedDeadLetter
    from stackledger.projections.engine import View
    from stackledger.workers.fleet.broker.parked import Letter, Parked
    from stackledger.workers.fleet.protocol.messages import Ref

MOST = 1_000
"""How many messages are looked at for a list."""
_SHORTEST = 4
"""Digits of an id that say which one is meant, at least."""


class DeadLetterClient(WorkerClient):
    """Dead letters of an orchestrator: that of the active stack, if none is named.

    Looking at them takes none away. What somebody else looks at in the same moment is not seen.
    """

    def list_dead_letters(self, orchestrator: str | None = None) -> list[DeadLetter]:
        """Return the dead letters, the one that was parked last first; of very many only some."""
        found: dict[str, DeadLetter] = {}
        with self._parked(orchestrator) as (parked, reading):
            for letter in islice(parked.letters(), MOST):
                known = found.get(letter.id)
                found[letter.id] = known._replace(copies=known.copies + 1) if known else reading.shown(letter)
            if left := parked.waiting():
                # Right after somebody else looked, or of very many: those that this list does not have.
                self._notify(f"There are about {left:,} more messages than are shown here.")
        return sorted(self._with_runs(found.values()), key=lambda each: each.parked or "", reverse=True)

    def get_dead_letter(self, letter_id: str, orchestrator: str | None = None) -> OpenedDeadLetter:
        """Return a dead letter by its id, or the beginning of one, with what is in it."""
        from stackledger.client.dead_letter_reading import content
        from stackledger.client.dead_letter_results import OpenedDeadLetter

        with self._parked(orchestrator) as (parked, reading):
            (copies,) = _sought(parked, [letter_id])
        (shown,) = self._with_runs([reading.shown(copies[0])._replace(copies=len(copies))])
        return OpenedDeadLetter(shown, content(copies[0].data), copies[0].data.hex())

    def requeue_dead_letter(self, letter_id: str, orchestrator: str | None = None) -> DeadLetter:
        """Have the attempt that a parked dispatch is about followed by another, and remove the dispatch.

        The message itself is never sent again. Refused for any other message, and where the log says that the attempt
        does not wait for a worker any more.
        """
        from stackledger.domain.requeueing import REQUEUE, RequeueAttempt

        with self._parked(orchestrator) as (parked, reading):
            (copies,) = _sought(parked, [letter_id])
            ref, context = _attempt(reading, copies[0]), self._context()
            command = RequeueAttempt(
                run_id=ref.run_id, step=ref.step, attempt=ref.attempt, dispatch=ref.dispatch, now=context.time
            )
            self._change(REQUEUE, command, context=context)
            # Whoever dies before this finds the attempt followed by another, and discards the message.
            for letter in copies:
                parked.remove(letter)
        (shown,) = self._with_runs([reading.shown(copies[0])._replace(copies=len(copies))])
        return shown

    def discard_dead_letters(self, letter_ids: Sequence[str], orchestrator: str | None = None) -> int:
        """Remove dead letters for good, by their ids or the beginnings of them; return how many messages these were."""
        arguments.texts(letter_ids, "The ids of dead letters")
        with self._parked(orchestrator) as (parked, _):
            # Each once, should two beginnings be of the same.
            letters = {letter.tag: letter for copies in _sought(parked, letter_ids) for letter in copies}
            for letter in letters.values():
                parked.remove(letter)
        return len(letters)

    def discard_all_dead_letters(self, orchestrator: str | None = None) -> int:
        """Remove all dead letters for good; return how many messages these were."""
        with self._parked(orchestrator) as (parked, _):
            return sum(1 for _ in map(parked.remove, parked.letters()))

    @contextmanager
    def _parked(self, orchestrator: str | None) -> Iterator[tuple[Parked, Reading]]:
        from stackledger.client.dead_letter_reading import LogKeys, Reading
        from stackledger.workers.fleet.broker.parked import Parked
        from stackledger.workers.fleet.broker.visiting import visiting

        fleet = self._fleet(orchestrator)
        reading = Reading(fleet.topology.log, LogKeys(self._known_keys()))
        with visiting(fleet.address) as visit:
            yield Parked(visit, fleet.topology), reading

    def _with_runs(self, letters: Iterable[DeadLetter]) -> list[DeadLetter]:
        """Return letters with the names of the runs that they are about, of those that the log has."""
        from stackledger.projections import run_queries

        letters = list(letters)
        ids = {each.run_id for each in letters if each.run_id}

        def query(view: View) -> dict[str, str]:
            return run_queries.names_of_runs(view, ids)

        names = self._read(query) if ids else {}
        return [each._replace(run=names.get(each.run_id or "")) for each in letters]


def _sought(parked: Parked, references: Sequence[str]) -> list[list[Letter]]:
    """Return for each id, or beginning of one, the messages with it; NotFound, Ambiguous or InvalidValue."""
    found: dict[str, list[Letter]] = {_checked(each): [] for each in references}
    for letter in parked.letters():
        for beginning, copies in found.items():
            if letter.id.startswith(beginning):
                copies.append(letter)
    for beginning, copies in found.items():
        ids = sorted({letter.id for letter in copies})
        if not ids:
            raise NotFound(
                f"There is no dead letter with the id {quoted(beginning)}.",
                hint="See `stackledger dead-letter list`. If somebody else looks at it just now, try again.",
            )
        if len(ids) > 1:
            raise Ambiguous(
                f"More than one dead letter begins with {quoted(beginning)}: {', '.join(ids[:3])}.",
                hint="Give more of the id.",
            )
    return list(found.values())


def _checked(reference: str) -> str:
    beginning = arguments.text(reference, "The id of a dead letter").lower()
    if len(beginning) < _SHORTEST or not set(beginning) <= set("0123456789abcdef"):
        raise InvalidValue(
            f"{quoted(reference[:80])} is not the id of a dead letter: those are hexadecimal.",
            hint=f"Give {_SHORTEST} digits of it at least; `stackledger dead-letter list` shows them.",
        )
    return beginning


def _attempt(reading: Reading, letter: Letter) -> Ref:
    """Return which attempt a parked dispatch is about; Refused for what is none of a coordinator of this log."""
    from stackledger.workers.fleet.protocol.messages import Dispatch, MessageRefused

    discard = f"`stackledger dead-letter discard {letter.id[:12]}` removes it."
    try:
        message = reading.opened(letter)
    except MessageRefused as refused:
        raise Refused(f"Nobody knows what this message asks for, if anything. {refused}", hint=discard) from refused
    if isinstance(message, Dispatch):
        return message.task.ref
    raise Refused(
        f"It is no dispatch but a message of the kind '{message.kind}', and only attempts can be queued again: what a"
        " worker said is checked when it comes, and where its attempt did not count, the coordinator sent that again.",
        hint=discard,
    )
