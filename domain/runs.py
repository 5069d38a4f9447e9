"""What may happen in a run: the rules of every orchestrator.

Orchestrators differ in how they dispatch attempts, not in what a run is. Whatever follows from an outcome is
decided together with it: dependents that cannot run any more are skipped, attempts that are ready start as far
as there are slots, and the run ends when no step is open. So a run is always settled, whoever looks, and a
process that died between two appends leaves nothing half said. The states are drawn in
`domain/run_state.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from pydantic import JsonValue

from stackledger.domain.decider import Decider
from stackledger.domain.errors import AlreadyExists, NotFound, Refused, near_names
from stackledger.domain.event import Boundary, Event, item
from stackledger.domain.events.fleet import RunCancelled
from stackledger.domain.events.runs import (
    Code,
    Execution,
    OutputOfStep,
    PinnedStack,
    PlannedStep,
    Produced,
    RunFailed,
    RunStarted,
    RunSucceeded,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
    run_name_tag,
    run_tag,
)
from stackledger.domain.names import title
from stackledger.domain.run_plan import MAX_DELAY, check_plan
from stackledger.domain.run_state import (
    UNDER_WAY,
    Attempt,
    Run,
    RunEvent,
    StepState,
    doomed,
    evolve,
    evolved,
    produced,
    ready,
    run_item,
    running,
)
from stackledger.domain.run_status import RunStatus, StepStatus

MAX_MESSAGE = 2_000
MAX_ERROR = 200

Unfinished = Literal["process died", "interrupted"]
"""Why nobody drives a run any more that has not ended."""


# Commands


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    """Begin a run of a pipeline. `steps` stand in an order in which they can be executed one by one."""

    run_id: str
    name: str
    pipeline: str
    stack: PinnedStack
    code: Code
    parameters: dict[str, JsonValue]
    steps: tuple[PlannedStep, ...]
    environment: dict[str, str]
    retry_of: str | None = None


@dataclass(frozen=True, slots=True)
class FinishStep:
    """An attempt succeeded, and all its outputs are in the artifact store."""

    step: str
    attempt: int
    outputs: tuple[Produced, ...]
    execution: Execution | None = None


@dataclass(frozen=True, slots=True)
class FailStep:
    """An attempt failed. `error` is the kind of failure, cut at 200 characters; a message is cut at 2,000.

    A `final` failure is not retried, whatever the step says.
    """

    step: str
    attempt: int
    error: str
    message: str
    execution: Execution | None = None
    final: bool = False


Outcome = FinishStep | FailStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """Record outcomes, and start what is ready then, in one append.

    At most `slots` attempts are running afterwards, unless more were running before. `now` is in microseconds
    since 1970 UTC.
    """

    run_id: str
    now: int
    outcomes: tuple[Outcome, ...] = ()
    slots: int


@dataclass(frozen=True, slots=True)
class EndRun:
    """End a run that nobody drives any more. A run that has ended stays as it ended."""

    run_id: str
    because: Unfinished


@dataclass(frozen=True, slots=True)
class CancelRun:
    """End a run that somebody drives: what still goes on in it has no effect. Refused for one that has ended."""

    run_id: str


RunCommand = Advance | EndRun | CancelRun


# Decide


def _decide_start(command: StartRun, names: Mapping[str, str]) -> Sequence[Event]:
    name = title(command.name, "run")
    if command.run_id in names:
        raise AlreadyExists(f"A run with the id {command.run_id} has started already.")
    if names:
        raise AlreadyExists(
            f"A run named {name!r} is there already ({', '.join(names)}).",
            hint="Give the run another name, or none to have one made.",
        )
    title(command.pipeline, "pipeline")
    check_plan(command.steps)
    return (
        RunStarted(
            run_id=command.run_id,
            name=name,
            pipeline=command.pipeline,
            stack=command.stack,
            code=command.code,
            parameters=command.parameters,
            steps=command.steps,
            environment=command.environment,
            retry_of=command.retry_of,
        ),
    )


def _decide(command: RunCommand, run: Run | None) -> Sequence[Event]:
    if run is None:
        raise NotFound(f"There is no run with the id {command.run_id}.")
    match command:
        case Advance():
            return _advance(command, run)
        case EndRun():
            return _end(command, run)
        case CancelRun():
            return _cancel(run)
        case _:
            assert_never(command)


def _advance(command: Advance, run: Run) -> Sequence[Event]:
    if run.status is RunStatus.STOPPED:
        return ()  # whoever drives it learns of it by this
    if run.status is not RunStatus.RUNNING:
        raise Refused(f"The run {run.name!r} has {run.status}: nothing more can happen in it.")
    events: list[RunEvent] = []
    for outcome in command.outcomes:
        events.append(ended(outcome, run, command.now))
        run = evolved(run, events[-1])
    for event in what_follows(run):
        events.append(event)
        run = evolved(run, event)
    free = max(0, command.slots - len(running(run)))
    events.extend(_started(run, attempt) for attempt in ready(run, command.now, free))
    return events


def ended(outcome: Outcome, run: Run, now: int) -> StepSucceeded | StepFailed:
    """Return the event that an outcome brings about, or raise Refused where it is none of the attempt that is open."""
    step = run.steps.get(outcome.step)
    if step is None:
        raise NotFound(f"The run {run.name!r} has no step {outcome.step!r}.", near=near_names(outcome.step, run.steps))
    if step.status not in UNDER_WAY or step.attempt != outcome.attempt:
        raise Refused(
            f"Attempt {outcome.attempt} at the step {outcome.step!r} of the run {run.name!r} is not running: the step"
            f" is {step.status} after attempt {step.attempt}. The outcome has no effect."
        )
    match outcome:
        case FinishStep():
            if not puts_out_all(outcome, step):
                raise Refused(
                    f"The step {outcome.step!r} has the outputs {', '.join(step.plan.outputs) or 'none'}, not"
                    f" {', '.join(output.output for output in outcome.outputs) or 'none'}."
                )
            return StepSucceeded(
                run_id=run.id,
                step=outcome.step,
                attempt=outcome.attempt,
                outputs=outcome.outputs,
                execution=outcome.execution,
            )
        case FailStep():
            return StepFailed(
                run_id=run.id,
                step=outcome.step,
                attempt=outcome.attempt,
                error=outcome.error[:MAX_ERROR],
                message=outcome.message[:MAX_MESSAGE],
                retry_at=None if outcome.final else _retry_at(step, now),
                execution=outcome.execution,
            )
        case _:
            assert_never(outcome)


def puts_out_all(outcome: FinishStep, step: StepState) -> bool:
    """Say whether an outcome has each output of the step once, and no other."""
    return sorted(output.output for output in outcome.outputs) == sorted(step.plan.outputs)


def _retry_at(step: StepState, now: int) -> int | None:
    retry = step.plan.retry
    tried = step.attempt - step.lost
    if tried > retry.max_retries:
        return None
    seconds = min(retry.delay * retry.backoff ** (tried - 1), MAX_DELAY)
    return now + math.ceil(seconds * 1_000_000)


def what_follows(run: Run) -> Sequence[StepSkipped | RunSucceeded | RunFailed]:
    """Return the events that the state alone brings about: nobody has to ask for them."""
    skipped = doomed(run)
    events: list[StepSkipped | RunSucceeded | RunFailed] = [
        StepSkipped(run_id=run.id, step=name, because=because) for name, because in skipped
    ]
    if run.frontier.open == len(skipped):
        failed = tuple(name for name, step in run.steps.items() if step.status is StepStatus.FAILED)
        if failed:
            events.append(RunFailed(run_id=run.id, because="steps failed", steps=failed))
        else:
            events.append(RunSucceeded(run_id=run.id))
    return events


def _started(run: Run, attempt: Attempt) -> StepStarted:
    return StepStarted(
        run_id=run.id,
        step=attempt.step,
        attempt=attempt.number,
        inputs=digests_of_inputs(run, attempt.step),
    )


def digests_of_inputs(run: Run, step: str) -> dict[str, str]:
    """Return the SHA-256 of what a step reads, by argument."""
    return {
        argument: produced(run, source).digest if isinstance(source, OutputOfStep) else source.digest
        for argument, source in run.steps[step].plan.inputs.items()
    }


_ENDED_ATTEMPT: dict[Unfinished, tuple[str, str]] = {
    "process died": ("ProcessDied", "The process that executed this step ended without saying how the step went."),
    "interrupted": ("Interrupted", "The run was interrupted while this step was executed."),
}


def _end(command: EndRun, run: Run) -> Sequence[Event]:
    if run.status is not RunStatus.RUNNING:
        return ()
    error, message = _ENDED_ATTEMPT[command.because]
    attempts = [
        StepFailed(
            run_id=run.id, step=attempt.step, attempt=attempt.number, error=error, message=message, retry_at=None
        )
        for attempt in running(run)
    ]
    return (*attempts, RunFailed(run_id=run.id, because=command.because, steps=()))


def _cancel(run: Run) -> Sequence[Event]:
    if run.status is RunStatus.STOPPED:
        raise Refused(f"The run {run.name!r} was cancelled before.")
    if run.status is not RunStatus.RUNNING:
        raise Refused(f"The run {run.name!r} has {run.status}: there is nothing left to cancel.")
    return (RunCancelled(run_id=run.id),)


def _evolve_names(names: Mapping[str, str], event: Event) -> Mapping[str, str]:
    return {**names, event.run_id: event.name} if isinstance(event, RunStarted) else names


# Deciders


def _boundary_start(command: StartRun) -> Boundary:
    return (item(run_tag(command.run_id), RunStarted), item(run_name_tag(command.name), RunStarted))


def _boundary(command: RunCommand) -> Boundary:
    return (run_item(command.run_id),)


START_RUN: Decider[StartRun, Mapping[str, str]] = Decider(
    initial={}, boundary=_boundary_start, decide=_decide_start, evolve=_evolve_names
)
"""Beginning a run; the state are the names by run id that stand in its way."""

RUN: Decider[RunCommand, Run | None] = Decider(initial=None, boundary=_boundary, decide=_decide, evolve=evolve)
"""Everything that happens in one run."""
