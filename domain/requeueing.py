"""Trying an attempt again whose message nobody could take: a person asks for it, who found the message parked.

The message itself is never sent again. The attempt that it was about is let go, if the log says that it still waits
for a worker, and what follows is that of any attempt that got lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stackledger.domain.decider import Decider
from stackledger.domain.errors import NotFound, Refused
from stackledger.domain.event import Boundary, Event
from stackledger.domain.events.fleet import StepLost
from stackledger.domain.run_state import OPEN, Run, StepState, evolve, run_item
from stackledger.domain.run_status import RunStatus, StepStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RequeueAttempt:
    """Have an attempt followed by another, that was queued under a dispatch. `now` is in microseconds since 1970 UTC.

    It counts among the attempts that got lost, but fails no step: somebody wants it tried.
    """

    run_id: str
    step: str
    attempt: int
    dispatch: str
    now: int


def _decide(command: RequeueAttempt, run: Run | None) -> Sequence[Event]:
    if run is None:
        raise NotFound(f"There is no run with the id {command.run_id}.")
    why = _done(command, run)
    if why:
        raise Refused(
            f"There is nothing to queue again: {why}.",
            hint="The message is of no use any more: `stackledger dead-letter discard` removes it.",
        )
    return (
        StepLost(
            run_id=run.id,
            step=command.step,
            attempt=command.attempt,
            because="its message was parked",
            retry_at=command.now,
        ),
    )


def _done(command: RequeueAttempt, run: Run) -> str:
    """Say why the attempt does not wait for a worker any more, nothing if it does."""
    step = run.steps.get(command.step)
    if run.status is not RunStatus.RUNNING:
        return f"the run {run.name!r} has {'been cancelled' if run.status is RunStatus.STOPPED else run.status}"
    if step is None:
        return f"the run {run.name!r} has no such step"
    if step.status is StepStatus.QUEUED and (step.attempt, step.dispatch) == (command.attempt, command.dispatch):
        return ""
    return _further(command, step)


def _further(command: RequeueAttempt, step: StepState) -> str:
    name = f"the step {command.step!r}"
    if step.status not in OPEN:
        return f"{name} is {step.status}"
    if step.attempt > command.attempt:
        return f"{name} has come to attempt {step.attempt}, and the message is about attempt {command.attempt}"
    if step.status is StepStatus.RUNNING:
        return f"a worker executes {name}"
    if step.status is not StepStatus.QUEUED:
        return f"{name} is {step.status}, and goes on by itself"
    return f"{name} is not waiting under the dispatch that the message names"


def _boundary(command: RequeueAttempt) -> Boundary:
    return (run_item(command.run_id),)


REQUEUE: Decider[RequeueAttempt, Run | None] = Decider(initial=None, boundary=_boundary, decide=_decide, evolve=evolve)
