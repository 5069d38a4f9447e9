"""The one way in which events come into the log: read the boundary, fold, decide, append on condition."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
import contextlib
import functools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBQueryItem,
    DCBRecorder,
    DCBSequencedEvent,
)
from eventsourcing.persistence import IntegrityError
from pydantic import ValidationError

from stackledger.domain.decider import Decider
from stackledger.domain.errors import AppendUnknown, ChangedMeanwhile, InvalidValue, LogBusy, LogError
from stackledger.domain.event import Boundary, Context, Envelope, Event, Item, Recorded
from stackledger.domain.events import EVENT_TYPES
from stackledger.eventlog.codec import decode, encode, stored_tags, too_new
from stackledger.eventlog.stored import StoredEvent, unpacked
from stackledger.eventlog.upcasting import UPCASTERS, Upcasters, newest

if TYPE_CHECKING:
    from stackledger.domain import subjects
    from stackledger.domain.subjects import EnrollSubject

Command = TypeVar("Command")
State = TypeVar("State")

MAX_TRIES = 12


class Known(NamedTuple, Generic[State]):
    """A boundary's state, folded as far as `position`: the next decision reads only what came since."""

    state: State
    position: int


class Handled(NamedTuple, Generic[State]):
    """What became of a command: its events, and the state after them.

    In a dry run they have the position 0, and enrolments that would come with them are among them.
    """

    events: tuple[Recorded, ...]
    known: Known[State]


def _type_of(recorded: Recorded) -> str:
    return recorded.event.TYPE


class Newcomers(Protocol):
    """Who acts for the first time: enrolled in the same append as the first events that they bring about."""

    def of(self, context: Context) -> "Sequence[EnrollSubject]":
        """Return the enrolments that the log may still lack of whoever acts in a context."""

    def enrolled(self, command: "EnrollSubject") -> None:
        """Take note that the log has this enrolment."""


class Nobody:
    """No newcomers: the log knows everybody."""

    def of(self, context: Context) -> "Sequence[EnrollSubject]":  # noqa: ARG002
        """Return no enrolments."""
        return ()

    def enrolled(self, command: "EnrollSubject") -> None:
        """Take no note."""


class CommandHandler(NamedTuple):
    """Decides commands over one log. `describe` puts an event into words for people."""

    recorder: DCBRecorder
    new_id: Callable[[], str]
    describe: Callable[[Recorded], str] = _type_of
    newcomers: Newcomers = Nobody()
    sleep: Callable[[float], None] = time.sleep
    upcasters: Upcasters = UPCASTERS

    def handle(
        self,
        decider: Decider[Command, State],
        command: Command,
        context: Context,
        *,
        seen: Mapping[Item, int] | None = None,
        known: Known[State] | None = None,
        dry_run: bool = False,
    ) -> Handled[State]:
        """Append what `decider` decides, exactly once, or raise with nothing changed.

        `seen` says, for an item, up to which position the caller had looked when giving the command: the item joins
        the boundary, and if an event of it came later, ChangedMeanwhile tells which. Other changes are decided anew
        on what is there now, at most MAX_TRIES times, then LogBusy is raised. LogTooNew where a tag of the boundary
        has an event of a type that this program does not know.

        The caller's `known` state is decided on as it is: the condition of the append finds out whether it was new
        enough. Where nothing is decided, nobody has looked.
        """
        boundary = decider.boundary(command)
        if not boundary:
            raise ValueError("a decision without a boundary would be an unconditional append")
        newcomers = {each: self.new_id() for each in self.newcomers.of(context)}
        depended = tuple(dict.fromkeys((*boundary, *(seen or ()), *_enrolment_items(newcomers))))
        query = _under_tags_of(depended)
        event_ids: list[str] = []
        unknown: AppendUnknown | None = None
        for attempt in range(MAX_TRIES):
            if attempt:
                self.sleep(random.uniform(0, 0.002 * 2**attempt))  # noqa: S311 - spreads writers, hides nothing
            try:
                known = known if known and not attempt else self._read(decider, depended, query, seen or {}, known)
            except LogError as error:
                if unknown:
                    raise unknown from error  # nobody knows yet what became of the earlier append
                raise
            events = _decided(decider, command, known.state)
            event_ids += (self.new_id() for _ in events[len(event_ids) :])
            new = [_recorded(event, event_id, context) for event, event_id in zip(events, event_ids, strict=False)]
            if not new:
                return Handled((), known)
            enrolments = self._enrolments(newcomers, context)
            if dry_run:
                for each in (*enrolments, *new):
                    _stored_form(each)  # what the log would refuse is refused now
                return Handled((*enrolments, *new), known)
            try:
                placed = self._append(enrolments, new, newcomers, query, known.position)
            except (IntegrityError, AppendUnknown) as error:
                unknown = error if isinstance(error, AppendUnknown) else unknown
                continue
            state = functools.reduce(decider.evolve, events, known.state)
            return Handled(placed, Known(state, placed[-1].position))
        raise unknown or LogBusy(
            f"Others kept changing what this depends on: gave up after {MAX_TRIES} tries, and nothing was changed.",
            hint="Try again.",
        )

    def record(self, decided: Sequence[tuple[Event, Context]], boundary: Boundary, after: int) -> tuple[Recorded, ...]:
        """Append what was decided on what is known up to a position, and return it with the positions that it got.

        IntegrityError if anything came since under the tags of the boundary; AppendUnknown. All contexts are of the
        same actor and host.
        """
        newcomers = {each: self.new_id() for each in self.newcomers.of(decided[0][1])}
        new = [_recorded(event, self.new_id(), context) for event, context in decided]
        query = _under_tags_of((*boundary, *_enrolment_items(newcomers)))
        return self._append(self._enrolments(newcomers, decided[0][1]), new, newcomers, query, after)

    def _enrolments(self, newcomers: "Mapping[EnrollSubject, str]", context: Context) -> list[Recorded]:
        """Return what enrolls those whom the log lacks still; `newcomers` are the ids of the events by command."""
        return [_recorded(event, newcomers[each], context) for each in newcomers for event in self._enrolled(each)]

    def _enrolled(self, command: "EnrollSubject") -> Sequence[Event]:
        """Return what enrolls a subject, nothing if the log has that already."""
        # Read after the boundary: an enrolment that comes later is a conflict, because the boundary has its item too.
        decider = _subjects()
        boundary, state = decider.boundary(command), decider.initial
        for recorded in self._matching(boundary, self.recorder.read(_under_tags_of(boundary))):
            state = decider.evolve(state, recorded.event)
        return decider.decide(command, state)

    def _read(
        self,
        decider: Decider[Command, State],
        depended: Boundary,
        query: DCBQuery,
        seen: Mapping[Item, int],
        known: Known[State] | None,
    ) -> Known[State]:
        state, after = (known.state, known.position) if known else (decider.initial, 0)
        response = self.recorder.read(query, after=after)
        unseen = []
        for recorded in self._matching(depended, response):
            state = decider.evolve(state, recorded.event)
            type_name, tags = recorded.event.TYPE, recorded.tags
            if any(recorded.position > looked and _matches(item, type_name, tags) for item, looked in seen.items()):
                unseen.append(recorded)
        if unseen:
            raise ChangedMeanwhile(
                "Somebody else was first, and nothing was changed: "
                + "; ".join(f"{self.describe(recorded)} (position {recorded.position})" for recorded in unseen)
                + ".",
                hint="Look at it again, then repeat the command if it still makes sense.",
            )
        return Known(state, max(response.head or 0, after))

    def _matching(self, boundary: Boundary, found: Iterable[DCBSequencedEvent]) -> Iterator[Recorded]:
        """Yield what matches any item, or raise LogTooNew for an event of a type that this program does not know.

        Who may know what it means for the decision is the newer program that wrote it.
        """
        # Of the many items that a boundary may have, only those under a tag of the event are looked at.
        by_tag: dict[str | None, list[Item]] = {}
        for item in boundary:
            by_tag.setdefault(next(iter(item.tags), None), []).append(item)
        for sequenced in found:
            stored = _stored(sequenced)
            type_name = newest(stored.type, self.upcasters)
            under = (item for tag in (None, *stored.tags) for item in by_tag.get(tag, ()))
            if any(_matches(item, type_name, stored.tags) for item in under):
                yield decode(stored, self.upcasters)
            elif type_name not in EVENT_TYPES:
                raise too_new(stored)

    def _append(
        self,
        enrolments: Sequence[Recorded],
        new: Sequence[Recorded],
        newcomers: "Iterable[EnrollSubject]",
        query: DCBQuery,
        after: int,
    ) -> tuple[Recorded, ...]:
        """Append enrolments and events, and return the events in their places.

        IntegrityError if anything came since that the query matches; AppendUnknown.
        """
        events = [_stored_form(each) for each in (*enrolments, *new)]
        try:
            head = self.recorder.append(events, DCBAppendCondition(fail_if_events_match=query, after=after))
        except AppendUnknown:
            found = self._found((*enrolments, *new)[0].envelope.id, after)
            if found is None:
                raise
            head = found + len(events) - 1
        for each in newcomers:
            self.newcomers.enrolled(each)
        return _placed(new, head)

    def _found(self, event_id: str, after: int) -> int | None:
        """Return where an event is, None if it is not there or nobody can tell.

        The ids were fixed before the first try, so that an append whose answer was lost is found again.
        """
        with contextlib.suppress(LogError):
            for sequenced in self.recorder.read(after=after):
                if unpacked(sequenced.position, sequenced.event.data)["id"] == event_id:
                    return sequenced.position
        return None


def _subjects() -> "Decider[EnrollSubject, subjects.State]":
    from stackledger.domain import subjects  # once for each user and host

    return subjects.DECIDER


def _enrolment_items(newcomers: "Iterable[EnrollSubject]") -> Boundary:
    return tuple(item for each in newcomers for item in _subjects().boundary(each))


def _under_tags_of(boundary: Boundary) -> DCBQuery:
    """Return the query for all events under the tags of the items, whatever their type: see `_matching`.

    The one item without tags, that the log has begun, is asked for by its type.
    """
    asked = dict.fromkeys(((), item.tags) if item.tags else (item.types, ()) for item in boundary)
    return DCBQuery([DCBQueryItem(types=list(types), tags=list(tags)) for types, tags in asked])


def _matches(item: Item, type_name: str, tags: Sequence[str]) -> bool:
    return type_name in item.types and all(tag in tags for tag in item.tags)


def _decided(decider: Decider[Command, State], command: Command, state: State) -> Sequence[Event]:
    try:
        return decider.decide(command, state)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidValue(
            f"{error.title} cannot hold what was given for {'.'.join(map(str, first['loc'][:3]))}: {first['msg']}.",
            hint="Values are Unicode text, numbers, booleans, lists and maps, at most 250 levels deep.",
        ) from error


def _stored_form(recorded: Recorded) -> DCBEvent:
    return DCBEvent(recorded.event.TYPE, encode(recorded.event, recorded.envelope), list(recorded.tags))


def _stored(sequenced: DCBSequencedEvent) -> StoredEvent:
    event = sequenced.event
    return StoredEvent(sequenced.position, event.type, tuple(event.tags), event.data)


def _recorded(event: Event, event_id: str, context: Context) -> Recorded:
    envelope = Envelope(
        event_id,
        context.time,
        context.actor,
        context.host,
        context.reason,
        context.ticket,
        context.correlation or context.command_id,
        context.causation or context.command_id,
    )
    return Recorded(0, envelope, stored_tags(event, envelope), event)


def _placed(events: Sequence[Recorded], head: int) -> tuple[Recorded, ...]:
    """Return the events of one append with their positions, of which `head` is the last."""
    first = head - len(events) + 1
    return tuple(Recorded(position, *one[1:]) for position, one in enumerate(events, start=first))
