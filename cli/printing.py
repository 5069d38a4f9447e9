"""Printing results on standard output: tables in the shapes that users know, JSON, YAML, CSV and TSV.

Rich draws the tables and is imported for nothing else. What strangers named is never taken for markup, and
its control characters reach no terminal, not through a pipe either: JSON and YAML escape them, all else spells them
out. Programs that need texts to the letter read JSON.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from stackledger.domain.errors import UsageError, near_names
from stackledger.domain.names import quoted, visible

JSON = dict[str, Any]

# Everything that `visible` may spell out; most texts have nothing of it. Compiled by the formats that need it.
_FOREIGN = r"[^\x20-\x7e\n]"
_NARROWEST = 5
"""Columns of the terminal that a cell takes at least: one wide letter, a blank on each side, and an edge."""

_LEGIBLE = 9
"""Letters that a line of a folded cell has at least, where there are as many."""


class Column(NamedTuple):
    """A column of a list: the table's title, the key in JSON, how to get and how to show its value.

    A column that is not `shown` appears when `--columns` asks for it.
    """

    title: str
    key: str
    value: Callable[[JSON], Any] | None = None
    show: Callable[[Any], str] | None = None
    shown: bool = True

    def of(self, item: JSON) -> Any:
        """Return the item's value as JSON."""
        return self.value(item) if self.value else item.get(self.key)

    def cell(self, item: JSON) -> str:
        """Return the item's value as a table shows it."""
        return (self.show or plain)(self.of(item))


class Listing(NamedTuple):
    """A list to print. `pagination` is filled in for lists that have one page only.

    `keys` are those of each item, where the columns have others or another order: what CSV and TSV begin with does not
    depend on whether there is an item.
    """

    items: Sequence[JSON]
    columns: Sequence[Column]
    pagination: JSON | None = None
    title: str = ""
    nothing: str = ""
    keys: Sequence[str] = ()


class Table(NamedTuple):
    """A table of texts."""

    columns: Sequence[str]
    rows: Iterable[Sequence[str]]
    title: str = ""
    caption: str = ""


class Details(NamedTuple):
    """One object to print: its JSON, and its tables and sentences for people."""

    item: JSON
    parts: Sequence[Table | str]


class Lines(NamedTuple):
    """Text to print as it is, line by line; in JSON and YAML it is a list, in CSV and TSV the column `line`."""

    lines: Iterable[str]


def plain(value: Any) -> str:
    """Return a JSON value as a cell: nothing for nothing, texts as they are, the rest short and readable."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    return str(value)


def pointing(value: Any) -> str:
    """Return the hand that marks what is active."""
    return _sign("👉", "*") if value else ""


def ticked(value: Any) -> str:
    """Return a tick for yes and a dash for no."""
    return _sign("✅", "yes") if value else _sign("➖", "-")  # noqa: RUF001 - the heavy dash that users know


def _sign(sign: str, plain_sign: str) -> str:
    """Return a sign, or what stands for it where standard output cannot hold it: spelled out it would be no sign."""
    try:
        sign.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return plain_sign
    return sign


def print_listing(listing: Listing, output: str, chosen: str | None = None) -> None:
    """Print a list in one of the formats, with the columns that `--columns` chose."""
    columns = _chosen(listing.columns, chosen) if chosen is not None else None
    if output == "table":
        _print_listing_table(listing, columns)
        return
    items = (
        [{column.key: column.of(item) for column in columns} for item in listing.items] if columns else listing.items
    )
    if output in {"csv", "tsv"}:
        header = [column.key for column in columns or ()] or _keys(listing)
        print_rows(header, items, output)
        return
    count = len(items)
    pagination = listing.pagination or {"page": 1, "pages": 1, "size": count, "total": count}
    print_json({"items": list(items), "pagination": pagination}, output)


def print_details(details: Details, output: str) -> None:
    """Print one object in one of the formats."""
    if output == "table":
        for part in details.parts:
            if isinstance(part, str):
                _write(visible(part))
            else:
                print_table(part)
    elif output in {"csv", "tsv"}:
        print_rows(list(details.item), [details.item], output)
    else:
        print_json(details.item, output)


def print_lines(lines: Lines, output: str) -> None:
    """Print lines of text; tabulators become spaces and other control characters are spelled out."""
    if output in {"json", "yaml"}:
        print_json(list(lines.lines), output)
        return
    if output in {"csv", "tsv"}:
        print_rows(["line"], ({"line": line} for line in lines.lines), output)
        return
    for line in lines.lines:
        _write(visible(line.expandtabs()))


def print_json(value: Any, output: str) -> None:
    """Print a JSON value as JSON or YAML."""
    text = _json(value, indent=2)
    if output == "json":
        _write(re.sub(_FOREIGN, _escaped, text))
        return
    import yaml  # 15 ms that only this format costs

    readable = visible(text) == text
    _write(yaml.safe_dump(value, sort_keys=False, allow_unicode=readable, width=4096).removesuffix("\n"))


def print_stream(
    items: Iterable[JSON], columns: Sequence[Column], output: str, chosen: str | None = None, *, keys: Sequence[str]
) -> None:
    """Print objects as they come, each at once: a line for each, in YAML a document.

    `columns` are what there is to choose from with `--columns`, `keys` what CSV and TSV print without; the table is
    without edges, whose place nobody knows.
    """
    picked = _chosen(columns, chosen) if chosen is not None else None
    coming = _flushed({column.key: column.of(item) for column in picked} if picked else item for item in items)
    if output in {"csv", "tsv"}:
        print_rows([column.key for column in picked] if picked else keys, coming, output)
        return
    for item in coming:
        if output == "table":
            cells = (column.cell(item) for column in picked or columns if picked or column.shown)
            _write("  ".join(visible(" ".join(cell.split())) for cell in cells if cell))
        elif output == "json":
            _write(re.sub(_FOREIGN, _escaped, _json(item)))
        else:
            _write("---")
            print_json(item, output)


def _flushed(items: Iterable[JSON]) -> Iterator[JSON]:
    for item in items:
        yield item
        sys.stdout.flush()


def print_rows(header: Sequence[str], items: Iterable[JSON], output: str) -> None:
    """Print rows as CSV or TSV below their JSON keys; nested values are JSON."""
    import csv

    writer = csv.writer(sys.stdout, delimiter="," if output == "csv" else "\t", lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_flat(item.get(key)) for key in header] for item in items)


def print_table(table: Table) -> None:
    """Draw a table with heavy edges, its cells folded to the width of the terminal or of `COLUMNS`.

    Where they would be folded to slivers, each row is drawn as a record instead: a line for each of its columns.
    """
    from rich.box import HEAVY_EDGE
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    def text(raw: str) -> Text:
        return Text(visible(raw))  # a Text, because a str would be searched for markup and emoji names

    console = Console(file=sys.stdout, width=_width(), highlight=False, markup=False, emoji=False)
    rows = list(table.rows)
    records = console.width < _readable_width(table.columns, rows)
    drawn = RichTable(
        box=HEAVY_EDGE,
        show_lines=not records,
        show_header=not records,
        title=text(table.title) if table.title else None,
        caption=text(table.caption) if table.caption else None,
    )
    for column in ("", "") if records else table.columns:
        drawn.add_column(text(column), overflow="fold")
    for row in rows:
        if records:
            for title, cell in zip(table.columns, row, strict=True):
                if cell:
                    drawn.add_row(text(title), text(cell))
            drawn.add_section()
        else:
            drawn.add_row(*map(text, row))
    # Narrower, and cells would vanish: a line that wraps is better.
    console.width = max(console.width, _NARROWEST * len(drawn.columns) + 1)
    console.print(drawn)


def _readable_width(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how wide a terminal has to be for a table: a few letters of each column, and the edges between them.

    A table of two columns is never drawn otherwise, as its records would look the same.
    """
    if len(titles) < 3:  # noqa: PLR2004
        return 0
    columns = zip(titles, *rows, strict=True)
    return sum(min(_LEGIBLE, max(map(len, cells))) + 3 for cells in columns) + 1


def _width() -> int | None:
    """Return the width that `COLUMNS` asks for, None for the terminal's, and none worth speaking of in a pipe.

    Nobody looks at a pipe's width, and whole rows can be searched and cut.
    """
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return None if sys.stdout.isatty() else 100_000


def _print_listing_table(listing: Listing, columns: Sequence[Column] | None) -> None:
    if not listing.items:
        from stackledger.cli.talk import say

        pages = listing.pagination
        if pages and pages["total"]:
            say(f"Nothing on page {pages['page']}: page {pages['pages']} is the last.")
        else:
            say(listing.nothing or "Nothing found.")
        return
    columns = columns or [column for column in listing.columns if column.shown]
    rows = ([column.cell(item) for column in columns] for item in listing.items)
    print_table(Table([column.title for column in columns], rows, title=listing.title))
    pages = listing.pagination
    if pages and pages["pages"] > 1:
        from stackledger.cli.talk import say

        say(f"Page {pages['page']} of {pages['pages']}, {pages['total']:,} in all. Another page: --page N.")


def _chosen(columns: Sequence[Column], chosen: str) -> list[Column]:
    by_name = {_normal(name): column for column in columns for name in (column.key, column.title)}
    found = []
    for name in chosen.split(","):
        column = by_name.get(_normal(name))
        if column is None:
            known = [column.key for column in columns]
            raise UsageError(
                f"There is no column {quoted(name.strip())}.",
                near=near_names(_normal(name), known),
                hint=f"The columns are {', '.join(known)}.",
            )
        found.append(column)
    return found


def _normal(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _keys(listing: Listing) -> list[str]:
    if listing.items:
        return list(listing.items[0])
    return list(listing.keys) or [column.key for column in listing.columns if column.value is None]


def _flat(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else _json(value)
    return "\t".join(map(visible, text.split("\t")))  # which harms no terminal, and both formats can hold


def _json(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON, which has no words for numbers that are none: they are texts, as `Infinity`."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), indent=indent, ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _escaped(match: re.Match[str]) -> str:
    char = match[0]
    if unicodedata.category(char)[0] not in "CZ":
        return char
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
