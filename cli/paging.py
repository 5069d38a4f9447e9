"""Pages of lists: what JSON says of them, and sorting and cutting the lists that come whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stackledger.cli.printing import JSON, Column, Listing, plain
from stackledger.domain.errors import UsageError, near_names
from stackledger.domain.names import quoted

if TYPE_CHECKING:
    from stackledger.client.results import Page


def pagination(page: Page[Any]) -> JSON:
    """Return what JSON says of a page."""
    return {"page": page.index, "pages": page.total_pages, "size": page.max_size, "total": page.total}


def page_of(listing: Listing, *, page: int, size: int, sort_by: str | None = None) -> Listing:
    """Return one page of a list that came whole, sorted by `KEY`, `asc:KEY` or `desc:KEY` if that is asked for."""
    items = list(listing.items)
    total = len(items)
    if sort_by is not None:
        column, descending = _order(sort_by, listing.columns)
        items.sort(key=lambda item: _sortable(column.of(item)), reverse=descending)
    pages = max(1, -(-total // size))
    return listing._replace(
        items=items[(page - 1) * size : page * size],
        pagination={"page": page, "pages": pages, "size": size, "total": total},
    )


def _order(sort_by: str, columns: Sequence[Column]) -> tuple[Column, bool]:
    by_key = {column.key: column for column in columns}
    direction, colon, key = sort_by.partition(":")
    if not colon:
        direction, key = "asc", sort_by
    if direction not in {"asc", "desc"} or key not in by_key:
        raise UsageError(
            f"Cannot sort by {quoted(sort_by)}.",
            hint=f"Sort by {', '.join(by_key)}, with asc: or desc: before it if you like.",
            near=near_names(key, by_key),
        )
    return by_key[key], direction == "desc"


def _sortable(value: Any) -> tuple[bool, float, str]:
    """Return what numbers, texts and all the rest of a column are sorted by; nothing comes first."""
    number = value if isinstance(value, int | float) else 0
    return value is not None, number, plain(value).casefold()
