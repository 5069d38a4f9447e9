"""What an active coordinator knows: a fold of the log, of the runs that have not ended and of the keys that count."""

from __future__ import annotations

from typing import NamedTuple

from stackledger.domain.event import Recorded
from stackledger.domain.events.fleet import (
    DispatchConfirmed,
    KeyEnrolled,
    KeyRevoked,
    RunCancelled,
    StepClaimed,
    StepQueued,
    TopologyRenewed,
)
from stackledger.domain.events.runs import RunStarted
from stackledger.domain.fleet import Keys, evolve_keys
from stackledger.domain.run_state import Run, RunEvent, StepEvent, evolved
from stackledger.domain.run_status import RunStatus
from stackledger.workers.fleet.messages import Ref


class Waiting(NamedTuple):
    """An attempt that was queued at `position`, and that nobody has claimed or ended."""

    position: int
    queue: str
    ref: Ref


class Held(NamedTuple):
    """An attempt that an execution of a worker claimed."""

    ref: Ref
    worker: str


Place = tuple[str, str]
"""A run's id and a step's name."""


class Known:
    """The state of a fleet, folded from the log as far as `position`."""

    def __init__(self, orchestrator_id: str) -> None:
        self._orchestrator_id = orchestrator_id
        self.position = 0
        self.runs: dict[str, Run] = {}
        self.keys: Keys = {}
        self.waiting: dict[Place, Waiting] = {}
        self.held: dict[str, Held] = {}
        self.retrying: dict[Place, int] = {}
        self.queued = 0
        """The position at which an attempt was queued last."""
        self.confirmed = 0
        """Up to which position what was queued has been confirmed by the broker, and is still in its queues."""
        self.fresh: list[Waiting] = []
        """What was queued since somebody took this list over."""
        self.unsettled: set[str] = set()
        """Runs to which something happened that may have made steps ready."""
        self.cancelled: list[str] = []

    def fold(self, recorded: Recorded) -> None:
        """Take an event into account; events come in the order of the log, each once."""
        event = recorded.event
        match event:
            case RunStarted():
                if any(component.id == self._orchestrator_id for component in event.stack.components):
                    self.runs[event.run_id] = evolved(None, event)
                    self.unsettled.add(event.run_id)
            case KeyEnrolled() | KeyRevoked():
                self.keys = evolve_keys(self.keys, event)
            case DispatchConfirmed(orchestrator_id=self._orchestrator_id):
                self.confirmed = max(self.confirmed, event.through)
            case TopologyRenewed(orchestrator_id=self._orchestrator_id):
                self.confirmed = 0
            case _ if isinstance(event, RunEvent) and event.run_id in self.runs:
                self._fold(recorded.position, event)
            case _:
                pass

    def due(self, now: int) -> set[str]:
        """Return the runs with an attempt whose time has come."""
        return {run_id for (run_id, _), retry_at in self.retrying.items() if retry_at <= now}

    def revoked(self) -> set[str]:
        """Return the executions that hold a claim with a key that does not count any more."""
        revoked = {key.id for key in self.keys.values() if key.revoked}
        return {execution for execution, held in self.held.items() if held.worker in revoked} if revoked else set()

    def holds(self, waiting: Waiting) -> bool:
        """Say whether an attempt still waits under the same dispatch."""
        return self.waiting.get((waiting.ref.run_id, waiting.ref.step)) == waiting

    def _fold(self, position: int, event: RunEvent) -> None:
        run = self.runs[event.run_id]
        if isinstance(event, StepEvent):
            # First, because it costs a copy to look at a run from which another one was evolved.
            self._leave(run, event.step)
        run = self.runs[event.run_id] = evolved(run, event)
        self.unsettled.add(run.id)
        if run.status is not RunStatus.RUNNING:
            for step in run.steps:
                self._leave(run, step)
            del self.runs[run.id]
            self.unsettled.discard(run.id)
            if isinstance(event, RunCancelled):
                self.cancelled.append(run.id)
        elif isinstance(event, StepEvent):
            self._enter(position, run, event)

    def _leave(self, run: Run, step: str) -> None:
        self.waiting.pop((run.id, step), None)
        self.retrying.pop((run.id, step), None)
        self.held.pop(run.steps[step].execution or "", None)

    def _enter(self, position: int, run: Run, event: StepEvent) -> None:
        step = run.steps[event.step]
        ref = Ref(run_id=run.id, step=event.step, attempt=step.attempt, dispatch=step.dispatch or "")
        if isinstance(event, StepQueued):
            waiting = self.waiting[run.id, event.step] = Waiting(position, event.queue, ref)
            self.fresh.append(waiting)
            self.queued = position
        elif isinstance(event, StepClaimed):
            self.held[event.execution] = Held(ref, event.worker)
        elif step.retry_at is not None:
            self.retrying[run.id, event.step] = step.retry_at
