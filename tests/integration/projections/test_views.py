"""The file of views may be missing, damaged, deleted, of another log or of another version: nothing is lost."""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgpack
import pytest
from eventsourcing.dcb.api import DCBEvent
from hypothesis import given
from hypothesis import strategies as st

from stackledger.domain.errors import LogDamaged, NotFound
from stackledger.eventlog.reader import SQLiteReader
from stackledger.eventlog.sqlite import SQLiteRecorder
from stackledger.eventlog.stored import StoredEvent, unpacked
from stackledger.projections import registry
from stackledger.projections.engine import View, Views, ViewsUnusable
from stackledger.projections.folding import PROJECTIONS, Writer
from stackledger.projections.listing import Asked
from stackledger.projections.registry_queries import StackRow, stacks
from stackledger.projections.rows import Handler, Key, Projection, Rows, Values
from stackledger.projections.schema import CHECKPOINTS, VIEWS, Table
from tests.support.histories import History, history
from tests.support.memory_log import MemoryReader
from tests.support.processes import ended, forked
from tests.support.views import dumped, folded_in_memory

EVENTS = history(Random(7), 150)


class Told(list[str]):
    """What a person was told."""

    def __call__(self, message: str) -> None:
        self.append(message)


def names(view: View) -> list[str]:
    return [row.name for row in stacks(view, Asked(size=1000)).items]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "views.db"


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def reader() -> MemoryReader:
    return MemoryReader(EVENTS)


@pytest.fixture
def views(path: Path, reader: MemoryReader, told: Told) -> Views:
    views = Views(path, reader, told)
    assert views.catch_up() == EVENTS[-1].position
    return views


def test_views_of_an_empty_log_are_empty(path: Path, told: Told) -> None:
    views = Views(path, MemoryReader(), told)
    assert views.catch_up() == 0
    assert views.read(names) == []
    assert told == []


def test_reading_sees_what_came_since_the_last_time(path: Path, told: Told) -> None:
    reader = MemoryReader(EVENTS[:50])
    views = Views(path, reader, told)
    views.read(names)
    reader.events = EVENTS
    assert views.catch_up() == EVENTS[-1].position
    assert dumped(path) == folded_in_memory(EVENTS)
    assert told == []


def test_views_that_are_current_are_not_written(path: Path, views: Views) -> None:
    before = path.stat().st_mtime_ns
    views.read(names)
    assert path.stat().st_mtime_ns == before


def test_one_read_sees_one_state_while_others_catch_up(path: Path, told: Told) -> None:
    reader = MemoryReader(EVENTS[:60])

    def twice(view: View) -> tuple[list[StackRow], list[StackRow]]:
        first = list(stacks(view, Asked(size=1000)).items)
        reader.events = EVENTS
        Writer(path, reader, told).catch_up()
        return first, list(stacks(view, Asked(size=1000)).items)

    first, second = Views(path, reader, told).read(twice)
    assert first == second


def _overwrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _another_database(path: Path) -> None:
    path.unlink()
    _database(path, "CREATE TABLE t (a)")


def _database(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "deleted": lambda path: path.unlink(),
    "empty": lambda path: os.truncate(path, 0),
    "no database": lambda path: _overwrite(path, b"garbage" * 1000),
    "cut off": lambda path: os.truncate(path, 5000),
    "mostly zero": lambda path: _overwrite(path, path.read_bytes()[:8192] + bytes(path.stat().st_size - 8192)),
    "another database": _another_database,
    "an unknown format": lambda path: _database(path, f"ALTER TABLE {CHECKPOINTS} RENAME TO checkpoints_9"),
    "other columns": lambda path: _database(path, f"ALTER TABLE {VIEWS[0]}_stacks RENAME COLUMN name TO title"),
    "a table is missing": lambda path: _database(path, f"DROP TABLE {VIEWS[0]}_stacks"),
    "text that is not JSON": lambda path: _database(path, f"UPDATE {VIEWS[0]}_stacks SET components = '['"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_views_are_built_anew_when_they_are(damage: str, path: Path, views: Views, told: Told) -> None:
    expected = views.read(names)
    DAMAGES[damage](path)
    assert views.read(names) == expected
    assert dumped(path) == folded_in_memory(EVENTS)
    assert len(told) <= 1


@given(st.binary(min_size=1, max_size=200), st.floats(0, 1))
def test_what_sqlite_finds_damaged_is_built_anew(garbage: bytes, where: float) -> None:
    """Some bytes of a page may change without anybody noticing; then reading still answers or the file is rebuilt."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "views.db"
        views = Views(path, MemoryReader(EVENTS), Told())
        views.catch_up()
        content = bytearray(path.read_bytes())
        start = int(where * (len(content) - len(garbage)))
        content[start : start + len(garbage)] = garbage
        path.write_bytes(content)
        views.read(names)
        assert views.rebuild() == EVENTS[-1].position
        assert dumped(path) == folded_in_memory(EVENTS)


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.3, 0.7, 0.97, 0.9999])
def test_views_that_are_cut_off_anywhere_are_built_anew(share: float, path: Path, views: Views) -> None:
    expected = views.read(names)
    os.truncate(path, int(path.stat().st_size * share))
    assert views.read(names) == expected
    assert views.rebuild() == EVENTS[-1].position
    assert dumped(path) == folded_in_memory(EVENTS)


def test_views_whose_newest_pages_are_cut_off_are_built_anew(path: Path, views: Views) -> None:
    expected = views.read(names)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("PRAGMA wal_autocheckpoint = 0")
        holder.execute(f"UPDATE {CHECKPOINTS} SET checked = checked + 1")
        os.truncate(f"{path}-wal", 1000)
        assert views.read(names) == expected
    assert dumped(path) == folded_in_memory(EVENTS)


def _without_room(view: View) -> None:
    view.connection.execute("PRAGMA temp.max_page_count = 2")
    view.connection.execute("CREATE TEMP TABLE sorted AS SELECT hex(zeroblob(100000))")


def _without_rights(view: View) -> None:
    view.connection.execute("CREATE TABLE sorted (a)")


@pytest.mark.parametrize("query", [_without_room, _without_rights])
def test_views_stay_where_the_machine_is_at_fault_and_not_the_file(
    query: Callable[[View], None], path: Path, views: Views, told: Told
) -> None:
    before = path.stat().st_ino
    with pytest.raises(ViewsUnusable, match=r"cannot be read: .* stay as they are: make room"):
        views.read(query)
    assert path.stat().st_ino == before
    assert not told
    assert views.read(names)


@pytest.mark.parametrize("limit", [2_000, 40_000])
def test_a_file_that_may_not_grow_is_told_and_stays(limit: int, path: Path, told: Told) -> None:
    reader = MemoryReader(EVENTS[:20])
    Views(path, reader, told).catch_up()
    before = dumped(path)
    reader.events = EVENTS

    def catch_up() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with pytest.raises(ViewsUnusable, match="cannot be built"):
            Views(path, reader, told).catch_up()
        assert not told

    assert ended(forked(catch_up)) == 0
    assert dumped(path) == before
    assert Views(path, reader, told).catch_up() == EVENTS[-1].position
    assert dumped(path) == folded_in_memory(EVENTS)


class Meddling(MemoryReader):
    """A log whose reading is interrupted by something."""

    def __init__(self, events: list[StoredEvent], at: int, meddle: Callable[[], None]) -> None:
        super().__init__(events)
        self._at = at
        self._meddle = meddle

    def scan(self, *, after: int = 0, upto: int | None = None, tags: tuple[str, ...] = ()) -> Iterator[StoredEvent]:
        for index, event in enumerate(super().scan(after=after, upto=upto, tags=tags)):
            if index == self._at:
                self._at = -1
                self._meddle()
            yield event


@pytest.mark.parametrize(
    "files", [(".db",), (".db", ".db-wal", ".db-shm"), (".lock",), (".db-wal", ".db-shm", ".lock", ".db")]
)
@pytest.mark.parametrize("moment", [0, 1, 10, 95, len(EVENTS) - 1])
def test_deleting_views_while_they_are_built_loses_nothing(
    files: tuple[str, ...], moment: int, path: Path, told: Told
) -> None:
    def delete() -> None:
        for suffix in files:
            path.with_suffix(suffix).unlink(missing_ok=True)

    reader = Meddling(EVENTS, moment, delete)
    Writer(path, reader, told, batch_events=10).catch_up()
    assert Views(path, reader, told).catch_up() == EVENTS[-1].position
    assert dumped(path) == folded_in_memory(EVENTS)


def test_views_that_are_deleted_whenever_they_are_opened_are_built_all_the_same(
    path: Path, views: Views, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, deletions = sqlite3.connect, [30]

    def deleted_once_open(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **named)
        if deletions[0]:
            deletions[0] -= 1
            for suffix in (".db", ".db-wal", ".db-shm"):
                path.with_suffix(suffix).unlink(missing_ok=True)
        return connection

    expected = views.read(names)
    path.unlink()
    monkeypatch.setattr(sqlite3, "connect", deleted_once_open)
    assert views.read(names) == expected
    assert (deletions, told) == ([0], [])
    monkeypatch.undo()
    assert dumped(path) == folded_in_memory(EVENTS)


def test_deleting_views_while_they_are_read_loses_nothing(path: Path, views: Views) -> None:
    def read(view: View) -> list[str]:
        path.unlink(missing_ok=True)
        return names(view)

    expected = views.read(names)
    assert views.read(read) == expected
    assert views.read(names) == expected


def test_another_log_is_noticed_and_told_once(path: Path, views: Views, told: Told) -> None:
    other = history(Random(8), 160)
    assert other[-1].position > EVENTS[-1].position
    others = Views(path, MemoryReader(other), told)
    others.read(names)
    others.read(names)
    assert dumped(path) == folded_in_memory(other)
    assert told == ["The views were built from another log, or from a longer copy of this one: building them anew."]


def test_an_older_copy_of_the_log_is_noticed_and_told_once(path: Path, views: Views, told: Told) -> None:
    older = EVENTS[:100]
    assert Views(path, MemoryReader(older), told).catch_up() == older[-1].position
    assert dumped(path) == folded_in_memory(older)
    assert len(told) == 1


def test_an_older_copy_that_went_on_differently_is_noticed(path: Path, views: Views, told: Told) -> None:
    made = History(Random(9), events=list(EVENTS[:100]))
    made.begin()
    made.go_on(100)
    Views(path, MemoryReader(made.events), told).catch_up()
    assert dumped(path) == folded_in_memory(made.events)
    assert len(told) == 1


def _unknown(event: StoredEvent) -> StoredEvent:
    return event._replace(type="stack.exalted/1")


def test_an_unknown_type_of_event_is_counted_skipped_and_told_once(path: Path, told: Told) -> None:
    events = [
        _unknown(event) if event.position in {EVENTS[20].position, EVENTS[30].position} else event for event in EVENTS
    ]
    views = Views(path, MemoryReader(events), told)
    views.read(names)
    views.read(names)
    assert told == [
        "Skipped events of types that this version does not know: stack.exalted/1. Upgrade to see what they say."
    ]
    assert [(each.name, each.skipped, each.lag) for each in views.status()] == [("registry", 2, 0), ("runs", 2, 0)]


LATER = "registry_v99"


def _later(projection: Projection) -> Projection:
    """Return the same fold into other tables."""
    moved = {table.name: table._replace(name=table.name.replace(projection.name, LATER)) for table in projection.tables}

    class Moved:
        def __init__(self, rows: Rows) -> None:
            self._rows = rows

        def get(self, table: Table, key: Key) -> Values | None:
            return self._rows.get(moved[table.name], key)

        def put(self, table: Table, key: Key, values: Values) -> None:
            self._rows.put(moved[table.name], key, values)

        def end(self, table: Table, key: Key) -> None:
            self._rows.end(moved[table.name], key)

    def handler_of(old: Handler) -> Handler:
        return lambda rows, fact: old(Moved(rows), fact)

    return projection._replace(
        name=LATER,
        tables=tuple(moved.values()),
        handlers={name: handler_of(old) for name, old in projection.handlers.items()},
    )


def test_a_new_version_of_a_projection_is_built_beside_the_old_one(path: Path, views: Views, told: Told) -> None:
    newer = _later(registry.PROJECTION)
    Writer(path, MemoryReader(EVENTS), told, projections=(newer, PROJECTIONS[1])).catch_up()
    assert dumped(path, [newer]) == {
        name.replace(VIEWS[0], LATER): rows for name, rows in dumped(path, [registry.PROJECTION]).items()
    }
    known = sorted(each.rpartition("_v") for each in (*VIEWS, LATER))
    assert [(each.name, "_v", str(each.version)) for each in views.status()] == known
    assert told == []


def test_one_projection_is_rebuilt_alone(path: Path, views: Views) -> None:
    _database(path, f"UPDATE {VIEWS[0]}_stacks SET name = 'wrong'")
    _database(path, f"UPDATE {VIEWS[1]}_runs SET name = 'wrong'")
    assert views.rebuild("registry") == EVENTS[-1].position
    whole = folded_in_memory(EVENTS)
    found = dumped(path)
    assert found[f"{VIEWS[0]}_stacks"] == whole[f"{VIEWS[0]}_stacks"]
    assert found[f"{VIEWS[1]}_runs"] != whole[f"{VIEWS[1]}_runs"]
    views.rebuild()
    assert dumped(path) == whole


def test_rebuilding_what_is_not_there_offers_near_names(views: Views) -> None:
    with pytest.raises(NotFound, match="Did you mean 'registry'"):
        views.rebuild("registri")


def test_status_tells_how_far_behind_the_views_are(path: Path, told: Told) -> None:
    reader = MemoryReader(EVENTS[:10])
    views = Views(path, reader, told)
    assert [(each.position, each.lag, each.checked) for each in views.status()] == [(0, reader.head(), 0)] * 2
    views.catch_up()
    reader.events = EVENTS
    assert {each.lag for each in views.status()} == {EVENTS[-1].position - EVENTS[9].position}


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path, reader: MemoryReader, told: Told) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ViewsUnusable, match=r"cannot be built.*try again"):
        Views(tmp_path / "file" / "views.db", reader, told).catch_up()


def test_a_body_that_misses_a_field_is_a_damaged_log(path: Path, told: Told) -> None:

    fields = unpacked(1, EVENTS[4].data)
    del fields["body"]["name"]
    with pytest.raises(LogDamaged, match="position 5"):
        Views(
            path, MemoryReader([*EVENTS[:4], EVENTS[4]._replace(position=5, data=msgpack.packb(fields))]), told
        ).catch_up()


def test_processes_that_catch_up_at_once_fold_every_event_once(path: Path, told: Told) -> None:

    made = History(Random(11), gaps=False)
    made.begin()
    made.go_on(1500)
    log = path.with_name("log.db")
    SQLiteRecorder(log).close()

    def catch_up() -> None:
        reader = SQLiteReader(log)
        while Views(path, reader, told).catch_up() < len(made.events):
            pass

    children = [forked(catch_up) for _ in range(4)]
    recorder = SQLiteRecorder(log)
    for start in range(0, len(made.events), 25):
        recorder.append(
            [
                DCBEvent(type=event.type, data=event.data, tags=list(event.tags))
                for event in made.events[start : start + 25]
            ]
        )
    recorder.close()
    assert [ended(child) for child in children] == [0] * 4
    assert dumped(path) == folded_in_memory(made.events)
