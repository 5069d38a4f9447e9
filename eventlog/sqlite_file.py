"""The file of a log in SQLite: made whole or not at all, opened for writing with settings that keep it safe, filled."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from eventsourcing.dcb.api import DCBEvent

from stackledger.domain.errors import AlreadyExists, LogError
from stackledger.eventlog.lock import FileLock
from stackledger.eventlog.schema import (
    SCHEMA,
    TAGS_AT_ONCE,
    Page,
    Selection,
    check_format,
    connect,
    head,
    in_pages,
    sql_of_tags,
    tags_of,
    tags_text,
    translated,
)
from stackledger.eventlog.stored import StoredEvent

if TYPE_CHECKING:
    from stackledger.eventlog.transfer import Fresh

Result = TypeVar("Result")

_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: a commit that was acknowledged survives a loss of power
    "fullfsync": 1,  # on a Mac, fsync alone leaves data in the drive's cache
    "wal_autocheckpoint": 0,
    "trusted_schema": 0,
}


def opened(path: Path, lock: FileLock, timeout: float) -> sqlite3.Connection:
    """Return a connection that writes the log at `path`, made if it is not there. `lock` keeps other writers out."""
    _make_directory(path.parent)
    with lock:
        if not path.exists():
            _create(path)
        connection = connect(path, "mode=rw", timeout)
        try:
            check_format(connection, path)
            for pragma, value in _PRAGMAS.items():
                connection.execute(f"PRAGMA {pragma} = {value}")
                (found,) = connection.execute(f"PRAGMA {pragma}").fetchone() or (None,)
                if found != value:
                    raise LogError(
                        f"The log {path} cannot be kept safely here: SQLite answers {found!r} to {pragma} = {value}.",
                        hint="Keep it on a local disk, and use a newer SQLite.",
                    )
        except BaseException:
            connection.close()
            raise
    return connection


def import_log(path: Path, load: Callable[[Fresh], Result]) -> Result:
    """Make a log of what `load` puts into it, or raise with no log made. AlreadyExists where there is one."""
    path = Path(os.path.realpath(path))
    _make_directory(path.parent)
    loaded: list[Result] = []
    with FileLock(path.with_suffix(".lock")), translated(path):
        if path.exists():
            raise AlreadyExists(
                f"There is a log at {path} already, and a log is imported only where there is none.",
                hint="Name another home in STACKLEDGER_HOME, or move log.db away.",
            )
        _create(path, lambda connection: loaded.append(load(_FreshFile(connection))))
    return loaded[0]


class _FreshFile:
    """A log in a file that nobody knows of yet."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def write(self, events: Iterable[StoredEvent]) -> None:
        for stored in events:
            event = DCBEvent(stored.type, stored.data, list(stored.tags))
            insert(self._connection, stored.position - 1, [event])

    def read(self) -> Iterator[StoredEvent]:
        def fetch(after: int, upto: int, most: int) -> Page:
            return Selection().page(self._connection, after, upto, most, newest_first=False)

        for row in in_pages(fetch, 0, head(self._connection)):
            yield StoredEvent(row[0], row[1], tuple(tags_of(row)), row[3])


def insert(connection: sqlite3.Connection, last: int, events: Sequence[DCBEvent]) -> None:
    """Put events behind the position `last`, within a transaction of the caller's."""
    numbered = list(enumerate(events, start=last + 1))
    tags = sorted([(tag, position) for position, event in numbered for tag in set(event.tags)])
    for start in range(0, len(tags), TAGS_AT_ONCE):
        several = tags[start : start + TAGS_AT_ONCE]
        connection.execute(sql_of_tags(len(several)), list(chain.from_iterable(several)))
    connection.executemany(
        "INSERT INTO events (position, type, tags, data) VALUES (?, ?, ?, ?)",
        ((position, event.type, tags_text(event.tags), event.data) for position, event in numbered),
    )


def wal_size(name: str) -> int:
    """Return how many bytes the write-ahead log beside a file has, 0 where there is none."""
    with contextlib.suppress(FileNotFoundError):
        return os.stat(f"{name}-wal").st_size
    return 0


def _create(path: Path, fill: Callable[[sqlite3.Connection], None] = lambda _: None) -> None:
    """Make a log under another name, and give it its own when it is filled, whole and on the disk.

    Only its owner can use it; SQLite gives the files beside it the same rights.
    """
    new = path.with_name(f"{path.name}.new")
    if wal_size(str(path)):
        # SQLite would take it for the new log's own, and lose both.
        raise LogError(
            f"The log {path} is gone, and {path.name}-wal beside it holds what was last added to it.",
            hint=f"Put {path.name} back, or move {path.name}-wal away to begin a new log.",
        )
    try:
        for leaving in ("", "-journal", "-wal", "-shm"):
            new.with_name(f"{new.name}{leaving}").unlink(missing_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with contextlib.closing(connect(new, "mode=rw", 0)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA fullfsync = 1")
            connection.execute("BEGIN")
            for statement in SCHEMA:
                connection.execute(statement)
            fill(connection)
            connection.execute("COMMIT")
        new.rename(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise LogError(f"The log {path} cannot be made: {error.strerror}.") from error


def _make_directory(directory: Path) -> None:
    """Make the directory, and have each name that is new survive a loss of power."""
    try:
        missing = [path for path in (directory, *directory.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
            _sync_directory(path.parent)
    except OSError as error:
        raise LogError(f"The directory {directory} cannot be made: {error.strerror}.") from error


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
