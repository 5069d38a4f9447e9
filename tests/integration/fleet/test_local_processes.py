"""Processes in the background: found by a lock that they hold while they live, whoever began them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stackledger.workers.fleet.local_processes import Background, begin, end, running
from tests.support.eventually import eventually
from tests.support.processes import ended, forked

LIVE = "print('here', flush=True); time.sleep(600)"
POLITE = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye'))); " + LIVE
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + LIVE

Begin = Callable[..., Background]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Begin]:
    folder = tmp_path / "folder"

    def started(name: str, source: str = POLITE, **environment: str) -> Background:
        process = begin(folder, name, [sys.executable, "-c", source], {**os.environ, **environment})
        eventually(lambda: "here" in process.log.read_text())
        return process

    yield started
    end(running(folder), 0.0)
    assert not running(folder)


def test_a_process_is_found_while_it_lives_and_ends_in_order(started: Begin, tmp_path: Path) -> None:
    one, two = started("one"), started("two")
    assert running(tmp_path / "folder") == [one, two]
    assert one.pid != two.pid
    assert os.getsid(one.pid) == one.pid
    assert end([one], 30.0) == []
    assert running(tmp_path / "folder") == [two]
    assert one.has_ended()
    assert one.last_words() == "here\nbye"


def test_one_of_a_name_is_begun_once(started: Begin) -> None:
    one = started("one")
    assert started("one") == one
    os.kill(one.pid, signal.SIGKILL)
    eventually(one.has_ended)
    assert started("one").pid != one.pid
    assert one.log.with_suffix(".log.old").read_text() == "here\n"


def test_what_does_not_end_in_time_is_killed_and_told(started: Begin, tmp_path: Path) -> None:
    stubborn, polite = started("stubborn", STUBBORN), started("polite")
    assert end([stubborn, polite], 10.0) == [stubborn]
    assert running(tmp_path / "folder") == []


def test_a_number_that_somebody_else_has_now_is_nobodys(started: Begin, tmp_path: Path) -> None:
    process = started("one")
    pid_file = process.log.with_suffix(".pid")
    end([process], 30.0)
    pid_file.write_text(f"{os.getpid()}\n")
    assert running(tmp_path / "folder") == []
    assert end([process._replace(pid=os.getpid())], 0.0) == []


def test_several_at_once_begin_one(started: Begin, tmp_path: Path) -> None:
    go, come = os.pipe(), tmp_path / "pids"
    come.mkdir()

    def race() -> None:
        os.close(go[1])
        os.read(go[0], 1)
        process = begin(tmp_path / "folder", "one", [sys.executable, "-c", POLITE], os.environ)
        (come / str(os.getpid())).write_text(str(process.pid))

    children = [forked(race) for _ in range(6)]
    os.close(go[0])
    os.close(go[1])
    assert [ended(child) for child in children] == [0] * 6
    (process,) = running(tmp_path / "folder")
    assert {each.read_text() for each in come.iterdir()} == {str(process.pid)}
    eventually(lambda: "here" in process.log.read_text())


def test_its_files_are_for_its_owner_alone(started: Begin) -> None:
    process = started("one")
    for path in (process.log, process.log.with_suffix(".pid")):
        assert path.stat().st_mode & 0o077 == 0
    assert process.log.parent.stat().st_mode & 0o077 == 0
