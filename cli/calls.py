"""One call of a command, and the printing of its result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from stackledger.cli.free_form import GIVEN
from stackledger.cli.paging import page_of
from stackledger.cli.printing import Details, Lines, Listing, print_details, print_json, print_lines, print_listing
from stackledger.cli.talk import confirmed, say

if TYPE_CHECKING:
    from stackledger.client import Client


class Done(NamedTuple):
    """A change that was made: what to say, and the changed object for `--output json`."""

    sentence: str
    item: Mapping[str, Any] | None = None


Result = Listing | Details | Lines | Done | None


class Call:
    """One call of a command: its client, and what the shared options said.

    `given` are the options that the command does not declare, `filters` those of a list that were given.
    """

    def __init__(self, context: typer.Context, shared: Mapping[str, Any], filters: Iterable[str]) -> None:
        from stackledger.client import Client  # help and parsing do without it

        self.output: str = shared.get("output", "table")
        self.as_of: str | None = shared.get("as_of")
        self.columns: str | None = shared.get("columns")
        self.paging: dict[str, Any] = {name: shared[name] for name in ("sort_by", "page", "size") if name in shared}
        self.filters: dict[str, Any] = {name: shared[name] for name in filters if shared[name]}
        self.exit_status = 0
        self.dry_run: bool = shared.get("dry_run", False)
        self.meta: Mapping[str, Any] = context.meta
        self.given: dict[str, list[str]] = context.meta.get(GIVEN, {})
        self.client: Client = Client(
            reason=shared.get("reason"), ticket=shared.get("ticket"), dry_run=self.dry_run, notify=say
        )

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before a change that is hard to take back, unless told not to, or nothing will happen anyway."""
        if not (yes or self.dry_run):
            confirmed(question)


def show(result: Result, call: Call) -> None:
    """Print what a command returned."""
    match result:
        case Listing():
            if call.paging and result.pagination is None:
                result = page_of(result, **call.paging)
            print_listing(result, call.output, call.columns)
        case Details():
            print_details(result, call.output)
        case Lines():
            print_lines(result, call.output)
        case Done(sentence, item):
            say(sentence)
            if item is not None and call.output in {"json", "yaml"}:
                print_json(item, call.output)
            elif item is not None and call.output != "table":
                print_details(Details(dict(item), ()), call.output)
        case None:
            pass
