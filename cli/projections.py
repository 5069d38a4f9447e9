"""`stackledger projection`: the views that are derived from the log."""

from __future__ import annotations

from typing import Annotated

import typer

from stackledger.cli.calls import Call, Done
from stackledger.cli.groups import Group
from stackledger.cli.printing import Column, Listing

GROUP = Group("projection")

_COLUMNS = [
    Column("NAME", "name"),
    Column("VERSION", "version"),
    Column("POSITION", "position"),
    Column("LAG", "lag"),
    Column("CHECKED AT", "checked_at"),
]


@GROUP.listing("list", example="stackledger projection list", as_of=False)
def list_projections(call: Call) -> Listing:
    """List the projections. Each has come to a position of the log, which was checked at a time."""
    return Listing([projection.to_json() for projection in call.client.list_projections()], _COLUMNS)


@GROUP.plain("rebuild", example="stackledger projection rebuild")
def rebuild(
    call: Call, name: Annotated[str | None, typer.Argument(metavar="NAME", help="Which; all if not given.")] = None
) -> Done:
    """Derive a projection from the log again."""
    position = call.client.rebuild_projection(name)
    return Done(f"Rebuilt {f'the projection {name}' if name else 'all projections'} up to position {position:,}.")
