"""The log as an SQLite file: its tables, how rows are found, and what SQLite's errors mean.

Shared by the recorder and by the reader, so it imports nothing heavy. Positions become visible in order and
rows never change, so whoever first takes the head and then reads what is not above it sees one state of the
log, page by page, without a transaction that would keep the write-ahead log from being emptied.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from stackledger.domain.errors import InvalidValue, LogBusy, LogDamaged, LogError, LogTooNew
from stackledger.eventlog.stored import unreadable

APPLICATION_ID = 0x53544C47  # "STLG"
FORMAT = 2

_REFUSE = "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
SCHEMA = (
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY,
        type TEXT NOT NULL,
        tags TEXT NOT NULL,
        data BLOB NOT NULL
    )""",
    """CREATE TABLE event_tags (
        tag TEXT NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (tag, position)
    ) WITHOUT ROWID""",
    f"CREATE TRIGGER events_keep BEFORE UPDATE ON events {_REFUSE}",
    f"CREATE TRIGGER events_stay BEFORE DELETE ON events {_REFUSE}",
    f"CREATE TRIGGER event_tags_keep BEFORE UPDATE ON event_tags {_REFUSE}",
    f"CREATE TRIGGER event_tags_stay BEFORE DELETE ON event_tags {_REFUSE}",
    # INSERT OR REPLACE deletes without firing the triggers above. The tags of an event are written before it.
    f"""CREATE TRIGGER events_append BEFORE INSERT ON events
        WHEN EXISTS (SELECT 1 FROM events WHERE position >= NEW.position) {_REFUSE}""",
    f"""CREATE TRIGGER event_tags_append BEFORE INSERT ON event_tags
        WHEN NEW.position < 1 OR EXISTS (SELECT 1 FROM events WHERE position = NEW.position) {_REFUSE}""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
)

Row = tuple[int, str, str, bytes]
"""Position, type, tags as a JSON array in stored order, data."""

_FROM_JSON = json.JSONDecoder().raw_decode  # half the time of json.loads, which every event read would pay

TAGS_AT_ONCE = 64
"""How many tags one statement puts into the index: in order and many at once they cost half of what they do alone."""

_FIRST_PAGE = 64
_LARGEST_PAGE = 1024
_PAGE_BYTES = 1024 * 1024
_PROBES = (16, 256, 4096, 65536)


class Page(NamedTuple):
    """Some rows in order, and whether there may be more behind them."""

    rows: list[Row]
    more: bool


class Selection(NamedTuple):
    """Events that carry all these tags and are of any of these types; no types means any."""

    tags: Sequence[str] = ()
    types: Sequence[str] = ()

    def rare_first(self, connection: sqlite3.Connection, after: int) -> Selection:
        """Return the same selection with its rarest tag first: that one is walked, the others are looked up."""
        if len(self.tags) <= 1:
            return self
        for most in _PROBES:
            counts = [_count(connection, tag, after, most) for tag in self.tags]
            fewest = min(counts)
            if fewest < most:
                rare = self.tags[counts.index(fewest)]
                return Selection((rare, *(tag for tag in self.tags if tag != rare)), self.types)
        return self

    def exists(self, connection: sqlite3.Connection, after: int, upto: int) -> bool:
        """Say whether there is any such event with `after < position <= upto`."""
        sql = _sql_of_exists(len(self.tags), len(self.types))
        return connection.execute(sql, (*self.tags, *self.types, after, upto)).fetchone() is not None

    def page(self, connection: sqlite3.Connection, after: int, upto: int, most: int, *, newest_first: bool) -> Page:
        """Return up to `most` rows with `after < position <= upto`, fewer where they are large."""
        sql = _sql_of_page(len(self.tags), len(self.types), newest_first)
        cursor = connection.execute(sql, (*self.tags, *self.types, after, upto, most))
        rows: list[Row] = []
        size = 0
        for row in cursor:
            rows.append(row)
            size += len(row[3]) if type(row[3]) is bytes else 0
            if size > _PAGE_BYTES:
                cursor.close()
                return Page(rows, more=True)
        return Page(rows, more=len(rows) == most)


def _selected(tags: int, types: int) -> str:
    """Return from where so many tags and types are selected, and what holds for each row; `found` has the position."""
    source = "event_tags AS found CROSS JOIN events ON events.position = found.position" if tags else "events AS found"
    terms = ["found.tag = ?"] if tags else []
    other = "EXISTS (SELECT 1 FROM event_tags AS other WHERE other.tag = ? AND other.position = found.position)"
    terms += [other] * (tags - 1)
    if types:
        terms.append(f"type IN ({', '.join('?' * types)})")
    return f"FROM {source} WHERE {' AND '.join([*terms, 'found.position > ?', 'found.position <= ?'])}"


@functools.lru_cache(maxsize=256)
def _sql_of_exists(tags: int, types: int) -> str:
    return f"SELECT 1 {_selected(tags, types)} LIMIT 1"


@functools.lru_cache(maxsize=256)
def _sql_of_page(tags: int, types: int, newest_first: bool) -> str:  # noqa: FBT001 - part of the cache's key
    order = "DESC" if newest_first else "ASC"
    return f"SELECT found.position, type, tags, data {_selected(tags, types)} ORDER BY found.position {order} LIMIT ?"


@functools.lru_cache(maxsize=TAGS_AT_ONCE)
def sql_of_tags(count: int) -> str:
    """Return what puts so many rows of tag and position into the index of tags."""
    return f"INSERT INTO event_tags (tag, position) VALUES {', '.join(['(?, ?)'] * count)}"


def _count(connection: sqlite3.Connection, tag: str, after: int, most: int) -> int:
    sql = "SELECT count(*) FROM (SELECT 1 FROM event_tags WHERE tag = ? AND position > ? LIMIT ?)"
    (count,) = connection.execute(sql, (tag, after, most)).fetchone()
    return int(count)


def head(connection: sqlite3.Connection) -> int:
    """Return the greatest position, 0 for an empty log."""
    (position,) = connection.execute("SELECT max(position) FROM events").fetchone()
    return position or 0


def last_type(connection: sqlite3.Connection) -> tuple[int, str | None]:
    """Return the greatest position and the type of the event there; 0 and None for an empty log."""
    row = connection.execute("SELECT position, type FROM events ORDER BY position DESC LIMIT 1").fetchone()
    return row or (0, None)


def in_pages(
    fetch: Callable[[int, int, int], Page], after: int, upto: int, *, newest_first: bool = False
) -> Iterator[Row]:
    """Yield the rows with `after < position <= upto`, fetched as `fetch(after, upto, most)` when they are needed."""
    most = _FIRST_PAGE
    more = True
    while more and after < upto:
        rows, more = fetch(after, upto, most)
        yield from rows
        if more and newest_first:
            upto = rows[-1][0] - 1
        elif more:
            after = rows[-1][0]
        most = min(4 * most, _LARGEST_PAGE)


def tags_text(tags: Sequence[str]) -> str:
    """Return tags as they are stored beside an event."""
    return f"[{','.join(map(json.encoder.encode_basestring, tags))}]"


def tags_of(row: Row) -> list[str]:
    """Return the tags of a row in stored order, or raise LogDamaged where the row is not as this program writes it."""
    # SQLite keeps any value in any column.
    if type(row[1]) is not str or type(row[3]) is not bytes:
        raise unreadable(row[0], "its type or its data are of another kind")
    try:
        tags, end = _FROM_JSON(row[2])
        if end != len(row[2]) or not isinstance(tags, list):
            raise ValueError("they are not one list")
        "".join(tags)  # the quickest way to ask whether all of them are text
    except (TypeError, ValueError, RecursionError) as error:
        raise unreadable(row[0], f"its tags are no list of texts ({error})") from error
    return tags


def connect(path: Path, how: str, timeout: float) -> sqlite3.Connection:
    """Open the file at `path`; `how` are parameters of SQLite's URIs: `mode=ro`, `mode=rw`."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}", uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
    )


def check_format(connection: sqlite3.Connection, path: Path) -> None:
    """Raise LogTooNew or LogDamaged unless the file holds a log that this program can read."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        what = "a database of another program, not a log of Stackledger" if tables else "empty, and a log never is"
        raise LogDamaged(
            f"{path} is {what}.",
            hint="Restore the log from a copy, or move this file away to begin a new one.",
        )
    if version > FORMAT:
        raise LogTooNew(
            f"The log {path} has the format {version}; this program knows the format {FORMAT}.",
            hint="It was written by a newer Stackledger: upgrade this one.",
        )
    if version < FORMAT:
        raise LogError(
            f"The log {path} has the format {version}; this program knows the format {FORMAT}.",
            hint="Export it with the Stackledger that wrote it, and import that into a fresh home.",
        )


_RESTORE = "Restore it from a copy; the log is the one file that cannot be rebuilt."
_MEANINGS: dict[int, tuple[type[LogError], str, str]] = {
    sqlite3.SQLITE_BUSY: (LogBusy, "is locked by another program", "Try again."),
    sqlite3.SQLITE_LOCKED: (LogBusy, "is locked by another program", "Try again."),
    sqlite3.SQLITE_CORRUPT: (LogDamaged, "is damaged", _RESTORE),
    sqlite3.SQLITE_NOTADB: (LogDamaged, "is not a log: it holds something else, or its beginning is damaged", _RESTORE),
    sqlite3.SQLITE_FULL: (LogError, "cannot grow, because the disk is full", "Make room, then try again."),
    sqlite3.SQLITE_READONLY: (LogError, "may only be read by this user", "Change the rights of file and directory."),
    sqlite3.SQLITE_PERM: (LogError, "may not be used by this user", "Change the rights of file and directory."),
    sqlite3.SQLITE_CANTOPEN: (LogError, "cannot be opened", "Check the rights of file and directory."),
    sqlite3.SQLITE_IOERR: (
        LogError,
        "cannot be read or written, because the disk fails",
        "Check disk and file system.",
    ),
    sqlite3.SQLITE_NOMEM: (LogError, "needs more memory than there is", "Free some memory, then try again."),
    sqlite3.SQLITE_TOOBIG: (LogError, "cannot hold a value that large", ""),
    sqlite3.SQLITE_CONSTRAINT: (LogError, "refused the change, because it is append-only", ""),
}


def log_error(error: sqlite3.Error | sqlite3.Warning, path: Path) -> LogError:
    """Return what an exception of SQLite means for the log at `path`."""
    if path.is_dir():
        # SQLite takes that for a failing disk.
        return LogError(f"{path} is a folder, where the log should be a file.", hint="Move it away, then try again.")
    code = getattr(error, "sqlite_errorcode", None)
    kind, what, hint = _MEANINGS.get((code or 0) & 0xFF, (LogError, "cannot be used", ""))
    return kind(f"The log {path} {what} (SQLite: {error}).", hint=hint)


class translated:  # noqa: N801 - read as a verb; a generator would cost several times as much, and each append has some
    """Turn every exception of SQLite into one of ours."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise what an exception means."""
        if isinstance(error, UnicodeEncodeError):
            raise InvalidValue(f"The log holds Unicode text, and this is none: {error.object!r}.") from error
        if isinstance(error, sqlite3.Error | sqlite3.Warning):
            raise log_error(error, self._path) from error
