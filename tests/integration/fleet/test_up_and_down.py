"""`stack up` and `stack down`, workers and coordinators as processes of this machine, over a real broker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from stackledger.domain.run_status import RunStatus
from tests.support.eventually import eventually
from tests.support.fleet.local import URL, LocalFleet, local_fleet
from tests.support.postgres import Databases, log_for
from tests.support.proxy import proxy_to
from tests.support.rabbitmq import PASSWORD, PrivateNode

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.timeout(240)]


@pytest.fixture
def fleet(tmp_path: Path, amqp_url: str) -> Iterator[LocalFleet]:
    with local_fleet(tmp_path, amqp_url) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, amqp_url: str) -> Iterator[LocalFleet]:
    """A fleet that is up, for tests that leave it so."""
    with local_fleet(tmp_path_factory.mktemp("standing"), amqp_url, "--step_retries=2") as fleet:
        up(fleet)
        yield fleet


@pytest.fixture(scope="module")
def unmanned(tmp_path_factory: pytest.TempPathFactory, amqp_url: str) -> Iterator[LocalFleet]:
    """A fleet with a coordinator and no worker, for tests that end theirs."""
    with local_fleet(tmp_path_factory.mktemp("unmanned"), amqp_url, "--workers=0") as fleet:
        up(fleet)
        yield fleet


def up(fleet: LocalFleet) -> str:
    done = fleet.command("stack", "up")
    assert done.status == 0, done.err + "".join(each.log.read_text() for each in fleet.processes)
    return done.err


def succeeded(fleet: LocalFleet) -> None:
    (run,) = fleet.client().list_pipeline_runs().items
    assert run.status == RunStatus.COMPLETED


def family(pid: int) -> list[int]:
    """Return the processes below one."""
    found = [pid]
    for each in found:
        try:
            found += map(int, Path(f"/proc/{each}/task/{each}/children").read_text("ascii").split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found[1:]


def environments(pid: int) -> dict[int, bytes]:
    """Return what the processes below one find around them; one that ends just now has nothing any more."""
    found = {}
    for each in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            found[each] = Path(f"/proc/{each}/environ").read_bytes()
    return {each: found[each] for each in family(pid) if each in found}


def _files(pid: int) -> list[str]:
    """Return what a process has open."""
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed just now
            found.append(str(each.readlink()))
    return found


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield the files below a folder that are there as long as it takes to read them."""
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            with suppress(FileNotFoundError):
                yield path, path.read_bytes() if path.is_file() else b""


class TestUp:
    def test_what_a_run_needs_is_there_and_executes_each_step_once(self, standing: LocalFleet) -> None:
        assert [each.name for each in standing.processes] == ["coordinator", "worker-default-1"]
        run = standing.run("x", "y")
        standing.go("x", "y")
        assert run.ended() == 0, run.output
        assert [len(standing.began(name)) for name in ("x", "y")] == [1, 1]

    def test_what_runs_already_is_left_alone(self, standing: LocalFleet) -> None:
        before = standing.processes
        keys = standing.client().list_keys().items
        assert "The coordinator runs already" in up(standing)
        assert standing.processes == before
        assert standing.client().list_keys().items == keys

    def test_several_at_once_start_everything_once(self, fleet: LocalFleet) -> None:
        """Keys that were made and not enrolled, as somebody leaves them who dies between the two, are enrolled."""
        for role in ("root", "coordinator", "worker"):
            fleet.client().create_key(f"my-{role}", role)
        all_of_them = [fleet.begun("stack", "up") for _ in range(4)]
        assert [each.ended() for each in all_of_them] == [0] * 4, "\n".join(each.output for each in all_of_them)
        assert [each.name for each in fleet.processes] == ["coordinator", "worker-default-1"]
        assert sum(each.output.count("Started the") for each in all_of_them) == 2
        names = {key.role: key.name for key in fleet.client().list_keys().items}
        assert set(names) == {"coordinator", "submitter", "worker"}
        assert (names["coordinator"], names["worker"]) == ("my-coordinator", "my-worker")

    @pytest.mark.parametrize("at", ["of a coordinator", "the coordinator (pid"])
    def test_one_that_was_killed_in_the_middle_is_gone_on_with(self, fleet: LocalFleet, at: str) -> None:
        killed = fleet.begun("stack", "up")
        killed.says(at)
        killed.signal(signal.SIGKILL)
        killed.ended()
        up(fleet)
        assert [each.name for each in fleet.processes] == ["coordinator", "worker-default-1"]
        assert sorted(key.role for key in fleet.client().list_keys().items) == ["coordinator", "submitter", "worker"]

    def test_a_process_that_ends_at_once_is_told_with_its_last_words(self, fleet: LocalFleet) -> None:
        done = fleet.command("stack", "up", env={"PYTHONPATH": str(broken(fleet))})
        assert done.status == 1
        assert "The coordinator ended soon after it was started" in done.err
        assert "out of order" in done.err
        assert not fleet.processes

    def test_a_broker_that_is_away_is_told_and_nothing_is_started(self, fleet: LocalFleet) -> None:
        done = fleet.command("stack", "up", env={URL: f"amqp://me:{PASSWORD}@127.0.0.1:1/%2F"})
        assert done.status == 1
        assert "cannot be reached" in done.err
        assert PASSWORD not in done.err
        assert not fleet.processes
        assert not fleet.client().list_keys().items

    def test_each_queue_gets_its_workers_and_what_has_an_earlier_configuration_is_told(
        self, tmp_path: Path, amqp_url: str
    ) -> None:
        with local_fleet(tmp_path, amqp_url, '--queues=["default", "gpu"]', "--workers=1", "--slots=1") as fleet:
            up(fleet)
            assert [each.name for each in fleet.processes][1:] == ["worker-default-1", "worker-gpu-1"]
            fleet.client().update_stack_component("fleet", "orchestrator", configuration={"slots": 3})
            assert up(fleet).count("with the configuration as it was") == 3
            status = fleet.command("status").err
            assert "In the background coordinator, worker-default-1, worker-gpu-1 of 'fleet' go by its" in status
            assert "go by the configuration of 'fleet' as it was" in " ".join(fleet.command("doctor").out.split())
            assert fleet.command("worker", "stop", "worker-gpu-1").status == 0
            assert up(fleet).count("with the configuration as it was") == 2
            client, there = fleet.client(), [("default", 1), ("gpu", 3)]
            eventually(lambda: sorted((each.queue, each.slots) for each in client.list_workers()) == there)

    def test_what_its_processes_write_is_printed(self, standing: LocalFleet) -> None:
        out = standing.command("orchestrator", "logs", "fleet").out
        assert "[coordinator] " in out
        assert "[worker-default-1] " in out


def broken(fleet: LocalFleet) -> Path:
    """Return a folder that makes a coordinator of this Python end at once."""
    folder = fleet.home.parent / "broken"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import sys\nif 'coordinator' in sys.orig_argv: sys.exit('this one is out of order')\n"
    )
    return folder


class TestOnPostgreSQL:
    def test_a_run_succeeds_and_its_steps_do_not_know_where_the_log_is(
        self, tmp_path: Path, amqp_url: str, postgres: Databases
    ) -> None:
        with log_for(tmp_path / "home", postgres) as address, local_fleet(tmp_path, amqp_url, log=address) as fleet:
            fleet.environment["PGPASSWORD"] = "nobody asks for it"
            up(fleet)
            run = fleet.run("a")
            fleet.has_begun("a")
            found = environments(fleet.pid("worker-default-1"))
            assert set(fleet.began("a")) <= found.keys()
            for environment in found.values():
                assert b"STACKLEDGER_HOME=" in environment
                assert b"STACKLEDGER_LOG=" not in environment
                assert b"PGPASSWORD=" not in environment
            fleet.go("a")
            assert run.ended() == 0, run.output
            succeeded(fleet)


class TestDown:
    def test_steps_come_to_their_end_and_forced_it_asks_and_deletes_the_queues(
        self, fleet: LocalFleet, rabbitmq_node: PrivateNode
    ) -> None:
        up(fleet)
        done = fleet.command("worker", "stop", "worker-default-2")
        assert (done.status, "'worker-default-1'" in done.err) == (1, True), "near names"
        run = fleet.run("a")
        fleet.has_begun("a")
        assert fleet.command("stack", "down", "--force").status == 1, "nobody said yes"
        assert len(fleet.processes) == 2
        down = fleet.begun("stack", "down", "--force", "--yes")
        down.says("Steps that run have 25 seconds")
        fleet.go("a")
        assert down.ended() == 0, down.output
        assert "Deleted the queues" in down.output
        assert run.ended() == 0, run.output
        succeeded(fleet)
        assert len(fleet.began("a")) == 1
        assert not fleet.processes
        log_id = fleet.client()._ledger.log_id
        assert log_id not in rabbitmq_node.control("list_queues", "name")
        assert log_id not in rabbitmq_node.control("list_exchanges", "name")
        assert "Nothing of 'fleet' runs" in fleet.command("stack", "down").err
        assert "No worker" in fleet.command("worker", "stop", "--all").err


class TestWorkers:
    def test_who_is_there_and_what_they_do_is_listed(self, standing: LocalFleet) -> None:
        client = standing.client()
        # Workers answer for a second or two; one may have been told late that what it did is in the log.
        (idle,) = eventually(lambda: [each for each in client.list_workers() if each.status == "idle"])
        assert (idle.process, idle.executions) == ("worker-default-1", [])
        run = standing.run("listed")
        standing.has_begun("listed")
        (item,) = eventually(lambda: standing.command("worker", "list", "--output", "json").json["items"])
        (execution,) = item["executions"]
        assert (item["status"], execution["step"], execution["attempt"]) == ("working", "wait", 1)
        assert execution["run"] == standing.client().list_pipeline_runs().items[0].name
        assert item["pid"] == standing.pid("worker-default-1")
        standing.go("listed")
        assert run.ended() == 0, run.output

    def test_who_executed_a_step_is_told_by_name(self, standing: LocalFleet) -> None:
        standing.go("named")
        run = standing.run("named")
        assert run.ended() == 0, run.output
        name = standing.client().list_pipeline_runs().items[0].name
        (step,) = standing.client().list_run_steps(name)
        key = standing.client().get_key(step.worker_id or "")
        assert (key.role, key.name) == ("worker", step.worker)
        shown = standing.command("run", "describe", name).out
        assert (key.name in shown, key.id in shown) == (True, False)
        item = standing.command("run", "steps", name, "--output", "json").json["items"][0]
        assert (item["worker"], item["worker_id"]) == (key.name, key.id)

    def test_a_worker_lets_go_of_the_log(self, standing: LocalFleet) -> None:
        held = _files(standing.pid("worker-default-1"))
        assert not [file for file in held if "log.db" in file or "views.db" in file]
        assert any("log.db" in file for file in _files(standing.pid("coordinator"))), "one can see it"

    def test_what_was_killed_is_started_again_and_does_what_was_left(self, fleet: LocalFleet) -> None:
        up(fleet)
        run = fleet.run("a")
        fleet.has_begun("a")
        pids = {each.name: each.pid for each in fleet.processes}
        children = family(pids["worker-default-1"])
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
        eventually(lambda: not fleet.processes)
        run.signal(signal.SIGKILL)  # or it would coordinate
        run.ended()
        done = fleet.command("worker", "list")
        assert (done.status, "No coordinator of 'fleet' answered" in done.err) == (0, True)
        up(fleet)
        assert not set(pids.values()) & {each.pid for each in fleet.processes}
        fleet.has_begun("a", times=2)
        fleet.go("a")
        eventually(lambda: fleet.client().list_pipeline_runs().items[0].status == RunStatus.COMPLETED)

    def test_a_child_that_is_killed_fails_its_attempt_and_nothing_else(self, standing: LocalFleet) -> None:
        worker = standing.pid("worker-default-1")
        run = standing.run("killed")
        standing.has_begun("killed")
        os.kill(standing.began("killed")[0], signal.SIGKILL)
        standing.go("killed")
        assert run.ended() == 0, run.output
        assert standing.pid("worker-default-1") == worker
        assert "failed (StepCrashed)" in standing.processes[1].log.read_text()

    def test_one_that_is_to_stop_gives_back_what_it_cannot_finish(self, unmanned: LocalFleet) -> None:
        worker = unmanned.begun("worker", "start", "--grace", "0.5")
        worker.says("Taking steps")
        run = unmanned.run("given")
        unmanned.has_begun("given")
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0, worker.output
        other = unmanned.begun("worker", "start")
        unmanned.has_begun("given", times=2)
        unmanned.go("given")
        assert run.ended() == 0, run.output
        other.signal(signal.SIGINT)
        assert other.ended() == 0, other.output

    def test_a_second_signal_ends_it_at_once(self, unmanned: LocalFleet) -> None:
        worker = unmanned.begun("worker", "start", "--grace", "600")
        worker.says("Taking steps")
        unmanned.run("left")
        unmanned.has_begun("left")
        children = family(worker.process.pid)
        worker.signal(signal.SIGTERM)
        worker.says("SIGTERM: stopping")
        worker.signal(signal.SIGTERM)
        assert worker.ended() == -signal.SIGTERM
        eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
        unmanned.go("left")

    def test_without_a_broker_it_says_so_and_keeps_trying(self, standing: LocalFleet) -> None:
        parts = urlsplit(standing.environment[URL])
        with proxy_to(parts.hostname or "", parts.port or 0) as proxy:
            proxy.refuse()
            url = parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}").geturl()
            worker = standing.begun("worker", "start", env={URL: url})
            worker.says("Trying again")
            proxy.admit()
            worker.says("Taking steps")
            assert worker.output.count("Trying again") == 1
            worker.signal(signal.SIGTERM)
            assert worker.ended() == 0
            assert PASSWORD not in worker.output
            proxy.refuse()
            worker = standing.begun("worker", "start", env={URL: url})
            worker.says("Trying again")
            worker.signal(signal.SIGTERM)
            assert worker.ended() == 0, worker.output

    def test_it_shows_that_it_is_alive_as_long_as_it_is(self, standing: LocalFleet) -> None:
        file = standing.signs / "alive"
        worker = standing.begun("worker", "start", "--liveness-file", str(file))
        worker.says("Taking steps")
        eventually(file.exists)
        os.utime(file, (0, 0))
        eventually(lambda: file.stat().st_mtime > time.time() - 3600)
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0
        assert not file.exists()

    def test_no_secret_reaches_children_arguments_logs_or_files(self, standing: LocalFleet) -> None:
        run = standing.run("seen")
        standing.has_begun("seen")
        worker = standing.pid("worker-default-1")
        below = environments(worker)
        assert set(standing.began("seen")) <= below.keys()
        for environment in below.values():
            assert b"STACKLEDGER_HOME=" in environment
            assert PASSWORD.encode() not in environment
        for pid in (worker, standing.pid("coordinator"), *below):
            with suppress(FileNotFoundError, ProcessLookupError):
                assert PASSWORD.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        standing.go("seen")
        assert run.ended() == 0
        standing.command("worker", "join-file", "--file", str(standing.signs / "join.json"))
        for path, data in (*contents(standing.home), *contents(standing.signs)):
            assert PASSWORD.encode() not in data, path


class TestJoining:
    def test_a_machine_without_the_log_joins_by_a_file(self, unmanned: LocalFleet, tmp_path: Path) -> None:
        there = {"STACKLEDGER_HOME": str(tmp_path / "there")}
        join = tmp_path / "join.json"
        done = unmanned.command("worker", "join-file", "--file", str(join))
        assert done.status == 0, done.err
        assert "worker start --join join.json" in done.err
        key = unmanned.command("key", "create", "outside", "--role", "worker", env=there)
        assert key.status == 0, key.err
        stranger = unmanned.begun("worker", "start", "--join", str(join), env=there)
        assert stranger.ended() == 1
        assert "never enrolled, or not for the queue" in " ".join(stranger.output.split())
        line = next(word for word in stranger.output.split() if word.startswith("worker:outside:"))
        enrolled = unmanned.command("key", "enroll", line)
        assert enrolled.status == 0, enrolled.err
        worker = unmanned.begun("worker", "start", "--join", str(join), "--slots", "3", env=there)
        worker.says("Taking steps")
        client = unmanned.client()
        (found,) = eventually(client.list_workers)
        assert (found.name, found.process, found.slots) == ("outside", None, 3)
        run = unmanned.run("joined")
        unmanned.go("joined")
        assert run.ended() == 0, run.output + worker.output
        there_are = {path.name for path in (tmp_path / "there").iterdir()}
        assert "log.db" not in there_are, "a worker never opens a log"
        assert "artifacts" not in there_are, "its steps use the folder of the home where the run was begun"
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0

    def test_a_file_that_others_could_change_or_that_is_none_is_refused(
        self, standing: LocalFleet, tmp_path: Path
    ) -> None:
        join = tmp_path / "join.json"
        standing.command("worker", "join-file", "--file", str(join))
        assert join.stat().st_mode & 0o077 == 0
        text = join.read_text()
        join.chmod(0o666)
        assert "Others than its owner can change" in standing.command("worker", "start", "--join", str(join)).err
        join.chmod(0o600)
        for damaged in ("", "{}", text[:-20], text.replace('"format": 1', '"format": 2'), "[" * 9_000):
            join.write_text(damaged)
            done = standing.command("worker", "start", "--join", str(join))
            assert (done.status, "is no join file" in done.err) == (1, True), done.err
        assert standing.command("worker", "start", "--join", str(tmp_path / "nowhere")).status == 1

    def test_a_reference_that_means_nothing_here_is_named(self, standing: LocalFleet, tmp_path: Path) -> None:
        join = tmp_path / "join.json"
        standing.command("worker", "join-file", "--file", str(join))
        join.write_text(join.read_text().replace(f"env:{URL}", "{{broker.url}}"))
        done = standing.command("worker", "start", "--join", str(join))
        assert done.status == 1
        assert "STACKLEDGER_SECRET_BROKER_" in done.err
        environment = {"STACKLEDGER_SECRET_BROKER_URL": standing.environment[URL]}
        worker = standing.begun("worker", "start", "--join", str(join), env=environment)
        worker.says("Taking steps")
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0

    def test_a_queue_or_key_that_is_not_there_is_told(self, standing: LocalFleet) -> None:
        assert "has no queue 'defualt'" in standing.command("worker", "start", "--queue", "defualt").err
        assert standing.command("worker", "start", "--key", "nobody").status == 1
        standing.client().update_stack_component("fleet", "orchestrator", configuration={"queues": ["default", "new"]})
        assert "counts for the queue 'new'" in standing.command("worker", "start", "--queue", "new").err
        standing.client().update_stack_component("fleet", "orchestrator", configuration={"queues": ["default"]})
        done = standing.command("worker", "start", "--memory", "much")
        assert (done.status, "is not an amount of memory" in done.err) == (1, True)
        (key,) = (key.name for key in standing.client().list_keys().items if key.role == "submitter")
        assert "is that of a submitter" in standing.command("worker", "start", "--key", key).err
        done = standing.command("worker", "list", "--orchestrator", "default")
        assert "has no workers" in done.err


class TestBeside:
    def test_a_log_for_which_processes_work_is_not_moved_and_doctor_names_them(self, fleet: LocalFleet) -> None:
        up(fleet)
        done = fleet.command("clean", "--all", "--yes")
        assert (done.status, "coordinator, worker-default-1" in done.err) == (1, True)
        client = fleet.client()
        assert [each.status for each in client.doctor() if each.check == "processes"] == ["ok"]
        client.activate_stack("default", everywhere=True)
        client.delete_stack("fleet", recursive=True)
        (found,) = (each for each in client.doctor() if each.check == "processes")
        assert found.status == "warning"
        assert f"kill {fleet.pid('coordinator')} {fleet.pid('worker-default-1')}" in found.finding
