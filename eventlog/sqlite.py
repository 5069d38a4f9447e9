"""The log in one SQLite file: the recorder behind the `DCBRecorder` interface of the eventsourcing library.

SQLite before 3.51.3 can damage a write-ahead log when two connections write and checkpoint at the same
instant. So there are no automatic checkpoints, and a lock file covers each append, each checkpoint, and the
opening and closing of a writer. Readers open the file for reading only and never checkpoint.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Literal

from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBReadResponse,
    DCBRecorder,
    DCBSequencedEvent,
)
from eventsourcing.dcb.persistence import DCBListenNotifySubscription
from eventsourcing.persistence import IntegrityError, ProgrammingError

from stackledger.domain.errors import AppendUnknown, LogError
from stackledger.eventlog.forking import abandon, forget_in_child
from stackledger.eventlog.lock import FileLock
from stackledger.eventlog.moves import refuse_append
from stackledger.eventlog.schema import (
    Page,
    Row,
    Selection,
    connect,
    head,
    in_pages,
    last_type,
    log_error,
    tags_of,
    translated,
)
from stackledger.eventlog.sqlite_file import insert, opened, wal_size

WAL_BYTES = 8 * 1024 * 1024
"""How large the write-ahead log becomes before its pages are moved into the file and it begins anew."""

LOOK_EVERY = 8
"""By how many positions the log grows, whoever appends, between two looks at the size of its write-ahead log.

Not with each append: a file that somebody looked at gets new times with the next write (Linux 6.13 and later), and the
fsync of that write takes half as long again.
"""

READERS_MS = 200
"""How long a checkpoint waits for those who read just then, so that they cannot keep the log growing for ever."""

POLL_SECONDS = 0.01
"""How often a subscription looks for commits: 2.7 µs each, so 10 ms cost next to nothing."""


class SQLiteRecorder(DCBRecorder):
    """A log in the file at `path`, made if it is not there. Safe between threads, processes and after a fork.

    An append waits up to `timeout` seconds for other writers, then raises LogBusy. Every error is a
    StackledgerError, except the library's own IntegrityError for a condition that failed.
    """

    def __init__(self, path: Path, *, timeout: float = 30.0) -> None:
        if os.path.islink(path) and not os.path.exists(path):
            raise LogError(f"The log {path} is a link to a file that is not there.")
        # SQLite keeps its other files beside the one that a link leads to; the lock belongs there too.
        path = Path(os.path.realpath(path))
        self.path = path
        self._name = str(path)
        self._translated = translated(path)
        self._timeout = timeout
        self._file_lock = FileLock(path.with_suffix(".lock"), timeout=timeout)
        self._mutex = threading.Lock()
        self._closed = False
        self._connection: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None
        self._wal_bytes = WAL_BYTES
        forget_in_child(self)
        with self._mutex:
            self._live()

    def read(
        self, query: DCBQuery | None = None, *, after: int | None = None, limit: int | None = None
    ) -> DCBReadResponse:
        """Return the events behind `after` that match any item of the query, in order.

        The head is taken first and the rows end there, so that they fit together however long reading takes.
        Rows are fetched page by page as they are needed; with a limit they are fetched at once.
        """
        with self._mutex, self._translated:
            connection = self._live()
            self._refuse_if_moved()
            last = head(connection)
            after = min(max(after or 0, 0), last)
            selections = [selection.rare_first(connection, after) for selection in _selections(query)]
        rows = self._merged(selections, after, last)
        if limit is None:
            return _Response(rows, last or None)
        limited = list(islice(rows, max(limit, 0)))
        return _Response(iter(limited), limited[-1][0] if limited else None)

    def append(self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None) -> int:
        """Append the events durably and return the last one's position, or raise with nothing changed.

        IntegrityError if anything matches the condition; LogMoved; AppendUnknown if the disk failed at the very commit.
        """
        if not events:
            raise ProgrammingError("an append needs at least one event")
        with self._mutex, self._translated:
            connection = self._live()
            with self._file_lock:
                return self._append(connection, events, condition)

    def subscribe(self, query: DCBQuery | None = None, *, after: int | None = None) -> SQLiteSubscription:
        """Return all that `read` would, and then what comes, as it comes."""
        return SQLiteSubscription(self, query, after)

    def close(self) -> None:
        """Move what is in the write-ahead log into the file, and let go of both.

        What cannot be moved now is as safe where it is, and left to the next writer: closing does not fail.
        """
        with self._mutex:
            self._closed = True
            connection, self._connection = self._connection, None
            if connection is None:
                return
            with contextlib.closing(connection), contextlib.suppress(sqlite3.Error, LogError), self._file_lock:
                _checkpoint(connection, "TRUNCATE")
                connection.close()
        self._file_lock.close()

    def forget(self) -> None:
        """In a forked child: leave the parent's connection alone and open another when needed."""
        self._mutex = threading.Lock()
        abandon(self._connection)
        self._connection = None

    def _live(self) -> sqlite3.Connection:
        """Return the connection, opened if need be."""
        if self._closed:
            raise LogError(f"The log {self.path} was closed.")
        if self._connection is None:
            with self._translated:
                self._connection = opened(self.path, self._file_lock, self._timeout)
                self._file = os.stat(self.path)
        return self._connection

    def _refuse_if_moved(self) -> None:
        try:
            is_moved = self._file is None or not os.path.samestat(os.stat(self._name), self._file)
        except OSError:
            is_moved = True
        if is_moved:
            raise LogError(
                f"The log {self.path} was moved or replaced while it was open; nothing was changed.",
                hint="Start the program again.",
            )

    def _append(
        self, connection: sqlite3.Connection, events: Sequence[DCBEvent], condition: DCBAppendCondition | None
    ) -> int:
        self._refuse_if_moved()
        try:
            connection.execute("BEGIN IMMEDIATE")
            last, its_type = last_type(connection)
            refuse_append(its_type, [event.type for event in events], self._name)
            if condition is not None and _matches(connection, condition, last):
                raise IntegrityError(condition)
            insert(connection, last, events)
        except BaseException:
            _roll_back(connection)
            raise
        self._commit(connection)
        self._file_lock.ring()
        position = last + len(events)
        if position // LOOK_EVERY > last // LOOK_EVERY:
            self._bound_wal(connection)
        return position

    def _merged(self, selections: Sequence[Selection], after: int, upto: int) -> Iterator[Row]:
        streams = [self._stream(selection, after, upto) for selection in selections]
        if len(streams) == 1:
            return streams[0]
        merged = heapq.merge(*streams, key=itemgetter(0))
        return (next(same) for _, same in groupby(merged, key=itemgetter(0)))

    def _stream(self, selection: Selection, after: int, upto: int) -> Iterator[Row]:
        def fetch(after: int, upto: int, most: int) -> Page:
            with self._mutex, self._translated:
                return selection.page(self._live(), after, upto, most, newest_first=False)

        return in_pages(fetch, after, upto)

    def _commit(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(connection)
            known = log_error(error, self.path)
            if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY}:
                raise known from error
            # After a failed write or sync of the last page, a restart may still find the commit on the disk.
            raise AppendUnknown(
                f"{known.message} It may or may not hold what was to be added.", hint=known.hint
            ) from error

    def _bound_wal(self, connection: sqlite3.Connection) -> None:
        """Checkpoint when the write-ahead log has grown: that is, when it is filled again to its former size.

        It is overwritten from its beginning rather than cut, because the fsync of a growing file is several times
        as dear. Every round makes it a little larger, until it is cut after all.
        """
        size = wal_size(self._name)
        if size <= self._wal_bytes:
            return
        moved = False
        # The events are safe where they are: that they cannot be moved yet is not the append's failure.
        with contextlib.suppress(sqlite3.Error):
            moved = _checkpoint(connection, "TRUNCATE" if size > 2 * WAL_BYTES else "RESTART")
        self._wal_bytes = max(wal_size(self._name), WAL_BYTES) + (0 if moved else WAL_BYTES)


class SQLiteSubscription(DCBListenNotifySubscription[SQLiteRecorder]):
    """Woken by a thread that watches for commits of anybody, over a connection of its own."""

    def __init__(self, recorder: SQLiteRecorder, query: DCBQuery | None, after: int | None) -> None:
        with translated(recorder.path):
            self._watched = connect(recorder.path, "mode=ro", 5.0)
            seen = data_version(self._watched)  # before anything is pulled, so that no commit falls between
        self._stopped = threading.Event()
        super().__init__(recorder, query, after)
        self._watcher = threading.Thread(target=self._watch, args=(seen,), daemon=True)
        self._watcher.start()

    def __exit__(self, *args: object, **kwargs: object) -> None:
        """Stop, and wait until both threads have ended."""
        super().__exit__(*args, **kwargs)
        self._watcher.join()

    def stop(self) -> None:
        """Stop; whoever waits for an event gets no more."""
        self._stopped.set()
        super().stop()

    def _watch(self, seen: int) -> None:
        try:
            with translated(self._recorder.path), contextlib.closing(self._watched) as connection:
                while not self._stopped.wait(POLL_SECONDS):
                    version = data_version(connection)
                    if version != seen:
                        seen = version
                        self._has_been_notified.set()
        except LogError as error:
            self._thread_error = error
            self.stop()


class _Response(DCBReadResponse):
    def __init__(self, rows: Iterator[Row], position: int | None) -> None:
        self._rows = rows
        self._head = position

    @property
    def head(self) -> int | None:
        return self._head

    def __next__(self) -> DCBSequencedEvent:
        row = next(self._rows)
        return DCBSequencedEvent(DCBEvent(type=row[1], data=row[3], tags=tags_of(row)), row[0])


def _selections(query: DCBQuery | None) -> list[Selection]:
    if query is None or not query.items:
        return [Selection()]
    return [Selection(item.tags, item.types) for item in query.items]


def _matches(connection: sqlite3.Connection, condition: DCBAppendCondition, last: int) -> bool:
    after = max(condition.after or 0, 0)
    # Mostly nobody came in between, and then there is nothing that could match.
    return after < last and any(
        selection.rare_first(connection, after).exists(connection, after, last)
        for selection in _selections(condition.fail_if_events_match)
    )


def _roll_back(connection: sqlite3.Connection) -> None:
    # Some errors have rolled back already; whatever stands in the way now is told by the error itself.
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _checkpoint(connection: sqlite3.Connection, mode: Literal["RESTART", "TRUNCATE"]) -> bool:
    """Move the write-ahead log into the file and have the next append begin it anew; False if a reader forbids it."""
    (timeout,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {READERS_MS}")
    try:
        (busy, _, _) = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {timeout}")
    return not busy


def data_version(connection: sqlite3.Connection) -> int:
    """Return a number that is another one after each commit of anybody else's."""
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)
