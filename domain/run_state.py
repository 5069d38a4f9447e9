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
    running --> stopped: CancelRun
    failed --> [*]
    stopped --> [*]
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
    initializing --> queued: on a fleet, all its parents are completed
    retrying --> queued: on a fleet, its time has come
    queued --> running: Claimed, its execution takes long
    queued --> completed: FinishStep
    queued --> retrying: FailStep and retries are left, or the attempt got lost
    queued --> failed: FailStep and none is left, or it got lost too often
    running --> retrying: the attempt got lost
```

An attempt (1, 2, 3 …) at a step; only the latest can be open:

```mermaid
stateDiagram-v2
    [*] --> running
    [*] --> queued
    queued --> running: Claimed
    queued --> succeeded: FinishStep
    queued --> failed: FailStep
    queued --> lost
    running --> lost
    running --> succeeded: FinishStep
    running --> failed: FailStep, EndRun
```
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar, assert_never, get_args

from stackledger.domain.errors import Refused
from stackledger.domain.event import Event, Item, item
from stackledger.domain.events.fleet import RunCancelled, StepClaimed, StepLost, StepQueued
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
    run_tag,
)
from stackledger.domain.persistent_map import PersistentMap
from stackledger.domain.run_status import RunStatus, StepStatus

StepEvent = StepStarted | StepQueued | StepClaimed | StepLost | StepSucceeded | StepFailed | StepSkipped
RunEvent = RunStarted | RunSucceeded | RunFailed | RunCancelled | StepEvent

Order = TypeVar("Order", int, tuple[int, int])

OPEN = frozenset({StepStatus.INITIALIZING, StepStatus.QUEUED, StepStatus.RUNNING, StepStatus.RETRYING})
UNDER_WAY = frozenset({StepStatus.QUEUED, StepStatus.RUNNING})
UNSUCCESSFUL = frozenset({StepStatus.FAILED, StepStatus.SKIPPED})


class StepState(NamedTuple):
    """A step: its plan, its latest attempt (0 before the first), when it is due again, what it put out by name.

    On a fleet also which dispatch the attempt waits under, which execution claimed or ended it, and how many
    attempts got lost.
    """

    plan: PlannedStep
    status: StepStatus = StepStatus.INITIALIZING
    attempt: int = 0
    retry_at: int | None = None
    outputs: Mapping[str, Produced] | None = None
    dispatch: str | None = None
    execution: str | None = None
    worker: str | None = None
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a run stays as it is: the names of its steps in the order of the plan, and who needs whom by number."""

    names: tuple[str, ...]
    numbers: Mapping[str, int]
    children: tuple[tuple[int, ...], ...]


class Frontier(NamedTuple):
    """Where a run goes on. Whoever looks at a run of many steps at each event of it looks here, not at all of them.

    Steps stand by their numbers, in their order: those whose parents are completed, those that run, those that have a
    parent that failed or was skipped, and those that are tried again with the time for it. `open` counts the steps
    with a status in OPEN, `missing` the parents of each that are not completed.
    """

    startable: tuple[int, ...]
    running: tuple[int, ...]
    doomed: tuple[int, ...]
    retrying: tuple[tuple[int, int], ...]
    open: int
    missing: Sequence[int]


class Run(NamedTuple):
    """A run as far as it has come. `steps` are in the order of the plan."""

    id: str
    name: str
    pipeline: str
    status: RunStatus
    steps: PersistentMap[str, StepState]
    shape: Shape
    frontier: Frontier


class Attempt(NamedTuple):
    """The try `number`, counting from 1, at a step."""

    step: str
    number: int


def run_item(run_id: str) -> Item:
    """Return the item for all that happens in a run."""
    return item(run_tag(run_id), *get_args(RunEvent))


def ready(run: Run, now: int, most: int | None = None) -> tuple[Attempt, ...]:
    """Return the attempts that may start at `now`, the first `most` of them in the order of the plan.

    All parents are completed, and a retry's time has come.
    """
    if run.status is not RunStatus.RUNNING:
        return ()
    retrying = run.frontier.retrying
    due = sorted(number for _, number in retrying[: bisect_right(retrying, (now, len(run.shape.names)))])
    names = (run.shape.names[number] for number in islice(heapq.merge(run.frontier.startable, due), most))
    return tuple(Attempt(name, run.steps[name].attempt + 1) for name in names)


def next_due(run: Run) -> int | None:
    """Return when to look for ready attempts again, in microseconds; None where only outcomes can change anything."""
    if run.status is not RunStatus.RUNNING or not run.frontier.retrying:
        return None
    return run.frontier.retrying[0][0]


def running(run: Run) -> tuple[Attempt, ...]:
    """Return the attempts that began and have no outcome yet."""
    names = (run.shape.names[number] for number in run.frontier.running)
    return tuple(Attempt(name, run.steps[name].attempt) for name in names)


def doomed(run: Run) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the steps that cannot run any more, each with the parents that failed, or are or will be skipped."""
    shape = run.shape
    waiting, found = list(run.frontier.doomed), dict[str, tuple[str, ...]]()
    while waiting:
        name = shape.names[heapq.heappop(waiting)]
        # Parents have lower numbers: all of them that will be skipped are found by now.
        if name not in found:
            parents = run.steps[name].plan.upstream
            found[name] = tuple(each for each in parents if each in found or run.steps[each].status in UNSUCCESSFUL)
            for child in shape.children[shape.numbers[name]]:
                heapq.heappush(waiting, child)
    return tuple(found.items())


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
            steps=_planned(event.steps),
            shape=(shape := _shape(event.steps)),
            frontier=_first(event.steps, shape),
        )
    if run is None:
        raise Refused(f"{event.TYPE} of the run {event.run_id} stands before its start.")
    match event:
        case RunSucceeded():
            return run._replace(status=RunStatus.COMPLETED)
        case RunFailed():
            return run._replace(status=RunStatus.FAILED)
        case RunCancelled():
            return run._replace(status=RunStatus.STOPPED)
        case _:
            step = run.steps[event.step]
            after = _after(step, event)
            # In this order: the map is as quick as a dictionary for who looks at the newest one.
            frontier = _moved(run, run.shape.numbers[event.step], step, after)
            return run._replace(steps=run.steps.put(event.step, after), frontier=frontier)


def _after(step: StepState, event: StepEvent) -> StepState:  # noqa: PLR0911 - one for each case
    match event:
        case StepStarted():
            return StepState(step.plan, StepStatus.RUNNING, event.attempt, lost=step.lost)
        case StepQueued():
            return StepState(step.plan, StepStatus.QUEUED, event.attempt, dispatch=event.dispatch, lost=step.lost)
        case StepClaimed():
            return step._replace(status=StepStatus.RUNNING, execution=event.execution, worker=event.worker)
        case StepLost():
            return StepState(step.plan, StepStatus.RETRYING, step.attempt, retry_at=event.retry_at, lost=step.lost + 1)
        case StepSucceeded():
            outputs = {output.output: output for output in event.outputs}
            by = event.execution
            return step._replace(
                status=StepStatus.COMPLETED,
                outputs=outputs,
                execution=by.id if by else None,
                worker=by.worker if by else None,
            )
        case StepFailed():
            status = StepStatus.FAILED if event.retry_at is None else StepStatus.RETRYING
            return StepState(step.plan, status, step.attempt, retry_at=event.retry_at, lost=step.lost)
        case StepSkipped():
            return StepState(step.plan, StepStatus.SKIPPED)
        case _:
            assert_never(event)


def _planned(steps: Iterable[PlannedStep]) -> PersistentMap[str, StepState]:
    states = PersistentMap[str, StepState]()
    for step in steps:
        states = states.put(step.name, StepState(step))
    return states


def _shape(steps: Sequence[PlannedStep]) -> Shape:
    numbers = {step.name: number for number, step in enumerate(steps)}
    children: list[list[int]] = [[] for _ in steps]
    for number, step in enumerate(steps):
        for parent in step.upstream:
            children[numbers[parent]].append(number)
    return Shape(tuple(numbers), numbers, tuple(map(tuple, children)))


def _first(steps: Sequence[PlannedStep], shape: Shape) -> Frontier:
    missing = [len(step.upstream) for step in steps]
    startable = tuple(number for number, count in enumerate(missing) if not count)
    return Frontier(startable, running=(), doomed=(), retrying=(), open=len(shape.names), missing=missing)


def _moved(run: Run, number: int, before: StepState, after: StepState) -> Frontier:
    """Return the frontier after a step of the run went from one state to another."""
    old, retry = run.frontier, (before.retry_at or 0, number)
    startable, running = _without(old.startable, number), _without(old.running, number)
    doomed, retrying, missing = _without(old.doomed, number), _without(old.retrying, retry), old.missing
    children = run.shape.children[number]
    match after.status:
        case StepStatus.RUNNING:
            running = _with(running, (number,))
        case StepStatus.RETRYING:
            retrying = _with(retrying, ((after.retry_at or 0, number),))
        case StepStatus.COMPLETED if children:
            missing = list(missing)
            for child in children:
                missing[child] -= 1
            startable = _with(startable, (child for child in children if not missing[child]))
        case StepStatus.FAILED | StepStatus.SKIPPED:
            initializing = (
                child for child in children if run.steps[run.shape.names[child]].status is StepStatus.INITIALIZING
            )
            doomed = _with(doomed, initializing)
        case _:
            pass
    open_ = old.open + (after.status in OPEN) - (before.status in OPEN)
    return Frontier(startable, running, doomed, retrying, open_, missing)


def _with(members: tuple[Order, ...], more: Iterable[Order]) -> tuple[Order, ...]:
    return tuple(sorted(set(members).union(more)))


def _without(members: tuple[Order, ...], member: Order) -> tuple[Order, ...]:
    at = bisect_left(members, member)
    return members[:at] + members[at + 1 :] if members[at : at + 1] == (member,) else members
