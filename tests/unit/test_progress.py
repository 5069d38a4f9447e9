"""What a terminal shows of a run whose steps go on at the same time."""

from __future__ import annotations

import io

from stackledger.domain.event import Envelope, Event, Recorded
from stackledger.domain.events.fleet import StepClaimed, StepQueued
from stackledger.domain.events.runs import RunSucceeded, StepSucceeded
from stackledger.progress import LiveLines, Screen


def queued(step: str) -> StepQueued:
    return StepQueued(run_id="r", step=step, attempt=1, queue="q", dispatch="d", inputs={})


def claimed(step: str) -> StepClaimed:
    return StepClaimed(run_id="r", step=step, attempt=1, execution="e", worker="w")


def succeeded(step: str) -> StepSucceeded:
    return StepSucceeded(run_id="r", step=step, attempt=1, outputs=())


def recorded(event: Event) -> Recorded:
    envelope = Envelope(id="e", time=0, actor="a", host="h", reason=None, ticket=None, correlation="c", causation="c")
    return Recorded(1, envelope, event.tags(), event)


def last_drawn(*events: Event) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="", write_through=True)
    lines = LiveLines(Screen(stream))
    for event in events:
        lines.happened(recorded(event))
    stream.seek(0)
    return stream.read().rpartition("\r")[2]


def test_one_step_is_named_and_several_are_counted() -> None:
    assert "a is queued" in last_drawn(queued("a"))
    assert "a is running" in last_drawn(queued("a"), claimed("a"))
    assert "3 steps: 1 running, 2 queued" in last_drawn(queued("a"), queued("b"), queued("c"), claimed("b"))
    assert "c is queued" in last_drawn(queued("a"), queued("c"), succeeded("a"))


def test_nothing_is_drawn_when_nothing_goes_on() -> None:
    assert "queued" not in last_drawn(queued("a"), queued("b"), RunSucceeded(run_id="r"))
