from __future__ import annotations

import hashlib
from typing import Any

import msgpack
import pytest
from pydantic import JsonValue

from stackledger.domain.event import Envelope, Event, Recorded
from stackledger.domain.events.fleet import StepQueued
from stackledger.domain.events.runs import (
    Code,
    Kept,
    OutputOfStep,
    PlannedStep,
    Produced,
    Retry,
    RunStarted,
    RunSucceeded,
    StepSucceeded,
)
from stackledger.eventlog.codec import decode, encode
from stackledger.eventlog.stored import StoredEvent
from stackledger.workers.fleet.protocol.known import Known
from stackledger.workers.fleet.protocol.messages import MAX_BYTES, Dispatch, sealed
from stackledger.workers.fleet.tasks import MAX_PARAMETERS, kept_parameters, task_of
from tests.support.fleet.world import ORCHESTRATOR, STACK, STORE, Pen

ARCHIVE = Kept(digest="archive", size=9)
ENVELOPE = Envelope("id", 0, "", "", None, None, "", None)


def planned(name: str, **changes: Any) -> PlannedStep:
    step = PlannedStep(
        name=name, source=f"m.{name}", digest="", upstream=(), inputs={}, parameters={}, outputs=("out",), retry=Retry()
    )
    return step.model_copy(update=changes)


def known(*events: Event) -> Known:
    """Return what a coordinator knows of events that came out of a log."""
    found = Known(ORCHESTRATOR)
    for position, event in enumerate(events, start=1):
        stored = StoredEvent(position, event.TYPE, event.tags(), encode(event, ENVELOPE))
        found.fold(Recorded(position, ENVELOPE, event.tags(), decode(stored).event))
    return found


def started(*steps: PlannedStep) -> RunStarted:
    return RunStarted(
        run_id="r",
        name="the run",
        pipeline="training",
        stack=STACK,
        code=Code(digest="", commit=None, dirty=False, archive=ARCHIVE),
        parameters={},
        steps=steps,
        environment={},
        retry_of=None,
    )


def queued(step: str) -> StepQueued:
    return StepQueued(run_id="r", step=step, attempt=1, queue="gpu", dispatch="d", inputs={})


PRODUCED = Produced(
    output="out",
    artifact_id="a",
    artifact="x",
    digest="d",
    size=1,
    layout="file",
    materializer="json/1",
    data_type="int",
)


def test_a_task_says_all_that_a_worker_needs() -> None:
    train = planned(
        "train",
        upstream=("load",),
        inputs={"data": OutputOfStep(step="load", output="out")},
        parameters={"rate": 0.1},
        outputs=("model", "score"),
        queue="gpu",
        timeout=60.0,
        requirements=("torch>=2",),
    )
    done = StepSucceeded(run_id="r", step="load", attempt=1, outputs=(PRODUCED,))
    fleet = known(started(planned("load"), train), queued("load"), done, queued("train"))
    task = task_of(fleet, fleet.waiting["r", "train"])
    assert task.model_dump() == {
        "ref": {"run_id": "r", "step": "train", "attempt": 1, "dispatch": "d"},
        "run_name": "the run",
        "pipeline": "training",
        "queue": "gpu",
        "source": "m.train",
        "parameters": {"rate": 0.1},
        "inputs": {"data": PRODUCED.model_dump()},
        "artifacts": {"model": "training::train::model", "score": "training::train::score"},
        "store": STORE.model_dump(),
        "timeout": 60.0,
        "code": ARCHIVE.model_dump(),
        "kept_parameters": None,
        "requirements": ("torch>=2",),
        "traceparent": None,
    }


@pytest.mark.parametrize("value", ["x" * 1_000_000, [0.1, None, {"ü": [1, 2, -3]}] * 20_000, list(range(100_000))])
def test_many_parameters_go_by_the_digest_of_the_bytes_that_whoever_starts_the_run_keeps(value: JsonValue) -> None:
    step = planned("load", parameters={"rows": value, "a": 1})
    kept = kept_parameters(step)
    assert kept is not None
    assert msgpack.unpackb(kept) == step.parameters
    fleet = known(started(step), queued("load"))
    task = task_of(fleet, fleet.waiting["r", "load"])
    assert task.parameters == {}
    assert task.kept_parameters == Kept(digest=hashlib.sha256(kept).hexdigest(), size=len(kept))
    assert len(sealed(Dispatch(task=task, copied=False), Pen("coordinator"), "log")) < 2_000


def test_few_parameters_stand_in_the_message() -> None:
    step = planned("load", parameters={"rows": "x" * (MAX_PARAMETERS - 20)})
    assert kept_parameters(step) is None
    fleet = known(started(step), queued("load"))
    task = task_of(fleet, fleet.waiting["r", "load"])
    assert task.parameters == step.parameters
    assert len(sealed(Dispatch(task=task, copied=False), Pen("coordinator"), "log")) < MAX_BYTES


def test_a_run_that_has_ended_leaves_nothing_behind() -> None:
    fleet = known(started(planned("load")), queued("load"), RunSucceeded(run_id="r"))
    assert (fleet.runs, fleet.started, fleet.waiting) == ({}, {}, {})
