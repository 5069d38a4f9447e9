"""The seat of an active coordinator at a log on PostgreSQL: a lock that one session holds, over which is appended.

It ends with the session, and the session's last append is over by then. So nothing of a coordinator that was thought
dead comes into the log after its successor has begun to read.
"""

from __future__ import annotations

import hashlib

from stackledger.eventlog.postgres import PostgresRecorder
from stackledger.eventlog.postgres_reader import Listener, PostgresReader
from stackledger.eventlog.postgres_server import Connection, Server, one
from stackledger.eventlog.seat import ANSWERS_WITHIN, SeatLost

STALE = 30.0
"""Seconds without a word from its holder after which a seat is taken away. Coordinators ask several times a second."""

_TAKE = "SELECT pg_try_advisory_lock(%s)"
# The halves of a lock's number stand in two columns. What a session of another user does is not shown to us.
_TAKE_AWAY = """
SELECT pg_terminate_backend(activity.pid)
FROM pg_locks AS locks JOIN pg_stat_activity AS activity ON activity.pid = locks.pid
WHERE locks.locktype = 'advisory' AND locks.granted AND locks.objsubid = 1
  AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (locks.classid::bigint << 32 | locks.objid::bigint) = %(number)s
  AND activity.state_change < clock_timestamp() - make_interval(secs => %(stale)s)
"""


class PostgresSeat:
    """The seat at the log at an address. Whoever holds it and is not heard of for `stale` seconds loses it."""

    def __init__(
        self, address: str, orchestrator_id: str, *, stale: float = STALE, answers_within: float = ANSWERS_WITHIN
    ) -> None:
        self._server = _OneSession(address, answers_within)
        self._number = _number(orchestrator_id)
        self._stale = stale
        self._recorder: PostgresRecorder | None = None
        self.reader = PostgresReader(self._server)

    def take(self) -> bool:
        """Take the seat if it is free."""
        self._server.begin()
        taken = bool(self._server.asked(lambda connection: one(connection, _TAKE, (self._number,))))
        if not taken:
            self._server.asked(self._take_away)
            return False
        self._recorder = PostgresRecorder(self._server)
        return True

    def check(self) -> None:
        """Raise SeatLost where the session is known to be gone; else whatever is asked next says so."""
        self._server.check()

    def leave(self) -> None:
        """Let others have it."""
        self._recorder = None
        self._server.close()

    @property
    def recorder(self) -> PostgresRecorder:
        """The log, for appending."""
        self.check()
        assert self._recorder is not None
        return self._recorder

    def now(self) -> int:
        """Return what the server's clock says."""
        return self._server.now()

    def listener(self) -> Listener:
        """Return somebody who hears of what anybody appends."""
        return Listener(Server(self._server.address))

    def _take_away(self, connection: Connection) -> None:
        connection.execute(_TAKE_AWAY, {"number": self._number, "stale": self._stale})


class _OneSession(Server):
    """A server with one session: what hangs on it is gone with it, so no other one is opened in its place."""

    def __init__(self, address: str, answers_within: float) -> None:
        super().__init__(address)
        self._timeout = f"SET statement_timeout = '{round(answers_within * 1000)}ms'"

    def begin(self) -> None:
        """Open the session, if there is none; a server that is not there is not waited for."""
        with self._mutex:
            if self._connection is None or self._connection.closed:
                self._was_there = False
                super()._live().execute(self._timeout)

    def check(self) -> None:
        """Raise SeatLost where the session is known to be gone."""
        if self._connection is None or self._connection.closed:
            raise SeatLost(f"The session with the log {self.name} is over.")

    def _live(self) -> Connection:
        self.check()
        assert self._connection is not None
        return self._connection


def _number(orchestrator_id: str) -> int:
    """Return the number of the lock, of 63 bits, so that it is the same with and without a sign."""
    digest = hashlib.sha256(f"stackledger coordinator {orchestrator_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
