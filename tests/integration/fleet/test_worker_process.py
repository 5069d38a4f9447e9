"""The program that a worker is: what executes steps is a fork of it, made before it knew what they must not know."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.eventually import eventually
from tests.support.fleet.local import LocalFleet, Started, local_fleet

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.timeout(240)]


@pytest.fixture
def fleet(tmp_path: Path, amqp_url: str) -> Iterator[LocalFleet]:
    with local_fleet(tmp_path, amqp_url, "--workers=0", "--slots=1", "--step_retries=2") as fleet:
        done = fleet.command("stack", "up")
        assert done.status == 0, done.err
        yield fleet


def below(pid: int) -> list[int]:
    """Return the processes below one: of a worker at rest its nursery, the keeper of its slot, and a child."""
    found = [pid]
    for each in found:
        for thread in Path(f"/proc/{each}/task").glob("*"):  # a nursery that took another's place is that of a thread
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (thread / "children").read_text("ascii").split())
    return found[1:]


def memory(pid: int) -> bytes:
    """Return all that a process could have written to."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for line in maps:
            place, permissions = line.split()[:2]
            if "w" in permissions:
                begin, end = (int(each, 16) for each in place.split("-"))
                with suppress(OSError):  # it was given back just now
                    file.seek(begin)
                    found.append(file.read(end - begin))
    return b"".join(found)


def begun(fleet: LocalFleet) -> Started:
    """Begin a worker that takes steps."""
    worker = fleet.begun("worker", "start")
    worker.says("Taking steps")
    eventually(lambda: len(below(worker.process.pid)) == 3)
    return worker


def executed(fleet: LocalFleet, name: str) -> None:
    run = fleet.run(name)
    fleet.go(name)
    assert run.ended() == 0, run.output


def test_neither_the_workers_key_nor_the_way_to_the_broker_is_in_the_memory_of_what_executes_steps(
    fleet: LocalFleet, amqp_url: str
) -> None:
    worker = begun(fleet)
    executed(fleet, "one")
    (key,) = (
        content
        for content in (json.loads(path.read_text()) for path in (fleet.home / "keys").glob("*.key"))
        if content["role"] == "worker"
    )
    private = bytes.fromhex(key["private"])
    way = urlsplit(amqp_url).netloc.encode()
    known = memory(worker.process.pid)
    assert way in known, "this looks in the right places"
    assert private in known
    for pid in below(worker.process.pid):
        seen = memory(pid)
        assert way not in seen
        assert private not in seen
        assert key["private"].encode() not in seen
    for pid in (worker.process.pid, *below(worker.process.pid)):
        assert way not in Path(f"/proc/{pid}/environ").read_bytes()


def test_what_executes_steps_has_no_descriptor_of_the_workers(tmp_path: Path, amqp_url: str) -> None:
    with local_fleet(tmp_path, amqp_url, "--slots=1") as fleet:
        done = fleet.command("stack", "up")
        assert done.status == 0, done.err
        executed(fleet, "one")
        (worker,) = (each for each in fleet.processes if each.name.startswith("worker"))
        assert str(worker.log.with_suffix(".pid")) in files(worker.pid), "which it keeps locked as long as it lives"
        nursery, keeper, child = map(files, below(worker.pid))
        assert sorted(nursery) == sorted(["/dev/null", "socket", str(worker.log), str(worker.log)])
        assert sorted(keeper) == sorted([*nursery, "socket", "anon_inode", "anon_inode", "pipe"])
        assert sorted(child) == ["/dev/null", "pipe", "pipe", "socket"]


def files(pid: int) -> list[str]:
    """Return what a process has open: the names of files, and of what else the kind."""
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed just now
            found.append(os.readlink(each).partition(":")[0])
    return found


def test_a_worker_goes_on_where_somebody_killed_the_nursery_that_it_began_with(fleet: LocalFleet) -> None:
    worker = begun(fleet)
    executed(fleet, "one")
    before = below(worker.process.pid)
    for pid in before[:2]:
        os.kill(pid, signal.SIGKILL)

    def others_are_there() -> bool:
        now = below(worker.process.pid)
        return len(now) == 3 and not set(now) & set(before)

    eventually(others_are_there)
    executed(fleet, "two")
    environment = Path(f"/proc/{below(worker.process.pid)[0]}/environ").read_bytes()
    assert b"STACKLEDGER_HOME=" in environment
    assert b"TEST_BROKER_URL" not in environment


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_end_leaves_nothing(fleet: LocalFleet, number: signal.Signals) -> None:
    worker = begun(fleet)
    pids = below(worker.process.pid)
    worker.signal(number)
    assert worker.ended() == 0
    assert worker.output.rstrip().endswith("Stopped.")
    eventually(lambda: not any(map(is_alive, pids)))


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text("ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
