"""What an active coordinator knows: a fold of the log, of the runs that have not ended and of the keys that count."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from stackledger.domain.event import Recorded
from stackledger.domain.events.artifacts import ArtifactsCollected
from stackledger.domain.events.fleet import (
    DispatchConfirmed,
    KeyEnrolled,
    KeyRevoked,
    RunCancelled,
    StepClaimed,
    StepQueued,
    TopologyRenewed,
    TrustPublished,
)
from stackledger.domain.events.runs import RunStarted
from stackledger.domain.fleet import Ended, Keys, Report, Vanished, evolve_keys
from stackledger.domain.keys import newer_trust
from stackledger.domain.run_state import UNDER_WAY, Run, RunEvent, StepEvent, evolved
from stackledger.domain.run_status import RunStatus
from stackledger.domain.tracing import TraceContext, traced
from stackledger.workers.fleet.protocol.messages import Ref


class Waiting(NamedTuple):
    """An attempt that was queued at `position`, and that nobody has claimed or ended."""

    position: int
    queue: str
    ref: Ref


class Held(NamedTuple):
    """An attempt that was queued at `position`, and that an execution of a worker claimed."""

    position: int
    ref: Ref
    worker: str


_MOST_STOPPED = 200
"""How many cancelled runs are kept in mind: a message has to hold them, and each worker that comes is told."""

Place = tuple[str, str]
"""A run's id and a step's name."""


class Known:
    """The state of a fleet, folded from the log as far as `position`."""

    def __init__(self, orchestrator_id: str) -> None:
        self._orchestrator_id = orchestrator_id
        self.position = 0
        self.runs: dict[str, Run] = {}
        self.started: dict[str, RunStarted] = {}
        """How each of the runs began, and so what it runs on."""
        self.callers: dict[str, str] = {}
        """The `traceparent` of the span that a run was begun in, for those that were in one."""
        self.keys: Keys = {}
        self.trust: TrustPublished | None = None
        """The newest list of coordinators."""
        self.waiting: dict[Place, Waiting] = {}
        self.held: dict[str, Held] = {}
        self.retrying: dict[Place, int] = {}
        self.queued = 0
        """The position at which an attempt was queued last."""
        self.confirmed = 0
        """Up to which position what was queued has been confirmed by the broker, and is still in its queues."""
        self.fresh: list[Waiting] = []
        """What was queued since somebody took this list over."""
        self.collected: dict[str, int] = {}
        """At which position an object was collected last, by digest, while any run was open."""
        self.unsettled: set[str] = set()
        """Runs to which something happened that may have made steps ready."""
        self.cancelled: list[str] = []
        """Runs that were cancelled, until somebody has told the workers."""
        self.stopped: deque[str] = deque(maxlen=_MOST_STOPPED)
        """Those of them that were cancelled last while an attempt was under way: it may be still."""
        self.mistrusted = False
        """Whether a coordinator's key was revoked: what is in the queues may be of its hand, and is not taken then."""
        self.dismissed: list[str] = []
        """Keys that were revoked, until somebody has told those who have them."""

    def fold(self, recorded: Recorded) -> None:
        """Take an event into account; events come in the order of the log, each once."""
        event = recorded.event
        match event:
            case RunStarted():
                if any(component.id == self._orchestrator_id for component in event.stack.components):
                    self.runs[event.run_id] = evolved(None, event)
                    self.started[event.run_id] = event
                    self._note_caller(event.run_id, traced(recorded.envelope.causation))
                    self.unsettled.add(event.run_id)
            case KeyEnrolled():
                self.keys = evolve_keys(self.keys, event)
            case KeyRevoked():
                self.keys = evolve_keys(self.keys, event)
                self.dismissed.append(event.key_id)
                if self.keys[event.key_id].role == "coordinator":
                    self.confirmed = 0
                    self.mistrusted = True
            case TrustPublished():
                self.trust = newer_trust(self.trust, event)
            case DispatchConfirmed(orchestrator_id=self._orchestrator_id):
                self.confirmed = max(self.confirmed, event.through)
            case TopologyRenewed(orchestrator_id=self._orchestrator_id):
                self.confirmed = 0
            case _ if isinstance(event, RunEvent) and event.run_id in self.runs:
                self._fold(recorded.position, event)
            case _:
                self._note_collected(recorded)

    def _note_caller(self, run_id: str, caller: TraceContext | None) -> None:
        if caller is not None:
            self.callers[run_id] = caller.traceparent

    def due(self, now: int) -> set[str]:
        """Return the runs with an attempt whose time has come."""
        return {run_id for (run_id, _), retry_at in self.retrying.items() if retry_at <= now}

    def revoked(self) -> set[str]:
        """Return the executions that hold a claim with a key that does not count any more."""
        revoked = {key.id for key in self.keys.values() if key.revoked}
        return {execution for execution, held in self.held.items() if held.worker in revoked} if revoked else set()

    def overtaken(self, report: Report) -> Report:
        """Return a report as it is; where an outcome refers to what was collected meanwhile, that its attempt vanished.

        Meanwhile is since the attempt was queued: it may have found the object there that is gone, and put none.
        """
        if not (self.collected and isinstance(report, Ended)):
            return report
        under_way = self.waiting.get((report.run_id, report.step)) or self.held.get(report.execution)
        if under_way is None or all(self.collected.get(each, 0) <= under_way.position for each in report.digests):
            return report
        of = (report.run_id, report.step, report.attempt, report.dispatch)
        held_by = report.execution if isinstance(under_way, Held) else None
        return Vanished(*of, held_by, "what it kept was collected", report.worker)

    def holds(self, waiting: Waiting) -> bool:
        """Say whether an attempt still waits under the same dispatch."""
        return self.waiting.get((waiting.ref.run_id, waiting.ref.step)) == waiting

    def _note_collected(self, recorded: Recorded) -> None:
        event = recorded.event
        if isinstance(event, ArtifactsCollected) and self.runs:
            self.collected.update((each.digest, recorded.position) for each in event.objects)

    def _fold(self, position: int, event: RunEvent) -> None:
        run = self.runs[event.run_id]
        queued = position
        if isinstance(event, StepEvent):
            waiting = self.waiting.get((run.id, event.step))
            queued = waiting.position if waiting is not None else position
            # First, because it costs a copy to look at a run from which another one was evolved.
            self._leave(run, event.step)
        run = self.runs[event.run_id] = evolved(run, event)
        self.unsettled.add(run.id)
        if run.status is not RunStatus.RUNNING:
            if isinstance(event, RunCancelled):
                self.cancelled.append(run.id)
                if any(step.status in UNDER_WAY for step in run.steps.values()):
                    self.stopped.append(run.id)
            for step in run.steps:
                self._leave(run, step)
            del self.runs[run.id], self.started[run.id]
            if not self.runs:
                self.collected.clear()
            self.callers.pop(run.id, None)
            self.unsettled.discard(run.id)
        elif isinstance(event, StepEvent):
            self._enter(queued, run, event)

    def _leave(self, run: Run, step: str) -> None:
        self.waiting.pop((run.id, step), None)
        self.retrying.pop((run.id, step), None)
        self.held.pop(run.steps[step].execution or "", None)

    def _enter(self, queued: int, run: Run, event: StepEvent) -> None:
        step = run.steps[event.step]
        ref = Ref(run_id=run.id, step=event.step, attempt=step.attempt, dispatch=step.dispatch or "")
        if isinstance(event, StepQueued):
            waiting = self.waiting[run.id, event.step] = Waiting(queued, event.queue, ref)
            self.fresh.append(waiting)
            self.queued = queued
        elif isinstance(event, StepClaimed):
            self.held[event.execution] = Held(queued, ref, event.worker)
        elif step.retry_at is not None:
            self.retrying[run.id, event.step] = step.retry_at
