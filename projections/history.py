"""What happened to one stack or component, event by event, and what each event changed.

Events refer to components by id; they are shown under the names that they have as of the view.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import merge
from typing import Any, NamedTuple

from stackledger.domain.errors import NotFound
from stackledger.domain.names import folded
from stackledger.eventlog.stored import MISSHAPEN, StoredEvent, misshapen
from stackledger.eventlog.upcasting import UPCASTERS, Upcasters, opened
from stackledger.projections.engine import View
from stackledger.projections.listing import Sought, found
from stackledger.projections.registry_queries import (
    SOUGHT_STACK,
    components_by_id,
    names_of_components,
    sought_component,
    stack_by_id,
    stack_named,
)
from stackledger.projections.schema import HOLDS

Facts = Mapping[str, Any]
"""Fields by name; those of labels and configurations are `labels.KEY` and `configuration.KEY`."""


class FieldChange(NamedTuple):
    """A field that changed. None stands for a field that was not, or is no longer, there."""

    field: str
    old: Any
    new: Any


class Entry(NamedTuple):
    """An event of a history. `actor` and `host` are subject ids, `time` is in microseconds since 1970."""

    position: int
    type: str
    time: int
    actor: str
    host: str
    reason: str | None
    ticket: str | None
    changes: tuple[FieldChange, ...]


def stack_id(view: View, reference: str) -> str:
    """Return the id of a stack by id, name or beginning of either; a deleted one by its id or the last name it had."""
    return _id_once_known(view, SOUGHT_STACK, reference)


def component_id(view: View, component_type: str, reference: str) -> str:
    """Return the id of a component of a type, found as a stack is."""
    return _id_once_known(view, sought_component(component_type), reference, type=component_type)


def of_stack(view: View, stack_id: str, upcasters: Upcasters = UPCASTERS) -> list[Entry]:
    """Return what happened to a stack, newest first: its own events, and whose active stack it became."""
    # Tags are spelled out in this module: those who make them need pydantic, which a query does without.
    own, activated = (
        view.reader.scan_back(before=view.position + 1, tags=(tag,))
        for tag in (f"stack:{stack_id}", f"activates:{stack_id}")
    )
    return list(_entries(view, merge(own, activated, key=lambda stored: stored.position, reverse=True), upcasters))


def of_component(view: View, component_id: str, upcasters: Upcasters = UPCASTERS) -> list[Entry]:
    """Return what happened to a component, newest first."""
    own = view.reader.scan_back(before=view.position + 1, tags=(f"component:{component_id}",))
    return list(_entries(view, own, upcasters))


def stack_facts(view: View, stack_id: str, name: str | None = None) -> dict[str, Any]:
    """Return all that makes up a stack, its components' configuration included; nothing where there is no stack.

    Where there is none under the id, that of the `name` is meant: one that was deleted and restored has another id.
    Components are named `TYPE`, their configuration `TYPE.NAME.configuration.KEY`.
    """
    row = stack_by_id(view, stack_id) or (stack_named(view, name) if name is not None else None)
    if row is None:
        return {}
    refs = [(kind, ref) for kind, several in row.components.items() for ref in several]
    configured = components_by_id(view, (ref.id for _, ref in refs))
    facts: dict[str, Any] = {
        "name": row.name,
        "shared": row.shared,
        **{kind: ", ".join(ref.name for ref in several) for kind, several in row.components.items()},
        **_under("labels", row.labels),
    }
    for kind, ref in refs:
        facts[f"{kind}.{ref.name}.flavor"] = ref.flavor
        facts |= _under(f"{kind}.{ref.name}.configuration", configured[ref.id].configuration)
    return facts


def differences(before: Facts, after: Facts) -> tuple[FieldChange, ...]:
    """Return the fields that are not the same before and after, in the order of the latter."""
    fields = dict.fromkeys((*after, *before))
    return tuple(
        FieldChange(field, before.get(field), after.get(field))
        for field in fields
        if before.get(field) != after.get(field)
    )


def _id_once_known(view: View, sought: Sought, reference: str, **parameters: str) -> str:
    try:
        return found(view, sought, reference, prefix=True, **parameters)
    except NotFound:
        once = sought.condition.replace(HOLDS, "from_pos <= :at")
        row = view.connection.execute(
            f"SELECT {sought.id_column} FROM {sought.table}"
            f" WHERE {once} AND :reference IN (folded, {sought.id_column}) ORDER BY to_pos DESC LIMIT 1",
            {"at": view.position, "reference": folded(reference), **parameters},
        ).fetchone()
        if row is None:
            raise
        return str(row[0])


def _entries(view: View, events: Iterator[StoredEvent], upcasters: Upcasters) -> Iterator[Entry]:
    for stored in events:
        envelope, name, body = opened(stored, upcasters)
        try:
            changed = changes(view, name, body)
        except MISSHAPEN as error:
            raise misshapen(stored.position, stored.type, error) from error
        yield Entry(
            position=stored.position,
            type=stored.type,
            time=envelope["time"],
            actor=envelope["actor"],
            host=envelope["host"],
            reason=envelope["reason"],
            ticket=envelope["ticket"],
            changes=changed,
        )


def changes(view: View, name: str, body: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """Return what an event of a stack or component says that it changed, from its type and its body."""
    before: Facts = {}
    after: Facts = {}
    match name.partition("/")[0].partition(".")[2]:
        case "registered":
            after = {"name": body["name"], "shared": body["shared"], **_facts(view, body, "")}
        case "updated":
            before, after = _facts(view, body, "previous_"), _facts(view, body, "")
        case "renamed":
            before, after = {"name": body["previous_name"]}, {"name": body["name"]}
        case "shared":
            before, after = {"shared": False}, {"shared": True}
        case "unshared":
            before, after = {"shared": True}, {"shared": False}
        case "deleted":
            before = {"name": body["name"]}
        case "activated":
            after = {f"active for {body['scope']}": body["scope_id"]}
        case _:
            pass  # nothing more is known of it than that it happened
    return differences(before, after)


def _facts(view: View, body: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    facts: dict[str, Any] = {} if prefix or "flavor" not in body else {"flavor": body["flavor"]}
    parts: dict[str, list[str]] = body.get(f"{prefix}components", {})
    names = names_of_components(view, (each for ids in parts.values() for each in ids))
    facts |= {kind: ", ".join(names.get(each, each) for each in ids) for kind, ids in parts.items()}
    facts |= _under("configuration", body.get(f"{prefix}configuration", {}))
    facts |= _under("labels", body.get(f"{prefix}labels", {}))
    return facts


def _under(field: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{field}.{key}": value for key, value in values.items()}
