"""`coordinator start`: who may, what it says, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.postgres import PASSWORD as POSTGRES_PASSWORD
from tests.support.postgres import Databases, PrivateServer, private_server
from tests.support.program import Finished, process, stackledger
from tests.support.rabbitmq import PASSWORD

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.xdist_group("fleets")]


def ok(*arguments: str) -> Finished:
    done = stackledger(*arguments)
    assert done.status == 0, done.err
    return done


def refused(*arguments: str) -> str:
    done = stackledger("coordinator", "start", *arguments)
    assert (done.status, done.out) == (1, "")
    return done.err


class Coordinator:
    """A `coordinator start` that goes on; what it says is in a file."""

    def __init__(self, folder: Path, number: int) -> None:
        self._file = folder / f"coordinator-{number}.log"
        self.alive = folder / f"alive-{number}"
        with self._file.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stackledger", "coordinator", "start", "fleet", "--liveness-file", self.alive],
                stdout=output,
                stderr=output,
            )

    @property
    def said(self) -> str:
        return self._file.read_text(encoding="utf-8")

    def says(self, text: str, times: int = 1) -> None:
        def said() -> bool:
            assert self.process.poll() is None, self.said
            return self.said.count(text) >= times

        eventually(said)

    def ended_by(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def coordinators(tmp_path: Path) -> Iterator[list[Coordinator]]:
    """Two of them, of which one is active."""
    ok("key", "create", "root", "--role=root")
    ok("key", "create", "here", "--role=coordinator")
    ok("key", "enroll", "here")
    found = [Coordinator(tmp_path, 0)]
    try:
        found[0].says("Active")
        found.append(Coordinator(tmp_path, 1))
        found[1].says("another coordinator is active")
        yield found
    finally:
        for each in found:
            each.process.kill()
            each.process.wait(60)


@pytest.fixture
def orchestrator(home: Path, amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    del home
    monkeypatch.setenv("BROKER", amqp_url)
    ok("orchestrator", "register", "fleet", "--flavor=rabbitmq", "--url=env:BROKER")
    return "fleet"


@pytest.mark.both_logs
@pytest.mark.usefixtures("orchestrator")
def test_one_is_active_and_the_other_takes_over(coordinators: list[Coordinator]) -> None:
    first, second = coordinators
    for each in coordinators:
        touched = each.alive.stat().st_mtime_ns
        eventually(lambda each=each, touched=touched: each.alive.stat().st_mtime_ns > touched)  # type: ignore[misc]
    assert first.ended_by(signal.SIGTERM) == 0
    second.says("Active")
    assert second.ended_by(signal.SIGINT) == 0
    for each in coordinators:
        assert each.said.splitlines()[-1].endswith("Stopped.")
        assert not each.alive.exists()
        assert "Traceback" not in each.said
        assert PASSWORD not in each.said


@pytest.mark.usefixtures("orchestrator")
def test_what_it_appends_is_done_by_whoever_started_it(coordinators: list[Coordinator]) -> None:
    del coordinators
    eventually(lambda: ok("log", "list", "--type=topology.renewed", "--output=json").json["items"])
    (event,) = ok("log", "list", "--type=topology.renewed", "--output=json").json["items"]
    assert event["actor"] == "default"


@pytest.mark.usefixtures("orchestrator")
def test_a_log_that_is_moved_away_is_waited_for(coordinators: list[Coordinator]) -> None:
    first, _ = coordinators
    home = Path(os.environ["STACKLEDGER_HOME"])
    aside = home.parent / "aside"
    home.rename(aside)
    first.says("is not there")
    aside.rename(home)
    eventually(lambda: sum(each.said.count("Active") for each in coordinators) == 2)
    assert [each.ended_by(signal.SIGTERM) for each in coordinators] == [0, 0]


@contextmanager
def a_log_of_our_own(monkeypatch: pytest.MonkeyPatch, amqp_url: str) -> Iterator[tuple[PrivateServer, str]]:
    """A log on a server that can be stopped, with what a coordinator needs, and the address of a writer."""
    with private_server() as server:
        databases = Databases(server.admin)
        monkeypatch.setenv("STACKLEDGER_LOG", server.admin)
        ok("log", "create")
        databases.user("test_writer", "stackledger_writer")
        address = databases.address("postgres", "test_writer")
        monkeypatch.setenv("STACKLEDGER_LOG", address)
        monkeypatch.setenv("BROKER", amqp_url)
        ok("orchestrator", "register", "fleet", "--flavor=rabbitmq", "--url=env:BROKER")
        ok("key", "create", "root", "--role=root")
        ok("key", "create", "here", "--role=coordinator")
        ok("key", "enroll", "here")
        yield server, address


@pytest.mark.usefixtures("home")
def test_a_server_that_is_away_at_the_start_is_waited_for_and_one_that_lets_nobody_in_is_not(
    monkeypatch: pytest.MonkeyPatch, amqp_url: str, tmp_path: Path
) -> None:
    with a_log_of_our_own(monkeypatch, amqp_url) as (server, address):
        for wrong, why in (
            (address.replace(POSTGRES_PASSWORD, "wr0ng"), "password authentication failed"),
            (address.replace(f":{POSTGRES_PASSWORD}", ""), "no password supplied"),
            (f"{address}?sslmode=require", "does not support SSL"),
            (address.replace("test_writer", "test_missing"), "test_missing"),
            (address.rpartition("/")[0] + "/missing", '"missing" does not exist'),
        ):
            monkeypatch.setenv("STACKLEDGER_LOG", wrong)
            assert why in refused("fleet")
        monkeypatch.setenv("STACKLEDGER_LOG", address)
        server.stop()
        found = [Coordinator(tmp_path, number) for number in range(2)]
        try:
            for each in found:
                each.says("Waiting for the log.")
                eventually(each.alive.exists)
            assert found[1].ended_by(signal.SIGTERM) == 0
            assert found[1].said.splitlines()[-1].endswith("Stopped.")
            server.start()
            found[0].says("Active")
            # A server that just comes up says so: another reason is told, the same one is not told again.
            reasons = [line.partition("Waiting for the log.")[2] for line in found[0].said.splitlines()]
            assert len(list(filter(None, reasons))) == len(set(filter(None, reasons)))
            assert found[0].ended_by(signal.SIGTERM) == 0
        finally:
            for each in found:
                each.process.kill()
                each.process.wait(60)


@pytest.mark.usefixtures("orchestrator")
def test_a_key_that_is_revoked_coordinates_nothing_any_more(coordinators: list[Coordinator]) -> None:
    ok("key", "revoke", "here", "--yes")
    for each in coordinators:
        assert each.process.wait(60) == 1
        assert "was never enrolled, or revoked" in each.said
        assert "Traceback" not in each.said


@pytest.mark.usefixtures("home")
def test_only_who_has_a_coordinators_key_that_counts_may() -> None:
    ok("orchestrator", "register", "fleet", "--flavor=rabbitmq", "--url=amqp://localhost")
    assert "coordinator's key" in refused("fleet")
    ok("key", "create", "root", "--role=root")
    ok("key", "create", "here", "--role=coordinator")
    ok("key", "create", "worker", "--role=worker")
    ok("key", "enroll", "worker")
    assert "stackledger key create" in refused("fleet")


@pytest.mark.usefixtures("home")
def test_what_has_no_fleet_is_refused() -> None:
    assert "flavor 'local'" in refused()
    assert "flavor 'local'" in refused("default")
    assert "fleet" in refused("fleet")
    assert process("coordinator", "start", "a", "b").status == 2
