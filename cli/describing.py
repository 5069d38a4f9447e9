"""Printing what stacks and components have in common: whose they are, labels, histories and differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stackledger.cli.printing import JSON, Column, Listing, Table
from stackledger.cli.values import typed

if TYPE_CHECKING:
    from stackledger.cli.calls import Call


def ownership(what: str, thing: Any) -> str:
    """Return the sentence that says whose something is."""
    privacy = "shared" if thing.shared else "private"
    return f"{what} '{thing.name}' with id '{thing.id}' is owned by user {thing.owner} and is '{privacy}'."


def configuration_text(configuration: Mapping[str, Any]) -> str:
    """Return a configuration as a cell, `key=value` by line, values as they are typed."""
    return "\n".join(f"{key}={typed(value)}" for key, value in configuration.items())


def label_tables(labels: Mapping[str, str]) -> list[Table | str]:
    """Return the table of labels, if there are any."""
    return [Table(["LABEL", "VALUE"], sorted(labels.items()), title="Labels")] if labels else []


def field_notes(field: Mapping[str, Any]) -> list[str]:
    """Return what is said of a field of a flavor's configuration beside its meaning."""
    notes = []
    if field["required"]:
        notes.append("required")
    elif field["default"] is not None:
        notes.append(f"default: {typed(field['default'])}")
    if field["secret"]:
        notes.append("a reference to a secret")
    return notes


def confirm_taking_down(call: Call, components: Iterable[tuple[str, str]], *, yes: bool) -> None:
    """Ask before `down --force` deletes queues; components are given as type and id."""
    if any(call.client.runs_on_fleet(kind, component_id) for kind, component_id in components):
        call.confirm("Delete the queues too, on the broker, for workers and coordinators on all machines?", yes=yes)


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
    return "—" if value is None else typed(value)
