"""Coordinators as processes, on logs that they share, with a real broker: killed, frozen, stopped and replaced."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from stackledger.domain.events.fleet import KeyRevoked, StepQueued
from stackledger.domain.events.log import LogAdopted, LogMoved
from stackledger.domain.events.runs import RunStarted, RunSucceeded, StepSucceeded
from tests.conftest import SOAK
from tests.support.eventually import eventually
from tests.support.fleet.checker import check
from tests.support.fleet.coordinators import SHORT, CoordinatorProcess, FleetOfProcesses, fleet_of_processes
from tests.support.fleet.world import planned
from tests.support.postgres import make_empty_log, private_server

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.timeout(240)]

MANY = tuple(planned(f"s{number}") for number in range(150))
CHAIN = (planned("a"), *(planned(f"{name}", f"{before}") for before, name in zip("abcdefg", "bcdefgh", strict=True)))


@pytest.fixture(params=["file", "server"])
def fleet(amqp_url: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FleetOfProcesses]:
    where = tmp_path / "log.db" if request.param == "file" else request.getfixturevalue("postgres_log")
    with fleet_of_processes(amqp_url, where, tmp_path) as fleet:
        yield fleet


def succeeded(fleet: FleetOfProcesses) -> None:
    fleet.at_rest()
    check(fleet)  # type: ignore[arg-type]
    assert len(fleet.of(RunSucceeded)) == len(fleet.of(RunStarted))


def under_way(fleet: FleetOfProcesses, steps: int) -> None:
    """Wait until so many steps, or all that there are, have succeeded."""
    steps = min(steps, sum(len(run.steps) for run in fleet.of(RunStarted)))
    eventually(lambda: len(fleet.of(StepSucceeded)) >= steps)


def ends(process: CoordinatorProcess) -> int:
    """Wait until a coordinator ends by itself; return its status."""
    return process.process.wait(60)


@pytest.mark.parametrize("seed", range(100 if SOAK else 1))
def test_coordinators_that_are_killed_at_any_moment_lose_and_double_nothing(fleet: FleetOfProcesses, seed: int) -> None:
    random = Random(seed)
    fleet.seconds = lambda _: 0.02
    fleet.worker(slots=4)
    victim = fleet.coordinating()
    fleet.submit(MANY)
    fleet.submit(CHAIN)
    for _ in range(3):
        under_way(fleet, len(fleet.of(StepSucceeded)) + random.randrange(30))
        victim.kill()
        victim = fleet.coordinating()
        fleet.submit(CHAIN)
    succeeded(fleet)
    assert victim.stop() == 0
    assert "Stopped." in victim.said()


def test_whoever_stands_by_takes_over(fleet: FleetOfProcesses) -> None:
    fleet.seconds = lambda _: 0.02
    fleet.worker(slots=2)
    first = fleet.coordinating(0)
    first.until_active()
    second = fleet.coordinating(1)
    eventually(lambda: "another coordinator is active" in second.said())
    fleet.submit(MANY)
    under_way(fleet, 20)
    first.kill()
    succeeded(fleet)
    second.until_active()
    assert fleet.coordinating(0).process.poll() is None
    assert second.stop() == 0


def test_one_that_was_frozen_and_thaws_appends_nothing(amqp_url: str, postgres_log: str, tmp_path: Path) -> None:
    with fleet_of_processes(amqp_url, postgres_log, tmp_path) as fleet:
        fleet.seconds = lambda _: 0.02
        fleet.worker(slots=2)
        first = fleet.coordinating(0)
        first.until_active()
        fleet.submit(MANY)
        under_way(fleet, 20)
        first.freeze()
        second = fleet.coordinating(1, stale=SHORT)
        second.until_active()
        first.thaw()
        succeeded(fleet)
        eventually(lambda: "Standing by" in first.said().partition("Active")[2])
        assert second.is_active()
        assert first.stop() == second.stop() == 0


def test_one_whose_key_is_revoked_ends_and_another_takes_over(fleet: FleetOfProcesses) -> None:
    fleet.seconds = lambda _: 0.02
    fleet.worker(slots=2)
    first = fleet.coordinating(0)
    first.until_active()
    second = fleet.coordinating(1)
    fleet.submit(MANY)
    under_way(fleet, 20)
    fleet.log.append([KeyRevoked(key_id="coordinator-0")])
    assert ends(first) == 1
    assert "does not count" in first.said()
    succeeded(fleet)
    second.until_active()


def test_one_without_a_way_to_the_broker_leaves_the_seat_to_others(amqp_url: str, tmp_path: Path) -> None:
    with fleet_of_processes(amqp_url, tmp_path / "log.db", tmp_path) as fleet:
        fleet.worker(slots=2)
        first = fleet.coordinating(0, url="amqp://u:p@127.0.0.1:1/", without_broker=SHORT)
        first.until_active()
        fleet.submit(CHAIN)
        second = fleet.coordinating(1)
        succeeded(fleet)
        second.until_active()
        assert "cannot be reached" in first.said()
        assert first.stop() == 0


def test_a_server_that_crashes_is_waited_for(amqp_url: str, tmp_path: Path) -> None:
    with private_server() as server:
        make_empty_log(server.admin)
        with fleet_of_processes(amqp_url, server.admin, tmp_path) as fleet:
            fleet.seconds = lambda _: 0.02
            fleet.worker(slots=2)
            process = fleet.coordinating()
            process.until_active()
            fleet.submit(MANY)
            for _ in range(2):
                under_way(fleet, len(fleet.of(StepSucceeded)) + 10)
                server.stop(signal.SIGQUIT)
                eventually(lambda: "cannot be reached" in process.said().rpartition("Active")[2])
                eventually(lambda: not process.is_active())
                server.start()
            succeeded(fleet)
            assert process.stop() == 0


def test_over_a_log_that_was_moved_all_of_them_end_and_say_why(fleet: FleetOfProcesses) -> None:
    first = fleet.coordinating(0)
    first.until_active()
    second = fleet.coordinating(1)
    eventually(lambda: "another coordinator is active" in second.said())
    fleet.log.append([LogMoved(log_id=fleet.log_id, destination="the server")])
    for each in (first, second, fleet.coordinating(0)):
        assert ends(each) == 1
        assert "was moved at" in each.said()
        assert "to the server" in each.said()
    assert isinstance(fleet.log.events[-1].event, LogMoved)


def test_what_was_said_of_a_log_before_it_moved_never_meets_it_where_it_goes_on(fleet: FleetOfProcesses) -> None:
    fleet.seconds = lambda _: 0.02
    fleet.worker(slots=2)  # which stays with the log as it was
    process = fleet.coordinating()
    fleet.submit(CHAIN)
    succeeded(fleet)
    fleet.log.append([LogMoved(log_id=fleet.log_id, destination=None)])
    assert ends(process) == 1
    fleet.log.append([LogAdopted(log_id=fleet.log_id, incarnation="second")])
    stays = fleet.coordinating()  # under the name that the log had
    assert ends(stays) == 1
    assert "moved and adopted since" in stays.said()

    fleet.go_on_as("second")
    fleet.coordinating().until_active()
    run_id = fleet.submit(CHAIN)
    eventually(lambda: any(queued.run_id == run_id for queued in fleet.of(StepQueued)))
    newcomer = fleet.worker(slots=2)
    succeeded(fleet)
    workers = {
        event.execution.worker for event in fleet.of(StepSucceeded) if event.run_id == run_id and event.execution
    }
    assert workers == {newcomer.name}


def test_another_log_in_the_place_of_the_first_ends_it(amqp_url: str, tmp_path: Path) -> None:
    where = tmp_path / "log.db"
    with fleet_of_processes(amqp_url, where, tmp_path) as fleet:
        process = fleet.coordinating()
        process.until_active()
        for file in tmp_path.glob("log.db*"):
            file.unlink(missing_ok=True)  # what the process takes away itself as soon as it has noticed
        eventually(lambda: "is not there" in process.said())
        with fleet_of_processes(amqp_url, where, tmp_path):
            assert ends(process) == 1
        assert "NotFound" in process.said()
