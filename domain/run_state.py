"""Where runs, their steps and the attempts at them are: one state machine for every orchestrator.

`domain/runs.py` says what may happen next, `domain/run_status.py` has the words.

A run:

```mermaid
stateDiagram-v2
    [*] --> running: StartRun
    running --> running: Advance
    running --> completed: Advance, every step is completed
    running --> failed: Advance, no step is open and one failed
    running --> failed: EndRun, its process died or was interrupted
    completed --> [*]
    failed --> [*]
```

A step of it. Skipped are the dependents of failed and skipped steps; the others go on:

```mermaid
stateDiagram-v2
    [*] --> initializing
    initializing --> running: all its parents are completed, and a slot is free
    initializing --> skipped: a parent failed or was skipped
    running --> completed: FinishStep
    running --> retrying: FailStep, and retries are left
    running --> failed: FailStep, and none is left
    running --> failed: EndRun
    retrying --> running: its time has come, and a slot is free
```

An attempt (1, 2, 3 …) at a step; only the latest can be running:

```mermaid
stateDiagram-v2
    [*] --> running
    running --> succeeded: FinishStep
    running --> failed: FailStep, EndRun
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from stackledger.domain.errors import Refused
from stackledger.domain.event import Event
from stackledger.domain.events.runs import (
    OutputOfStep,
    PlannedStep,
    Produced,
    RunFailed,
    RunStarted,
    RunSucceeded,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from stackledger.domain.run_status import RunStatus, StepStatus

RunEvent = RunStarted | RunSucceeded | RunFailed | StepStarted | StepSucceeded | StepFailed | StepSkipped


OPEN = frozenset({StepStatus.INITIALIZING, StepStatus.RUNNING, StepStatus.RETRYING})
LOST = frozenset({StepStatus.FAILED, StepStatus.SKIPPED})


@dataclass(frozen=True, slots=True)
class StepState:
    """A step: its plan, its latest attempt (0 before the first), when it is due again, what it put out by name."""

    plan: PlannedStep
    status: StepStatus = StepStatus.INITIALIZING
    attempt: int = 0
    retry_at: int | None = None
    outputs: Mapping[str, Produced] | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run as far as it has come. `steps` are in the order of the plan."""

    id: str
    name: str
    pipeline: str
    status: RunStatus
    steps: Mapping[str, StepState]


@dataclass(frozen=True, slots=True, order=True)
class Attempt:
    """The try `number`, counting from 1, at a step."""

    step: str
    number: int


def ready(run: Run, now: int) -> tuple[Attempt, ...]:
    """Return the attempts that may start at `now`: all parents are completed, and a retry's time has come."""
    if run.status is not RunStatus.RUNNING:
        return ()
    return tuple(
        Attempt(name, step.attempt + 1)
        for name, step in run.steps.items()
        if (step.status is StepStatus.INITIALIZING and _parents_completed(run, step))
        or (step.status is StepStatus.RETRYING and step.retry_at is not None and step.retry_at <= now)
    )


def next_due(run: Run) -> int | None:
    """Return when to look for ready attempts again, in microseconds; None where only outcomes can change anything."""
    if run.status is not RunStatus.RUNNING:
        return None
    return min((step.retry_at for step in run.steps.values() if step.retry_at is not None), default=None)


def running(run: Run) -> tuple[Attempt, ...]:
    """Return the attempts that began and have no outcome yet."""
    return tuple(Attempt(name, step.attempt) for name, step in run.steps.items() if step.status is StepStatus.RUNNING)


def _parents_completed(run: Run, step: StepState) -> bool:
    return all(run.steps[parent].status is StepStatus.COMPLETED for parent in step.plan.upstream)


def produced(run: Run, source: OutputOfStep) -> Produced:
    """Return what a step that succeeded put out under a name."""
    outputs = run.steps[source.step].outputs
    if outputs is None:
        raise Refused(f"The step {source.step!r} of the run {run.name!r} has put out nothing yet.")
    return outputs[source.output]


def evolve(run: Run | None, event: Event) -> Run | None:
    """Return the run after an event of its own."""
    return evolved(run, event) if isinstance(event, RunEvent) else run


def evolved(run: Run | None, event: RunEvent) -> Run:
    """Return the run after one of its events; RunStarted makes it."""
    if isinstance(event, RunStarted):
        return Run(
            id=event.run_id,
            name=event.name,
            pipeline=event.pipeline,
            status=RunStatus.RUNNING,
            steps={step.name: StepState(step) for step in event.steps},
        )
    if run is None:
        raise Refused(f"{event.TYPE} of the run {event.run_id} stands before its start.")
    match event:
        case RunSucceeded():
            return replace(run, status=RunStatus.COMPLETED)
        case RunFailed():
            return replace(run, status=RunStatus.FAILED)
        case _:
            return replace(run, steps={**run.steps, event.step: _after(run.steps[event.step], event)})


def _after(step: StepState, event: StepStarted | StepSucceeded | StepFailed | StepSkipped) -> StepState:
    match event:
        case StepStarted():
            return StepState(step.plan, StepStatus.RUNNING, event.attempt)
        case StepSucceeded():
            outputs = {output.output: output for output in event.outputs}
            return StepState(step.plan, StepStatus.COMPLETED, step.attempt, outputs=outputs)
        case StepFailed():
            status = StepStatus.FAILED if event.retry_at is None else StepStatus.RETRYING
            return StepState(step.plan, status, step.attempt, retry_at=event.retry_at)
        case StepSkipped():
            return StepState(step.plan, StepStatus.SKIPPED)
        case _:
            assert_never(event)
