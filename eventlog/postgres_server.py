"""A database on PostgreSQL that keeps a log: how it is reached, how it is laid out, and what its errors mean.

One log for each database, in a schema of its own; the tables and functions are those of the eventsourcing library.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from stackledger.domain.errors import (
    InvalidValue,
    LogBusy,
    LogDamaged,
    LogError,
    LogForbidden,
    LogMoved,
    LogUnreachable,
    StackledgerError,
)
from stackledger.eventlog.address import FORM, passwords, redacted
from stackledger.eventlog.forking import abandon, forget_in_child
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.moves import LOOK, WAS_MOVED

SCHEMA = "stackledger"
TABLES = "log"
"""The library's name for a log; its tables and its channel are named after it."""
EVENTS = f"{TABLES}_tt_main"
TAGS = f"{TABLES}_tt_tag"
CHANNEL = EVENTS

OLDEST_SERVER = 140000
LOCK_SECONDS = 30
"""How long an append waits for other writers."""
STATEMENT_SECONDS = 300
"""How long the server works on anything that we ask."""
CLOCKS_APART = 60_000_000
"""Microseconds between our clock and the server's from which on it is said."""
PATIENCE = 15.0
"""Seconds for which a server that restarts is waited for."""

_PAUSE = 0.1
_CONNECTING = {
    "connect_timeout": 10,
    # Whose network has gone finds out within a minute, not after the two hours of most systems.
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 40_000,
}
_SESSION = f"""
SET default_transaction_isolation = 'read committed';
SET statement_timeout = '{STATEMENT_SECONDS}s';
SET search_path = ''
"""
_END_SESSION = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE pid = %s AND application_name = %s
"""

Result = TypeVar("Result")
Connection = psycopg.Connection[Any]


class ConnectionLost(LogUnreachable):
    """A connection that was there broke. What was under way may or may not have happened."""


class Server:
    """One connection to the database at an address, shared by the threads of a process and by no child of it.

    It is opened when needed, and again after it was lost; a server that restarts is waited for. Every error is a
    StackledgerError, in which no password stands.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.name = redacted(address)
        self._mutex = threading.RLock()
        self._connection: Connection | None = None
        # Process id and name, by which a session is told from another that has its process id later.
        self._session: tuple[int, str] | None = None
        self._lost: tuple[int, str] | None = None
        self._was_there = False
        forget_in_child(self)

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """Hold the connection, which commits each statement by itself."""
        with self._mutex:
            connection = self._live()
            try:
                yield connection
            except psycopg.Error as error:
                if not (connection.closed or _ends_session(error)):
                    raise meaning(error, self.address) from error
                connection.close()
                self._lost = self._session
                self._connection = None
                raise ConnectionLost(
                    f"The connection to the log {self.name} was lost ({_told(error, self.address)}).",
                    hint="Try again.",
                ) from error
            except UnicodeEncodeError as error:
                raise InvalidValue(f"The log holds Unicode text, and this is none: {error.object!r}.") from error

    def asked(self, work: Callable[[Connection], Result]) -> Result:
        """Return what `work` reads, which may be called again on another connection."""
        return self.again(lambda: self._with(work))

    def again(self, read: Callable[[], Result]) -> Result:
        """Return what `read` returns, called again if the connection was lost meanwhile."""
        try:
            return read()
        except ConnectionLost:
            return read()

    def now(self) -> int:
        """Return the server's time in microseconds since 1970."""
        sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        return int(self.asked(lambda connection: one(connection, sql)))

    def opened(self) -> Connection:
        """Return another connection, for whoever needs one alone; its errors are for `meaning`."""
        with translated(self.address):
            return self._open()[0]

    def close(self) -> None:
        """Let go of the connection; what is asked next opens it again."""
        with self._mutex:
            connection, self._connection = self._connection, None
            self._was_there = False
            if connection is not None:
                connection.close()

    def forget(self) -> None:
        """In a forked child: leave the parent's connection alone and open another when needed."""
        self._mutex = threading.RLock()
        abandon(self._connection)
        self._connection = self._lost = None

    def _with(self, work: Callable[[Connection], Result]) -> Result:
        with self.connection() as connection:
            return work(connection)

    def _live(self) -> Connection:
        if self._connection is None or self._connection.closed:
            with translated(self.address):
                connection, session = self._open()
                try:
                    self._end_lost_session(connection)
                except BaseException:
                    connection.close()
                    raise
            self._connection, self._session, self._was_there = connection, session, True
        return self._connection

    def _open(self) -> tuple[Connection, tuple[int, str]]:
        """Return a new connection, and what its session is known by."""
        name = f"stackledger/{new_id()}"
        parameters = {**_CONNECTING, **self._parameters(), "application_name": name, "client_encoding": "utf8"}
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                connection = psycopg.connect(autocommit=True, **parameters)
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or not (self._was_there or _is_starting(error)):
                    raise
                time.sleep(random.uniform(0, 2 * _PAUSE))  # noqa: S311 - spreads clients, hides nothing
                continue
            try:
                if connection.info.server_version < OLDEST_SERVER:
                    raise LogError(
                        f"The server of the log {self.name} is PostgreSQL {connection.info.server_version // 10000}.",
                        hint=f"A log needs PostgreSQL {OLDEST_SERVER // 10000} or newer.",
                    )
                connection.execute(_SESSION)
            except BaseException:
                connection.close()
                raise
            return connection, (connection.info.backend_pid, name)

    def _parameters(self) -> dict[str, Any]:
        try:
            return dict(conninfo_to_dict(self.address))
        except psycopg.Error:
            # Not repeated, and not the cause: whatever could not be understood may be a password.
            raise InvalidValue(f"The address of the log {self.name} cannot be understood.", hint=FORM) from None

    def _end_lost_session(self, connection: Connection) -> None:
        """End the session whose connection was lost, if the server still works for it.

        It may be waiting for its turn to append. Whoever looks afterwards whether the append happened can trust
        what is seen.
        """
        if self._lost is None:
            return
        row = connection.execute(_END_SESSION, self._lost).fetchone()
        if row is not None and not row[0]:
            raise LogBusy(
                f"The log {self.name} is still at work on what was asked over a connection that was lost.",
                hint="Try again in a moment.",
            )
        self._lost = None


def one(connection: Connection, sql: Any, parameters: Any = None) -> Any:
    """Return the only value of the only row."""
    row = connection.execute(sql, parameters).fetchone()
    return None if row is None else row[0]


@contextlib.contextmanager
def translated(address: str) -> Iterator[None]:
    """Turn every exception of psycopg into one of ours."""
    try:
        yield
    except psycopg.Error as error:
        raise meaning(error, address) from error


_AGAIN = "Try again."
_ASK = "Ask whoever looks after the server."
_ENTER = (
    "Check the address, that the server runs, and the user and password: PostgreSQL looks for them in PGUSER,"
    " PGPASSWORD, ~/.pgpass and service files."
)
MAKE = "An administrator makes one with `stackledger log create`."
_RIGHTS = "Ask an administrator to grant you the role stackledger_writer, or stackledger_reader for reading alone."

_MEANINGS: dict[type[Exception], tuple[type[StackledgerError], str, str]] = {
    errors.LockNotAvailable: (LogBusy, "is locked by another writer", _AGAIN),
    errors.QueryCanceled: (LogBusy, "took too long", _AGAIN),
    errors.SerializationFailure: (LogBusy, "is locked by another writer", _AGAIN),
    errors.DeadlockDetected: (LogBusy, "is locked by another writer", _AGAIN),
    errors.TooManyConnections: (LogBusy, "has no connection left for us", _AGAIN),
    errors.ConfigurationLimitExceeded: (LogBusy, "has reached a limit of its server", _ASK),
    errors.InsufficientPrivilege: (LogError, "may not be used like that by this user", _RIGHTS),
    errors.ReadOnlySqlTransaction: (
        LogError,
        "is only to be read there",
        "It may be a standby: name the primary server in the address.",
    ),
    errors.InvalidCatalogName: (LogUnreachable, "cannot be reached: there is no such database", MAKE),
    errors.InvalidSchemaName: (LogError, "is not there yet", MAKE),
    errors.UndefinedTable: (LogError, "is not there yet", MAKE),
    errors.UndefinedFunction: (LogError, "is not there yet", MAKE),
    errors.UndefinedObject: (LogError, "is not there yet", MAKE),
    errors.DiskFull: (LogError, "cannot grow, because the server's disk is full", _ASK),
    errors.OutOfMemory: (LogError, "needs more memory than the server has", _ASK),
    errors.ObjectNotInPrerequisiteState: (LogMoved, WAS_MOVED, LOOK),
    errors.DataCorrupted: (LogDamaged, "is damaged", "Restore the database from a copy."),
    errors.IndexCorrupted: (LogDamaged, "is damaged", "Restore the database from a copy."),
    psycopg.DataError: (InvalidValue, "cannot hold that value", ""),
    psycopg.IntegrityError: (LogError, "refused the change, because it is append-only", ""),
    psycopg.OperationalError: (LogUnreachable, "cannot be reached", _ENTER),
    psycopg.InterfaceError: (LogUnreachable, "cannot be reached", _ENTER),
    psycopg.ProgrammingError: (LogError, "cannot be used", ""),
    psycopg.NotSupportedError: (LogError, "cannot be used", ""),
    psycopg.InternalError: (LogError, "cannot be used, because the server fails", _ASK),
    psycopg.DatabaseError: (LogError, "cannot be used", ""),
    psycopg.Error: (LogError, "cannot be used", ""),
}


def meaning(error: psycopg.Error, address: str) -> StackledgerError:
    """Return what an exception of psycopg means for the log at an address."""
    kind, what, hint = next(_MEANINGS[each] for each in type(error).__mro__ if each in _MEANINGS)
    if kind is LogUnreachable and _is_final(error):
        kind = LogForbidden
    return kind(f"The log {redacted(address)} {what} (PostgreSQL: {_told(error, address)}).", hint=hint)


def _told(error: psycopg.Error, address: str) -> str:
    """Return the first line of what PostgreSQL says, less any password."""
    lines = str(error).strip().splitlines()
    text = lines[0].rstrip(".") if lines else type(error).__name__
    for password in passwords(address):
        text = text.replace(password, "…")
    return text


def _ends_session(error: psycopg.Error) -> bool:
    # The server says so before it closes the connection, and may have committed just before.
    return (error.sqlstate or "").startswith(("57P", "08"))


# psycopg tells no code for what a server says to who comes in.
_STARTING = ("starting up", "shutting down", "recovery", "not yet accepting")
_FULL = ("too many", "connection slots are reserved")
_OURS_TO_MEND = ("FATAL:", "no password supplied", "certificate", "SSL was required")


def _is_starting(error: psycopg.OperationalError) -> bool:
    return any(words in str(error) for words in _STARTING)


def _is_final(error: psycopg.Error) -> bool:
    """Say whether a server that is well does not let us in, and will not until somebody changes something."""
    told = str(error)
    passes = _ends_session(error) or any(words in told for words in (*_STARTING, *_FULL))
    return not passes and any(words in told for words in _OURS_TO_MEND)
