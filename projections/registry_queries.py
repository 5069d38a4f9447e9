"""Reading the registry as of a position: stacks, components, activations, secrets and flavors."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from collections.abc import Iterable
from typing import Any, NamedTuple

from stackledger.domain.names import folded
from stackledger.projections.engine import View
from stackledger.projections.listing import (
    FIRST_PAGE,
    GIVEN_IDS,
    Asked,
    Listing,
    Page,
    Sought,
    Where,
    decoded,
    found,
    given_ids,
    listed,
)
from stackledger.projections.schema import (
    ACTIVATIONS,
    COMPONENTS,
    COUNTS,
    FLAVORS,
    HOLDS,
    SECRETS,
    STACKS,
    SUBJECTS,
)


class ComponentRef(NamedTuple):
    """A component as a stack names it."""

    id: str
    name: str
    flavor: str


class StackRow(NamedTuple):
    """A stack. `owner` is a subject's id, `created` microseconds since 1970, `changed` the position of its last event.

    `components` has the default one of a type first, and no type without components.
    """

    id: str
    name: str
    shared: bool
    built_in: bool
    owner: str
    created: int
    changed: int
    labels: dict[str, str]
    components: dict[str, tuple[ComponentRef, ...]]


class ComponentRow(NamedTuple):
    """A component, its configuration as it was registered: references to secrets are not resolved."""

    id: str
    name: str
    type: str
    flavor: str
    shared: bool
    built_in: bool
    owner: str
    created: int
    changed: int
    labels: dict[str, str]
    configuration: dict[str, Any]


class SecretRow(NamedTuple):
    """A secret: the names of its keys, never a value."""

    id: str
    name: str
    keys: tuple[str, ...]
    owner: str
    created: int
    changed: int


class FlavorRow(NamedTuple):
    """A flavor that users registered; `source` is the dotted path of its class."""

    type: str
    name: str
    source: str
    owner: str
    created: int


class ActiveStack(NamedTuple):
    """Which stack is active, and by what: `environment`, `repository`, `user`, or `default` where nobody chose.

    `lost` is the name of the stack that was chosen by repository or user and is gone since: the default one is in its
    place.
    """

    stack: StackRow
    by: str
    lost: str | None


_OF_STACK = "stack_id, name, shared, built_in, owner, created, from_pos, labels, components"
_OF_COMPONENT = "component_id, name, type, flavor, shared, built_in, owner, created, from_pos, labels, configuration"
_OF_SECRET = "secret_id, name, keys, owner, created, from_pos"  # noqa: S105 - names of columns
_SORT = {
    "created": "registered",
    "name": "folded, registered",
    "owner": "owner, registered",
    "shared": "shared, registered",
}
_STACKS = Listing(_OF_STACK, STACKS.name, {**_SORT, "id": "stack_id"}, "created")
_COMPONENTS = Listing(
    _OF_COMPONENT, COMPONENTS.name, {**_SORT, "id": "component_id", "flavor": "flavor, registered"}, "created"
)
_SECRETS = Listing(
    _OF_SECRET,
    SECRETS.name,
    {"created": "registered", "name": "folded, registered", "id": "secret_id"},
    "created",
)

SOUGHT_STACK = Sought("stack", STACKS.name, "stack_id")


def sought_component(component_type: str) -> Sought:
    """Return what a component of a type is found by, with the type as the parameter `type`."""
    words = component_type.replace("_", " ")
    return Sought(words, COMPONENTS.name, "component_id", condition=f"{HOLDS} AND type = :type")


def stacks(view: View, asked: Asked = FIRST_PAGE) -> Page[StackRow]:
    """Return a page of the stacks, oldest first if not sorted by `name`, `created`, `owner`, `shared` or `id`.

    The filter `flavor` leaves those that have a component of it, of whatever type.
    """
    filters = asked.filters
    where = Where(view)
    where.named(filters.name)
    where.equal("owner", filters.owner)
    where.labelled(filters.labels)
    if filters.flavor is not None:
        where.narrow(
            f"EXISTS (SELECT 1 FROM {COMPONENTS.name} WHERE flavor = :flavor AND {HOLDS}"
            " AND instr(components, '\"' || component_id || '\"') > 0)",
            flavor=filters.flavor,
        )
    rows, total = listed(view, asked, _STACKS, where, (COUNTS, "stack"))
    return Page(_stacks(view, rows), total, asked.page, asked.size)


def stack(view: View, reference: str, *, prefix: bool = True) -> StackRow:
    """Return the stack of that id, name, or beginning of an id (with `prefix`, of a name too)."""
    row = stack_by_id(view, found(view, SOUGHT_STACK, reference, prefix=prefix))
    assert row is not None  # found in the same transaction
    return row


def stacks_using(view: View, component_id: str) -> tuple[StackRow, ...]:
    """Return the stacks that a component is part of, oldest first. Looks through all stacks."""
    rows = view.connection.execute(
        f"SELECT {_OF_STACK} FROM {STACKS.name} WHERE {HOLDS} AND instr(components, :quoted) > 0 ORDER BY registered",
        {"at": view.position, "quoted": f'"{component_id}"'},
    ).fetchall()
    return _stacks(view, rows)


def active_stack(
    view: View, *, user_id: str, repository_id: str | None = None, environment: str | None = None
) -> ActiveStack:
    """Return the active stack: the one that the environment names, else the repository's, the user's, the default.

    `environment` is an id or name; NotFound if it means no stack.
    """
    if environment:
        return ActiveStack(stack(view, environment, prefix=False), "environment", None)
    by, lost = "default", None
    for scope, scope_id in (("repository", repository_id), ("user", user_id)):
        chosen = view.connection.execute(
            f"SELECT stack_id FROM {ACTIVATIONS.name} WHERE scope = :scope AND scope_id = :scope_id"
            " AND from_pos <= :at ORDER BY from_pos DESC LIMIT 1",
            {"at": view.position, "scope": scope, "scope_id": scope_id},
        ).fetchone()
        if chosen is None:
            continue
        row = stack_by_id(view, chosen[0])
        if row is not None:
            return ActiveStack(row, scope, None)
        # A deleted stack falls back to the default one, whatever the wider scope says.
        by, lost = scope, names_of_stacks(view, chosen).get(chosen[0], chosen[0])
        break
    default = view.connection.execute(
        f"SELECT stack_id FROM {STACKS.name} WHERE {HOLDS} AND built_in ORDER BY registered LIMIT 1",
        {"at": view.position},
    ).fetchone()
    return ActiveStack(stack(view, default[0] if default else "default", prefix=False), by, lost)


def components(view: View, component_type: str, asked: Asked = FIRST_PAGE) -> Page[ComponentRow]:
    """Return a page of the components of a type; sorted like stacks, or by `flavor`."""
    filters = asked.filters
    where = Where(view)
    where.always("type = :type", type=component_type)
    where.named(filters.name)
    where.equal("owner", filters.owner)
    where.equal("flavor", filters.flavor)
    where.labelled(filters.labels)
    rows, total = listed(view, asked, _COMPONENTS, where, (COUNTS, component_type))
    return Page(tuple(map(_component, rows)), total, asked.page, asked.size)


def component(view: View, component_type: str, reference: str, *, prefix: bool = True) -> ComponentRow:
    """Return the component of a type by id, name, or beginning of an id (with `prefix`, of a name too)."""
    component_id = found(view, sought_component(component_type), reference, prefix=prefix, type=component_type)
    return components_by_id(view, [component_id])[component_id]


def components_by_id(view: View, ids: Iterable[str]) -> dict[str, ComponentRow]:
    """Return the components of these ids that there are, by id."""
    return {row[0]: _component(row) for row in _by_id(view, _OF_COMPONENT, COMPONENTS.name, "component_id", ids)}


def secrets(view: View, asked: Asked = FIRST_PAGE) -> Page[SecretRow]:
    """Return a page of the secrets, without values, oldest first if not sorted otherwise (`name`, `created`, `id`)."""
    filters = asked.filters
    where = Where(view)
    where.named(filters.name)
    where.equal("owner", filters.owner)
    rows, total = listed(view, asked, _SECRETS, where, (COUNTS, "secret"))
    return Page(tuple(map(_secret, rows)), total, asked.page, asked.size)


def secret(view: View, reference: str, *, prefix: bool = True) -> SecretRow:
    """Return the secret of that id, name, or beginning of an id (with `prefix`, of a name too)."""
    secret_id = found(view, Sought("secret", SECRETS.name, "secret_id"), reference, prefix=prefix)
    return _secret(_by_id(view, _OF_SECRET, SECRETS.name, "secret_id", [secret_id])[0])


def flavors(view: View, component_type: str | None = None) -> tuple[FlavorRow, ...]:
    """Return the flavors that users registered, of one type or of all, by type and name."""
    rows = view.connection.execute(
        f"SELECT type, name, source, owner, created FROM {FLAVORS.name}"
        f" WHERE {HOLDS} AND (:type IS NULL OR type = :type) ORDER BY type, folded",
        {"at": view.position, "type": component_type},
    )
    return tuple(FlavorRow(*row) for row in rows)


def subject_ids(view: View) -> tuple[str, ...]:
    """Return the ids of all users and hosts."""
    rows = view.connection.execute(f"SELECT subject_id FROM {SUBJECTS.name} WHERE {HOLDS}", {"at": view.position})
    return tuple(subject_id for (subject_id,) in rows)


def names_of_stacks(view: View, ids: Iterable[str]) -> dict[str, str]:
    """Return the last names of stacks that were known then, by id; of those that are gone too."""
    return _last_names(view, STACKS.name, "stack_id", ids)


def names_of_components(view: View, ids: Iterable[str]) -> dict[str, str]:
    """Return the last names of components that were known then, by id; of those that are gone too."""
    return _last_names(view, COMPONENTS.name, "component_id", ids)


def _last_names(view: View, table: str, column: str, ids: Iterable[str]) -> dict[str, str]:
    sql = f"SELECT {column}, name FROM {table} WHERE {column} IN {GIVEN_IDS} AND from_pos <= :at ORDER BY from_pos"
    return dict(view.connection.execute(sql, {"at": view.position, "ids": given_ids(ids)}))


def _by_id(view: View, columns: str, table: str, column: str, ids: Iterable[str]) -> list[tuple[Any, ...]]:
    sql = f"SELECT {columns} FROM {table} WHERE {column} IN {GIVEN_IDS} AND {HOLDS}"
    return view.connection.execute(sql, {"at": view.position, "ids": given_ids(ids)}).fetchall()


def stack_by_id(view: View, stack_id: str) -> StackRow | None:
    """Return the stack of that very id, None if there is none."""
    rows = _stacks(view, _by_id(view, _OF_STACK, STACKS.name, "stack_id", [stack_id]))
    return rows[0] if rows else None


def stack_named(view: View, name: str) -> StackRow | None:
    """Return the stack of that very name, ignoring case, None if there is none."""
    row = view.connection.execute(
        f"SELECT stack_id FROM {STACKS.name} WHERE folded = :name AND {HOLDS}",
        {"at": view.position, "name": folded(name)},
    ).fetchone()
    return stack_by_id(view, row[0]) if row else None


def _stacks(view: View, rows: list[tuple[Any, ...]]) -> tuple[StackRow, ...]:
    """Return rows of stacks with their components' names, looked up for all of them at once."""
    parts: list[dict[str, list[str]]] = [decoded(row[8]) for row in rows]
    wanted = {component_id for part in parts for ids in part.values() for component_id in ids}
    named = {
        row[0]: ComponentRef(*row)
        for row in _by_id(view, "component_id, name, flavor", COMPONENTS.name, "component_id", wanted)
    }
    return tuple(
        StackRow(
            id=row[0],
            name=row[1],
            shared=bool(row[2]),
            built_in=bool(row[3]),
            owner=row[4],
            created=row[5],
            changed=row[6],
            labels=decoded(row[7]),
            components={
                component_type: tuple(named[each] for each in ids if each in named)
                for component_type, ids in part.items()
                if ids
            },
        )
        for row, part in zip(rows, parts, strict=True)
    )


def _component(row: tuple[Any, ...]) -> ComponentRow:
    return ComponentRow(
        id=row[0],
        name=row[1],
        type=row[2],
        flavor=row[3],
        shared=bool(row[4]),
        built_in=bool(row[5]),
        owner=row[6],
        created=row[7],
        changed=row[8],
        labels=decoded(row[9]),
        configuration=decoded(row[10]),
    )


def _secret(row: tuple[Any, ...]) -> SecretRow:
    return SecretRow(id=row[0], name=row[1], keys=tuple(decoded(row[2])), owner=row[3], created=row[4], changed=row[5])
