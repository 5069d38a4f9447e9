"""The directory of subjects: which name belongs to which random id. It stands beside the log, never in it.

Deleting a row erases a person: the log keeps the id and a commitment that can no longer be opened.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from stackledger.domain.errors import LogError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS subjects (
    id TEXT PRIMARY KEY,
    log_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    salt BLOB NOT NULL,
    enrolled INTEGER NOT NULL,
    UNIQUE (log_id, kind, name)
)
"""


class Subject(NamedTuple):
    """A row of the directory. `enrolled` says that the log is known to hold the commitment."""

    id: str
    kind: Literal["user", "host"]
    name: str
    salt: bytes
    enrolled: bool

    @property
    def commitment(self) -> str:
        """HMAC-SHA256 of kind, NUL and name under the salt, in hexadecimal."""
        import hashlib  # loads OpenSSL, which costs every query 4 ms and serves only who enrolls or proves
        import hmac

        return hmac.new(self.salt, f"{self.kind}\0{self.name}".encode(), hashlib.sha256).hexdigest()


def new_subject(kind: Literal["user", "host"], name: str, new_id: Callable[[], str]) -> Subject:
    """Return a subject with a fresh id and salt, not yet in any directory."""
    return Subject(id=new_id(), kind=kind, name=name, salt=os.urandom(32), enrolled=False)


class SubjectDirectory:
    """The rows of one log's subjects, in a SQLite file that only its owner can read."""

    def __init__(self, path: Path, log_id: str) -> None:
        self._path = path
        self._log_id = log_id
        self._connection: sqlite3.Connection | None = None

    def find(self, kind: Literal["user", "host"], name: str) -> Subject | None:
        """Return the subject of that kind and name."""
        rows = self._query(
            "SELECT id, salt, enrolled FROM subjects WHERE log_id = ? AND kind = ? AND name = ?",
            (self._log_id, kind, name),
        )
        if not rows:
            return None
        subject_id, salt, enrolled = rows[0]
        return Subject(id=subject_id, kind=kind, name=name, salt=salt, enrolled=bool(enrolled))

    def names(self) -> dict[str, str]:
        """Return the names of all subjects by id."""
        return dict(self._query("SELECT id, name FROM subjects WHERE log_id = ?", (self._log_id,)))

    def add(self, subject: Subject) -> Subject:
        """Keep the subject, unless one of its kind and name is there; return the one that is kept."""
        self._write(
            "INSERT OR IGNORE INTO subjects VALUES (?, ?, ?, ?, ?, ?)",
            (subject.id, self._log_id, subject.kind, subject.name, subject.salt, subject.enrolled),
        )
        kept = self.find(subject.kind, subject.name)
        if kept is None:
            raise LogError(f"The directory of subjects at {self._path} did not keep {subject.name!r}.")
        return kept

    def mark_enrolled(self, subject_id: str) -> None:
        """Remember that the log holds the subject's commitment."""
        self._write("UPDATE subjects SET enrolled = 1 WHERE id = ?", (subject_id,))

    def knows_another_log(self) -> bool:
        """Say whether subjects were enrolled here in a log that is not this one."""
        return bool(self._query("SELECT 1 FROM subjects WHERE log_id <> ? AND enrolled LIMIT 1", (self._log_id,)))

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _query(self, sql: str, parameters: tuple[object, ...]) -> list[Any]:
        if self._connection is None and not self._path.exists():
            return []
        try:
            return self._open().execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _write(self, sql: str, parameters: tuple[object, ...]) -> None:
        try:
            with self._open() as connection:
                connection.execute(sql, parameters)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if not self._path.exists():
                os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            # What a thread opened, whichever thread comes last closes.
            connection = sqlite3.connect(self._path, timeout=10, check_same_thread=False)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(_SCHEMA)
            self._connection = connection
        return self._connection

    def _failed(self, error: sqlite3.Error) -> LogError:
        return LogError(
            f"The directory of subjects at {self._path} cannot be used: {error}.",
            hint="It maps the log's subject ids to names; the log itself is not concerned.",
        )
