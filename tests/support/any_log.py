"""Logs by where they are: the path of a file, or the address of a database on PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from stackledger.eventlog.postgres import PostgresRecorder
from stackledger.eventlog.postgres_reader import PostgresReader
from stackledger.eventlog.postgres_server import Server
from stackledger.eventlog.reader import SQLiteReader
from stackledger.eventlog.sqlite import SQLiteRecorder

Where: TypeAlias = Path | str


def recorder_at(where: Where) -> SQLiteRecorder | PostgresRecorder:
    """Open a log for appending."""
    return SQLiteRecorder(where) if isinstance(where, Path) else PostgresRecorder(Server(where))


def reader_at(where: Where) -> SQLiteReader | PostgresReader:
    """Open a log for reading."""
    return SQLiteReader(where) if isinstance(where, Path) else PostgresReader(Server(where))
