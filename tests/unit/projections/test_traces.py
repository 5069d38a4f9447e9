from __future__ import annotations

from collections.abc import Iterable

import pytest

from stackledger.domain.event import Envelope, Event, Recorded
from stackledger.domain.events.fleet import KeyEnrolled, RunCancelled, StepClaimed, StepLost, StepQueued
from stackledger.domain.events.runs import (
    Execution,
    RunFailed,
    RunSucceeded,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from stackledger.domain.tracing import attempt_span, execution_span, run_context, step_span
from stackledger.projections.traces import Span, Traces
from tests.support.run_plans import RUN_ID as RUN
from tests.support.run_plans import started

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
KEY = KeyEnrolled(key_id="k", role="worker", name="worker-1", public="", queues=("default",))


def told(*events: Event | tuple[Event, int], causation: str | None = None, traces: Traces | None = None) -> list[Span]:
    """Return the spans of events; the n-th happens after n seconds, or at the microsecond that stands beside it."""
    traces = traces or Traces()
    return [span for each in recorded(events, causation) for span in traces.fold(each)]


def recorded(events: Iterable[Event | tuple[Event, int]], causation: str | None = None) -> list[Recorded]:
    found = []
    for position, each in enumerate(events, start=1):
        event, at = each if isinstance(each, tuple) else (each, position * 1_000_000)
        found.append(Recorded(position, Envelope("", at, "", "", None, None, "", causation), (), event))
    return found


def by_name(spans: list[Span]) -> dict[str, Span]:
    found = {span.name: span for span in spans}
    assert len(found) == len(spans), [span.name for span in spans]
    return found


def queued(step: str, attempt: int = 1) -> StepQueued:
    return StepQueued(run_id=RUN, step=step, attempt=attempt, queue="gpu", dispatch="d", inputs={})


def begun(step: str, attempt: int = 1) -> StepStarted:
    return StepStarted(run_id=RUN, step=step, attempt=attempt, inputs={})


def succeeded(step: str, attempt: int = 1, execution: Execution | None = None) -> StepSucceeded:
    return StepSucceeded(run_id=RUN, step=step, attempt=attempt, outputs=(), execution=execution)


def failed(step: str, attempt: int = 1, *, again: bool = False, execution: Execution | None = None) -> StepFailed:
    return StepFailed(
        run_id=RUN,
        step=step,
        attempt=attempt,
        error="ValueError",
        message="no",
        retry_at=1 if again else None,
        execution=execution,
    )


def executed(began: int, ended: int) -> Execution:
    return Execution(id="e", worker="k", began=began, ended=ended, log=None)


def test_a_run_on_a_fleet_is_a_tree_of_steps_attempts_and_executions() -> None:
    outcome = succeeded("a", execution=executed(2_500_000, 3_500_000))
    spans = by_name(told(started({"a": ()}), queued("a"), KEY, outcome, RunSucceeded(run_id=RUN)))
    run, step, attempt, execution = (spans[name] for name in ("run training", "step a", "attempt 1", "execution"))
    assert {span.trace_id for span in spans.values()} == {run_context(RUN, None).trace_id}
    assert (run.span_id, run.parent_id) == (run_context(RUN, None).span_id, None)
    assert (step.span_id, step.parent_id) == (step_span(RUN, "a"), run.span_id)
    assert (attempt.span_id, attempt.parent_id) == (attempt_span(RUN, "a", 1), step.span_id)
    assert (execution.span_id, execution.parent_id) == (execution_span("e"), attempt.span_id)
    assert [(span.start, span.end) for span in (run, step, attempt, execution)] == [
        (1_000_000_000, 5_000_000_000),
        (2_000_000_000, 4_000_000_000),
        (2_000_000_000, 4_000_000_000),
        (2_500_000_000, 3_500_000_000),
    ]
    assert {span.status for span in spans.values()} == {"ok"}


def test_an_execution_says_who_had_it_and_how_long_it_waited() -> None:
    outcome = succeeded("a", execution=executed(2_500_000, 3_500_000))
    spans = by_name(told(started({"a": ()}), queued("a"), KEY, outcome))
    said = spans["execution"].attributes
    assert (said["stackledger.worker"], said["stackledger.worker.key"]) == ("worker-1", "k")
    assert (said["stackledger.queue"], said["stackledger.queue_seconds"]) == ("gpu", 0.5)
    assert (said["stackledger.run.id"], said["stackledger.step"], said["stackledger.attempt"]) == (RUN, "a", 1)


def test_a_run_that_was_called_within_a_trace_is_a_child_of_its_caller() -> None:
    spans = by_name(told(started({"a": ()}), begun("a"), succeeded("a"), RunSucceeded(run_id=RUN), causation=CALLER))
    assert {span.trace_id for span in spans.values()} == {"0af7651916cd43dd8448eb211c80319c"}
    assert spans["run training"].parent_id == "b7ad6b7169203331"


@pytest.mark.parametrize("causation", [None, "01938b3c-0000-7000-8000-000000000001", "nonsense"])
def test_any_other_causation_begins_a_trace(causation: str | None) -> None:
    (run,) = told(started({}), RunSucceeded(run_id=RUN), causation=causation)
    assert (run.trace_id, run.parent_id) == (run_context(RUN, None).trace_id, None)


def test_each_attempt_is_told_of_and_the_step_ends_with_the_last() -> None:
    spans = by_name(told(started({"a": ()}), begun("a"), failed("a", again=True), begun("a", 2), succeeded("a", 2)))
    assert [(spans[name].status, spans[name].message) for name in ("attempt 1", "attempt 2", "step a")] == [
        ("error", "ValueError: no"),
        ("ok", ""),
        ("ok", ""),
    ]
    assert (spans["step a"].start, spans["step a"].end) == (2_000_000_000, 5_000_000_000)
    assert spans["attempt 1"].attributes["error.type"] == "ValueError"


def test_a_failed_run_names_the_steps_and_what_they_kept_from_running() -> None:
    skipped = StepSkipped(run_id=RUN, step="b", because=("a",))
    ended = RunFailed(run_id=RUN, because="steps failed", steps=("a",))
    spans = by_name(told(started({"a": (), "b": ("a",)}), begun("a"), failed("a"), skipped, ended))
    assert (spans["run training"].status, spans["run training"].message) == ("error", "steps failed: a")
    assert spans["step a"].status == "error"
    assert (spans["step b"].status, spans["step b"].attributes["stackledger.status"]) == ("unset", "skipped")


def test_a_claimed_attempt_that_got_lost_shows_who_had_it() -> None:
    claimed = StepClaimed(run_id=RUN, step="a", attempt=1, execution="e", worker="k")
    lost = StepLost(run_id=RUN, step="a", attempt=1, because="lease ran out", retry_at=1)
    spans = by_name(told(started({"a": ()}), queued("a"), KEY, claimed, lost))
    assert set(spans) == {"execution", "attempt 1"}
    assert {(span.status, span.message) for span in spans.values()} == {("error", "Lost: lease ran out")}
    assert spans["execution"].attributes["stackledger.worker"] == "worker-1"
    assert spans["execution"].span_id == execution_span("e")


def test_what_goes_on_when_a_run_is_cancelled_ends_with_it() -> None:
    spans = by_name(told(started({"a": ()}), queued("a"), RunCancelled(run_id=RUN)))
    assert set(spans) == {"run training", "step a", "attempt 1"}
    assert {(span.status, span.attributes["stackledger.status"], span.end) for span in spans.values()} == {
        ("unset", "stopped", 3_000_000_000)
    }


def test_a_clock_that_was_set_back_makes_no_span_end_before_it_began() -> None:
    outcome = succeeded("a", execution=executed(9, 3))
    events = (started({"a": ()}), (queued("a"), 7_000_000), (outcome, 5_000_000), RunSucceeded(run_id=RUN))
    spans = told(*events)
    assert len(spans) == 4
    for span in spans:
        assert span.end >= span.start


def test_only_the_runs_that_are_wanted_are_told_of() -> None:
    asked = []

    def wanted(event: object, caller: object) -> bool:
        asked.append((event, caller))
        return False

    run = started({"a": ()})
    assert told(run, begun("a"), succeeded("a"), RunSucceeded(run_id=RUN), traces=Traces(wanted)) == []
    assert asked == [(run, None)]


def test_whatever_of_a_history_is_missing_nothing_breaks() -> None:
    whole = (
        started({"a": (), "b": ("a",)}),
        queued("a"),
        StepClaimed(run_id=RUN, step="a", attempt=1, execution="e", worker="k"),
        StepLost(run_id=RUN, step="a", attempt=1, because="lease ran out", retry_at=1),
        queued("a", 2),
        failed("a", 2, again=True),
        queued("a", 3),
        succeeded("a", 3, executed(1, 2)),
        StepSkipped(run_id=RUN, step="b", because=("a",)),
        RunSucceeded(run_id=RUN),
    )
    for missing in range(2 ** len(whole)):
        told(*(event for number, event in enumerate(whole) if not missing >> number & 1))
