"""Reading the fleet's keys as of a position, and the newest list of coordinators."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from collections.abc import Collection
from typing import NamedTuple

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
from stackledger.projections.schema import COUNTS, HOLDS, KEYS, TRUST


class KeyRow(NamedTuple):
    """A key that was enrolled: `status` is `enrolled` or `revoked`, `public` its raw public half in hexadecimal.

    `created` is when it was enrolled, in microseconds since 1970; `owner` the id of who did that.
    """

    id: str
    name: str
    role: str
    public: str
    queues: tuple[str, ...]
    status: str
    owner: str
    created: int
    changed: int


class TrustRow(NamedTuple):
    """The newest list of coordinators: the public root key, its number, and until when it is good, in microseconds."""

    root: str
    number: int
    expires: int


_COLUMNS = "key_id, name, role, public, queues, status, owner, created, from_pos"
_KEYS = Listing(
    _COLUMNS,
    KEYS.name,
    {
        "created": "registered",
        "name": "folded, registered",
        "role": "role, registered",
        "status": "status, registered",
        "id": "key_id",
    },
    "created",
)
# A name is free again after a revocation, so names are those of keys that count.
_SOUGHT = Sought("key", KEYS.name, "key_id", named=f"(SELECT * FROM {KEYS.name} WHERE status = 'enrolled')")


def keys(view: View, asked: Asked = FIRST_PAGE) -> Page[KeyRow]:
    """Return a page of the keys, oldest first if not sorted by `name`, `role`, `status`, `created` or `id`."""
    filters = asked.filters
    where = Where(view)
    where.named(filters.name)
    where.equal("owner", filters.owner)
    where.equal("role", filters.role)
    where.equal("status", filters.status)
    rows, total = listed(view, asked, _KEYS, where, (COUNTS, "key"))
    return Page(tuple(map(_key, rows)), total, asked.page, asked.size)


def key(view: View, reference: str, *, prefix: bool = False) -> KeyRow:
    """Return the key of that id, name, or beginning of an id (with `prefix`, of a name too)."""
    key_id = found(view, _SOUGHT, reference, prefix=prefix)
    row = view.connection.execute(
        f"SELECT {_COLUMNS} FROM {KEYS.name} WHERE {HOLDS} AND key_id = :id", {"at": view.position, "id": key_id}
    ).fetchone()
    return _key(row)


def names(view: View, ids: Collection[str]) -> dict[str, str]:
    """Return the names of keys by id, also of revoked ones, of those that there are."""
    rows = view.connection.execute(
        f"SELECT key_id, name FROM {KEYS.name} WHERE {HOLDS} AND key_id IN {GIVEN_IDS}",
        {"at": view.position, "ids": given_ids(ids)},
    )
    return dict(rows.fetchall())


def enrolled(view: View, role: str) -> frozenset[str]:
    """Return the ids of the keys of a role that count."""
    rows = view.connection.execute(
        f"SELECT key_id FROM {KEYS.name} WHERE {HOLDS} AND role = :role AND status = 'enrolled'",
        {"at": view.position, "role": role},
    )
    return frozenset(key_id for (key_id,) in rows)


def trust(view: View) -> TrustRow | None:
    """Return the newest list of coordinators, None before the first."""
    row = view.connection.execute(
        f"SELECT root, number, expires FROM {TRUST.name} WHERE {HOLDS}", {"at": view.position}
    ).fetchone()
    return TrustRow(*row) if row else None


def _key(row: tuple[object, ...]) -> KeyRow:
    key_id, name, role, public, queues, *rest = row
    return KeyRow(key_id, name, role, public, tuple(decoded(queues)), *rest)  # type: ignore[arg-type]  # as folded
