"""The log of an active coordinator whose events are told of as traces."""

from __future__ import annotations

from collections.abc import Sequence

from stackledger.domain.event import Boundary, Event
from stackledger.domain.events.runs import RunStarted
from stackledger.domain.tracing import TraceContext
from stackledger.projections.traces import Traces
from stackledger.workers.fleet.protocol.ports import FleetLog, Seen
from stackledger.workers.tracing import Tracing


class TracedLog:
    """The port `FleetLog` over another one.

    Who becomes active tells of the open runs from their start: whoever was active before may not have come to it, and
    what was told is the same span again.
    """

    def __init__(self, log: FleetLog, tracing: Tracing, orchestrator_id: str) -> None:
        self._log = log
        self._tracing = tracing
        self._orchestrator_id = orchestrator_id
        self._traces = Traces(self._is_told)

    def begin(self) -> Seen:
        """Return what is open, and tell of it from the start."""
        self._traces = Traces(self._is_told)
        return self._told(self._log.begin())

    def follow(self, after: int) -> Seen:
        """Return what came after a position, and tell of it."""
        return self._told(self._log.follow(after))

    def append(self, events: Sequence[Event], boundary: Boundary, after: int) -> None:
        """Append; what that is told of comes back with what follows."""
        self._log.append(events, boundary, after)

    def now(self) -> int:
        """Return the log's idea of the time."""
        return self._log.now()

    def _told(self, seen: Seen) -> Seen:
        self._tracing.tell(self._traces, seen.events)
        return seen

    def _is_told(self, started: RunStarted, caller: TraceContext | None) -> bool:
        is_ours = any(component.id == self._orchestrator_id for component in started.stack.components)
        return is_ours and self._tracing.samples(started.run_id, caller)
