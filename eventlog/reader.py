"""Reading a log in order, without the libraries that deciding needs: what queries and projections stand on."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from stackledger.domain.errors import LogError
from stackledger.eventlog.forking import abandon, forget_in_child
from stackledger.eventlog.schema import Page, Row, Selection, check_format, connect, head, in_pages, tags_of, translated
from stackledger.eventlog.stored import StoredEvent

_TIMEOUT = 5.0
_POLL_SECONDS = 0.05


class SQLiteReader:
    """A LogReader over the file at `path`. Where there is no file yet the log is empty.

    The file is opened when it is first read, for reading only, and again when another file has taken its place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.name = str(self.path)
        self._connection: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None
        forget_in_child(self)

    def head(self) -> int:
        """Return the greatest position, 0 for an empty log."""
        with translated(self.path):
            connection = self._current()
            return head(connection) if connection else 0

    def at(self, position: int) -> StoredEvent | None:
        """Return the event at this very position."""
        return next(self.scan(after=position - 1, upto=position), None)

    def scan(self, *, after: int = 0, upto: int | None = None, tags: tuple[str, ...] = ()) -> Iterator[StoredEvent]:
        """Yield the events with all these tags and `after < position <= upto`, in order.

        Without `upto` they end at what was the head when the first was asked for.
        """
        return self._scan(Selection(tags), max(after, 0), upto, newest_first=False)

    def scan_back(self, *, before: int | None = None, tags: tuple[str, ...] = ()) -> Iterator[StoredEvent]:
        """Yield the events with all these tags and a position below `before`, newest first."""
        return self._scan(Selection(tags), 0, None if before is None else before - 1, newest_first=True)

    def counts_by_type(self) -> dict[str, int]:
        """Return how many events there are of each type and version, by type."""
        with translated(self.path):
            connection = self._current()
            sql = "SELECT type, count(*) FROM events GROUP BY type ORDER BY type"
            return dict(connection.execute(sql)) if connection else {}

    def size(self) -> int:
        """Return how many bytes the log takes up."""
        return sum(each.stat().st_size for each in self.path.parent.glob(f"{self.path.name}*"))

    def wait(self) -> None:
        """Return when there may be events that were not there at the last call."""
        time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Let go of the log. Reading again opens it again."""
        if self._connection is not None:
            with translated(self.path):
                self._connection.close()
            self._connection = None

    def forget(self) -> None:
        """In a forked child: leave the parent's connection alone."""
        abandon(self._connection)
        self._connection = None

    def _scan(self, selection: Selection, after: int, upto: int | None, *, newest_first: bool) -> Iterator[StoredEvent]:
        with translated(self.path):
            connection = self._current()
            if connection is None:
                return
            last = head(connection)
            upto = last if upto is None else min(upto, last)
            selection = selection.rare_first(connection, min(after, last))

        def fetch(after: int, upto: int, most: int) -> Page:
            with translated(self.path):
                return selection.page(connection, after, upto, most, newest_first=newest_first)

        for row in in_pages(fetch, after, upto, newest_first=newest_first):
            yield _stored(row)

    def _current(self) -> sqlite3.Connection | None:
        """Return a connection to the file that has the name now, None if there is none."""
        try:
            file = os.stat(self.path)
        except FileNotFoundError as error:
            # Not whether anything has the name: the file may have come since.
            if os.path.islink(self.path):
                raise LogError(f"The log {self.path} is a link to a file that is not there.") from error
            self.close()
            return None
        except OSError as error:
            raise LogError(f"The log {self.path} cannot be reached: {error.strerror}.") from error
        if self._connection is not None and self._file is not None and os.path.samestat(file, self._file):
            return self._connection
        self.close()
        self._connection, self._file = _opened(self.path), file
        return self._connection


def _opened(path: Path) -> sqlite3.Connection:
    connection = connect(path, "mode=ro", _TIMEOUT)
    try:
        try:
            check_format(connection, path)
        except sqlite3.OperationalError:
            # A log that nobody has open has no shared memory, and in a directory that this user cannot write it
            # cannot be made. Then nobody writes the file either, unless a log of writes stands beside it.
            if os.access(path.parent, os.W_OK) or _has_bytes(path.with_name(f"{path.name}-wal")):
                raise
            connection.close()
            connection = connect(path, "mode=ro&immutable=1", _TIMEOUT)
            check_format(connection, path)
        connection.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def _has_bytes(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size > 0
    return False


def _stored(row: Row) -> StoredEvent:
    return StoredEvent(row[0], row[1], tuple(tags_of(row)), row[3])
