"""Printing histories and differences, which stacks and components share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stackledger.cli.printing import JSON, Column, Listing, plain


def history_listing(history: Iterable[Any]) -> Listing:
    """Return what happened to something, event by event."""
    columns = [
        Column("POSITION", "position"),
        Column("TIME", "time"),
        Column("EVENT", "type"),
        Column("ACTOR", "actor"),
        Column("CHANGES", "changes", show=_changes),
        Column("REASON", "reason"),
        Column("TICKET", "ticket", shown=False),
        Column("HOST", "host", shown=False),
    ]
    return Listing([entry.to_json() for entry in history], columns)


def changes_listing(changes: Sequence[JSON]) -> Listing:
    """Return what differs, field by field."""
    columns = [Column("FIELD", "field"), Column("FROM", "from", show=_value), Column("TO", "to", show=_value)]
    return Listing(list(changes), columns, nothing="No difference.")


def _changes(changes: Sequence[JSON]) -> str:
    return "\n".join(f"{change['field']}: {_value(change['from'])} → {_value(change['to'])}" for change in changes)


def _value(value: Any) -> str:
    return "—" if value is None else plain(value)
