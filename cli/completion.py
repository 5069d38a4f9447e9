"""What the shell may complete: the names of stacks, components, flavors and secrets that are there.

A shell asks while somebody types, so nothing here ever fails or talks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import StackledgerError

if TYPE_CHECKING:
    from stackledger.client import Client

_MOST = 200
"""More names than this help nobody to choose."""


def stack_names(incomplete: str) -> list[str]:
    """Return the names of stacks that begin so."""
    return _names(lambda client: client.list_stacks(filters=_beginning(incomplete), size=_MOST).items)


def component_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of components that begin so, of the type whose group the command is in."""
    kind = _type_of(ctx)
    return components_of(kind)(incomplete) if kind else []


def components_of(kind: ComponentType) -> Callable[[str], list[str]]:
    """Return what completes the names of components of one type."""

    def complete(incomplete: str) -> list[str]:
        return _names(lambda client: client.list_components(kind, filters=_beginning(incomplete), size=_MOST).items)

    return complete


def flavor_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of flavors that begin so, of the type whose group the command is in."""
    kind = _type_of(ctx)
    return [
        name
        for name in (_names(lambda client: client.list_flavors(kind)) if kind else [])
        if name.startswith(incomplete)
    ]


def secret_names(incomplete: str) -> list[str]:
    """Return the names of secrets that begin so."""
    return [
        name for name in _names(lambda client: client.list_secrets(size=_MOST).items) if name.startswith(incomplete)
    ]


def _beginning(incomplete: str) -> dict[str, str]:
    return {"name": f"startswith:{incomplete}"} if incomplete else {}


def _names(listed: Callable[[Client], object]) -> list[str]:
    from stackledger.client import Client  # help and parsing do without it

    client = Client()
    try:
        return [item.name for item in listed(client)]  # type: ignore[attr-defined]
    except StackledgerError:
        return []
    finally:
        client.close()


def _type_of(ctx: typer.Context) -> ComponentType | None:
    groups = {kind.group: kind for kind in ComponentType}
    up = ctx.parent
    while up is not None:
        if up.info_name in groups:
            return groups[up.info_name]
        up = up.parent
    return None
