"""Catching the views up: the one writer of `views.db`. Loaded only when the views are behind the log.

One process at a time catches up, under an OS lock, because two that write and checkpoint at once can damage a WAL
file in most versions of SQLite. Exactly-once does not lean on that lock, which anybody may delete: each
batch begins a transaction, reads the checkpoints, and commits rows and checkpoints together.

`synchronous=NORMAL` is enough: after a power loss the file is consistent and perhaps some batches behind, and
those are folded again. `OFF` would leave a file that looks sound and is not.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from stackledger.domain.errors import LogDamaged
from stackledger.eventlog.lock import FileLock
from stackledger.eventlog.stored import LogReader, StoredEvent, unpacked
from stackledger.eventlog.upcasting import upcast
from stackledger.projections import registry, runs
from stackledger.projections.engine import ViewsUnusable
from stackledger.projections.rows import Fact, Projection, SqliteRows
from stackledger.projections.schema import BOOKKEEPING, CHECKPOINTS, MARK_EVERY, MARKS

PROJECTIONS = (registry.PROJECTION, runs.PROJECTION)

BATCH_EVENTS = 10_000
BATCH_BYTES = 16 * 1024 * 1024
_TELL_FROM = 50_000
_LOCK_TIMEOUT = 600.0
"""Seconds; while somebody else builds the views of a large log, the others wait for that."""

_ENVIRONMENTAL = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN),
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_AUTH),
)
"""Results of SQLite that building the file anew would not mend."""


class _AnotherLog(Exception):
    """The views were folded from a log that is not this one, or from a longer copy of it."""


@dataclass
class _Checkpoint:
    """How far a projection has got; `log_time` is the running maximum of recorded times there."""

    position: int
    log_time: int
    skipped: int


def catch_up(
    path: Path,
    reader: LogReader,
    notify: Callable[[str], None],
    *,
    projections: Sequence[Projection] = PROJECTIONS,
    discard: bool = False,
    anew: str | None = None,
) -> int:
    """Fold what the log has beyond the views' checkpoints into `path`, and return the position reached.

    What is not this log's or not sound is built anew from the log; `discard` does so in any case, `anew` for one
    projection.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"), timeout=_LOCK_TIMEOUT)
    try:
        with lock:
            if discard or not path.exists():
                _remove(path)
            return _caught_up(path, reader, notify, projections, anew)
    except (sqlite3.Error, OSError) as error:
        raise ViewsUnusable(
            f"The views in {path} cannot be built: {error}.",
            hint="They are only a copy of what is in the log: make room, or give the rights to write, and try again.",
        ) from error
    finally:
        lock.close()


def _caught_up(
    path: Path,
    reader: LogReader,
    notify: Callable[[str], None],
    projections: Sequence[Projection],
    anew: str | None,
) -> int:
    try:
        return _folded(path, reader, notify, projections, anew)
    except _AnotherLog:
        notify("The views were built from another log, or from a longer copy of this one: building them anew.")
    except sqlite3.DatabaseError as error:
        if _code(error) in _ENVIRONMENTAL:
            raise
        notify(f"The views in {path} are damaged ({error}): building them anew from the log.")
    _remove(path)
    return _folded(path, reader, notify, projections)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _remove(path: Path) -> None:
    # The side files go too, even where the file itself is gone already: they must never meet a new file.
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _folded(
    path: Path,
    reader: LogReader,
    notify: Callable[[str], None],
    projections: Sequence[Projection],
    anew: str | None = None,
) -> int:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30.0)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("BEGIN IMMEDIATE")
        for projection in projections:
            if projection.name == anew:
                _drop(connection, projection)
        for statement in (*BOOKKEEPING, *(ddl for each in projections for table in each.tables for ddl in table.ddl())):
            connection.execute(statement)
        _refuse_another_log(connection, reader)
        connection.executemany(
            f"INSERT INTO {CHECKPOINTS} VALUES (?, 0, NULL, 0, 0, ?)"
            " ON CONFLICT (projection) DO UPDATE SET checked = excluded.checked",
            [(projection.name, time.time_ns() // 1000) for projection in projections],
        )
        connection.execute("COMMIT")
        return _Fold(connection, projections, notify).run(reader)


def _drop(connection: sqlite3.Connection, projection: Projection) -> None:
    for table in projection.tables:
        connection.execute(f"DROP TABLE IF EXISTS {table.name}")
    connection.execute(BOOKKEEPING[0])
    connection.execute(f"DELETE FROM {CHECKPOINTS} WHERE projection = ?", (projection.name,))


def _refuse_another_log(connection: sqlite3.Connection, reader: LogReader) -> None:
    """Raise _AnotherLog unless the log has, at each checkpoint, the very event that was folded there.

    An event's data hold its random id: no two logs have the same event at one position unless one began
    as a copy of the other, and then all before it is the same too.
    """
    for position, data in connection.execute(f"SELECT position, data FROM {CHECKPOINTS} WHERE position > 0").fetchall():
        stored = reader.at(position)
        if stored is None or stored.data != data:
            raise _AnotherLog


class _Fold:
    """One catching up of some projections over one connection."""

    def __init__(
        self, connection: sqlite3.Connection, projections: Sequence[Projection], notify: Callable[[str], None]
    ) -> None:
        self._connection = connection
        self._projections = projections
        self._notify = notify
        self._unknown: set[str] = set()

    def run(self, reader: LogReader) -> int:
        """Fold as far as the log goes now."""
        head = reader.head()
        checkpoints = self._checkpoints()
        start = min(each.position for each in checkpoints)
        if head - start >= _TELL_FROM:
            self._notify(f"Reading {head - start:,} events into the views.")
        for batch in _batches(reader.scan(after=start, upto=head)):
            checkpoints = self._fold(batch)
        if self._unknown:
            self._notify(
                f"Skipped events of types that this version does not know: {', '.join(sorted(self._unknown))}."
                " Upgrade to see what they say."
            )
        return min(each.position for each in checkpoints)

    def _checkpoints(self) -> list[_Checkpoint]:
        return [
            _Checkpoint(
                *self._connection.execute(
                    f"SELECT position, log_time, skipped FROM {CHECKPOINTS} WHERE projection = ?", (each.name,)
                ).fetchone()
            )
            for each in self._projections
        ]

    def _fold(self, batch: list[StoredEvent]) -> list[_Checkpoint]:
        """Fold what is new in a batch; its rows and the checkpoints come into the file together or not at all."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            checkpoints = self._checkpoints()
            facts, marks, log_time = _facts(batch, min(checkpoints, key=lambda each: each.position))
            self._connection.executemany(f"INSERT OR REPLACE INTO {MARKS} VALUES (?, ?)", marks)
            for projection, checkpoint in zip(self._projections, checkpoints, strict=True):
                if checkpoint.position < batch[-1].position:
                    self._fold_one(projection, facts, checkpoint)
                    checkpoint.position, checkpoint.log_time = batch[-1].position, log_time
                    self._connection.execute(
                        f"UPDATE {CHECKPOINTS} SET position = ?, data = ?, log_time = ?, skipped = ?"
                        " WHERE projection = ?",
                        (checkpoint.position, batch[-1].data, log_time, checkpoint.skipped, projection.name),
                    )
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return checkpoints

    def _fold_one(self, projection: Projection, facts: list[Fact], checkpoint: _Checkpoint) -> None:
        rows = SqliteRows(self._connection, projection.tables)
        handlers, ignored, after = projection.handlers, projection.ignored, checkpoint.position
        for fact in facts:
            if fact.position <= after:
                continue
            handler = handlers.get(fact.type)
            if handler is not None:
                rows.position = fact.position
                try:
                    handler(rows, fact)
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise LogDamaged(
                        f"The body of {fact.type} at position {fact.position} is not as it should be: {error!r}."
                    ) from error
            elif fact.type not in ignored:
                checkpoint.skipped += 1
                self._unknown.add(fact.type)
        rows.flush()


def _batches(events: Iterator[StoredEvent]) -> Iterator[list[StoredEvent]]:
    batch: list[StoredEvent] = []
    size = 0
    for event in events:
        batch.append(event)
        size += len(event.data)
        if len(batch) >= BATCH_EVENTS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _facts(batch: list[StoredEvent], since: _Checkpoint) -> tuple[list[Fact], list[tuple[int, int]], int]:
    """Return a batch as facts, the marks of time that it passes, and the log's time at its end."""
    position, log_time = since.position, since.log_time
    facts: list[Fact] = []
    marks: list[tuple[int, int]] = []
    for stored in batch:
        if stored.position <= position:
            continue
        fields = unpacked(stored.position, stored.data)
        name, body = upcast(stored.type, fields.pop("body"))
        log_time = max(log_time, fields["time"])
        if stored.position // MARK_EVERY != position // MARK_EVERY:
            marks.append((stored.position, log_time))
        position = stored.position
        facts.append(Fact(position, name, fields, body))
    return facts, marks, log_time
