from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest
from eventsourcing.dcb.api import DCBEvent

from stackledger.eventlog.file_writes import FileWrites
from stackledger.eventlog.sqlite import SQLiteRecorder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell")


def test_whoever_waits_hears_of_each_write_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with closing(FileWrites(file)) as writes:
        assert not writes.wait(0.0)
        for _ in range(2):
            file.write_bytes(b"more")
            assert writes.wait(20.0)
            assert not writes.wait(0.0)


def test_whoever_waits_hears_of_each_read_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"something")
    with closing(FileWrites(file)) as writes:
        assert not writes.wait(0.0)
        for _ in range(2):
            with file.open("rb", buffering=0) as reading:
                reading.read(1)
            assert writes.wait(20.0)
            assert not writes.wait(0.0)


def test_a_file_that_comes_later_is_found(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with closing(FileWrites(file)) as writes:
        assert not writes.wait(0.0)
        file.touch()
        assert not writes.wait(0.0)
        file.write_bytes(b"more")
        assert writes.wait(20.0)


def test_one_that_takes_the_place_of_a_deleted_one_is_found(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with closing(FileWrites(file)) as writes:
        assert not writes.wait(0.0)
        file.unlink()
        file.touch()
        assert writes.wait(20.0)
        assert not writes.wait(0.0)
        file.write_bytes(b"more")
        assert writes.wait(20.0)


def test_whoever_appends_rings_with_the_lock_of_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(SQLiteRecorder(path)) as recorder, closing(FileWrites(path.with_suffix(".lock"))) as rings:
        recorder.append([DCBEvent("a", b"", [])])
        assert not rings.wait(0.0)
        for _ in range(2):
            recorder.append([DCBEvent("a", b"", [])])
            assert rings.wait(20.0)
            assert not rings.wait(0.0)
