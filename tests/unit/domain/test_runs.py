from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given as any_of
from hypothesis import strategies as st

from stackledger.domain.errors import AlreadyExists, InvalidName, NotFound, PipelineError, Refused, StackledgerError
from stackledger.domain.event import Event
from stackledger.domain.events.fleet import RunCancelled
from stackledger.domain.events.runs import (
    OutputOfStep,
    Retry,
    RunFailed,
    RunStarted,
    RunSucceeded,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from stackledger.domain.run_plan import MAX_DELAY
from stackledger.domain.run_state import (
    OPEN,
    UNSUCCESSFUL,
    Attempt,
    Run,
    doomed,
    evolve,
    next_due,
    produced,
    ready,
    running,
)
from stackledger.domain.run_status import RunStatus, StepStatus
from stackledger.domain.runs import (
    RUN,
    START_RUN,
    Advance,
    CancelRun,
    EndRun,
    FailStep,
    FinishStep,
    RunCommand,
    StartRun,
)
from tests.support.given import specification
from tests.support.run_plans import RUN_ID, output_of, planned, start, started

CHAIN = {"load": (), "train": ("load",), "evaluate": ("train",)}
FORK = {"load": (), "sgd": ("load",), "forest": ("load",), "compare": ("sgd", "forest")}
TWICE = Retry(max_retries=2, delay=3.0, backoff=2.0)
SECOND = 1_000_000


def after(*events: Event) -> Run | None:
    run: Run | None = None
    for event in events:
        run = evolve(run, event)
    return run


def decided(command: RunCommand, *events: Event) -> list[Event]:
    return list(RUN.decide(command, after(*events)))


def advance(*outcomes: FinishStep | FailStep, slots: int = 1, now: int = 0) -> Advance:
    return Advance(run_id=RUN_ID, now=now, outcomes=outcomes, slots=slots)


def finish(step: str, attempt: int = 1) -> FinishStep:
    return FinishStep(step, attempt, (output_of(step),))


def fail(step: str, attempt: int = 1) -> FailStep:
    return FailStep(step, attempt, "ValueError", "no data")


def step_started(step: str, attempt: int = 1, parents: Sequence[str] = ()) -> StepStarted:
    inputs = {f"argument_{index}": f"digest-of-{parent}" for index, parent in enumerate(parents)}
    return StepStarted(run_id=RUN_ID, step=step, attempt=attempt, inputs=inputs)


def succeeded(step: str, attempt: int = 1) -> StepSucceeded:
    return StepSucceeded(run_id=RUN_ID, step=step, attempt=attempt, outputs=(output_of(step),))


def failed(step: str, attempt: int = 1, retry_at: int | None = None) -> StepFailed:
    return StepFailed(
        run_id=RUN_ID, step=step, attempt=attempt, error="ValueError", message="no data", retry_at=retry_at
    )


def test_a_run_starts_with_all_that_it_pins() -> None:
    assert list(START_RUN.decide(start(CHAIN), {})) == [started(CHAIN)]


def test_a_name_is_taken_once_whatever_its_case() -> None:
    first = started(CHAIN)
    taken = START_RUN.evolve({}, first)
    with pytest.raises(AlreadyExists, match="run named 'First Run'"):
        START_RUN.decide(start(CHAIN, run_id="another", name="First Run"), taken)
    under_name = START_RUN.boundary(start(CHAIN, run_id="another", name="FIRST RUN"))[1]
    assert set(under_name.tags) <= set(first.tags())


def test_an_id_is_started_once() -> None:
    with pytest.raises(AlreadyExists, match=RUN_ID):
        START_RUN.decide(start(CHAIN, name="second"), START_RUN.evolve({}, started(CHAIN)))


@pytest.mark.parametrize("name", ["", "../up", "a\x00b", "\x1b[31mred", "-rf", "\u202egnp", "a/b", "x" * 129, "ends "])
def test_hostile_names_of_runs_and_steps_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        START_RUN.decide(start(CHAIN, name=name), {})
    with pytest.raises(InvalidName):
        START_RUN.decide(start({name: ()}), {})
    with pytest.raises(InvalidName):
        START_RUN.decide(start(CHAIN, pipeline=name), {})


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ({}, "no steps"),
        ({"a": ("b",), "b": ("a",)}, "needs 'b', which does not stand before it"),
        ({"a": ("a",)}, "needs 'a'"),
        ({"a": ("nowhere",)}, "needs 'nowhere'"),
    ],
)
def test_a_plan_that_cannot_be_executed_in_its_order_is_refused(graph: dict[str, tuple[str, ...]], words: str) -> None:
    with pytest.raises(PipelineError, match=words):
        START_RUN.decide(start(graph), {})


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(PipelineError, match="Two steps are named 'a'"):
        START_RUN.decide(start({}, steps=(planned("a"), planned("a"))), {})


def test_an_input_that_no_earlier_step_puts_out_is_refused() -> None:
    reader = planned("b", ("a",)).model_copy(update={"inputs": {"x": OutputOfStep(step="a", output="nothing")}})
    with pytest.raises(PipelineError, match="no output of a step before it"):
        START_RUN.decide(start({}, steps=(planned("a"), reader)), {})
    stranger = planned("b").model_copy(update={"inputs": {"x": OutputOfStep(step="a", output="output")}})
    with pytest.raises(PipelineError, match="no output of a step before it"):
        START_RUN.decide(start({}, steps=(planned("a"), stranger)), {})


@pytest.mark.parametrize(
    "retry",
    [
        Retry(max_retries=-1),
        Retry(max_retries=101),
        Retry(max_retries=1, delay=-1),
        Retry(max_retries=1, delay=math.nan),
        Retry(max_retries=1, delay=math.inf),
        Retry(max_retries=1, delay=1, backoff=0.5),
        Retry(max_retries=1, delay=1, backoff=math.inf),
    ],
)
def test_retries_out_of_bounds_are_refused(retry: Retry) -> None:
    with pytest.raises(PipelineError, match="cannot be retried"):
        START_RUN.decide(start(CHAIN, retry), {})


def test_the_first_step_starts_when_there_is_a_slot() -> None:
    assert decided(advance(), started(CHAIN)) == [step_started("load")]
    assert decided(advance(slots=0), started(CHAIN)) == []


def test_one_append_records_an_outcome_and_starts_the_next_step() -> None:
    history = (started(CHAIN), step_started("load"))
    assert decided(advance(finish("load")), *history) == [
        succeeded("load"),
        step_started("train", parents=("load",)),
    ]


def test_slots_bound_how_many_attempts_run_at_once() -> None:
    history = (started(FORK), step_started("load"))
    assert decided(advance(finish("load"), slots=9), *history) == [
        succeeded("load"),
        step_started("sgd", parents=("load",)),
        step_started("forest", parents=("load",)),
    ]
    assert decided(advance(finish("load"), slots=1), *history)[1:] == [step_started("sgd", parents=("load",))]
    busy = (*history, succeeded("load"), step_started("sgd", parents=("load",)))
    assert decided(advance(slots=1), *busy) == []


def test_the_last_success_ends_the_run_well() -> None:
    history = (started({"a": ()}), step_started("a"))
    assert decided(advance(finish("a")), *history) == [succeeded("a"), RunSucceeded(run_id=RUN_ID)]


def test_dependents_of_a_failed_step_are_skipped_and_independent_ones_run() -> None:
    graph = {**FORK, "report": ("compare",)}
    history = (started(graph), step_started("load"), succeeded("load"), step_started("sgd", parents=("load",)))
    assert decided(advance(fail("sgd")), *history) == [
        failed("sgd"),
        StepSkipped(run_id=RUN_ID, step="compare", because=("sgd",)),
        StepSkipped(run_id=RUN_ID, step="report", because=("compare",)),
        step_started("forest", parents=("load",)),
    ]


def test_a_run_with_failed_steps_ends_naming_them() -> None:
    graph = {"a": (), "b": (), "c": ("a",)}
    history = (started(graph), step_started("a"), failed("a"), step_started("b"))
    assert decided(advance(fail("b")), *history)[-1] == RunFailed(
        run_id=RUN_ID, because="steps failed", steps=("a", "b")
    )


def test_a_failed_attempt_is_followed_by_another_when_its_time_has_come() -> None:
    history = [started({"a": ()}, TWICE), step_started("a")]
    first = failed("a", retry_at=10 * SECOND)
    assert decided(advance(fail("a"), now=7 * SECOND), *history) == [first]
    history.append(first)
    run = after(*history)
    assert run is not None
    assert next_due(run) == 10 * SECOND
    assert ready(run, 10 * SECOND - 1) == ()
    assert ready(run, 10 * SECOND) == (Attempt("a", 2),)
    assert decided(advance(now=10 * SECOND), *history) == [step_started("a", 2)]
    history += [step_started("a", 2)]
    second = failed("a", 2, retry_at=17 * SECOND)
    assert decided(advance(fail("a", 2), now=11 * SECOND), *history) == [second]
    history += [second, step_started("a", 3)]
    assert decided(advance(fail("a", 3), now=20 * SECOND), *history) == [
        failed("a", 3),
        RunFailed(run_id=RUN_ID, because="steps failed", steps=("a",)),
    ]


def test_a_retry_without_delay_starts_in_the_same_append() -> None:
    history = (started({"a": ()}, Retry(max_retries=1)), step_started("a"))
    assert decided(advance(fail("a"), now=5), *history) == [failed("a", retry_at=5), step_started("a", 2)]


def test_a_final_failure_is_not_retried() -> None:
    history = (started({"a": ()}, TWICE), step_started("a"))
    assert decided(advance(FailStep("a", 1, "ValueError", "no data", final=True)), *history) == [
        failed("a"),
        RunFailed(run_id=RUN_ID, because="steps failed", steps=("a",)),
    ]


def test_back_off_ends_growing_at_a_day() -> None:
    history: list[Event] = [started({"a": ()}, Retry(max_retries=100, delay=1000, backoff=100))]
    for attempt in range(1, 100):
        history += [step_started("a", attempt), failed("a", attempt, retry_at=1)]
    history.append(step_started("a", 100))
    [event] = decided(advance(fail("a", 100)), *history)
    assert isinstance(event, StepFailed)
    assert event.retry_at == MAX_DELAY * SECOND


def test_a_long_message_is_cut() -> None:
    history = (started({"a": ()}), step_started("a"))
    event = decided(advance(FailStep("a", 1, "ValueError", "x" * 5000)), *history)[0]
    assert isinstance(event, StepFailed)
    assert len(event.message) == 2000


def test_a_long_kind_of_failure_is_cut() -> None:
    history = (started({"a": ()}), step_started("a"))
    event = decided(advance(FailStep("a", 1, "E" * 1_000_000, "")), *history)[0]
    assert isinstance(event, StepFailed)
    assert event.error == "E" * 200


def test_outputs_other_than_planned_are_refused() -> None:
    history = (started({"a": ()}), step_started("a"))
    with pytest.raises(Refused, match="has the outputs output, not none"):
        decided(advance(FinishStep("a", 1, ())), *history)
    with pytest.raises(Refused, match="not output, output"):
        decided(advance(FinishStep("a", 1, (output_of("a"), output_of("a")))), *history)


CANCELLED = (started(CHAIN), step_started("load"), RunCancelled(run_id=RUN_ID))


def test_a_run_that_somebody_cancelled_stays_stopped() -> None:
    specification(RUN)(*CANCELLED).when(EndRun(RUN_ID, "process died")).then_nothing()
    specification(RUN)(*CANCELLED).when(CancelRun(RUN_ID)).then_raises(Refused, "was cancelled before")


@pytest.mark.parametrize("outcomes", [(), (finish("load"),), (fail("load"),)])
def test_whoever_drives_a_cancelled_run_learns_of_it_and_has_no_effect(outcomes: tuple[FinishStep, ...]) -> None:
    specification(RUN)(*CANCELLED).when(advance(*outcomes)).then_nothing()
    run = after(*CANCELLED)
    assert run is not None
    assert run.status is RunStatus.STOPPED
    assert ready(run, 99) == ()


def test_a_run_is_cancelled_by_one_event() -> None:
    specification(RUN)(started(CHAIN), step_started("load")).when(CancelRun(RUN_ID)).then(RunCancelled(run_id=RUN_ID))


def test_a_dead_run_ends_with_its_running_attempts() -> None:
    history = (started(CHAIN), step_started("load"))
    lost, ended = decided(EndRun(RUN_ID, "process died"), *history)
    assert isinstance(lost, StepFailed)
    assert (lost.step, lost.attempt, lost.error, lost.retry_at) == ("load", 1, "ProcessDied", None)
    assert ended == RunFailed(run_id=RUN_ID, because="process died", steps=())


def test_an_interrupted_run_says_so() -> None:
    assert decided(EndRun(RUN_ID, "interrupted"), started(CHAIN)) == [
        RunFailed(run_id=RUN_ID, because="interrupted", steps=())
    ]


def test_what_was_put_out_is_known_only_after_the_success() -> None:
    source = OutputOfStep(step="load", output="output")
    run = after(started(CHAIN), step_started("load"))
    assert run is not None
    with pytest.raises(Refused, match="put out nothing yet"):
        produced(run, source)
    run = evolve(run, succeeded("load"))
    assert run is not None
    assert produced(run, source) == output_of("load")


def test_nothing_happens_before_the_start() -> None:
    with pytest.raises(Refused, match="before its start"):
        after(step_started("load"))


# The table: every state of a step, every command.

HISTORIES: dict[str, tuple[Event, ...]] = {
    "initializing": (),
    "running": (step_started("a"),),
    "retrying": (step_started("a"), failed("a", retry_at=9)),
    "running again": (step_started("a"), failed("a", retry_at=9), step_started("a", 2)),
    "completed": (step_started("a"), succeeded("a")),
    "failed": (step_started("a"), failed("a")),
    "skipped": (StepSkipped(run_id=RUN_ID, step="a", because=("b",)),),
}
COMMANDS: dict[str, RunCommand] = {
    "start": advance(slots=2, now=9),
    "start too early": advance(slots=2, now=8),
    "finish 1": advance(finish("a", 1), slots=0),
    "finish 2": advance(finish("a", 2), slots=0),
    "fail 1": advance(fail("a", 1), slots=0),
    "fail 2": advance(fail("a", 2), slots=0),
    "end": EndRun(RUN_ID, "process died"),
    "cancel": CancelRun(RUN_ID),
}
# What becomes of the step: its status afterwards, or None where the command is refused.
TABLE: dict[str, tuple[str | None, ...]] = {
    #                 start      too early   finish 1     finish 2     fail 1      fail 2     end          cancel
    "initializing": ("running", "running", None, None, None, None, "initializing", "initializing"),
    "running": ("running", "running", "completed", None, "retrying", None, "failed", "running"),
    "retrying": ("running", "retrying", None, None, None, None, "retrying", "retrying"),
    "running again": ("running", "running", None, "completed", None, "failed", "failed", "running"),
    "completed": ("completed", "completed", None, None, None, None, "completed", "completed"),
    "failed": ("failed", "failed", None, None, None, None, "failed", "failed"),
    "skipped": ("skipped", "skipped", None, None, None, None, "skipped", "skipped"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("state", HISTORIES)
def test_every_command_in_every_state_of_a_step(state: str, command: str) -> None:
    # The step `z` stays open, so that the run goes on.
    history = (started({"a": (), "z": ()}, Retry(max_retries=1)), step_started("z"), *HISTORIES[state])
    expected = TABLE[state][list(COMMANDS).index(command)]
    if expected is None:
        with pytest.raises(Refused, match="is not running"):
            decided(COMMANDS[command], *history)
    else:
        run = after(*history, *decided(COMMANDS[command], *history))
        assert run is not None
        assert run.steps["a"].status == expected


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "ended", [RunSucceeded(run_id=RUN_ID), RunFailed(run_id=RUN_ID, because="interrupted", steps=())]
)
@pytest.mark.parametrize("state", HISTORIES)
def test_nothing_has_effect_after_the_end_of_a_run(state: str, ended: Event, command: str) -> None:
    history = (started({"a": (), "z": ()}), *HISTORIES[state], ended)
    if command == "end":
        assert decided(COMMANDS[command], *history) == []
    else:
        with pytest.raises(Refused, match=r"nothing (more can happen|left to cancel)"):
            decided(COMMANDS[command], *history)
    run = after(*history)
    assert run is not None
    assert ready(run, 99) == ()
    assert next_due(run) is None


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_that_never_started_is_not_found(command: str) -> None:
    with pytest.raises(NotFound, match=RUN_ID):
        decided(COMMANDS[command])


def test_an_outcome_of_a_step_that_is_not_there_offers_near_names() -> None:
    with pytest.raises(NotFound, match="Did you mean 'load'"):
        decided(advance(finish("laod")), started(CHAIN))


# Laws over random graphs and outcomes.


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    size = draw(st.integers(1, 8))
    names = [f"s{index}" for index in range(size)]
    return {
        name: tuple(draw(st.lists(st.sampled_from(names[:index]), unique=True, max_size=3))) if index else ()
        for index, name in enumerate(names)
    }


@any_of(graphs(), st.integers(0, 2), st.integers(1, 3), st.randoms(use_true_random=False), st.sampled_from([0, 0.1]))
def test_every_run_ends_and_keeps_the_invariants(
    graph: dict[str, tuple[str, ...]], retries: int, slots: int, chance: random.Random, deadly: float
) -> None:
    events: list[Event] = list(START_RUN.decide(start(graph, Retry(max_retries=retries, delay=1.0)), {}))
    run = after(*events)
    now = 0
    outcomes: tuple[FinishStep | FailStep, ...] = ()
    while run is not None and run.status is RunStatus.RUNNING:
        if chance.random() < deadly:
            command: Advance | EndRun = EndRun(RUN_ID, "process died")
        else:
            command = advance(*outcomes, slots=slots, now=now)
        for event in RUN.decide(command, run):
            _check_before(run, event, now)
            events.append(event)
            run = evolve(run, event)
            assert run is not None
        _check_frontier(run, now)
        going = running(run)
        assert len(going) <= slots
        chosen = chance.sample(going, chance.randint(1, len(going))) if going else []
        outcomes = tuple(
            finish(attempt.step, attempt.number) if chance.random() < 0.7 else fail(attempt.step, attempt.number)
            for attempt in chosen
        )
        if not outcomes:
            now = next_due(run) or now
    assert run is not None
    _check_ended(run, events)


def _check_frontier(run: Run, now: int) -> None:
    """What a run knows of where it goes on is what looking at all of its steps finds."""
    status = {name: step.status for name, step in run.steps.items()}
    assert [each.step for each in running(run)] == [name for name in status if status[name] is StepStatus.RUNNING]
    assert run.frontier.open == sum(each in OPEN for each in status.values())
    if run.status is RunStatus.RUNNING:
        assert doomed(run) == ()
        may_start = [
            name
            for name, step in run.steps.items()
            if (
                step.status is StepStatus.INITIALIZING
                and all(status[each] is StepStatus.COMPLETED for each in step.plan.upstream)
            )
            or (step.status is StepStatus.RETRYING and step.retry_at is not None and step.retry_at <= now)
        ]
        assert [each.step for each in ready(run, now)] == may_start
        assert [each.step for each in ready(run, now, 1)] == may_start[:1]
        due = [step.retry_at for step in run.steps.values() if step.retry_at is not None]
        assert next_due(run) == min(due, default=None)


def _check_before(run: Run, event: Event, now: int) -> None:
    assert run.status is RunStatus.RUNNING, "nothing effective after a terminal event"
    match event:
        case StepStarted():
            step = run.steps[event.step]
            assert step.status in {StepStatus.INITIALIZING, StepStatus.RETRYING}
            assert all(run.steps[parent].status is StepStatus.COMPLETED for parent in step.plan.upstream)
            assert event.attempt == step.attempt + 1
            assert step.retry_at is None or step.retry_at <= now
        case StepSucceeded() | StepFailed():
            step = run.steps[event.step]
            assert (step.status, step.attempt) == (StepStatus.RUNNING, event.attempt)
        case StepSkipped():
            assert event.because
            assert all(run.steps[parent].status in UNSUCCESSFUL for parent in event.because)
        case _:
            pass


def _check_ended(run: Run, events: list[Event]) -> None:
    end = events[-1]
    assert isinstance(end, RunSucceeded | RunFailed)
    assert not running(run)
    statuses = {name: step.status for name, step in run.steps.items()}
    if isinstance(end, RunSucceeded):
        assert set(statuses.values()) == {StepStatus.COMPLETED}
    elif end.because == "steps failed":
        assert not OPEN & set(statuses.values())
        assert end.steps == tuple(name for name, status in statuses.items() if status is StepStatus.FAILED)
    successes = [event.step for event in events if isinstance(event, StepSucceeded)]
    assert len(successes) == len(set(successes))
    assert after(*events) == run, "folding from zero gives the state that decisions were made on"


@any_of(graphs(), st.integers(0, 7))
def test_a_refused_command_changes_nothing(graph: dict[str, tuple[str, ...]], number: int) -> None:
    run = after(started(graph))
    assert run is not None
    with pytest.raises(StackledgerError):
        RUN.decide(advance(finish(f"s{number}")), run)
    assert run == after(started(graph))


def test_start_run_carries_no_more_and_no_less_than_its_event() -> None:
    assert set(StartRun.__dataclass_fields__) == set(RunStarted.model_fields)
