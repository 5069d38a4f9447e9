"""Many processes and threads on one log: nothing lost, doubled or reordered, each conflict where it must be."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent
from eventsourcing.persistence import IntegrityError

from stackledger.eventlog.reader import SQLiteReader
from stackledger.eventlog.sqlite import SQLiteRecorder
from tests.support.any_log import Where, reader_at, recorder_at
from tests.support.appenders import append_all, claim_all, count_up, under
from tests.support.processes import ended, forked
from tests.support.soak import rounds

WORKERS = 6
Result = TypeVar("Result")


def at_once(work: Callable[..., Result], arguments: Sequence[tuple[object, ...]]) -> list[Result]:
    """Call `work` with each of the arguments in a process of its own."""
    with ProcessPoolExecutor(len(arguments), mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(work, *each) for each in arguments]
        return [future.result() for future in futures]


def stored(where: Where) -> list[bytes]:
    with closing(reader_at(where)) as reader:
        events = list(reader.scan())
    assert [event.position for event in events] == list(range(1, len(events) + 1))
    if isinstance(where, Path):
        with closing(sqlite3.connect(where)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return [event.data for event in events]


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Where:
    return tmp_path / "log.db" if request.param == "sqlite" else str(request.getfixturevalue("postgres_log"))


def test_nothing_is_lost_doubled_or_reordered(where: Where) -> None:
    count = rounds(150, 5_000)
    positions = at_once(append_all, [(where, worker, count) for worker in range(WORKERS)])
    data = stored(where)
    assert len(data) == WORKERS * count
    for worker, own in enumerate(positions):
        assert own == sorted(own)
        assert [data[position - 1] for position in own] == [b"%d %d" % (worker, number) for number in range(count)]


def test_each_name_has_one_winner(where: Where) -> None:
    names = rounds(60, 2_000)
    won = at_once(claim_all, [(where, worker, names) for worker in range(WORKERS)])
    assert sorted(name for own in won for name in own) == list(range(names))
    assert len(stored(where)) == names


def test_a_counter_that_all_count_up_misses_nothing(where: Where) -> None:
    times = rounds(40, 1_000)
    at_once(count_up, [(where, times)] * WORKERS)
    assert [int(data) for data in stored(where)] == list(range(1, WORKERS * times + 1))


def test_threads_that_share_a_recorder_take_turns(where: Where) -> None:
    with closing(recorder_at(where)) as recorder:

        def count() -> None:
            for _ in range(25):
                while True:
                    read = recorder.read(under("counter"))
                    value = b"%d" % (sum(1 for _ in read) + 1)
                    try:
                        event = DCBEvent(type="counted/1", data=value, tags=["counter"])
                        recorder.append([event], DCBAppendCondition(under("counter"), after=read.head))
                        break
                    except IntegrityError:
                        continue

        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(count) for _ in range(4)]:
                future.result()
    assert [int(data) for data in stored(where)] == list(range(1, 101))


def test_a_recorder_and_a_reader_go_on_in_a_forked_child(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    event = DCBEvent(type="t/1", data=b"", tags=["a"])
    with closing(SQLiteRecorder(path)) as recorder, closing(SQLiteReader(path)) as reader:
        recorder.append([event])
        assert reader.head() == 1

        def child() -> None:
            for _ in range(20):
                recorder.append([event])
            assert reader.head() >= 21
            recorder.close()
            reader.close()

        children = [forked(child) for _ in range(3)]
        for _ in range(20):
            recorder.append([event])
        assert [ended(pid) for pid in children] == [0, 0, 0]
        assert reader.head() == 81
        assert recorder.append([event]) == 82
    assert len(stored(path)) == 82


def test_a_child_that_is_forked_in_the_middle_of_an_append_can_append(tmp_path: Path) -> None:
    with closing(SQLiteRecorder(tmp_path / "log.db")) as recorder:
        event = DCBEvent(type="t/1", data=b"", tags=["a"])

        def child() -> None:
            recorder.append([event])

        with recorder._mutex, recorder._file_lock:
            pid = forked(child)
        assert ended(pid) == 0
        assert recorder.append([event]) == 2


@pytest.mark.parametrize("path", ["log.db", "new/deep/log.db"])
def test_many_may_make_the_log_at_once(tmp_path: Path, path: str) -> None:
    def make() -> None:
        with closing(SQLiteRecorder(tmp_path / path)) as recorder:
            recorder.append([DCBEvent(type="t/1", data=b"", tags=[])])

    children = [forked(make) for _ in range(8)]
    assert [ended(pid) for pid in children] == [0] * 8
    assert len(stored(tmp_path / path)) == 8
