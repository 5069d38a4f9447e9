"""The seat of an active coordinator: a lock where the log lives, of which each orchestrator has one.

Who cannot append is not active, and who is not active cannot append. So the lock is beside the file of the log, or
hangs on the very session with the server over which is appended.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Protocol

from eventsourcing.dcb.api import DCBRecorder

from stackledger.domain.errors import LogBusy, LogError, LogUnreachable
from stackledger.eventlog.file_writes import FileWrites
from stackledger.eventlog.forking import abandon, forget_in_child
from stackledger.eventlog.lock import FileLock
from stackledger.eventlog.reader import SQLiteReader
from stackledger.eventlog.schema import connect
from stackledger.eventlog.sqlite import SQLiteRecorder, data_version
from stackledger.eventlog.stored import LogReader

ANSWERS_WITHIN = 10.0
"""Seconds that an append through a seat takes at most: who waits longer for others keeps the broker waiting."""

_NOT_AGAIN_FOR = 0.002
"""Seconds between two words about commits, so that many small ones keep nobody from anything else."""


class SeatLost(LogError):
    """The seat is somebody else's by now, or about to be: nothing was appended, and nothing more can be."""


class Listener(Protocol):
    """Hears of appends, over a connection of its own. For one thread."""

    def wait(self, seconds: float) -> bool:
        """Return after an append, or after some seconds; say whether anything may have been appended."""

    def close(self) -> None:
        """Let go of the connection."""


class Seat(Protocol):
    """Who takes it reads and appends through it; the log must be there."""

    def take(self) -> bool:
        """Take the seat if it is free, without waiting, and say whether it is ours now."""

    def check(self) -> None:
        """Raise SeatLost where the seat is not ours any more."""

    def leave(self) -> None:
        """Let others have it, if it is ours, and let go of the log. It can be taken again."""

    @property
    def reader(self) -> LogReader:
        """The log, for reading, as long as the seat is ours."""

    @property
    def recorder(self) -> DCBRecorder:
        """The log, for appending, as long as the seat is ours."""

    def now(self) -> int:
        """Return the log's idea of the time, in microseconds since 1970 UTC."""

    def listener(self) -> Listener:
        """Return somebody who hears of what anybody appends."""


class FileSeat:
    """The seat at a log in the file at `path`, for the processes of one machine."""

    def __init__(self, path: Path, orchestrator_id: str, *, answers_within: float = ANSWERS_WITHIN) -> None:
        self._path = path.resolve()
        self._lock = FileLock(self._path.with_name(f"coordinator-{orchestrator_id}.lock"), timeout=0.0)
        self._answers_within = answers_within
        self._is_taken = False
        self._recorder: SQLiteRecorder | None = None
        self.reader = SQLiteReader(self._path)

    def take(self) -> bool:
        """Take the seat if it is free."""
        if not self.reader.head():
            raise LogUnreachable(f"The log {self._path} is not there.", hint="Put it back.")
        try:
            self._lock.__enter__()
        except LogBusy:
            return False
        self._is_taken = True
        try:
            self._recorder = SQLiteRecorder(self._path, timeout=self._answers_within)
        except BaseException:
            self.leave()
            raise
        return True

    def check(self) -> None:
        """Raise SeatLost where the lock was taken away, which takes somebody who deletes its file."""
        if self._recorder is None or not self._lock.is_in_place():
            raise SeatLost(f"The lock {self._lock.path} was moved or deleted.")

    def leave(self) -> None:
        """Let others have it, if it is ours, and let go of the log."""
        recorder, self._recorder = self._recorder, None
        try:
            if recorder is not None:
                recorder.close()
            self.reader.close()
        finally:
            if self._is_taken:
                self._is_taken = False
                self._lock.__exit__(None, None, None)

    @property
    def recorder(self) -> SQLiteRecorder:
        """The log, for appending."""
        self.check()
        assert self._recorder is not None
        return self._recorder

    def now(self) -> int:
        """Return what this machine's clock says."""
        return time.time_ns() // 1000

    def listener(self) -> FileListener:
        """Return somebody who hears of what anybody appends."""
        return FileListener(self._path)


class FileListener:
    """Hears of commits to the file of a log: whoever appends rings with the lock that it holds meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None
        self._rings = FileWrites(path.resolve().with_suffix(".lock"))
        self._told = 0.0
        forget_in_child(self)

    def wait(self, seconds: float) -> bool:
        """Return after an append, or after some seconds; say whether anything may have been appended."""
        deadline = time.monotonic() + seconds
        time.sleep(max(0.0, self._told + _NOT_AGAIN_FOR - time.monotonic()))
        try:
            if self._version is None:
                deadline = 0.0  # nobody knows what came before it listened
            while not self._rings.wait(max(0.0, deadline - time.monotonic())):
                # Somebody may have appended who did not ring, or where the system does not tell.
                before, self._version = self._version, self._looked()
                if before != self._version:
                    break
                if time.monotonic() >= deadline:
                    return False
        except sqlite3.Error:
            self.close()
            time.sleep(min(seconds, 0.1))
        self._told = time.monotonic()
        return True

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        connection, self._connection = self._connection, None
        self._version = None
        self._rings.close()
        if connection is not None:
            connection.close()

    def forget(self) -> None:
        """In a forked child: leave the parent's connection alone."""
        abandon(self._connection)
        self._connection = None
        self._rings.close()

    def _looked(self) -> int:
        if self._connection is None:
            self._connection = connect(self._path, "mode=ro", ANSWERS_WITHIN)
        return data_version(self._connection)
