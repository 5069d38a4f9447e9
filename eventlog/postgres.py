"""The log on PostgreSQL: the recorder of the eventsourcing library, over a connection of ours.

The library does the work: its functions lock, look at the condition, and append, in one round trip. Ours is what
surrounds it: which connection is used, what its errors mean, and what is done when an answer is lost.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from eventsourcing.dcb.api import (
    DCBAppendCondition,
    DCBEvent,
    DCBQuery,
    DCBQueryItem,
    DCBReadResponse,
    DCBRecorder,
)
from eventsourcing.dcb.persistence import DCBListenNotifySubscription
from eventsourcing.dcb.popo import SimpleDCBReadResponse
from eventsourcing.dcb.postgres_tt import PostgresDCBRecorderTT
from eventsourcing.persistence import ProgrammingError
from eventsourcing.postgres import PostgresDatastore
from psycopg.rows import DictRow, dict_row
from psycopg.types.composite import CompositeInfo, register_composite

from stackledger.domain.errors import AppendUnknown, LogError
from stackledger.eventlog.moves import ADOPTED
from stackledger.eventlog.postgres_reader import Listener
from stackledger.eventlog.postgres_server import LOCK_SECONDS, MAKE, SCHEMA, TABLES, Connection, ConnectionLost, Server

Cursor = psycopg.Cursor[DictRow]

ADOPTS = "stackledger.adopts"
"""What a session sets to `on` that lets a log go on which was moved."""

_GREATEST = 2**63 - 1
_STOPS_WITHIN = 0.2


class PostgresRecorder(DCBRecorder):
    """A log that `log create` made on a server. Safe between threads, processes and after a fork.

    An append waits up to LOCK_SECONDS for other writers, then raises LogBusy. Every error is a StackledgerError,
    except the library's own IntegrityError for a condition that failed. As the library's, it knows no query in which
    an item without tags stands beside others, or has other than one type.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.library = PostgresDCBRecorderTT(_Datastore(server), events_table_name=TABLES)

    def read(
        self, query: DCBQuery | None = None, *, after: int | None = None, limit: int | None = None
    ) -> DCBReadResponse:
        """Return the events behind `after` that match any item of the query, in order."""
        query = None if query is None else _distinct(query)
        after = _within(after)
        if limit is None:
            return self._server.again(lambda: self.library.read(query, after=after))
        # The library counts an event once for each item that it matches.
        most = max(limit, 0) * max(len(query.items) if query else 1, 1)
        found = list(self._server.again(lambda: self.library.read(query, after=after, limit=most)))[: max(limit, 0)]
        return SimpleDCBReadResponse(iter(found), found[-1].position if found else None)

    def append(self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None) -> int:
        """Append the events durably and return the last one's position, or raise with nothing changed.

        Positions of one append follow each other without a gap. IntegrityError if anything matches the condition;
        LogMoved; AppendUnknown if the connection was lost before the answer came.
        """
        if not events:
            raise ProgrammingError("an append needs at least one event")
        if not self.library.datastore.psycopg_python_types:
            raise LogError(f"The log {self._server.name} is not there yet.", hint=MAKE)
        if condition is not None:
            condition = DCBAppendCondition(_distinct(condition.fail_if_events_match), _within(condition.after))
        try:
            if any(event.type == ADOPTED for event in events):
                return self._adopting(events, condition)
            return self.library.append(events, condition)
        except ConnectionLost as error:
            raise AppendUnknown(
                f"{error.message} It may or may not hold what was to be added.", hint="Look whether it does."
            ) from error

    def _adopting(self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None) -> int:
        """Append what lets a log that was moved go on here."""
        with self._server.connection() as connection, connection.transaction():
            connection.execute(f"SET LOCAL {ADOPTS} = 'on'")
            return self.library.append(events, condition)

    def subscribe(self, query: DCBQuery | None = None, *, after: int | None = None) -> PostgresSubscription:
        """Return all that `read` would, and then what comes, as it comes."""
        return PostgresSubscription(self, query, after)

    def listener(self) -> Listener:
        """Return somebody who hears of appends."""
        return Listener(self._server)

    def close(self) -> None:
        """Let go of the connection. What is asked next opens it again."""
        self._server.close()


class PostgresSubscription(DCBListenNotifySubscription[PostgresRecorder]):
    """Woken by a thread that hears of appends over a connection of its own."""

    def __init__(self, recorder: PostgresRecorder, query: DCBQuery | None, after: int | None) -> None:
        self._listener = recorder.listener()
        self._listener.wait()  # before anything is pulled, so that no append falls between
        self._stopped = threading.Event()
        super().__init__(recorder, query, after)
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._waiter.start()

    def __exit__(self, *args: object, **kwargs: object) -> None:
        """Stop, and wait until both threads have ended."""
        super().__exit__(*args, **kwargs)
        self._waiter.join()

    def stop(self) -> None:
        """Stop; whoever waits for an event gets no more."""
        self._stopped.set()
        super().stop()

    def _wait(self) -> None:
        try:
            while not self._stopped.is_set():
                if self._listener.wait(_STOPS_WITHIN):
                    self._has_been_notified.set()
        except LogError as error:
            self._thread_error = error
            self.stop()
        finally:
            self._listener.close()


class _Datastore(PostgresDatastore):
    """What the library's recorder asks for connections, in place of its pool, which has threads and hides errors."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.schema = SCHEMA
        self.lock_timeout = LOCK_SECONDS
        self.db_type_names = set[str]()
        self.psycopg_type_adapters: dict[str, CompositeInfo] = {}
        self.psycopg_python_types: dict[str, Any] = {}

    @contextmanager
    def get_connection(self) -> Iterator[Connection]:
        """Hold the one connection, which knows the library's types of values."""
        with self._server.connection() as connection:
            for info in self.psycopg_type_adapters.values():
                if connection.adapters.types.get(info.oid) is None:
                    register_composite(info, connection)
            yield connection

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """Hold a cursor, whose rows are dictionaries, as the library wants them."""
        with self.get_connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            yield cursor

    @contextmanager
    def transaction(self, *, commit: bool = False) -> Iterator[Cursor]:
        """Hold a cursor in a transaction."""
        with self.get_connection() as connection, connection.transaction(force_rollback=not commit):
            yield connection.cursor(row_factory=dict_row)

    def close(self) -> None:
        """Leave the connection to the server, whose it is."""


def _distinct(query: DCBQuery) -> DCBQuery:
    """Return the query as the library needs it: a tag that stands twice in an item would match nothing.

    It asks for everything without items, and knows none that matches everything.
    """
    if not all(item.types or item.tags for item in query.items):
        return DCBQuery()
    return DCBQuery([DCBQueryItem(item.types, sorted(set(item.tags))) for item in query.items])


def _within(position: int | None) -> int:
    return min(max(position or 0, 0), _GREATEST)
