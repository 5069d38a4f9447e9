"""The log as an active coordinator uses it: read by tags at the beginning, then followed, and appended to on condition.

To begin costs what is open, not what is in the log: the views say which runs have not ended, and their events, those
of the keys and the newest of the orchestrator's own are found by their tags.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import get_args

from eventsourcing.persistence import IntegrityError

from stackledger.domain.errors import InvalidValue, LogDamaged, LogError, LogMoved, LogTooNew
from stackledger.domain.event import Boundary, Context, Event, Recorded
from stackledger.domain.events import EVENT_TYPES
from stackledger.domain.events.artifacts import COLLECTIONS_TAG, ArtifactsCollected
from stackledger.domain.events.fleet import KEYS_TAG, DispatchConfirmed, RunCancelled, TopologyRenewed, fleet_tag
from stackledger.domain.events.runs import RunFailed, RunStarted, RunSucceeded, run_tag
from stackledger.domain.run_state import RunEvent
from stackledger.eventlog.codec import decode, too_new
from stackledger.eventlog.handler import CommandHandler, Newcomers, Nobody
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.moves import MOVED, moved_away
from stackledger.eventlog.seat import Seat, SeatLost
from stackledger.eventlog.stored import StoredEvent
from stackledger.eventlog.upcasting import UPCASTERS, newest
from stackledger.workers.fleet.protocol.ports import Conflict, LogAway, NotActive, Seen, Unrecordable

OpenRuns = Callable[[], tuple[int, Sequence[str]]]
"""Returns a position, and the ids of all runs that had not ended there."""

_OF_FLEETS = frozenset(event.TYPE for event in (DispatchConfirmed, TopologyRenewed))
_FOLDED = _OF_FLEETS | {ArtifactsCollected.TYPE}
_OF_RUNS = frozenset(event.TYPE for event in get_args(RunEvent))


class HandlerLog:
    """The port `FleetLog` over a seat that was taken. What it appends is done by the actor and host of `context`.

    All that is appended about a run has the correlation of its start.
    """

    def __init__(
        self,
        orchestrator_id: str,
        seat: Seat,
        open_runs: OpenRuns,
        context: Context,
        newcomers: Newcomers = Nobody(),  # noqa: B008 - it has no state
    ) -> None:
        self._orchestrator_id = orchestrator_id
        self._seat = seat
        self._open_runs = open_runs
        self._context = context
        self._handler = CommandHandler(seat.recorder, new_id, newcomers=newcomers)
        self._correlations: dict[str, str] = {}
        self._last: StoredEvent | None = None
        self._own: dict[int, Recorded] = {}

    def begin(self) -> Seen:
        """Return the events of all keys, of this orchestrator as far as they count, its open runs, collections."""
        with self._answering():
            self._correlations.clear()
            position, run_ids = self._open_runs()
            events = [decode(stored) for stored in self._seat.reader.scan(upto=position, tags=(KEYS_TAG,))]
            events += self._newest_of_fleet(position)
            for run_id in run_ids:
                events += self._of_run(run_id, position)
            if self._correlations:
                # What was collected before the oldest open run began is nothing to it.
                oldest = min(recorded.position for recorded in events if recorded.event.TYPE == RunStarted.TYPE)
                events += map(decode, self._seat.reader.scan(after=oldest, upto=position, tags=(COLLECTIONS_TAG,)))
            self._last = self._seat.reader.at(position)
            return Seen(sorted(events, key=lambda recorded: recorded.position), position)

    def follow(self, after: int) -> Seen:
        """Return what came after a position, as far as a coordinator folds it."""
        with self._answering():
            # Read again with what follows: if it is another one now, so is the log, and all that is known of it.
            rows = self._seat.reader.scan(after=after - 1)
            last = next(rows, None)
            if last is None or last != self._last:
                raise NotActive(f"The log does not hold any more what it held at position {after}.")
            events = []
            for last in rows:
                recorded = self._own.pop(last.position, None) or self._read(last)
                if recorded is not None:
                    self._note(recorded)
                    events.append(recorded)
            self._last = last
            return Seen(events, last.position)

    def append(self, events: Sequence[Event], boundary: Boundary, after: int) -> None:
        """Append if nothing came after a position under the tags of the boundary; raise Conflict."""
        with self._answering():
            context = self._context._replace(command_id=new_id(), time=self._seat.now())
            decided = [(event, self._correlated(event, context)) for event in events]
            try:
                recorded = self._handler.record(decided, boundary, after)
            except IntegrityError as error:
                raise Conflict from error
            except InvalidValue as error:
                raise Unrecordable(error.message) from error
            self._own = {each.position: each for each in recorded}

    def now(self) -> int:
        """Return the log's idea of the time."""
        with self._answering():
            return self._seat.now()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Say in the words of the port what stands in the way; what waiting does not mend is let through."""
        try:
            self._seat.check()
            yield
        except SeatLost as error:
            raise NotActive(error.message) from error
        except (LogTooNew, LogDamaged, LogMoved):
            raise
        except LogError as error:
            raise LogAway(str(error)) from error

    def _newest_of_fleet(self, position: int) -> list[Recorded]:
        """Return what counts of what was said about the queues: the last word."""
        back = self._seat.reader.scan_back(before=position + 1, tags=(fleet_tag(self._orchestrator_id),))
        for stored in back:
            if newest(stored.type, UPCASTERS) in _OF_FLEETS:
                return [decode(stored)]
        return []

    def _of_run(self, run_id: str, position: int) -> Iterator[Recorded]:
        """Yield the events of a run, if it is of this orchestrator."""
        for stored in self._seat.reader.scan(upto=position, tags=(run_tag(run_id),)):
            recorded = self._read(stored)
            if recorded is not None:
                self._note(recorded)
                if run_id not in self._correlations:
                    return
                yield recorded

    def _read(self, stored: StoredEvent) -> Recorded | None:
        """Return an event that coordinators fold, None for others.

        LogMoved for the log's move; LogTooNew for an event that only newer programs know.
        """
        kind = newest(stored.type, UPCASTERS)
        if kind == MOVED:
            raise moved_away(self._seat.reader.name, stored, {})
        if kind in _FOLDED or kind in _OF_RUNS or KEYS_TAG in stored.tags:
            return decode(stored)
        if kind not in EVENT_TYPES:
            ours = {COLLECTIONS_TAG, fleet_tag(self._orchestrator_id), *map(run_tag, self._correlations)}
            if not ours.isdisjoint(stored.tags):
                raise too_new(stored)
        return None

    def _note(self, recorded: Recorded) -> None:
        event = recorded.event
        if isinstance(event, RunStarted) and any(
            component.id == self._orchestrator_id for component in event.stack.components
        ):
            self._correlations[event.run_id] = recorded.envelope.correlation
        elif isinstance(event, RunSucceeded | RunFailed | RunCancelled):
            self._correlations.pop(event.run_id, None)

    def _correlated(self, event: Event, context: Context) -> Context:
        correlation = self._correlations.get(getattr(event, "run_id", ""))
        return context if correlation is None else context._replace(correlation=correlation)
