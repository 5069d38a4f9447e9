"""Reading a log on PostgreSQL in order: what queries and projections stand on there.

Appends take turns under a lock that is held until they are visible, so that positions become visible in order. They
may have gaps, where an append was rolled back: nobody may count on the next position, only on order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from stackledger.eventlog.forking import abandon, forget_in_child
from stackledger.eventlog.postgres_server import CHANNEL, EVENTS, SCHEMA, TAGS, Connection, Server, one
from stackledger.eventlog.stored import StoredEvent

_FIRST_PAGE = 64
_LARGEST_PAGE = 2048
_PAGE_BYTES = 4 * 1024 * 1024
_LONGEST_WAIT = 1.0

_HEAD = f"SELECT max(id) FROM {SCHEMA}.{EVENTS}"
_FOUND = f"SELECT id, type, tags, data FROM {SCHEMA}.{EVENTS} WHERE id > %(after)s AND id <= %(upto)s"
# A tag that stands twice on an event is there twice; the index of tags and positions gives both in order.
_FOUND_BY_TAG = f"""
SELECT DISTINCT ON (found.main_id) id, type, tags, data
FROM {SCHEMA}.{TAGS} AS found JOIN {SCHEMA}.{EVENTS} AS events ON events.id = found.main_id
WHERE found.tag = %(tag)s AND found.main_id > %(after)s AND found.main_id <= %(upto)s AND events.tags @> %(tags)s
"""


class PostgresReader:
    """A LogReader over the log on a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.name = server.name
        self._listener = Listener(server)

    def head(self) -> int:
        """Return the greatest position, 0 for an empty log."""
        return int(self._server.asked(lambda connection: one(connection, _HEAD)) or 0)

    def at(self, position: int) -> StoredEvent | None:
        """Return the event at this very position."""
        return next(self.scan(after=position - 1, upto=position), None)

    def scan(self, *, after: int = 0, upto: int | None = None, tags: tuple[str, ...] = ()) -> Iterator[StoredEvent]:
        """Yield the events with all these tags and `after < position <= upto`, in order.

        Without `upto` they end at what was the head when the first was asked for.
        """
        return self._scan(tags, max(after, 0), self.head() if upto is None else upto, newest_first=False)

    def scan_back(self, *, before: int | None = None, tags: tuple[str, ...] = ()) -> Iterator[StoredEvent]:
        """Yield the events with all these tags and a position below `before`, newest first."""
        return self._scan(tags, 0, self.head() if before is None else before - 1, newest_first=True)

    def counts_by_type(self) -> dict[str, int]:
        """Return how many events there are of each type and version, by type."""
        query = f'SELECT type, count(*) FROM {SCHEMA}.{EVENTS} GROUP BY type ORDER BY type COLLATE "C"'
        return dict(self._server.asked(lambda connection: connection.execute(query).fetchall()))

    def size(self) -> int:
        """Return how many bytes the log takes up, its indexes included."""
        query = f"SELECT pg_total_relation_size('{SCHEMA}.{EVENTS}') + pg_total_relation_size('{SCHEMA}.{TAGS}')"
        return int(self._server.asked(lambda connection: one(connection, query)))

    def wait(self) -> None:
        """Return when there may be events that were not there at the last call; the first call returns at once."""
        self._listener.wait()

    def close(self) -> None:
        """Let go of the log. Reading again opens it again."""
        self._listener.close()
        self._server.close()

    def _scan(self, tags: tuple[str, ...], after: int, upto: int, *, newest_first: bool) -> Iterator[StoredEvent]:
        most = _FIRST_PAGE
        tags = self._rarest_first(tags, after, upto)
        while after < upto:
            rows, more = self._page(tags, after, upto, most, newest_first=newest_first)
            for row in rows:
                yield StoredEvent(row[0], row[1], tuple(row[2]), bytes(row[3]))
            if not more:
                return
            if newest_first:
                upto = rows[-1][0] - 1
            else:
                after = rows[-1][0]
            most = min(4 * most, _LARGEST_PAGE)

    def _page(
        self, tags: tuple[str, ...], after: int, upto: int, most: int, *, newest_first: bool
    ) -> tuple[list[Any], bool]:
        """Return up to `most` rows, fewer where they are large, and whether there may be more behind them."""
        order = "DESC" if newest_first else "ASC"
        # One tag is walked and the others are looked at in what is found: PostgreSQL knows of no order in two.
        found = f"{_FOUND_BY_TAG} ORDER BY found.main_id {order}" if tags else f"{_FOUND} ORDER BY id {order}"
        # The size of what is stored elsewhere is known without fetching it.
        query = f"""
            SELECT id, type, tags, data, size FROM (
                SELECT *, sum(octet_length(data)) OVER (ORDER BY id {order}) AS size
                FROM ({found} LIMIT %(most)s) AS page
            ) AS sized
            WHERE size - octet_length(data) <= %(bytes)s ORDER BY id {order}
        """
        parameters: dict[str, Any] = {"after": after, "upto": upto, "most": most, "bytes": _PAGE_BYTES}
        if tags:
            parameters |= {"tag": tags[0], "tags": list(tags)}

        def work(connection: Connection) -> list[Any]:
            with connection.cursor(binary=True) as cursor:
                return cursor.execute(query, parameters).fetchall()

        rows = self._server.asked(work)
        return rows, len(rows) == most or bool(rows and rows[-1][4] > _PAGE_BYTES)

    def _rarest_first(self, tags: tuple[str, ...], after: int, upto: int) -> tuple[str, ...]:
        if len(tags) <= 1:
            return tags
        query = f"""
            SELECT tag FROM unnest(%(tags)s::text[]) AS given (tag) ORDER BY (
                SELECT count(*) FROM (
                    SELECT 1 FROM {SCHEMA}.{TAGS} AS found
                    WHERE found.tag = given.tag AND main_id > %(after)s AND main_id <= %(upto)s LIMIT 65536
                ) AS counted
            )
        """
        parameters = {"tags": list(tags), "after": after, "upto": upto}
        return tuple(tag for (tag,) in self._server.asked(lambda found: found.execute(query, parameters).fetchall()))


class Listener:
    """Hears of appends over a connection of its own. For one thread."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: Connection | None = None
        forget_in_child(self)

    def wait(self, seconds: float = _LONGEST_WAIT) -> bool:
        """Return after an append, or after `seconds`; say whether anything may have been appended.

        The first call begins to listen and returns at once, so that whoever then reads misses nothing. So does a call
        after the connection was lost.
        """
        try:
            if self._connection is None:
                self._connection = self._server.opened()
                self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
                return True
            return any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))
        except psycopg.Error:
            self.close()
            time.sleep(min(seconds, 0.1))
            return True

    def close(self) -> None:
        """Stop listening; the next call begins anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def forget(self) -> None:
        """In a forked child: leave the parent's connection alone."""
        abandon(self._connection)
        self._connection = None
