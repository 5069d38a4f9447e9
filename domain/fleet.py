"""What the reports of a fleet do to runs: which count, and what follows from those that do.

A worker's report may come twice, late, from an execution that nobody waits for any more, or from a key that was
revoked. So each gets a verdict first, and only effective ones become events. All rules of `domain/runs.py` hold:
a coordinator differs from the local orchestrator in how it learns of outcomes, not in what they mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from stackledger.domain.collection import COLLECTIONS
from stackledger.domain.decider import Decider
from stackledger.domain.event import Boundary, Event, item
from stackledger.domain.events.fleet import (
    Because,
    KeyEnrolled,
    KeyRevoked,
    KeyRole,
    StepClaimed,
    StepLost,
    StepQueued,
    key_tag,
)
from stackledger.domain.events.runs import Execution, RunStarted, StepFailed, StepSucceeded
from stackledger.domain.run_state import UNDER_WAY, Attempt, Run, StepState, evolved, ready, run_item
from stackledger.domain.run_status import RunStatus
from stackledger.domain.runs import (
    MAX_MESSAGE,
    START_RUN,
    FailStep,
    FinishStep,
    Outcome,
    StartRun,
    digests_of_inputs,
    ended,
    puts_out_all,
    what_follows,
)

MAX_LOST = 5
"""How many attempts at one step may get lost before the step fails."""
LOSS_DELAY = 1.0
"""Seconds before the attempt after the first lost one; doubled with each that follows."""


# Reports


@dataclass(frozen=True, slots=True)
class Claimed:
    """A worker wants an attempt for one execution of its own."""

    run_id: str
    step: str
    attempt: int
    dispatch: str
    execution: str
    worker: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An execution came to an outcome."""

    run_id: str
    dispatch: str
    outcome: Outcome
    by: Execution

    @property
    def step(self) -> str:
        """The step that the outcome is of."""
        return self.outcome.step

    @property
    def attempt(self) -> int:
        """The attempt that the outcome is of."""
        return self.outcome.attempt

    @property
    def execution(self) -> str:
        """The execution that came to it."""
        return self.by.id

    @property
    def worker(self) -> str:
        """The key whose word it is."""
        return self.by.worker

    @property
    def digests(self) -> set[str]:
        """The objects in the artifact store that the event will refer to."""
        outputs = self.outcome.outputs if isinstance(self.outcome, FinishStep) else ()
        return {each.digest for each in (*outputs, self.by.log) if each is not None}


@dataclass(frozen=True, slots=True)
class Vanished:
    """Nobody will say how an attempt went.

    `execution` is the one that held it, None where nobody did; `worker` who says so, None for the coordinator.
    """

    run_id: str
    step: str
    attempt: int
    dispatch: str
    execution: str | None
    because: Because
    worker: str | None = None


@dataclass(frozen=True, slots=True)
class Unfit:
    """An attempt that no worker can be told of, or whose outcome the log cannot hold: another try would not differ.

    `execution` and `worker` are whose outcome it was.
    """

    run_id: str
    step: str
    attempt: int
    dispatch: str
    error: str
    message: str
    execution: str | None = None
    worker: str | None = None


Report = Claimed | Ended | Vanished | Unfit


class Verdict(StrEnum):
    """What a report is worth."""

    EFFECTIVE = "effective"
    REPEATED = "repeated"
    """The same execution said it before, and it is in the log."""
    SUPERSEDED = "superseded"
    """It comes too late, or another execution was first: no effect, nobody's fault."""
    INVALID = "invalid"
    """It should never have been sent: nothing of it may count."""


# Keys


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was enrolled."""

    id: str
    role: KeyRole
    name: str
    public: str
    queues: frozenset[str]
    revoked: bool = False


Keys = Mapping[str, Key]


def evolve_keys(keys: Keys, event: Event) -> Keys:
    """Return the keys after an event about one of them."""
    match event:
        case KeyEnrolled():
            key = Key(event.key_id, event.role, event.name, event.public, frozenset(event.queues))
            return {**keys, key.id: key}
        case KeyRevoked():
            return {**keys, event.key_id: replace(keys[event.key_id], revoked=True)}
        case _:
            return keys


# Judging


def judged(report: Report, run: Run | None, keys: Keys) -> Verdict:  # noqa: PLR0911 - one for each case
    """Say what a report is worth, given its run; None stands for a run that is not open."""
    step = run.steps.get(report.step) if run is not None and run.status is RunStatus.RUNNING else None
    if report.worker is not None and not may_work(keys.get(report.worker), step.plan.queue if step else None):
        return Verdict.INVALID
    if step is None or step.attempt != report.attempt:
        return Verdict.SUPERSEDED
    if step.status not in UNDER_WAY:
        return Verdict.REPEATED if _holds(step, report) else Verdict.SUPERSEDED
    if step.dispatch != report.dispatch:
        return Verdict.INVALID
    if step.execution is None:
        # A lease that runs out is that of an execution that had claimed.
        unheld = isinstance(report, Vanished) and report.execution is not None and report.worker is None
        return Verdict.SUPERSEDED if unheld else Verdict.EFFECTIVE
    if not _holds(step, report):
        return Verdict.SUPERSEDED
    return Verdict.REPEATED if isinstance(report, Claimed) else Verdict.EFFECTIVE


def may_work(key: Key | None, queue: str | None) -> bool:
    """Say whether a key counts for what comes out of a queue; None stands for whichever that was."""
    return key is not None and key.role == "worker" and not key.revoked and (queue is None or queue in key.queues)


def _holds(step: StepState, report: Report) -> bool:
    return step.execution is not None and step.execution == report.execution and report.worker in (step.worker, None)


# Starting


def _decide_start(command: StartRun, names: Mapping[str, str]) -> Sequence[Event]:
    (started,) = START_RUN.decide(command, names)
    assert isinstance(started, RunStarted)
    # The id of the run says which append it was, as well as any other could: it has no attempts without having begun.
    return (started, *_settling(evolved(None, started), 0, dispatch=command.run_id))


START_ON_FLEET: Decider[StartRun, Mapping[str, str]] = Decider(
    initial=START_RUN.initial, boundary=START_RUN.boundary, decide=_decide_start, evolve=START_RUN.evolve
)
"""Begins a run whose steps a fleet executes, and queues those that need no others: so a coordinator sends them at once.

Whoever decides this depends on the collections, too, as far as steps read what is there already.
"""


# Settling


@dataclass(frozen=True, slots=True)
class Settled:
    """What reports bring about: the events, the verdict on each report, and the runs after the events."""

    events: tuple[Event, ...]
    verdicts: tuple[Verdict, ...]


def settled(
    runs: Mapping[str, Run],
    keys: Keys,
    reports: Sequence[Report],
    touched: Iterable[str],
    *,
    now: int,
    dispatch: str,
) -> Settled:
    """Decide what becomes of runs: of those that `reports` are about, and of the `touched` ones.

    Each report is judged after those before it. Whatever is ready then is queued under the id `dispatch`. `now` is
    in microseconds since 1970 UTC.
    """
    changed = {run_id: runs[run_id] for run_id in touched if run_id in runs}
    events: list[Event] = []
    verdicts: list[Verdict] = []
    for report in reports:
        run = changed.get(report.run_id) or runs.get(report.run_id)
        verdict = judged(report, run, keys)
        verdicts.append(verdict)
        if run is None:
            continue
        changed[run.id] = run
        if verdict is Verdict.EFFECTIVE:
            event = _effect(report, run, now)
            events.append(event)
            changed[run.id] = evolved(run, event)
    for run in changed.values():
        events.extend(_settling(run, now, dispatch))
    return Settled(tuple(events), tuple(verdicts))


def _effect(report: Report, run: Run, now: int) -> StepClaimed | StepSucceeded | StepFailed | StepLost:
    match report:
        case Claimed():
            return StepClaimed(
                run_id=run.id,
                step=report.step,
                attempt=report.attempt,
                execution=report.execution,
                worker=report.worker,
            )
        case Ended():
            return ended(_sound(report, run.steps[report.step]), run, now)
        case Vanished():
            return _lost(report, run.steps[report.step], now)
        case Unfit():
            return StepFailed(
                run_id=run.id,
                step=report.step,
                attempt=report.attempt,
                error=report.error,
                message=report.message[:MAX_MESSAGE],
                retry_at=None,
            )
        case _:
            assert_never(report)


def _sound(report: Ended, step: StepState) -> Outcome:
    """Return the outcome with who came to it; one that does not fit the step is a failure of the step."""
    outcome, outputs = report.outcome, step.plan.outputs
    if isinstance(outcome, FinishStep) and not puts_out_all(outcome, step):
        given = ", ".join(each.output for each in outcome.outputs) or "nothing"
        message = f"The worker sent {given}, but the outputs of the step are: {', '.join(outputs) or 'none'}."
        return FailStep(outcome.step, outcome.attempt, "WrongOutputs", message, report.by)
    return replace(outcome, execution=report.by)


def _lost(report: Vanished, step: StepState, now: int) -> StepLost | StepFailed:
    if step.lost + 1 >= MAX_LOST:
        return StepFailed(
            run_id=report.run_id,
            step=report.step,
            attempt=report.attempt,
            error="Lost",
            message=f"{MAX_LOST} attempts got lost; the last one because: {report.because}.",
            retry_at=None,
        )
    wait = LOSS_DELAY * 2**step.lost if step.lost else 0.0
    return StepLost(
        run_id=report.run_id,
        step=report.step,
        attempt=report.attempt,
        because=report.because,
        retry_at=now + round(wait * 1_000_000),
    )


def _settling(run: Run, now: int, dispatch: str) -> list[Event]:
    if run.status is not RunStatus.RUNNING:
        return []
    events: list[Event] = []
    for event in what_follows(run):
        events.append(event)
        run = evolved(run, event)
    events.extend(_queued(run, attempt, dispatch) for attempt in ready(run, now))
    return events


def _queued(run: Run, attempt: Attempt, dispatch: str) -> StepQueued:
    return StepQueued(
        run_id=run.id,
        step=attempt.step,
        attempt=attempt.number,
        queue=run.steps[attempt.step].plan.queue,
        dispatch=dispatch,
        inputs=digests_of_inputs(run, attempt.step),
    )


def boundary(run_ids: Iterable[str], workers: Iterable[str]) -> Boundary:
    """Return what a decision about these runs, on the word of these workers' keys, depends on."""
    return (
        COLLECTIONS,
        *map(run_item, run_ids),
        *(item(key_tag(worker), KeyEnrolled, KeyRevoked) for worker in workers),
    )
