"""The one way in which events come into the log: read the boundary, fold, decide, append on condition."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBQueryItem,
    DCBRecorder,
    DCBSequencedEvent,
)
from eventsourcing.persistence import IntegrityError

from stackledger.domain.decider import Decider
from stackledger.domain.errors import AppendUnknown, ChangedMeanwhile, LogBusy
from stackledger.domain.event import Boundary, Context, Envelope, Event, Recorded
from stackledger.eventlog.codec import decode, encode, stored_tags
from stackledger.eventlog.stored import StoredEvent

Command = TypeVar("Command")
State = TypeVar("State")

MAX_TRIES = 12


@dataclass(frozen=True, slots=True)
class Known(Generic[State]):
    """A boundary's state, folded as far as `position`: the next decision reads only what came since."""

    state: State
    position: int


@dataclass(frozen=True, slots=True)
class Handled(Generic[State]):
    """What became of a command: its events (positions 0 in a dry run), and the state after them."""

    events: tuple[Recorded, ...]
    known: Known[State]


@dataclass(frozen=True, slots=True)
class CommandHandler:
    """Decides commands over one log. `describe` puts an event into words for people."""

    recorder: DCBRecorder
    new_id: Callable[[], str]
    describe: Callable[[Recorded], str] = field(default=lambda recorded: recorded.event.TYPE)

    def handle(
        self,
        decider: Decider[Command, State],
        command: Command,
        context: Context,
        *,
        seen: Mapping[str, int] | None = None,
        known: Known[State] | None = None,
        dry_run: bool = False,
    ) -> Handled[State]:
        """Append what `decider` decides, exactly once, or raise with nothing changed.

        `seen` says, for a tag, up to which position the caller had looked when giving the command: if an event of
        the boundary with that tag came later, ChangedMeanwhile tells which. Other changes are decided anew on what
        is there now, at most MAX_TRIES times, then LogBusy is raised.
        """
        boundary = decider.boundary(command)
        query = DCBQuery(items=[DCBQueryItem(types=list(item.types), tags=list(item.tags)) for item in boundary])
        event_ids: list[str] = []
        for attempt in range(MAX_TRIES):
            if attempt:
                time.sleep(random.uniform(0, 0.002 * 2**attempt))  # noqa: S311 - spreads writers, hides nothing
            known = self._read(decider, query, seen or {}, known)
            new = decider.decide(command, known.state)
            while len(event_ids) < len(new):
                event_ids.append(self.new_id())
            envelopes = [_envelope(event_id, context) for event_id in event_ids[: len(new)]]
            if dry_run or not new:
                return _handled(decider, known, new, envelopes, known.position, first=0)
            try:
                head = self._append(boundary, query, new, envelopes, known.position)
            except IntegrityError:
                continue
            return _handled(decider, known, new, envelopes, head, first=head - len(new) + 1)
        raise LogBusy(
            f"Others kept changing what this depends on: gave up after {MAX_TRIES} tries, and nothing was changed.",
            hint="Try again.",
        )

    def _read(
        self,
        decider: Decider[Command, State],
        query: DCBQuery,
        seen: Mapping[str, int],
        known: Known[State] | None,
    ) -> Known[State]:
        state, after = (known.state, known.position) if known else (decider.initial, 0)
        response = self.recorder.read(query, after=after)
        unseen = []
        for sequenced in response:
            recorded = decode(_stored(sequenced))
            state = decider.evolve(state, recorded.event)
            if any(recorded.position > seen[tag] for tag in recorded.tags if tag in seen):
                unseen.append(recorded)
        if unseen:
            raise ChangedMeanwhile(
                "Somebody else was first, and nothing was changed: "
                + "; ".join(f"{self.describe(recorded)} (position {recorded.position})" for recorded in unseen)
                + ".",
                hint="Look at it again, then repeat the command if it still makes sense.",
            )
        return Known(state, max(response.head or 0, after))

    def _append(
        self,
        boundary: Boundary,
        query: DCBQuery,
        new: Sequence[Event],
        envelopes: Sequence[Envelope],
        after: int,
    ) -> int:
        if not boundary:
            raise ValueError("a decision without a boundary would be an unconditional append")
        stored = [
            DCBEvent(type=event.TYPE, data=encode(event, envelope), tags=list(stored_tags(event, envelope)))
            for event, envelope in zip(new, envelopes, strict=True)
        ]
        try:
            return self.recorder.append(stored, DCBAppendCondition(fail_if_events_match=query, after=after))
        except AppendUnknown:
            # The ids were fixed before the first try, so that an append whose answer was lost is found again.
            first = envelopes[0].id
            positions = [
                sequenced.position
                for sequenced in self.recorder.read(after=after)
                if decode(_stored(sequenced)).envelope.id == first
            ]
            if positions:
                return positions[0] + len(new) - 1
            raise IntegrityError from None


def _stored(sequenced: DCBSequencedEvent) -> StoredEvent:
    event = sequenced.event
    return StoredEvent(sequenced.position, event.type, tuple(event.tags), event.data)


def _envelope(event_id: str, context: Context) -> Envelope:
    return Envelope(
        id=event_id,
        time=context.time,
        actor=context.actor,
        host=context.host,
        reason=context.reason,
        ticket=context.ticket,
        correlation=context.correlation or context.command_id,
        causation=context.causation or context.command_id,
    )


def _handled(
    decider: Decider[Command, State],
    known: Known[State],
    new: Sequence[Event],
    envelopes: Sequence[Envelope],
    head: int,
    first: int,
) -> Handled[State]:
    state = known.state
    for event in new:
        state = decider.evolve(state, event)
    recorded = tuple(
        Recorded(first + index if first else 0, envelope, stored_tags(event, envelope), event)
        for index, (event, envelope) in enumerate(zip(new, envelopes, strict=True))
    )
    return Handled(recorded, Known(state if first else known.state, head))
