"""How a fold writes its rows, and what it is: handlers of events over tables."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from stackledger.projections.columns import check_plain
from stackledger.projections.schema import FOREVER, Table

Key = tuple[Any, ...]
Values = dict[str, Any]


class Fact(NamedTuple):
    """An event as the folds see it: plain values, brought to the newest version of its type."""

    position: int
    type: str
    envelope: Mapping[str, Any]
    body: Mapping[str, Any]


class Rows(Protocol):
    """The current rows, as of the event that is being folded."""

    def get(self, table: Table, key: Key) -> Values | None:
        """Return the columns of the row that holds now. It is not to be changed."""

    def put(self, table: Table, key: Key, values: Values) -> None:
        """Let these columns (all of the table's) hold from this event on."""

    def end(self, table: Table, key: Key) -> None:
        """Let no row of this key hold from this event on."""


Handler = Callable[[Rows, Fact], None]


class Projection(NamedTuple):
    """A fold of events into tables. Its rows depend on nothing but the events.

    `handlers` are by type name and version.
    Another handler, another meaning or another column needs another version in `name`.
    """

    name: str
    tables: tuple[Table, ...]
    handlers: Mapping[str, Handler]


class _Held:
    """What a key holds in the course of a batch: since when, and whether the table has that row already."""

    __slots__ = ("since", "stored", "values")

    def __init__(self, since: int, values: Values | None, *, stored: bool) -> None:
        self.since = since
        self.values = values
        self.stored = stored


class _Writer:
    """The rows of one table, collected over a batch."""

    def __init__(self, connection: sqlite3.Connection, table: Table) -> None:
        self._connection = connection
        self._table = table
        # The newest row of a key is at the end of its index; a search for `to_pos` would pass all rows before it.
        newest = (
            f"SELECT rowid FROM {table.name} WHERE {' AND '.join(f'{column} = ?' for column in table.key)}"
            " ORDER BY from_pos DESC LIMIT 1"
        )
        columns = ", ".join((*table.key, *table.columns, "from_pos", "to_pos"))
        marks = ", ".join("?" * (len(table.key) + len(table.columns) + 2))
        held = f"rowid = ({newest}) AND to_pos = {FOREVER}"
        self._select = f"SELECT from_pos, {', '.join(table.columns)} FROM {table.name} WHERE {held}"
        self._close = f"UPDATE {table.name} SET to_pos = ? WHERE {held}"
        self._insert = f"INSERT INTO {table.name} ({columns}) VALUES ({marks})"
        self._held: dict[Key, _Held] = {}
        self._ends: list[tuple[Any, ...]] = []
        self._past: list[tuple[Any, ...]] = []

    def get(self, key: Key) -> Values | None:
        held = self._held.get(key)
        if held is None:
            check_plain(key)
            row = self._connection.execute(self._select, key).fetchone()
            if row is None:
                return None
            held = _Held(row[0], dict(zip(self._table.columns, row[1:], strict=True)), stored=True)
            self._held[key] = held
        return held.values

    def set(self, key: Key, values: Values | None, position: int) -> None:
        check_plain((*key, *values.values()) if values else key)
        held = self._held.get(key)
        if held is None or held.stored:
            # Where the table has a row that holds, it ends here; where it has none, this finds nothing.
            self._ends.append((position, *key))
        elif held.values is not None and held.since < position:
            self._past.append(self._row(key, held.values, held.since, position))
        self._held[key] = _Held(position, values, stored=False)

    def flush(self) -> None:
        self._connection.executemany(self._close, self._ends)
        self._connection.executemany(self._insert, self._past)
        self._connection.executemany(
            self._insert,
            (
                self._row(key, held.values, held.since, FOREVER)
                for key, held in self._held.items()
                if held.values is not None and not held.stored
            ),
        )

    def _row(self, key: Key, values: Values, since: int, until: int) -> tuple[Any, ...]:
        return (*key, *map(values.__getitem__, self._table.columns), since, until)


class SqliteRows:
    """The rows of one batch of events. They stay in memory until `flush` writes them, a few statements for all."""

    def __init__(self, connection: sqlite3.Connection, tables: tuple[Table, ...]) -> None:
        self.position = 0
        """The position of the event that is being folded."""
        self._writers = {table.name: _Writer(connection, table) for table in tables}

    def get(self, table: Table, key: Key) -> Values | None:
        """Return the columns of the row that holds now. It is not to be changed."""
        return self._writers[table.name].get(key)

    def put(self, table: Table, key: Key, values: Values) -> None:
        """Let these columns (all of the table's) hold from this event on."""
        self._writers[table.name].set(key, values, self.position)

    def end(self, table: Table, key: Key) -> None:
        """Let no row of this key hold from this event on."""
        self._writers[table.name].set(key, None, self.position)

    def flush(self) -> None:
        """Write the batch; after this the object is used up."""
        for writer in self._writers.values():
            writer.flush()
