"""Catching the views up: the one writer of `views.db`. Loaded only when the views are behind the log.

One process at a time catches up, under an OS lock, because two that write and checkpoint at once can damage a WAL
file in most versions of SQLite. Exactly-once does not lean on that lock, which anybody may delete: each
batch begins a transaction, reads the checkpoints, and commits rows and checkpoints together.

`synchronous=NORMAL` is enough: after a power loss the file is consistent and perhaps some batches behind, and
those are folded again. `OFF` would leave a file that looks sound and is not.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from stackledger.domain.errors import LogDamaged
from stackledger.eventlog.lock import FileLock
from stackledger.eventlog.stored import MISSHAPEN, LogReader, StoredEvent, misshapen
from stackledger.eventlog.upcasting import UPCASTERS, Upcasters, opened
from stackledger.projections import registry, runs
from stackledger.projections.engine import FAILURES, ViewsUnusable, is_damage
from stackledger.projections.rows import Fact, Projection, SqliteRows
from stackledger.projections.schema import BOOKKEEPING, CHECKPOINTS, MARK_EVERY, MARKS

PROJECTIONS = (registry.PROJECTION, runs.PROJECTION)

UNFOLDED = frozenset(
    {
        # What becomes of the log itself is read in the log.
        "log.created/1",
        "log.moved/1",
        "log.adopted/1",
        # Whoever decides about stores reads the log.
        "stores.paired/1",
        "stores.unpaired/1",
        # Whoever collects garbage reads the log.
        "artifact.condemned/1",
        "artifact.collected/1",
        # Coordinators fold these as they follow the log.
        "dispatch.confirmed/1",
        "topology.renewed/1",
    }
)
"""The types of events that this program knows, and no view shows."""

_KNOWN = UNFOLDED.union(*(projection.handlers for projection in PROJECTIONS))

BATCH_EVENTS = 10_000
BATCH_BYTES = 16 * 1024 * 1024
_TELL_FROM = 50_000
_LOCK_TIMEOUT = 600.0
"""Seconds; while somebody else builds the views of a large log, the others wait for that."""


_TRIES = 100
"""How often one folds where somebody deletes the files meanwhile: whoever does that all the time wins in the end."""


class _AnotherLog(Exception):
    """The views were folded from a log that is not this one, or from a longer copy of it."""


class Writer(NamedTuple):
    """Writes the views of one log into the file at `path`. `notify` is told what a person should know."""

    path: Path
    reader: LogReader
    notify: Callable[[str], None]
    projections: Sequence[Projection] = PROJECTIONS
    upcasters: Upcasters = UPCASTERS
    batch_events: int = BATCH_EVENTS

    def catch_up(self, *, discard: bool = False, anew: str | None = None) -> int:
        """Fold what the log has beyond the checkpoints, and return the position reached.

        What is not this log's or not sound is built anew; `discard` does so in any case, `anew` for one projection.
        """
        with self._alone():
            if discard or not self.path.exists():
                self._remove()
            return self._caught_up(anew)

    def remove(self) -> None:
        """Remove the views, but not from under somebody who catches them up."""
        with self._alone():
            self._remove()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = FileLock(self.path.with_suffix(".lock"), timeout=_LOCK_TIMEOUT)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with lock:
                yield
        except (*FAILURES, OSError) as error:
            raise ViewsUnusable(
                f"The views in {self.path} cannot be built: {error}.",
                hint="They only copy what is in the log: "
                + ("move that folder away" if self.path.is_dir() else "make room, or give the rights to write")
                + ", and try again.",
            ) from error
        finally:
            lock.close()

    def _caught_up(self, anew: str | None) -> int:
        try:
            return self._undisturbed(anew)
        except _AnotherLog:
            self.notify("The views were built from another log, or from a longer copy of this one: building them anew.")
        except FAILURES as error:
            if not is_damage(error):
                raise
            self.notify(f"The views in {self.path} are damaged ({error}): building them anew from the log.")
        self._remove()
        return self._undisturbed()

    def _undisturbed(self, anew: str | None = None) -> int:
        """Fold, and once more wherever files are deleted under the hands of SQLite, which calls that an I/O error."""
        for tries in range(_TRIES, 0, -1):
            # Made before SQLite would make it with the rights of any file; the files beside it take them over.
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            made = os.fstat(file).st_ino
            os.close(file)
            with closing(sqlite3.connect(self.path, isolation_level=None, timeout=30.0)) as connection:
                try:
                    return self._folded(connection, anew)
                except FAILURES:
                    # While the connection is open: its end takes the files beside the views away, too.
                    if tries == 1 or self._is_whole(made):
                        raise
            if not self.path.exists():
                self._remove()
        raise AssertionError("the last try returns or raises")

    def _is_whole(self, made: int) -> bool:
        """Say whether the file is the one with this number, and has those beside it that an open one has."""
        try:
            return self.path.stat().st_ino == made and all(
                Path(f"{self.path}{suffix}").exists() for suffix in ("-wal", "-shm")
            )
        except FileNotFoundError:
            return False

    def _remove(self) -> None:
        # The side files go too, even where the file itself is gone already: they must never meet a new file.
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def _folded(self, connection: sqlite3.Connection, anew: str | None) -> int:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("BEGIN IMMEDIATE")
        self._prepare(connection, anew)
        connection.execute("COMMIT")
        fold = _Fold(connection, self.projections, self.upcasters)
        start, head = fold.position(), self.reader.head()
        if head - start >= _TELL_FROM:
            self.notify(f"Reading {head - start:,} events into the views.")
        for batch in _batches(self.reader.scan(after=start, upto=head), self.batch_events):
            fold.add(batch)
        if fold.unknown:
            self.notify(
                f"Skipped events of types that this version does not know: {', '.join(sorted(fold.unknown))}."
                " Upgrade to see what they say."
            )
        return fold.position()

    def _prepare(self, connection: sqlite3.Connection, anew: str | None) -> None:
        """Make the tables of projections without a checkpoint, and note that the others were compared with the log."""
        for statement in BOOKKEEPING:
            connection.execute(statement)
        self._refuse_another_log(connection)
        connection.execute(f"DELETE FROM {CHECKPOINTS} WHERE projection = ?", (anew,))
        known = {name for (name,) in connection.execute(f"SELECT projection FROM {CHECKPOINTS}")}
        now = time.time_ns() // 1000
        for projection in self.projections:
            if projection.name in known:
                connection.execute(f"UPDATE {CHECKPOINTS} SET checked = ? WHERE projection = ?", (now, projection.name))
                continue
            for table in projection.tables:
                for statement in (f"DROP TABLE IF EXISTS {table.name}", *table.ddl()):
                    connection.execute(statement)
            connection.execute(f"INSERT INTO {CHECKPOINTS} VALUES (?, 0, NULL, 0, 0, ?)", (projection.name, now))

    def _refuse_another_log(self, connection: sqlite3.Connection) -> None:
        """Raise _AnotherLog unless the log has, at each checkpoint, the very event that was folded there.

        An event's data hold its random id: no two logs have the same event at one position unless one began
        as a copy of the other, and then all before it is the same too.
        """
        for position, data in connection.execute(
            f"SELECT position, data FROM {CHECKPOINTS} WHERE position > 0"
        ).fetchall():
            stored = self.reader.at(position)
            if stored is None or stored.data != data:
                raise _AnotherLog


class _Fold:
    """Folds batches of events, over one connection, into the tables of some projections."""

    def __init__(self, connection: sqlite3.Connection, projections: Sequence[Projection], upcasters: Upcasters) -> None:
        self.unknown: set[str] = set()
        """Types of events that no projection knows."""
        self._connection = connection
        self._projections = projections
        self._upcasters = upcasters

    def position(self) -> int:
        """Return how far all of the projections have got."""
        return min(int(target.position) for target in self._targets())

    def add(self, batch: list[StoredEvent]) -> None:
        """Fold what is new in a batch, or raise LogDamaged with the views at the last event that can be folded."""
        try:
            self._add(batch)
        except LogDamaged:
            if len(batch) == 1:
                raise
            half = len(batch) // 2
            self.add(batch[:half])
            self.add(batch[half:])

    def _add(self, batch: list[StoredEvent]) -> None:
        """Fold what is new in a batch; its rows and the checkpoints come into the file together or not at all."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            targets = self._targets()
            position, log_time = min((target.position, target.log_time) for target in targets)
            marks: list[tuple[int, int]] = []
            for stored in batch:
                if stored.position <= position:
                    continue
                envelope, name, body = opened(stored, self._upcasters)
                log_time = max(log_time, envelope["time"])
                if stored.position // MARK_EVERY != position // MARK_EVERY:
                    marks.append((stored.position, log_time))
                position = stored.position
                fact = Fact(position, name, envelope, body)
                for target in targets:
                    if not target.fold(fact):
                        self.unknown.add(name)
            self._connection.executemany(f"INSERT OR REPLACE INTO {MARKS} VALUES (?, ?)", marks)
            for target in targets:
                target.save(batch[-1], log_time)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _targets(self) -> "list[_Target]":
        return [_Target(self._connection, projection) for projection in self._projections]


class _Target:
    """A projection in the course of one batch: its checkpoint before it, and its rows."""

    def __init__(self, connection: sqlite3.Connection, projection: Projection) -> None:
        self.position, self.log_time, self._skipped = connection.execute(
            f"SELECT position, log_time, skipped FROM {CHECKPOINTS} WHERE projection = ?", (projection.name,)
        ).fetchone()
        self._connection = connection
        self._projection = projection
        self._rows = SqliteRows(connection, projection.tables)

    def fold(self, fact: Fact) -> bool:
        """Fold an event, once; say whether this program knows its type."""
        if fact.position <= self.position:
            return True
        handler = self._projection.handlers.get(fact.type)
        if handler is None:
            if fact.type in _KNOWN:
                return True
            self._skipped += 1
            return False
        self._rows.position = fact.position
        try:
            handler(self._rows, fact)
        except MISSHAPEN as error:
            raise misshapen(fact.position, fact.type, error) from error
        return True

    def save(self, last: StoredEvent, log_time: int) -> None:
        """Write the rows, and the checkpoint behind the last event of the batch."""
        if last.position > self.position:
            try:
                self._rows.flush()
            except OverflowError as error:
                # Of a batch: whoever folds it halves it until it is a single event.
                raise misshapen(last.position, last.type, error) from error
            self._connection.execute(
                f"UPDATE {CHECKPOINTS} SET position = ?, data = ?, log_time = ?, skipped = ? WHERE projection = ?",
                (last.position, last.data, log_time, self._skipped, self._projection.name),
            )


def _batches(events: Iterator[StoredEvent], most: int) -> Iterator[list[StoredEvent]]:
    batch: list[StoredEvent] = []
    size = 0
    try:
        for event in events:
            batch.append(event)
            size += len(event.data)
            if len(batch) >= most or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    except LogDamaged:
        if batch:
            yield batch  # what is in front of it
        raise
    if batch:
        yield batch
