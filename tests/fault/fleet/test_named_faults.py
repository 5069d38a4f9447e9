"""Single faults, each in the middle of a run, with all of a fleet as processes: what becomes of the run is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stackledger.domain.event import Event
from stackledger.domain.events.fleet import StepClaimed, StepLost
from stackledger.domain.events.runs import RunFailed, StepFailed, StepSucceeded
from stackledger.domain.run_status import RunStatus
from stackledger.eventlog.codec import decode
from tests.support.eventually import eventually
from tests.support.fleet.local import LocalFleet, local_fleet
from tests.support.object_servers import ObjectServer
from tests.support.postgres import Databases, log_for, private_server
from tests.support.proxy import proxy_to
from tests.support.rabbitmq import PrivateNode
from tests.support.soak import rounds

pytestmark = [pytest.mark.xdist_group("fleets"), pytest.mark.timeout(300)]

SOON = ("--lease_after=1", "--heartbeat=2")
"""Leases run out nine seconds after the last sign of life."""

FIRST = "wait"
"""What the first step of a run is called in the log."""

DEADLY = """
import os, signal, sys
from pathlib import Path
from stackledger import pipeline, step

def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

@step
def deadly(folder: str, whom: str) -> str:
    with (Path(folder) / "deadly.began").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    victim = os.getpid()
    while whom == "worker" and b"worker\\0start" not in Path(f"/proc/{victim}/cmdline").read_bytes():
        victim = parent(victim)
    os.kill(victim, signal.SIGKILL)
    signal.pause()
    return ""

@pipeline
def chain(folder: str, whom: str) -> None:
    deadly(folder, whom)

if __name__ == "__main__":
    chain(folder=sys.argv[1], whom=sys.argv[2])
"""


@contextmanager
def standing(folder: Path, url: str, *settings: str, log: str | None = None) -> Iterator[LocalFleet]:
    with local_fleet(folder, url, *settings, log=log) as fleet:
        up(fleet)
        yield fleet


def up(fleet: LocalFleet) -> None:
    done = fleet.command("stack", "up")
    assert done.status == 0, done.err


def events_of(fleet: LocalFleet) -> list[Event]:
    return [decode(stored).event for stored in fleet.client()._ledger.reader.scan()]


def number_of(fleet: LocalFleet, *kinds: type[Event]) -> int:
    return sum(isinstance(event, kinds) for event in events_of(fleet))


def of_first(fleet: LocalFleet, *kinds: type[Event]) -> list[Any]:
    """Return what the log says about the first step."""
    return [each for each in events_of(fleet) if isinstance(each, kinds) and getattr(each, "step", "") == FIRST]


def executes(fleet: LocalFleet, pid: int) -> int:
    """Return the number of the worker above a process of a step."""
    workers = {each.pid for each in fleet.processes}
    while pid not in workers:
        pid = int(Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[1])
    return pid


@pytest.fixture
def impatient(rabbitmq_node: PrivateNode) -> Iterator[PrivateNode]:
    """A node that closes a channel on which a delivery was not acknowledged for some seconds."""
    usual = {"consumer_timeout": 60_000, "channel_tick_interval": 60_000}
    for name, milliseconds in {"consumer_timeout": 12_000, "channel_tick_interval": 500}.items():
        rabbitmq_node.control("eval", f"application:set_env(rabbit, {name}, {milliseconds}).")
    yield rabbitmq_node
    for name, milliseconds in usual.items():
        rabbitmq_node.control("eval", f"application:set_env(rabbit, {name}, {milliseconds}).")


@pytest.mark.parametrize(("lease_after", "times"), [(1, 1), (600, 2)], ids=["claimed", "held"])
def test_a_step_longer_than_the_time_out_of_consumers_runs_once(
    tmp_path: Path, impatient: PrivateNode, lease_after: int, times: int
) -> None:
    """Also that the time-out is one: what is held for so long is delivered again."""
    with standing(tmp_path, impatient.url, f"--lease_after={lease_after}", "--heartbeat=0.5") as fleet:
        run = fleet.run("a")
        fleet.has_begun("a")
        log = next(each for each in fleet.processes if each.name.startswith("worker")).log
        if times == 1:
            eventually(lambda: number_of(fleet, StepClaimed))
            impatient.control("eval", "timer:sleep(15000).")
        else:
            eventually(lambda: "PRECONDITION_FAILED" in log.read_text())
        fleet.go("a")
        assert run.ended() == 0, run.output
        assert ("PRECONDITION_FAILED" in log.read_text()) == (times > 1)
        assert number_of(fleet, StepSucceeded) == 1
        assert times > 1 or len(fleet.began("a")) == 1


def test_a_step_that_kills_its_process_is_tried_again_as_often_as_it_may_and_fails(
    tmp_path: Path, amqp_url: str
) -> None:
    with standing(tmp_path, amqp_url, "--step_retries=2") as fleet:
        (fleet.project / "run.py").write_text(DEADLY)
        run = fleet.run("itself")
        assert run.ended() == 1
        assert "StepCrashed" in run.output
        assert len(fleet.began("deadly")) == number_of(fleet, StepFailed) == 3
        assert number_of(fleet, RunFailed) == 1


@pytest.mark.skipif(not rounds(0, 1), reason="it waits for five leases: make soak")
def test_a_step_that_kills_its_worker_is_given_up_after_some_losses(tmp_path: Path, amqp_url: str) -> None:
    with standing(tmp_path, amqp_url, *SOON) as fleet:
        (fleet.project / "run.py").write_text(DEADLY)
        run = fleet.run("worker")

        def is_over() -> bool:
            if len(fleet.processes) < 2:
                up(fleet)
            return run.process.poll() is not None

        eventually(is_over, 240)
        assert run.ended() == 1
        assert "deadly" in run.output
        assert number_of(fleet, StepLost) <= 6
        assert number_of(fleet, RunFailed) == 1


def test_what_a_frozen_worker_comes_to_when_it_thaws_changes_nothing(tmp_path: Path, amqp_url: str) -> None:
    with standing(tmp_path, amqp_url, "--workers=2", *SOON) as fleet:
        run = fleet.run("a", "b")
        fleet.has_begun("a")
        eventually(lambda: of_first(fleet, StepClaimed))
        zombie = executes(fleet, fleet.began("a")[0])
        os.kill(zombie, signal.SIGSTOP)
        try:
            fleet.has_begun("a", times=2)
            fleet.go("a")
            eventually(lambda: of_first(fleet, StepSucceeded))
        finally:
            os.kill(zombie, signal.SIGCONT)

        def has_said_it() -> bool:
            doing = {each.pid: each.executions for each in fleet.client().list_workers("fleet")}
            return zombie in doing and all(each.step != FIRST for each in doing[zombie])

        eventually(has_said_it, 60)
        fleet.go("b")
        assert run.ended() == 0, run.output
        assert len(of_first(fleet, StepLost)) == 1
        (succeeded,) = of_first(fleet, StepSucceeded, StepFailed)
        assert succeeded.attempt == 2
        assert len(fleet.began("a")) == 2


def test_a_run_goes_on_over_a_crash_of_its_broker_and_of_the_database(
    tmp_path: Path, rabbitmq_node: PrivateNode
) -> None:
    with (
        private_server() as server,
        log_for(tmp_path / "home", Databases(server.admin)) as log,
        standing(tmp_path, rabbitmq_node.url, *SOON, log=log) as fleet,
    ):
        run = fleet.run("a", "b", "c")
        fleet.has_begun("a")
        # Within half a second after its declaration RabbitMQ 3.10 loses a queue in a crash, with all in it, for good.
        rabbitmq_node.control("eval", "dets:sync(ra_directory_reverse).")
        rabbitmq_node.kill()
        fleet.go("a")
        rabbitmq_node.start()
        fleet.has_begun("c")
        server.stop(signal.SIGQUIT)
        fleet.go("b", "c")
        run.says("whoever watches it waits")
        server.start()
        assert run.ended(120) == 0, run.output
        assert number_of(fleet, StepSucceeded) == 3


def test_steps_wait_for_an_artifact_store_that_is_away(tmp_path: Path, amqp_url: str, s3: ObjectServer) -> None:
    host, _, port = s3.url.removeprefix("http://").partition(":")
    with proxy_to(host, int(port)) as proxy, local_fleet(tmp_path, amqp_url, "--step_retries=5") as fleet:
        settings = s3.configuration(url=f"http://127.0.0.1:{proxy.port}")
        secret = {name: settings.pop(name) for name in s3.credentials}
        fleet.environment |= {f"TEST_{name.upper()}": value for name, value in secret.items()}
        references = [f"--{name}=env:TEST_{name.upper()}" for name in secret if name != "region"]
        plain = [f"--{name}={value}" for name, value in settings.items()]
        region = [f"--region={secret['region']}"] if "region" in secret else []
        for arguments in (
            ("artifact-store", "register", "away", "-f", s3.flavor, *plain, *references, *region),
            ("stack", "register", "away", "-o", "fleet", "-a", "away", "--set"),
        ):
            done = fleet.command(*arguments)
            assert done.status == 0, done.err
        up(fleet)
        run = fleet.run("a", "b")
        fleet.has_begun("a")
        proxy.refuse()
        fleet.go("a", "b")
        eventually(lambda: proxy.refused > 2)
        proxy.admit()
        assert run.ended(200) == 0, run.output
        assert fleet.client().list_pipeline_runs().items[0].status == RunStatus.COMPLETED
