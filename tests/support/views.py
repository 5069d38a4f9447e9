"""What views hold, as sorted rows, and an oracle: the same folds over plain dictionaries."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stackledger.eventlog.stored import StoredEvent
from stackledger.eventlog.upcasting import opened
from stackledger.projections.folding import PROJECTIONS
from stackledger.projections.rows import Fact, Key, Projection, Values
from stackledger.projections.schema import CHECKPOINTS, FOREVER, MARKS, Table

Dump = dict[str, list[tuple[Any, ...]]]
"""Rows by table: key, columns, from, to; sorted."""


@dataclass
class _Version:
    since: int
    until: int
    values: Values


class MemoryRows:
    """The simplest Rows there can be."""

    def __init__(self) -> None:
        self.position = 0
        self.versions: dict[str, dict[Key, list[_Version]]] = {}

    def get(self, table: Table, key: Key) -> Values | None:
        versions = self.versions.get(table.name, {}).get(key)
        return versions[-1].values if versions and versions[-1].until == FOREVER else None

    def put(self, table: Table, key: Key, values: Values) -> None:
        self.end(table, key)
        self.versions.setdefault(table.name, {}).setdefault(key, []).append(_Version(self.position, FOREVER, values))

    def end(self, table: Table, key: Key) -> None:
        versions = self.versions.get(table.name, {}).get(key, [])
        if versions and versions[-1].until == FOREVER:
            versions[-1].until = self.position
            if versions[-1].since == self.position:
                versions.pop()


def folded_in_memory(events: Iterable[StoredEvent], projections: Sequence[Projection] = PROJECTIONS) -> Dump:
    """Return what the projections make of a log."""
    rows = MemoryRows()
    for stored in events:
        envelope, name, body = opened(stored)
        rows.position = stored.position
        for projection in projections:
            if name in projection.handlers:
                projection.handlers[name](rows, Fact(stored.position, name, envelope, body))
    return {
        table.name: sorted(
            (
                (*key, *(version.values[column] for column in table.columns), version.since, version.until)
                for key, versions in rows.versions.get(table.name, {}).items()
                for version in versions
            ),
            key=repr,
        )
        for projection in projections
        for table in projection.tables
    }


def dumped(path: Path, projections: Sequence[Projection] = PROJECTIONS) -> Dump:
    """Return the rows of the projections' tables in a file of views."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            table.name: sorted(
                connection.execute(
                    f"SELECT {', '.join((*table.key, *table.columns))}, from_pos, to_pos FROM {table.name}"
                ),
                key=repr,
            )
            for projection in projections
            for table in projection.tables
        }


def bookkeeping(path: Path) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return the checkpoints, without when they were checked, and the marks of time."""
    with closing(sqlite3.connect(path)) as connection:
        return (
            connection.execute(
                f"SELECT projection, position, data, log_time, skipped FROM {CHECKPOINTS} ORDER BY projection"
            ).fetchall(),
            connection.execute(f"SELECT * FROM {MARKS} ORDER BY position").fetchall(),
        )


def at(dump: Dump, position: int) -> Dump:
    """Return the rows that hold at a position, without how long they do."""
    return {
        table: sorted((row[:-1] for row in rows if row[-2] <= position < row[-1]), key=repr)
        for table, rows in dump.items()
    }
