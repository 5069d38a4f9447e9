"""What a fleet shows whoever watches it: metrics over HTTP, and lines of JSON; no secret in either."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.eventually import eventually
from tests.support.fleet.local import LocalFleet, Started, local_fleet
from tests.support.rabbitmq import PASSWORD
from tests.support.services import free_port

pytestmark = [pytest.mark.xdist_group("fleets"), pytest.mark.timeout(240)]

WATCHED = ("--log-format=json", "--metrics-port=0")


class Watched:
    """A process of a fleet that says where its metrics are."""

    def __init__(self, started: Started) -> None:
        self.started = started
        started.says("/metrics")
        found = re.search(r"http://127\.0\.0\.1:\d+/metrics", started.output)
        assert found is not None
        self.url = found[0]

    def text(self) -> str:
        with urllib.request.urlopen(self.url, timeout=60) as answer:  # noqa: S310 - of our own process
            return str(answer.read().decode())

    def value(self, name: str, **labels: str) -> float | None:
        """Return a sample with at least these labels."""
        for family in text_string_to_metric_families(self.text()):
            for sample in family.samples:
                if sample.name == f"stackledger_{name}" and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    def comes_to(self, value: float | None, name: str, **labels: str) -> None:
        eventually(lambda: self.value(name, **labels) == value, 60)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.started.output.splitlines()]


@pytest.fixture
def fleet(tmp_path: Path, amqp_url: str) -> Iterator[LocalFleet]:
    # No step is claimed, however long it waits.
    with local_fleet(tmp_path, amqp_url, "--lease_after=600") as fleet:
        fleet.environment["STACKLEDGER_ACTIVE_STACK"] = "fleet"
        fleet.enroll_all()
        yield fleet


@pytest.fixture
def coordinator(fleet: LocalFleet) -> Watched:
    return Watched(fleet.begun("coordinator", "start", *WATCHED))


@pytest.fixture
def worker(fleet: LocalFleet, coordinator: Watched) -> Watched:
    coordinator.comes_to(1, "coordinator_active")
    return Watched(fleet.begun("worker", "start", "--slots=2", *WATCHED))


def test_what_stack_up_starts_has_metrics_where_it_was_asked_to(fleet: LocalFleet) -> None:
    first = free_port(together=2)
    done = fleet.command("stack", "up", "--metrics-port", str(first))
    assert done.status == 0, done.err
    for port, sample in ((first, "coordinator_active"), (first + 1, "worker_slots")):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            assert f"stackledger_{sample}{{" in answer.read().decode()


def test_there_have_to_be_enough_ports(fleet: LocalFleet) -> None:
    done = fleet.command("stack", "up", "--metrics-port=65535")
    assert (done.status, "2 processes are to be started" in done.err) == (1, True)
    assert not fleet.processes


def test_a_worker_with_nothing_to_do_ends_by_itself(fleet: LocalFleet) -> None:
    worker = fleet.begun("worker", "start", "--slots=1", "--idle-timeout=0.5")
    assert worker.ended() == 0, worker.output
    assert "nothing to do for long enough: stopping.\n" in worker.output
    assert worker.output.rstrip().endswith("Stopped.")


def test_metrics_tell_what_a_coordinator_and_a_worker_do(
    fleet: LocalFleet, coordinator: Watched, worker: Watched
) -> None:
    run = fleet.run("a", "b", "c")
    fleet.has_begun("a")
    fleet.has_begun("b")

    worker.comes_to(2, "worker_slots_busy", orchestrator="fleet", queue="default")
    assert worker.value("worker_slots") == 2
    worker.comes_to(1, "worker_connected")
    coordinator.comes_to(1, "coordinator_open_runs", orchestrator="fleet")
    coordinator.comes_to(3, "coordinator_steps", state="queued")
    coordinator.comes_to(0, "coordinator_dispatches_unconfirmed")
    coordinator.comes_to(1, "coordinator_connected")

    fleet.go("a", "b", "c")
    assert run.ended() == 0, run.output
    coordinator.comes_to(0, "coordinator_open_runs")
    coordinator.comes_to(3, "coordinator_outcomes_total", result="succeeded")
    assert coordinator.value("coordinator_outcomes_total", result="failed") == 0
    coordinator.comes_to(0, "coordinator_steps", state="queued")
    assert coordinator.value("coordinator_parked_messages_total") == 0
    appends = coordinator.value("coordinator_appends_total")
    events = coordinator.value("coordinator_events_appended_total")
    assert appends is not None
    assert events is not None
    assert events >= 4  # three succeeded, and the run; who began it had queued the steps
    assert appends <= events
    coordinator.comes_to(fleet.client().log_stats()["position"], "coordinator_log_position")
    worker.comes_to(0, "worker_slots_busy")
    worker.comes_to(3, "worker_executions_total", outcome="succeeded")
    worker.comes_to(3, "worker_execution_seconds_count")
    assert worker.value("worker_execution_seconds_bucket", le="+Inf") == 3


def test_a_step_that_is_stopped_is_counted(fleet: LocalFleet, coordinator: Watched, worker: Watched) -> None:
    fleet.run("a")
    fleet.has_begun("a")
    done = fleet.command("run", "cancel", fleet.client().list_pipeline_runs().items[0].id, "--reason=enough")
    assert done.status == 0, done.err
    worker.comes_to(1, "worker_executions_total", outcome="stopped")
    coordinator.comes_to(0, "coordinator_open_runs")


def test_who_stands_by_says_so_and_nothing_that_it_does_not_know(fleet: LocalFleet, coordinator: Watched) -> None:
    coordinator.comes_to(1, "coordinator_active")
    other = Watched(fleet.begun("coordinator", "start", *WATCHED))
    other.comes_to(0, "coordinator_active")
    assert other.value("coordinator_open_runs") is None

    coordinator.started.process.kill()
    other.comes_to(1, "coordinator_active")
    other.comes_to(0, "coordinator_open_runs")


def test_lines_of_json_say_what_they_are_about(fleet: LocalFleet, coordinator: Watched, worker: Watched) -> None:
    fleet.go("a")
    run = fleet.run("a")
    assert run.ended() == 0, run.output
    worker.started.says("succeeded after")
    for each in (worker, coordinator):
        each.started.process.terminate()
        assert each.started.ended() == 0, each.started.output

    (said,) = (line for line in worker.lines if "step" in line)
    (row,) = fleet.client().list_pipeline_runs().items
    assert (said["run"], said["step"], said["attempt"]) == (row.id, "wait", 1)
    assert said["execution"]
    for line in worker.lines:
        assert (line["component"], line["worker"], line["orchestrator"]) == ("worker", "there", "fleet")
    for line in coordinator.lines:
        assert (line["component"], line["orchestrator"], line["level"]) == ("coordinator", "fleet", "info")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
    assert coordinator.lines[-1]["message"] == "Stopped."


def test_the_error_that_ends_it_is_a_line_of_json_too(fleet: LocalFleet) -> None:
    done = fleet.command("coordinator", "start", "nobody", "--log-format=json")
    assert done.status == 1
    line = json.loads(done.err)
    assert (line["level"], line["component"]) == ("error", "coordinator")
    assert "nobody" in line["message"]


def test_no_secret_is_in_either(fleet: LocalFleet, coordinator: Watched, worker: Watched, amqp_url: str) -> None:
    secret = urlsplit(amqp_url).password or PASSWORD
    for each in (coordinator, worker):
        each.comes_to(1, "coordinator_connected" if each is coordinator else "worker_connected")
        assert secret not in each.text()
        assert secret not in each.started.output


def test_a_port_that_is_taken_is_refused(fleet: LocalFleet, coordinator: Watched) -> None:
    port = str(urlsplit(coordinator.url).port)
    for command in ("coordinator", "worker"):
        done = fleet.command(command, "start", f"--metrics-port={port}")
        assert done.status == 1
        assert f"Metrics cannot be had at port {port} of '127.0.0.1'" in done.err
        assert "--metrics-port" in done.err


def test_metrics_end_with_the_process(fleet: LocalFleet, coordinator: Watched) -> None:
    coordinator.started.process.terminate()
    assert coordinator.started.ended() == 0
    with pytest.raises(URLError):
        coordinator.text()
