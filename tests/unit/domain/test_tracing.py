from __future__ import annotations

import pytest

from stackledger.domain.tracing import (
    TraceContext,
    attempt_span,
    execution_span,
    run_context,
    step_span,
    traced,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("traceparent", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01-what-later-versions-have", True),
    ],
)
def test_a_traceparent_is_read_as_the_w3c_has_it(traceparent: str, *, sampled: bool) -> None:
    assert traced(traceparent) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        "01938b3c-0000-7000-8000-000000000001",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-01\0",
    ],
)
def test_what_is_no_traceparent_is_no_context(traceparent: str | None) -> None:
    assert traced(traceparent) is None


@pytest.mark.parametrize("sampled", [True, False])
def test_a_context_is_written_as_it_is_read(*, sampled: bool) -> None:
    context = TraceContext(TRACE, SPAN, sampled)
    assert traced(context.traceparent) == context


def test_a_run_is_in_the_trace_of_whoever_called_it_and_else_in_one_of_its_own() -> None:
    caller = TraceContext(TRACE, SPAN, sampled=False)
    own, called = run_context("r", None), run_context("r", caller)
    assert called == TraceContext(TRACE, own.span_id, sampled=False)
    assert own.trace_id != TRACE
    assert own.sampled
    assert run_context("s", None).trace_id != own.trace_id
    assert traced(own.traceparent) == own


def test_ids_never_change() -> None:
    # A trace that is told of anew in ten years has the ids that it has where it was sent today.
    assert run_context("r", None) == TraceContext("901c6f49f6eff984cf49f7b6129a9b7e", "10a06c6d9f71d489")
    assert step_span("r", "a") == "cf2d384a75bf6eb8"
    assert attempt_span("r", "a", 1) == "601484f3320458b9"
    assert execution_span("e") == "3a908ca458a1dd7b"


def test_no_two_spans_have_the_same_id() -> None:
    steps = ("a", "b", "a1", "")
    ids = [
        *(run_context(run_id, None).span_id for run_id in "rs"),
        *(step_span(run_id, step) for run_id in "rs" for step in steps),
        *(attempt_span(run_id, step, attempt) for run_id in "rs" for step in steps for attempt in (1, 2, 11)),
        *(execution_span(execution) for execution in "rab"),
    ]
    assert len(ids) == len(set(ids))
