"""A log with one lock, as the database has it: who does not hold the lock cannot append."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from stackledger.domain.errors import LogMoved
from stackledger.domain.event import Boundary, Envelope, Event, Recorded
from stackledger.domain.events.fleet import KeyEnrolled, KeyRevoked, RunCancelled, TrustPublished
from stackledger.domain.events.log import LogAdopted
from stackledger.domain.events.log import LogMoved as Moved
from stackledger.domain.events.runs import RunFailed, RunStarted, RunSucceeded, StepSucceeded
from stackledger.domain.fleet import Keys, evolve_keys
from stackledger.workers.fleet.protocol.ports import Conflict, LogAway, NotActive, Seen, Unrecordable
from tests.support.fleet.network import Process, Timeline


class SimulatedLog:
    """The events, and who holds the lock."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.events: list[Recorded] = []
        self.commits = 0
        self.holder: Process | None = None
        self.away = False
        self.first: list[Event] = []
        """What somebody else appends just before an outcome is appended."""
        self.cannot_hold: Callable[[Event], bool] = lambda _: False
        self._by_tag: dict[str, list[int]] = defaultdict(list)
        self.clear()

    def now(self) -> int:
        return self.timeline.time()

    def append(self, events: Sequence[Event], boundary: Boundary = (), after: int | None = None) -> None:
        """Append, if nothing in the boundary came after a position."""
        if self.is_moved and not isinstance(events[0], LogAdopted):
            raise LogMoved("It was moved.")
        if after is not None and self._matches(boundary, after):
            raise Conflict
        self.commits += 1
        for event in events:
            position = len(self.events) + 1
            envelope = Envelope(str(position), self.now(), "", "", None, None, "", None)
            tags = event.tags()
            self.events.append(Recorded(position, envelope, tags, event))
            for tag in tags:
                self._by_tag[tag].append(position)
            self._fold(event)

    @property
    def is_moved(self) -> bool:
        return bool(self.events) and isinstance(self.events[-1].event, Moved)

    def clear(self) -> None:
        self.events.clear()
        self._by_tag.clear()
        # What the world around asks for all the time, so that it does not read everything each time.
        self.keys: Keys = {}
        self.lists: list[TrustPublished] = []
        self.began: dict[str, RunStarted] = {}
        self.ended: set[str] = set()
        self.succeeded: dict[str, set[str]] = defaultdict(set)
        """Which steps of a run did."""

    def _fold(self, event: Event) -> None:
        match event:
            case StepSucceeded():
                self.succeeded[event.run_id].add(event.step)
            case RunStarted():
                self.began[event.run_id] = event
            case RunSucceeded() | RunFailed() | RunCancelled():
                self.ended.add(event.run_id)
            case TrustPublished():
                self.lists.append(event)
            case KeyEnrolled() | KeyRevoked():
                self.keys = evolve_keys(self.keys, event)
            case _:
                pass

    def _matches(self, boundary: Boundary, after: int) -> bool:
        return any(
            self.events[position - 1].event.TYPE in item.types
            for item in boundary
            for position in self._by_tag[item.tags[0]]
            if position > after
        )


class Access:
    """One process's way to the log. An append may be made without its answer ever coming back."""

    def __init__(
        self, log: SimulatedLog, process: Process, *, unsure: Callable[[], float], away: Callable[[], bool]
    ) -> None:
        self._log = log
        self._process = process
        self._unsure = unsure
        self._away = away

    def begin(self) -> Seen:
        return self.follow(0)

    def follow(self, after: int) -> Seen:
        self._process.calls()
        if self._log.away or self._away():
            raise LogAway
        if self._log.holder is not self._process:
            raise NotActive
        if self._log.is_moved:
            raise LogMoved("It was moved.")
        return Seen(self._log.events[after:], len(self._log.events))

    def append(self, events: Sequence[Event], boundary: Boundary, after: int) -> None:
        self._process.calls()
        if self._log.holder is not self._process:
            raise NotActive
        if self._log.away or self._away():
            raise LogAway
        if any(map(self._log.cannot_hold, events)):
            raise Unrecordable("It is not as the log needs it.")
        if any(isinstance(event, StepSucceeded) for event in events) and self._log.first:
            first, self._log.first = self._log.first, []
            self._log.append(first)
        self._log.append(events, boundary, after)
        self._process.calls()
        if self._log.timeline.random.random() < self._unsure():
            raise LogAway

    def now(self) -> int:
        return self._log.now()
