"""What a fleet tells of its runs as traces, as a collector receives it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.fleet.local import LocalFleet, Started, local_fleet
from tests.support.otlp import Received, Receiver, receiver

pytestmark = [pytest.mark.xdist_group("fleets"), pytest.mark.timeout(240)]

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OK, ERROR = 1, 2

PROJECT = """
import os
import subprocess
import sys
from opentelemetry import trace
from stackledger import StepRetryConfig, get_step_context, pipeline, step

@step
def read() -> str:
    with trace.get_tracer("project").start_as_current_span("reading", attributes={"rows": 3}):
        pass
    return subprocess.check_output([sys.executable, "-c", "import os; print(os.environ['TRACEPARENT'])"], text=True)

@step(retry=StepRetryConfig(max_retries=1))
def hesitate(text: str) -> str:
    with trace.get_tracer("project").start_as_current_span("hesitating"):
        if get_step_context().step_run.attempt == 1:
            raise ValueError("not yet")
    return text

@pipeline
def traced():
    hesitate(read())

if __name__ == "__main__":
    run = traced()
    print(run.steps["read"].output.load())
"""


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with receiver() as received:
        yield received


@pytest.fixture
def fleet(tmp_path: Path, amqp_url: str) -> Iterator[LocalFleet]:
    with local_fleet(tmp_path, amqp_url) as fleet:
        fleet.environment["STACKLEDGER_ACTIVE_STACK"] = "fleet"
        fleet.enroll_all()
        (fleet.project / "project.py").write_text(textwrap.dedent(PROJECT))
        yield fleet


def begun(fleet: LocalFleet, what: str, url: str) -> Started:
    """Begin a coordinator or a worker that is told where a collector is."""
    process = fleet.begun(what, "start", "--log-format=json", env={"OTEL_EXPORTER_OTLP_ENDPOINT": url})
    # Whoever begins a run coordinates it where nobody else does.
    process.says("Active" if what == "coordinator" else "Connected")
    return process


def run(fleet: LocalFleet, **env: str) -> Started:
    """Begin the run of the project."""
    return fleet.program("project.py", env=env)


def told_by_hand(fleet: LocalFleet, run: str = "traced") -> list[Received]:
    """Return the spans of a run as its log has them."""
    with receiver() as other:
        done = fleet.command("run", "trace", run, "--otlp", other.url)
        assert done.status == 0, done.err
        return other.spans


def comparable(spans: list[Received]) -> set[tuple[Any, ...]]:
    return {
        (*span[:6], json.dumps(span.attributes, sort_keys=True), span.status, span.message)
        for span in spans
        if "stackledger.run.id" in span.attributes
    }


def test_a_run_on_a_fleet_is_one_trace_from_its_caller_to_what_steps_add(
    fleet: LocalFleet, collector: Receiver
) -> None:
    begun(fleet, "coordinator", collector.url)
    begun(fleet, "worker", collector.url)
    process = run(fleet, TRACEPARENT=f"00-{TRACE}-{SPAN}-01")
    assert process.ended() == 0, process.output
    whole = collector.named("run traced")
    collector.named("reading")
    eventually(lambda: sum(span.name == "hesitating" for span in collector.spans) == 2)

    spans = collector.spans
    by_id = {span.span_id: span for span in spans}
    assert {span.trace_id for span in spans} == {TRACE}
    assert (whole.parent_id, whole.status) == (SPAN, OK)
    paths = sorted(_path(span, by_id) for span in spans)
    assert paths == [
        "run traced",
        "run traced/step hesitate",
        "run traced/step hesitate/attempt 1",
        "run traced/step hesitate/attempt 1/execution",
        "run traced/step hesitate/attempt 1/execution/hesitating",
        "run traced/step hesitate/attempt 2",
        "run traced/step hesitate/attempt 2/execution",
        "run traced/step hesitate/attempt 2/execution/hesitating",
        "run traced/step read",
        "run traced/step read/attempt 1",
        "run traced/step read/attempt 1/execution",
        "run traced/step read/attempt 1/execution/reading",
    ]
    for span in spans:
        parent = by_id.get(span.parent_id, whole)
        assert parent.start <= span.start <= span.end <= parent.end
    wrong = {_path(span, by_id): span.message for span in spans if span.status == ERROR}
    failed = "run traced/step hesitate/attempt 1"
    assert wrong == dict.fromkeys(
        (failed, f"{failed}/execution", f"{failed}/execution/hesitating"), "ValueError: not yet"
    )
    execution = next(span for span in spans if span.name == "execution")
    assert execution.attributes["stackledger.worker"] == "there"
    assert execution.attributes["stackledger.queue"] == "default"
    assert execution.attributes["stackledger.queue_seconds"] > 0

    # Processes that a step begins find themselves beneath its execution.
    reading = next(span for span in spans if span.name == "reading")
    assert f"00-{TRACE}-{reading.parent_id}-01" in process.output
    # The log has the same.
    assert comparable(told_by_hand(fleet)) == comparable(spans)


def _path(span: Received, by_id: dict[str, Received]) -> str:
    parent = by_id.get(span.parent_id)
    return span.name if parent is None else f"{_path(parent, by_id)}/{span.name}"


def test_whoever_takes_over_tells_the_rest_and_nothing_otherwise(fleet: LocalFleet, collector: Receiver) -> None:
    first = begun(fleet, "coordinator", collector.url)
    begun(fleet, "worker", collector.url)
    fleet.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
    process = fleet.run("a", "b")
    fleet.has_begun("a")
    fleet.go("a")
    collector.named("step wait")  # of the first; the second waits still

    first.process.kill()
    # Whoever began the run has the key of a coordinator, and stood by.
    fleet.go("b")
    assert process.ended() == 0, process.output
    name = collector.named("run waiting").attributes["stackledger.run.name"]
    # What was told twice was told the same.
    assert comparable(collector.spans) == comparable(told_by_hand(fleet, name))


@pytest.mark.parametrize("is_there", [True, False], ids=["refusing", "away"])
def test_a_collector_that_is_of_no_use_changes_nothing_and_is_said_once(
    fleet: LocalFleet, collector: Receiver, *, is_there: bool
) -> None:
    collector.status = 400
    url = collector.url if is_there else "http://127.0.0.1:9"  # the port for what is discarded
    processes = [begun(fleet, what, url) for what in ("coordinator", "worker")]
    process = run(fleet)
    assert process.ended() == 0, process.output
    for each in processes:
        each.says("Spans of traces are dropped")
        each.process.terminate()
        assert each.ended() == 0, each.output
        lines = [json.loads(line) for line in each.output.splitlines()]
        (said,) = (line for line in lines if "Spans of traces" in line["message"])
        assert said["level"] == "warning"
    assert collector.spans == []


def test_without_a_collector_steps_find_no_trace_around_them(fleet: LocalFleet) -> None:
    (fleet.project / "project.py").write_text(
        "import os, sys\n"
        "from stackledger import pipeline, step\n"
        "@step\n"
        "def look() -> list[str]:\n"
        "    return [*filter(lambda name: name.startswith('opentelemetry'), sys.modules), *os.environ]\n"
        "@pipeline\n"
        "def traced():\n"
        "    look()\n"
        "if __name__ == '__main__':\n"
        "    print(traced().steps['look'].output.load())\n"
    )
    fleet.begun("worker", "start")
    process = run(fleet)
    assert process.ended() == 0, process.output
    assert "'PATH'" in process.output
    assert "opentelemetry" not in process.output
    assert "TRACEPARENT" not in process.output
