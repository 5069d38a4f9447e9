"""A loss of power at any instant: what was acknowledged is on the disk, whatever else the disk forgets."""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from eventsourcing.dcb.api import DCBEvent

from stackledger.eventlog.reader import SQLiteReader
from stackledger.eventlog.sqlite import SQLiteRecorder
from tests.support.checkout import ROOT
from tests.support.disk import Disk, Operation, Said, recorded
from tests.support.recorded_writer import batches
from tests.support.soak import rounds

EXPECTED = [event.data for batch in batches() for event in batch]
ENDS = {0, *(sum(map(len, batches()[:count])) for count in range(1, len(batches()) + 1))}


def record(tmp_path: Path, synchronous: str) -> tuple[Path, list[Operation]]:
    root = tmp_path / "root"
    root.mkdir()
    program = "import sys; sys.path[:0] = [{!r}, {!r}]; from tests.support.recorded_writer import main; main()".format(
        str(ROOT), str(ROOT / "src")
    )
    command = [sys.executable, "-B", "-c", program, str(root / "home" / "log.db"), synchronous]
    return root, recorded(command, root, tmp_path)


def lost(path: Path, acknowledged: int) -> int:
    """Open the log after a loss of power, and return how many acknowledged events are missing from it."""
    with closing(SQLiteReader(path)) as reader:
        found = [event.data for event in reader.scan()]
        assert found == EXPECTED[: len(found)]
        assert len(found) in ENDS, "a batch is torn"
        assert [event.data for event in reader.scan(tags=("all",))] == found
    with closing(SQLiteRecorder(path)) as recorder:
        assert recorder.append([DCBEvent(type="t/1", data=b"", tags=["after"])]) == len(found) + 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return max(0, acknowledged - len(found))


def most_lost(tmp_path: Path, root: Path, operations: list[Operation], seeds: int, stop_at: int) -> int:
    """Cut the power after every operation, as often as there are seeds; return the most events that were lost."""
    disk, acknowledged, worst = Disk(root), 0, 0
    for count, operation in enumerate(operations):
        disk.do(operation)
        if isinstance(operation, Said):
            acknowledged = int(operation.text)
        for seed in range(seeds):
            found = tmp_path / "found"
            found.mkdir()
            disk.after_power_loss(found, random.Random(count * 1000 + seed))
            worst = max(worst, lost(found / "home" / "log.db", acknowledged))
            shutil.rmtree(found)
        if worst >= stop_at:
            break
    return worst


@pytest.mark.timeout(1800)
def test_no_acknowledged_event_is_lost(tmp_path: Path) -> None:
    root, operations = record(tmp_path, "FULL")
    assert [int(operation.text) for operation in operations if isinstance(operation, Said)][-1] == len(EXPECTED)
    assert most_lost(tmp_path, root, operations, rounds(1, 20), stop_at=1) == 0


def test_this_test_would_find_a_log_that_is_not_synced_at_each_commit(tmp_path: Path) -> None:
    root, operations = record(tmp_path, "NORMAL")
    assert most_lost(tmp_path, root, operations, 1, stop_at=1) > 0
