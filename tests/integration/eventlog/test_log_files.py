"""What can be wrong with files and directories, and what is said about it."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem

from stackledger.domain.errors import AppendUnknown, LogBusy, LogDamaged, LogError, LogTooNew
from stackledger.eventlog import schema, sqlite
from stackledger.eventlog.lock import FileLock
from stackledger.eventlog.reader import SQLiteReader
from stackledger.eventlog.sqlite import LOOK_EVERY, WAL_BYTES, SQLiteRecorder
from tests.support.processes import ended, forked

EVENT = DCBEvent(type="happened/1", data=b"data", tags=["a"])
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "log.db"


def make(path: Path, events: int = 3) -> Path:
    with closing(SQLiteRecorder(path)) as recorder:
        for _ in range(events):
            recorder.append([EVENT])
    return path


def read(path: Path) -> int:
    with closing(SQLiteReader(path)) as reader:
        assert len(list(reader.scan())) == reader.head()
        return reader.head()


def as_nobody(work: Callable[[], object]) -> int:
    """Do the work in a child that is not root, whom the rights of files would not stop."""

    def drop() -> None:
        if os.getuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        work()

    return ended(forked(drop))


@pytest.fixture
def shared(path: Path) -> Iterator[Path]:
    """A log that everybody may read and nobody may write, reachable from outside the test's own directory."""
    make(path)
    for parent in path.parents:
        mode = parent.stat().st_mode
        if parent.stat().st_uid == os.getuid() and mode | 0o055 != mode:
            parent.chmod(mode | 0o055)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    yield path
    # Those above are left open: another test that runs now may be in need of them.
    path.parent.chmod(0o755)


@pytest.mark.parametrize("name", ["log.db", "a b?c#d%20e.db", "ä🦆.db", "x&mode=rwc.db"])
def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "a%3Fb?mode=memory#c" / name)
    assert path.is_file()
    assert read(path) == 3


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(SQLiteRecorder(Path("log.db"))) as recorder:
        recorder.append([EVENT])
    assert read(tmp_path / "log.db") == 1


def test_only_the_owner_may_use_the_files(path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(SQLiteRecorder(path)) as recorder:
            recorder.append([EVENT])
            files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert files == dict.fromkeys(["log.db", "log.db-wal", "log.db-shm", "log.lock"], 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_keeps_the_log_safe_is_on(path: Path) -> None:
    with closing(SQLiteRecorder(path)) as recorder:
        connection = recorder._live()
        found = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ["journal_mode", "synchronous", "trusted_schema", "wal_autocheckpoint", "application_id"]
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "trusted_schema": 0,
        "wal_autocheckpoint": 0,
        "application_id": schema.APPLICATION_ID,
    }


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE events SET data = x'00' WHERE position = 2",
        "UPDATE events SET position = 9 WHERE position = 3",
        "DELETE FROM events WHERE position = 3",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events VALUES (3, 'other/1', '[]', x'00')",
        "REPLACE INTO events VALUES (1, 'other/1', '[]', x'00')",
        "INSERT INTO events VALUES (-5, 'other/1', '[]', x'00')",
        "INSERT INTO events VALUES (1, 'o/1', '[]', x'00') ON CONFLICT DO UPDATE SET data = x'00'",
        "UPDATE event_tags SET tag = 'b'",
        "DELETE FROM event_tags",
        "INSERT OR REPLACE INTO event_tags VALUES ('a', 2)",
        "INSERT INTO event_tags VALUES ('b', 2)",
        "INSERT INTO event_tags VALUES ('b', -1)",
    ],
)
def test_what_is_in_the_log_stays(path: Path, change: str) -> None:
    make(path)
    with closing(SQLiteReader(path)) as reader:
        before = list(reader.scan())
        with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(change)
        assert list(reader.scan()) == before
        assert list(reader.scan(tags=("a",))) == before


def test_a_log_that_is_not_there_is_empty_and_is_not_made_by_reading(path: Path) -> None:
    with closing(SQLiteReader(path)) as reader:
        assert (reader.head(), reader.at(1), list(reader.scan()), list(reader.scan_back())) == (0, None, [], [])
        assert not path.parent.exists()
        make(path)
        assert reader.head() == 3


def test_an_event_is_read_by_its_position(path: Path) -> None:
    make(path)
    with closing(SQLiteReader(path)) as reader:
        event = reader.at(2)
        assert event is not None
        assert (event.position, event.type, event.tags, event.data) == (2, "happened/1", ("a",), b"data")
        assert [reader.at(position) for position in (0, 4, -1, 2**80)] == [None] * 4
        assert [event.position for event in reader.scan(upto=2**80)] == [1, 2, 3]
        assert [event.position for event in reader.scan_back(before=2**80)] == [3, 2, 1]
        assert [event.position for event in reader.scan(after=2**80)] == []


def test_what_a_killed_creator_left_is_cleared_away(path: Path) -> None:
    path.parent.mkdir()
    for name in ("log.db.new", "log.db.new-journal", "log.db.new-wal", "log.db.new-shm"):
        (path.parent / name).write_bytes(b"half done")
    assert read(path) == 0
    make(path)
    assert read(path) == 3
    assert {file.name for file in path.parent.iterdir() if ".new" in file.name} == set()


def test_an_empty_file_is_no_log(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    for opening in (SQLiteRecorder, read):
        with pytest.raises(LogDamaged, match="is empty, and a log never is"):
            opening(path)


def test_another_log_in_the_same_place_is_noticed(path: Path) -> None:
    make(path)
    with closing(SQLiteReader(path)) as reader, closing(SQLiteRecorder(path)) as recorder:
        assert reader.head() == 3
        path.rename(path.with_name("old.db"))
        assert reader.head() == 0
        with pytest.raises(LogError, match="moved or replaced"):
            recorder.append([EVENT])
        make(path, 5)
        assert reader.head() == 5
        with pytest.raises(LogError, match="moved or replaced"):
            recorder.append([EVENT])
        with pytest.raises(LogError, match="moved or replaced"):
            recorder.read()
    assert read(path) == 5


@pytest.mark.parametrize(
    ("version", "error", "what_to_do"), [(1, LogError, "Export it with"), (schema.FORMAT + 1, LogTooNew, "upgrade")]
)
def test_another_format_is_left_alone(path: Path, version: int, error: type[LogError], what_to_do: str) -> None:
    make(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(error, match=f"format {version};.*{what_to_do}"):
        SQLiteRecorder(path)
    with pytest.raises(error):
        read(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("statement", ["CREATE TABLE notes (text)", "CREATE TABLE events (position, type, tags, data)"])
def test_another_programs_database_is_left_alone(path: Path, statement: str) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)
    before = path.read_bytes()
    for opening in (SQLiteRecorder, read):
        with pytest.raises(LogDamaged, match="another program"):
            opening(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"Dear diary, " * 1000)
    before = path.read_bytes()
    for opening in (SQLiteRecorder, read):
        with pytest.raises(LogDamaged, match="is not a log"):
            opening(path)
    assert path.read_bytes() == before


def test_a_link_to_a_log_is_followed_and_never_replaced(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere" / "log.db")
    for opening in (SQLiteRecorder, read):
        with pytest.raises(LogError, match=r"log\.db"):
            opening(path)
    make(tmp_path / "elsewhere" / "log.db")
    assert read(make(path)) == 6


def test_a_directory_in_its_place_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    for opening in (SQLiteRecorder, read):
        with pytest.raises(LogError, match=r"log\.db"):
            opening(path)


def test_a_file_in_the_place_of_the_directory_is_told(path: Path) -> None:
    path.parent.write_text("")
    for opening in (SQLiteRecorder, read):
        with pytest.raises(LogError, match="home"):
            opening(path)


@pytest.mark.parametrize("size", [50, 100, 4096, 5000, 8192, 20000])
def test_a_truncated_log_is_damaged(path: Path, size: int) -> None:
    make(path, 300)
    os.truncate(path, size)
    with pytest.raises(LogDamaged):
        read(path)


def test_overwritten_pages_are_damage(path: Path) -> None:
    make(path, 300)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(LogDamaged):
        read(path)
    with pytest.raises(LogDamaged), closing(SQLiteRecorder(path)) as recorder:
        recorder.append([EVENT])


@pytest.mark.parametrize("tags", ["", "{}", "[", "no json", "[] []", b"[]", "[1]", '["a", null]', "[" * 100_000])
def test_unreadable_tags_are_damage(path: Path, tags: str | bytes) -> None:
    make(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO events VALUES (4, 'happened/1', ?, x'')", (tags,))
    with pytest.raises(LogDamaged, match="position 4 cannot be read: its tags"):
        read(path)
    with closing(SQLiteRecorder(path)) as recorder, pytest.raises(LogDamaged, match="position 4"):
        list(recorder.read())


@pytest.mark.parametrize(("kind", "data"), [("happened/1", 5), ("happened/1", "text"), (b"happened/1", b"")])
def test_a_type_or_data_of_another_kind_are_damage(path: Path, kind: str | bytes, data: object) -> None:
    make(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO events VALUES (4, ?, '[]', ?)", (kind, data))
    with pytest.raises(LogDamaged, match="position 4"):
        read(path)
    with closing(SQLiteRecorder(path)) as recorder, pytest.raises(LogDamaged, match="position 4"):
        list(recorder.read())


def test_a_log_in_a_directory_that_is_only_to_be_read_is_read(shared: Path) -> None:
    def look() -> None:
        assert read(shared) == 3

    assert as_nobody(look) == 0


def test_a_log_that_somebody_else_is_writing_is_read(shared: Path) -> None:
    shared.chmod(0o644)
    shared.parent.chmod(0o755)
    with closing(SQLiteRecorder(shared)) as recorder:
        recorder.append([EVENT])
        shared.parent.chmod(0o555)

        def look() -> None:
            assert read(shared) == 4

        assert as_nobody(look) == 0


def test_writing_where_one_may_not_is_refused_with_a_reason(shared: Path) -> None:
    def write() -> None:
        with pytest.raises(LogError, match=r"log\.lock cannot be opened: Permission denied.*directory"):
            SQLiteRecorder(shared)

    assert as_nobody(write) == 0


def test_a_directory_that_may_not_be_entered_is_told(shared: Path) -> None:
    shared.parent.chmod(0o700)

    def look() -> None:
        for opening in (SQLiteRecorder, read):
            with pytest.raises(LogError, match="Permission denied"):
                opening(shared)

    assert as_nobody(look) == 0


def test_a_log_that_may_not_be_read_says_so(shared: Path) -> None:
    shared.chmod(0)

    def look() -> None:
        with pytest.raises(LogError, match=r"cannot be opened.*rights"):
            read(shared)

    assert as_nobody(look) == 0


def test_a_full_disk_leaves_nothing_half_done(path: Path) -> None:
    with closing(SQLiteRecorder(path)) as recorder:
        recorder.append([EVENT])
        connection = recorder._live()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        big = DCBEvent(type="happened/1", data=b"x" * 100_000, tags=["a"])
        with pytest.raises(LogError, match=r"disk is full.*Make room"):
            recorder.append([EVENT, big])
        assert recorder.read().head == 1
        assert recorder.append([EVENT]) == 2
    assert read(path) == 2


def test_a_disk_that_fails_at_the_commit_leaves_an_unknown_outcome_and_a_whole_log(path: Path) -> None:
    make(path)

    def fill() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        recorder = SQLiteRecorder(path)
        recorder.append([EVENT])
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
        big = DCBEvent(type="happened/1", data=b"x" * 100_000, tags=["a"])
        for _ in range(3):
            with pytest.raises(AppendUnknown, match=r"the disk fails.*may or may not"):
                recorder.append([EVENT, big])
        assert recorder.read().head == 4
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert recorder.append([EVENT]) == 5

    assert ended(forked(fill)) == 0
    assert read(path) == 5


def test_a_program_that_locks_the_file_is_told_about_and_nothing_is_changed(path: Path) -> None:
    make(path)
    with closing(SQLiteRecorder(path, timeout=0.01)) as recorder, closing(sqlite3.connect(path)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogBusy, match="locked by another program"):
            recorder.append([EVENT])
        other.execute("ROLLBACK")
        assert recorder.append([EVENT]) == 4


def test_the_write_ahead_log_does_not_grow_for_ever(path: Path) -> None:
    event = DCBEvent(type="happened/1", data=b"x" * 100_000, tags=["a"])
    sizes = []
    with closing(SQLiteRecorder(path)) as recorder:
        for _ in range(10 * WAL_BYTES // 100_000):
            recorder.append([event])
            sizes.append(path.with_name("log.db-wal").stat().st_size)
    assert max(sizes) < 3 * WAL_BYTES
    assert not path.with_name("log.db-wal").exists()


def test_a_reader_that_stands_still_stops_no_writer(path: Path) -> None:
    event = DCBEvent(type="happened/1", data=b"x" * 500_000, tags=["a"])
    with closing(SQLiteRecorder(path)) as recorder, closing(sqlite3.connect(path)) as still:
        recorder.append([EVENT])
        still.isolation_level = None
        still.execute("BEGIN")
        still.execute("SELECT count(*) FROM events").fetchone()
        for _ in range(3 * WAL_BYTES // 500_000):
            recorder.append([event])
        assert path.with_name("log.db-wal").stat().st_size > 2 * WAL_BYTES
        still.execute("ROLLBACK")
        for _ in range(3 * WAL_BYTES // 500_000):
            recorder.append([event])
        assert path.with_name("log.db-wal").stat().st_size < 2 * WAL_BYTES


def test_writers_who_are_killed_after_each_append_do_not_let_the_write_ahead_log_grow_for_ever(path: Path) -> None:
    event = DCBEvent(type="happened/1", data=b"x" * 1_000_000, tags=["a"])

    def append_and_die() -> None:
        SQLiteRecorder(path).append([event])
        os.kill(os.getpid(), signal.SIGKILL)

    sizes = []
    for _ in range(5 * WAL_BYTES // 1_000_000):
        assert ended(forked(append_and_die)) == -signal.SIGKILL
        sizes.append(path.with_name("log.db-wal").stat().st_size)
    assert max(sizes) < 4 * WAL_BYTES
    assert read(path) == len(sizes)


def test_an_append_mostly_leaves_the_size_of_the_write_ahead_log_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def look(name: str) -> int:
        looks.append(name)
        return 0

    monkeypatch.setattr(sqlite, "wal_size", look)
    with closing(SQLiteRecorder(path)) as recorder, closing(SQLiteRecorder(path)) as other:
        for _ in range(2 * LOOK_EVERY):
            recorder.append([EVENT])
            other.append([EVENT] * 2)
        assert len(looks) == 6
        recorder.append([EVENT] * 10 * LOOK_EVERY)
        assert looks == [str(path)] * 7


def test_the_lock_file_covers_opening_and_appending_and_not_reading(path: Path) -> None:
    make(path)
    with (
        closing(SQLiteRecorder(path, timeout=0.01)) as recorder,
        closing(FileLock(path.with_suffix(".lock"))) as lock,
    ):
        with lock:
            with pytest.raises(LogBusy, match=r"log\.lock"):
                recorder.append([EVENT])
            with pytest.raises(LogBusy, match=r"log\.lock"):
                SQLiteRecorder(path, timeout=0.01)
            assert recorder.read().head == 3
            assert read(path) == 3
        assert recorder.append([EVENT]) == 4


def test_closing_waits_for_nobody_for_ever_and_does_not_fail(path: Path) -> None:
    recorder = SQLiteRecorder(path, timeout=0.01)
    recorder.append([EVENT])
    with closing(FileLock(path.with_suffix(".lock"))) as lock, lock:
        recorder.close()
        recorder.close()
    assert read(path) == 1


def test_reading_imports_nothing_that_deciding_needs() -> None:
    program = (
        "import sys; import stackledger.eventlog.reader;"
        " print(*sorted({'pydantic', 'eventsourcing', 'cryptography', 'typer', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_exception_of_sqlite_has_a_meaning(tmp_path: Path) -> None:
    def family(kind: type[BaseException]) -> Iterator[type[BaseException]]:
        yield kind
        for child in kind.__subclasses__():
            yield from family(child)

    kinds = [value for value in vars(sqlite3).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert {*family(sqlite3.Error), sqlite3.Warning} == set(kinds)
    for kind in kinds:
        with pytest.raises(LogError, match=r"log\.db.*broken"), schema.translated(tmp_path / "log.db"):
            raise kind("broken")


def test_every_code_of_sqlite_has_a_message(tmp_path: Path) -> None:
    codes = {name: code for name, code in vars(sqlite3).items() if name.startswith("SQLITE_") and isinstance(code, int)}
    assert len(codes) > 100
    for code in codes.values():
        error = sqlite3.OperationalError("broken")
        error.sqlite_errorcode = code
        assert "broken" in str(schema.log_error(error, tmp_path / "log.db"))


def test_a_tag_at_a_position_that_the_log_has_not_reached_stands_in_nobodys_way(path: Path) -> None:
    make(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO event_tags VALUES ('b', 1000000)")
    with closing(SQLiteRecorder(path)) as recorder:
        recorder.append([EVENT])
        nobody_else = DCBAppendCondition(DCBQuery([DCBQueryItem(tags=["b"])]), after=3)
        assert recorder.append([EVENT], nobody_else) == 5
