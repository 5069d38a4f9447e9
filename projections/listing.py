"""What all lists have in common: pages, filters, sorting, and finding one by id, name or prefix."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from stackledger.domain.errors import Ambiguous, InvalidValue, NotFound, UsageError, near_names
from stackledger.domain.names import folded, quoted
from stackledger.projections.engine import View
from stackledger.projections.schema import HOLDS, Table

Row = TypeVar("Row")

MAX_SIZE = 1000
DEFAULT_SIZE = 20
_CANDIDATES = 10
_NEAR_AMONG = 2000
"""How many names are looked through for near ones."""


class Page(Generic[Row]):  # noqa: PLW1641 - pages are compared, never looked up
    """One page of a list, and the sequence of what is on it; pages count from 1, `total` is over all pages."""

    __slots__ = ("index", "items", "max_size", "total")

    def __init__(self, items: Sequence[Row], total: int, index: int, max_size: int) -> None:
        self.items = items
        self.total = total
        self.index = index
        self.max_size = max_size

    def __eq__(self, other: object) -> bool:
        """Say whether the same is on the same page of as many."""
        return isinstance(other, Page) and self._parts() == other._parts()

    def __repr__(self) -> str:
        """Show what is on the page, and where it stands."""
        return f"Page({self.items!r}, total={self.total}, index={self.index}, max_size={self.max_size})"

    def _parts(self) -> tuple[list[Row], int, int, int]:
        return list(self.items), self.total, self.index, self.max_size

    @property
    def total_pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // self.max_size))

    def __iter__(self) -> Iterator[Row]:
        """Iterate over this page."""
        return iter(self.items)

    def __len__(self) -> int:
        """Count what is on this page."""
        return len(self.items)

    def __getitem__(self, index: int) -> Row:
        """Return one of this page."""
        return self.items[index]


class Filters(NamedTuple):
    """Which rows a list shows: those that meet all that is given and that the list knows.

    `name` is a name, or `contains:`, `startswith:`, `endswith:` or `equals:` with a text, ignoring case; `owner` is a
    subject's id; `labels` are pairs of key and value, of which None is any. Lists of runs know `pipeline`, `status` and
    `stack` (by id or name), lists of artifacts `run` (by id) and `step`, lists of keys `role` and `status`.
    """

    name: str | None = None
    owner: str | None = None
    flavor: str | None = None
    labels: tuple[tuple[str, str | None], ...] = ()
    pipeline: str | None = None
    status: str | None = None
    stack: str | None = None
    run: str | None = None
    step: str | None = None
    role: str | None = None


class Asked(NamedTuple):
    """What somebody wants to see of a list: which rows, in which order (`KEY`, `asc:KEY`, `desc:KEY`), which page."""

    filters: Filters = Filters()
    sort_by: str | None = None
    page: int = 1
    size: int = DEFAULT_SIZE


FIRST_PAGE = Asked()


class Listing(NamedTuple):
    """A list that can be asked for: its columns and where they are, and the terms of ORDER BY by key."""

    columns: str
    source: str
    sort_keys: Mapping[str, str]
    default_sort: str


class Where:
    """A growing condition and its parameters; `:at` is always there."""

    def __init__(self, view: View, condition: str = HOLDS) -> None:
        self.parameters: dict[str, Any] = {"at": view.position}
        self._conditions = [condition]
        self.narrowed = False

    def __str__(self) -> str:
        """Return the condition as SQL."""
        return " AND ".join(self._conditions)

    def always(self, condition: str, **parameters: Any) -> None:
        """Demand what the whole list is about."""
        self._conditions.append(condition)
        self.parameters.update(parameters)

    def narrow(self, condition: str, **parameters: Any) -> None:
        """Demand what a filter asks for."""
        self.narrowed = True
        self.always(condition, **parameters)

    def equal(self, column: str, value: str | None) -> None:
        """Demand a value of a column, if one is given."""
        if value is not None:
            self.narrow(f"{column} = :{column}", **{column: value})

    def named(self, expression: str | None, column: str = "folded") -> None:
        """Demand a name, if one is given."""
        if expression is None:
            return
        operator, colon, operand = expression.partition(":")
        condition = _NAME_CONDITIONS.get(operator) if colon else None
        if condition is None:
            condition, operand = _NAME_CONDITIONS["equals"], expression
        self.narrow(condition.format(column=column), name=folded(operand))

    def labelled(self, labels: Iterable[tuple[str, str | None]]) -> None:
        """Demand that each of these labels is there, with this value or, if it is None, any."""
        wanted = list(labels)
        if wanted:
            # One condition for all of them, because SQLite limits how deep conditions nest.
            self.narrow(
                "NOT EXISTS (SELECT 1 FROM json_each(:wanted) AS wanted WHERE NOT EXISTS"
                " (SELECT 1 FROM json_each(labels) AS label WHERE label.key = json_extract(wanted.value, '$[0]')"
                " AND label.value = coalesce(json_extract(wanted.value, '$[1]'), label.value)))",
                wanted=json.dumps(wanted),
            )


# No LIKE: a name may hold `_`, which would match any character.
_NAME_CONDITIONS = {
    "equals": "{column} = :name",
    "contains": "instr({column}, :name) > 0",
    "startswith": "substr({column}, 1, length(:name)) = :name",
    "endswith": "length({column}) >= length(:name) AND substr({column}, length({column}) - length(:name) + 1) = :name",
}


def sorted_by(sort_by: str, keys: Collection[str]) -> tuple[str, bool]:
    """Return which of the keys `KEY`, `asc:KEY` or `desc:KEY` names, and whether to begin at its end; or UsageError."""
    direction, colon, key = sort_by.partition(":")
    if not colon:
        direction, key = "asc", direction
    if direction not in {"asc", "desc"} or key not in keys:
        raise UsageError(
            f"Cannot sort by {quoted(sort_by)}.",
            hint=f"Sort by {', '.join(keys)}, with asc: or desc: before it if you like.",
            near=near_names(key, keys),
        )
    return key, direction == "desc"


def _ordering(sort_by: str | None, keys: Mapping[str, str], default: str) -> str:
    """Return the terms of ORDER BY for `KEY`, `asc:KEY` or `desc:KEY`, or raise UsageError."""
    key, descending = sorted_by(sort_by or default, keys)
    return ", ".join(f"{term} {'DESC' if descending else 'ASC'}" for term in keys[key].split(", "))


def check_page(page: int, size: int) -> None:
    """Raise UsageError for a page that no list can have."""
    if page < 1:
        raise UsageError(f"There is no page {page}: pages count from 1.")
    if not 1 <= size <= MAX_SIZE:
        raise UsageError(f"A page cannot have {size} items: it has 1 to {MAX_SIZE:,}.")


def listed(
    view: View, asked: Asked, listing: Listing, where: Where, counted: tuple[Table, str] | None = None
) -> tuple[list[tuple[Any, ...]], int]:
    """Return the rows of a page, and how many there are on all pages, or raise UsageError.

    `counted` says where the fold has counted what there is without filters; else all rows are looked through.
    """
    check_page(asked.page, asked.size)
    order = _ordering(asked.sort_by, listing.sort_keys, listing.default_sort)
    rows = view.connection.execute(
        f"SELECT {listing.columns} FROM {listing.source} WHERE {where} ORDER BY {order}"
        f" LIMIT {asked.size} OFFSET {(asked.page - 1) * asked.size}",
        where.parameters,
    ).fetchall()
    if counted and not where.narrowed:
        return rows, _counted(view, *counted)
    sql = f"SELECT count(*) FROM {listing.source} WHERE {where}"
    return rows, int(view.connection.execute(sql, where.parameters).fetchone()[0])


def _counted(view: View, counts: Table, kind: str) -> int:
    """Return how many there are of a kind that the fold has counted."""
    row = view.connection.execute(
        f"SELECT live FROM {counts.name} WHERE kind = :kind AND from_pos <= :at ORDER BY from_pos DESC LIMIT 1",
        {"at": view.position, "kind": kind},
    ).fetchone()
    return row[0] if row else 0


class Sought(NamedTuple):
    """What is looked for by id or name: its words, its table, its column of ids, and what else has to hold.

    `named` is where names are looked for, if that is not the table itself.
    """

    words: str
    table: str
    id_column: str
    condition: str = HOLDS
    named: str | None = None


def found(view: View, sought: Sought, reference: str, *, prefix: bool, **parameters: Any) -> str:
    """Return the id that `reference` means: an id, a name, or the only id (with `prefix`, or name) it begins.

    Raises NotFound with near names, Ambiguous with the candidates, and InvalidValue for what is no text.
    """
    if not isinstance(reference, str):
        raise InvalidValue(f"The name or id of the {sought.words} is a text, not {type(reference).__name__}.")
    parameters = {"at": view.position, "id": reference.lower(), "name": folded(reference), **parameters}
    by_id, by_name = (
        f"SELECT {sought.id_column}, name FROM {table} WHERE {sought.condition}"
        for table in (sought.table, sought.named or sought.table)
    )
    for exact in (f"{by_id} AND {sought.id_column} = :id", f"{by_name} AND folded = :name"):
        row = view.connection.execute(exact, parameters).fetchone()
        if row:
            return str(row[0])
    searches = [f"{by_id} AND {_begins(sought.id_column, 'id')}"]
    if prefix:
        searches.append(f"{by_name} AND {_begins('folded', 'name')}")
    candidates: dict[str, str] = {}
    for search in searches if reference else ():
        candidates.update(view.connection.execute(f"{search} ORDER BY folded LIMIT {_CANDIDATES}", parameters))
    if len(candidates) == 1:
        return next(iter(candidates))
    what = quoted(reference)
    if candidates:
        more = ", …" if len(candidates) >= _CANDIDATES else ""
        fitting = ", ".join(f"{name!r} ({row_id})" for row_id, name in candidates.items())
        raise Ambiguous(
            f"More than one {sought.words} begins with {what}: {fitting}{more}.",
            hint="Give more of the name or id.",
        )
    names = view.connection.execute(f"{by_name} ORDER BY from_pos DESC LIMIT {_NEAR_AMONG}", parameters)
    raise NotFound(
        f"There is no {sought.words} with the name or id {what}{moment(view)}.",
        near=near_names(reference, (name for _, name in names)),
    )


def moment(view: View) -> str:
    """Return in words as of when a view that is of the past is read, to be appended to what was not found in it."""
    return f" as of position {view.position}" if view.position < view.newest else ""


def _begins(column: str, parameter: str) -> str:
    # A range, unlike a comparison of substrings, is looked up in an index.
    return f"{column} >= :{parameter} AND {column} < :{parameter} || char(1114111)"


GIVEN_IDS = "(SELECT value FROM json_each(:ids))"
"""The ids in the parameter `:ids`, made by `given_ids`; the number of parameters of a statement is limited."""


def given_ids(ids: Iterable[str]) -> str:
    """Return ids as one parameter."""
    # No id is a number, whatever an odd event holds; SQLite would take the JSON of NaN for damage.
    return json.dumps(list(ids), allow_nan=False)


def decoded(text: str) -> Any:
    """Return the value of a column of JSON. What is not JSON there was damaged, like the rest of the file perhaps."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise sqlite3.DatabaseError(f"a row does not hold JSON: {error}") from error
