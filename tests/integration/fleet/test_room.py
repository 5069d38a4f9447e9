"""A machine on which nothing can be written is at fault itself for what fails there."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from stackledger.workers.fleet.execution.room import trouble_with
from stackledger.workers.fleet.protocol.messages import Failure, Success
from stackledger.workers.fleet.protocol.ports import Unable
from tests.support.eventually import eventually
from tests.support.fleet.children import Crew
from tests.support.fleet.local import local_fleet

SOURCE = """
@step
def one() -> int:
    return 1

@step
def raises() -> int:
    raise ValueError("no such thing")

@step
def writes() -> int:
    Path(os.environ["TMPDIR"], "much").write_bytes(bytes(100))

@step
def dies() -> int:
    os._exit(3)
"""


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    with Crew(tmp_path / "home", SOURCE) as made:
        yield made


def limit(crew: Crew, most: int) -> None:
    """Let no process of the crew make a file any longer."""
    for _ in range(2):  # one that was forked meanwhile has the old limit, and is found the second time
        for pid in crew.children.processes():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


@contextmanager
def no_room(crew: Crew) -> Iterator[None]:
    """Let no process of the crew write a byte into a file, as on a full disk."""
    limit(crew, 0)
    yield
    limit(crew, resource.RLIM_INFINITY)


def put_in_the_way(folder: Path) -> None:
    """Put a file in the place of a folder: so nothing can be written there, by the superuser either."""
    shutil.rmtree(folder)
    folder.write_text("in the way")


@pytest.mark.parametrize("step", ["one", "writes", "dies"])
def test_what_fails_while_nothing_can_be_written_is_given_back_and_the_next_one_succeeds(crew: Crew, step: str) -> None:
    if step != "one":  # which has to unpack the code first
        assert crew.value(crew.task("one")) == 1
    with no_room(crew):
        told = crew.run(crew.task(step)).result
    assert isinstance(told, Unable)
    assert "Nothing can be written into" in told.why
    assert crew.value(crew.task("one")) == 1


def test_what_fails_while_there_is_room_is_a_failure(crew: Crew) -> None:
    for step, error in (("raises", "ValueError"), ("dies", "StepCrashed")):
        result = crew.run(crew.task(step)).result
        assert isinstance(result, Failure)
        assert result.error == error


def test_a_step_that_succeeds_without_room_has_succeeded(crew: Crew) -> None:
    assert crew.value(crew.task("one")) == 1
    put_in_the_way(crew.scratch)
    assert isinstance(crew.run(crew.task("one")).result, Success)


def test_without_a_scratch_folder_no_step_can_be_executed_until_it_is_there_again(crew: Crew) -> None:
    scratch = crew.scratch
    assert crew.children.unable() is None
    put_in_the_way(scratch)
    assert "Not a directory" in str(crew.children.unable())
    assert isinstance(crew.run(crew.task("dies")).result, Unable)
    assert isinstance(crew.run(crew.task("dies")).result, Unable)
    scratch.unlink()
    scratch.mkdir()
    assert crew.children.unable() is None

    def is_executed() -> bool:
        return isinstance(crew.run(crew.task("one")).result, Success)

    eventually(is_executed)


def test_no_step_fails_because_its_keeper_could_not_begin(crew: Crew, tmp_path: Path) -> None:
    assert crew.value(crew.task("one")) == 1
    nursery, keeper, _ = eventually(lambda: found if len(found := crew.children.processes()) == 3 else ())
    scratch = crew.scratch
    aside = scratch.rename(tmp_path / "aside")
    scratch.write_text("in the way")
    os.kill(keeper, signal.SIGKILL)

    def another_one_is_there() -> bool:
        there = crew.children.processes()
        return len(there) == 2 and there[0] == nursery and there[1] != keeper

    eventually(another_one_is_there)
    scratch.unlink()
    aside.rename(scratch)
    # Mostly that one has failed by now, and is about to end; if not, it executes what it is asked for.
    assert not isinstance(crew.run(crew.task("one")).result, Failure)
    assert crew.value(crew.task("one")) == 1


def test_a_look_leaves_nothing_behind(tmp_path: Path) -> None:
    assert trouble_with(str(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []
    assert "No such file" in str(trouble_with(str(tmp_path / "gone")))


@pytest.mark.xdist_group("rabbitmq")
@pytest.mark.timeout(240)
def test_a_worker_that_cannot_write_takes_no_steps_and_says_why(tmp_path: Path, amqp_url: str) -> None:
    with local_fleet(tmp_path, amqp_url, "--heartbeat=0.5", "--slots=1", "--workers=1") as fleet:
        done = fleet.command("stack", "up")
        assert done.status == 0, done.err
        (scratch,) = (each for each in (fleet.home / "worker/scratch").iterdir() if each.suffix != ".lock")
        aside = scratch.rename(tmp_path / "aside")
        scratch.write_text("in the way")
        client = fleet.client()
        eventually(lambda: [each.status for each in client.list_workers()] == ["unable"])
        for told, command in (
            ("Nothing can be written into", ("worker", "list", "--output", "json")),
            ("Taking no steps until they can be executed here.", ("orchestrator", "logs", "fleet")),
        ):
            eventually(lambda told=told, command=command: told in fleet.command(*command).out)  # type: ignore[misc]
        run = fleet.run("one")
        run.says("waits for a worker")
        scratch.unlink()
        aside.rename(scratch)
        fleet.has_begun("one")
        fleet.go("one")
        assert run.ended() == 0
        assert len(fleet.began("one")) == 1
