"""The starter's pipeline on a fleet of this machine, as a new user has it: `stack up`, then `python run.py`."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stackledger.domain.run_status import RunStatus
from tests.support.eventually import eventually
from tests.support.fleet.local import LocalFleet, Started, local_fleet

pytestmark = [pytest.mark.xdist_group("fleets"), pytest.mark.timeout(240)]

LOADING = "    dataset = load_breast_cancer"
WAITING = """
    import os, time
    with open("{signs}/load.began", "a") as file:
        file.write(f"{{os.getpid()}}\\n")
    while not os.path.exists("{signs}/load.go"):
        time.sleep(0.01)
"""
"""Goes into the starter's first step: it says which process executes it, and waits until it may go on."""


@pytest.fixture
def fleet(tmp_path: Path, amqp_url: str) -> Iterator[LocalFleet]:
    with local_fleet(tmp_path, amqp_url, "--workers=2") as fleet:
        fleet.project = tmp_path / "starter"
        fleet.environment["STACKLEDGER_ACTIVE_STACK"] = "fleet"
        for arguments in (
            ("init", "--template=starter", "--template-with-defaults", f"--path={fleet.project}"),
            ("stack", "up"),
        ):
            done = fleet.command(*arguments)
            assert done.status == 0, done.err
        file = fleet.project / "steps/data.py"
        text = file.read_text("utf-8")
        assert LOADING in text
        file.write_text(text.replace(LOADING, WAITING.format(signs=fleet.signs) + LOADING), "utf-8")
        yield fleet


def training(fleet: LocalFleet) -> Started:
    """Begin to run the starter's pipeline, and wait until its first step is being executed."""
    command = [sys.executable, "run.py", "--training-pipeline"]
    started = Started(command, {**os.environ, **fleet.environment}, fleet._stack, cwd=fleet.project)
    eventually(lambda: started.process.poll() is not None or fleet.began("load"), 60)
    assert fleet.began("load"), started.output
    return started


def parents(pid: int) -> Iterator[int]:
    """Yield the processes above one, nearest first."""
    while pid > 1:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
        found = re.search(r"^PPid:\t(\d+)$", status, re.MULTILINE)
        assert found is not None
        pid = int(found[1])
        yield pid


def has_trained(fleet: LocalFleet) -> None:
    """The one run has completed, each step of it once, and its outputs load."""
    client = fleet.client()
    (run,) = client.list_pipeline_runs().items
    assert run.status == RunStatus.COMPLETED
    assert client._ledger.reader.counts_by_type()["step.succeeded/2"] == len(client.list_run_steps(run.id)) == 7
    best = client.get_artifact_version("best_accuracy").load()
    assert best == client.get_pipeline_run(run.id).steps["choose_best"].outputs["best_accuracy"].load()
    assert isinstance(best, float)
    assert best > 0.9


def test_a_run_outlives_the_worker_that_is_killed_in_the_middle_of_a_step(fleet: LocalFleet) -> None:
    run = training(fleet)
    (executes,) = fleet.began("load")
    (worker,) = {each.pid for each in fleet.processes}.intersection(parents(executes))
    os.kill(worker, signal.SIGKILL)
    fleet.has_begun("load", 2)
    fleet.go("load")
    assert run.ended(120) == 0, run.output
    assert "Accuracy of the better model: 0.9" in run.output
    has_trained(fleet)
    assert "Loaded 569 rows" in fleet.command("run", "logs", fleet.client().list_pipeline_runs().items[0].name).out


def test_whoever_starts_a_run_coordinates_it_where_the_coordinator_was_killed(fleet: LocalFleet) -> None:
    os.kill(fleet.pid("coordinator"), signal.SIGKILL)
    run = training(fleet)
    fleet.go("load")
    assert run.ended(120) == 0, run.output
    has_trained(fleet)


def test_a_run_that_nobody_watches_any_more_goes_on(fleet: LocalFleet) -> None:
    run = training(fleet)
    run.signal(signal.SIGKILL)
    run.ended()
    fleet.go("load")
    eventually(lambda: fleet.client().list_pipeline_runs().items[0].status != RunStatus.RUNNING, 120)
    has_trained(fleet)
