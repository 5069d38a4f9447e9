"""Folding the events about components, stacks, flavors, secrets, keys and subjects into the registry's tables."""

from __future__ import annotations

from typing import Any

from stackledger.domain.names import folded
from stackledger.projections.columns import TEXTS, MapOf, encoded
from stackledger.projections.rows import Fact, Projection, Rows
from stackledger.projections.schema import (
    ACTIVATIONS,
    COMPONENTS,
    COUNTS,
    FLAVORS,
    KEYS,
    REGISTRY,
    REGISTRY_TABLES,
    SECRETS,
    STACKS,
    SUBJECTS,
    TRUST,
    Table,
)

_LABELS = MapOf(str)
_COMPONENTS = MapOf(TEXTS)


def _count(rows: Rows, kind: str, change: int) -> None:
    held = rows.get(COUNTS, (kind,))
    rows.put(COUNTS, (kind,), {"live": (held["live"] if held else 0) + change})


def _change(rows: Rows, table: Table, key: str, **values: Any) -> None:
    held = rows.get(table, (key,))
    if held is not None:
        rows.put(table, (key,), {**held, **values})


def _origin(fact: Fact) -> dict[str, Any]:
    return {"owner": fact.envelope["actor"], "registered": fact.position, "created": fact.envelope["time"]}


def _component_registered(rows: Rows, fact: Fact) -> None:
    body = fact.body
    rows.put(
        COMPONENTS,
        (body["component_id"],),
        {
            "type": body["type"],
            "name": body["name"],
            "folded": folded(body["name"]),
            "flavor": body["flavor"],
            "configuration": encoded(body["configuration"]),
            "labels": encoded(body["labels"], _LABELS),
            "shared": body["shared"],
            "built_in": body["built_in"],
            **_origin(fact),
        },
    )
    _count(rows, body["type"], +1)


def _component_updated(rows: Rows, fact: Fact) -> None:
    body = fact.body
    _change(
        rows,
        COMPONENTS,
        body["component_id"],
        configuration=encoded(body["configuration"]),
        labels=encoded(body["labels"], _LABELS),
    )


def _component_renamed(rows: Rows, fact: Fact) -> None:
    name = fact.body["name"]
    _change(rows, COMPONENTS, fact.body["component_id"], name=name, folded=folded(name))


def _component_shared(rows: Rows, fact: Fact) -> None:
    _change(rows, COMPONENTS, fact.body["component_id"], shared=True)


def _component_unshared(rows: Rows, fact: Fact) -> None:
    _change(rows, COMPONENTS, fact.body["component_id"], shared=False)


def _component_deleted(rows: Rows, fact: Fact) -> None:
    rows.end(COMPONENTS, (fact.body["component_id"],))
    _count(rows, fact.body["type"], -1)


def _stack_registered(rows: Rows, fact: Fact) -> None:
    body = fact.body
    rows.put(
        STACKS,
        (body["stack_id"],),
        {
            "name": body["name"],
            "folded": folded(body["name"]),
            "components": encoded(body["components"], _COMPONENTS),
            "labels": encoded(body["labels"], _LABELS),
            "shared": body["shared"],
            "built_in": body["built_in"],
            **_origin(fact),
        },
    )
    _count(rows, "stack", +1)


def _stack_updated(rows: Rows, fact: Fact) -> None:
    body = fact.body
    _change(
        rows,
        STACKS,
        body["stack_id"],
        components=encoded(body["components"], _COMPONENTS),
        labels=encoded(body["labels"], _LABELS),
    )


def _stack_renamed(rows: Rows, fact: Fact) -> None:
    name = fact.body["name"]
    _change(rows, STACKS, fact.body["stack_id"], name=name, folded=folded(name))


def _stack_shared(rows: Rows, fact: Fact) -> None:
    _change(rows, STACKS, fact.body["stack_id"], shared=True)


def _stack_unshared(rows: Rows, fact: Fact) -> None:
    _change(rows, STACKS, fact.body["stack_id"], shared=False)


def _stack_deleted(rows: Rows, fact: Fact) -> None:
    rows.end(STACKS, (fact.body["stack_id"],))
    _count(rows, "stack", -1)


def _stack_activated(rows: Rows, fact: Fact) -> None:
    body = fact.body
    rows.put(ACTIVATIONS, (body["scope"], body["scope_id"]), {"stack_id": body["stack_id"]})


def _flavor_registered(rows: Rows, fact: Fact) -> None:
    body = fact.body
    rows.put(
        FLAVORS,
        (body["type"], folded(body["name"])),
        {
            "name": body["name"],
            "source": body["source"],
            "owner": fact.envelope["actor"],
            "created": fact.envelope["time"],
        },
    )


def _flavor_deleted(rows: Rows, fact: Fact) -> None:
    rows.end(FLAVORS, (fact.body["type"], folded(fact.body["name"])))


def _secret_created(rows: Rows, fact: Fact) -> None:
    body = fact.body
    rows.put(
        SECRETS,
        (body["secret_id"],),
        {"name": body["name"], "folded": folded(body["name"]), "keys": encoded(body["keys"], TEXTS), **_origin(fact)},
    )
    _count(rows, "secret", +1)


def _secret_updated(rows: Rows, fact: Fact) -> None:
    _change(rows, SECRETS, fact.body["secret_id"], keys=encoded(fact.body["keys"], TEXTS))


def _secret_renamed(rows: Rows, fact: Fact) -> None:
    name = fact.body["name"]
    _change(rows, SECRETS, fact.body["secret_id"], name=name, folded=folded(name))


def _secret_deleted(rows: Rows, fact: Fact) -> None:
    rows.end(SECRETS, (fact.body["secret_id"],))
    _count(rows, "secret", -1)


def _key_enrolled(rows: Rows, fact: Fact) -> None:
    body = fact.body
    rows.put(
        KEYS,
        (body["key_id"],),
        {
            "name": body["name"],
            "folded": folded(body["name"]),
            "role": body["role"],
            "public": body["public"],
            "queues": encoded(body["queues"], TEXTS),
            "status": "enrolled",
            **_origin(fact),
        },
    )
    _count(rows, "key", +1)


def _key_revoked(rows: Rows, fact: Fact) -> None:
    _change(rows, KEYS, fact.body["key_id"], status="revoked")


def _trust_published(rows: Rows, fact: Fact) -> None:
    list_of, held = ("coordinators",), rows.get(TRUST, ("coordinators",))
    root = held["root"] if held else fact.body["root"]
    if fact.body["root"] == root:  # nobody but the first one is the root key of a log
        rows.put(TRUST, list_of, {"root": root, "number": fact.body["number"], "expires": fact.body["expires"]})


def _subject_enrolled(rows: Rows, fact: Fact) -> None:
    rows.put(SUBJECTS, (fact.body["subject_id"],), {"kind": fact.body["kind"], "created": fact.envelope["time"]})


PROJECTION = Projection(
    name=REGISTRY,
    tables=REGISTRY_TABLES,
    handlers={
        "component.registered/1": _component_registered,
        "component.updated/1": _component_updated,
        "component.renamed/1": _component_renamed,
        "component.shared/1": _component_shared,
        "component.unshared/1": _component_unshared,
        "component.deleted/1": _component_deleted,
        "flavor.registered/1": _flavor_registered,
        "flavor.deleted/1": _flavor_deleted,
        "secret.created/1": _secret_created,
        "secret.updated/1": _secret_updated,
        "secret.renamed/1": _secret_renamed,
        "secret.deleted/1": _secret_deleted,
        "stack.registered/1": _stack_registered,
        "stack.updated/1": _stack_updated,
        "stack.renamed/1": _stack_renamed,
        "stack.shared/1": _stack_shared,
        "stack.unshared/1": _stack_unshared,
        "stack.deleted/1": _stack_deleted,
        "stack.activated/1": _stack_activated,
        "key.enrolled/1": _key_enrolled,
        "key.revoked/1": _key_revoked,
        "trust.published/1": _trust_published,
        "subject.enrolled/1": _subject_enrolled,
    },
)
