"""The options that name a stack's components: one for each type, `-o` to `-r`, in both spellings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from stackledger.cli.completion import components_of
from stackledger.domain.component_types import REPEATABLE, REQUIRED, SHORT_OPTIONS, ComponentType
from stackledger.domain.errors import UsageError

REMOVED = "stackledger.removed"


def component_options(*, required: bool) -> dict[str, Any]:
    """Return an option that takes a name for each type; those that no stack is without may be `required`."""
    return {kind.value: _named(kind, required=required and kind in REQUIRED) for kind in ComponentType}


def removal_options() -> dict[str, Any]:
    """Return a flag for each type. `RemovalCommand` lets the long one take a name as well."""
    return {
        kind.value: (
            Annotated[
                bool,
                typer.Option(
                    f"--{kind.group}",
                    SHORT_OPTIONS[kind],
                    help=f"Remove the {kind.words}"
                    + (f", or with --{kind.group}=NAME one of several." if kind in REPEATABLE else "."),
                ),
            ],
            None,
        )
        for kind in ComponentType
    }


class RemovalCommand(TyperCommand):
    """A command whose flags for component types may name one component: `--step-operator=NAME`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the names aside and leave the flags."""
        flags = {f"--{kind.group}": kind for kind in ComponentType}
        named: dict[str, list[str]] = ctx.meta.setdefault(REMOVED, {})
        rest = []
        for argument in args:
            option, equals, name = argument.partition("=")
            kind = flags.get(f"--{option[2:].replace('_', '-')}") if option.startswith("--") else None
            if kind and equals:
                named.setdefault(kind.value, []).append(name)
                rest.append(option)
            else:
                rest.append(argument)
        return super().parse_args(ctx, rest)


def _named(kind: ComponentType, *, required: bool) -> tuple[Any, Any]:
    several = " The first is the default; may be given repeatedly." if kind in REPEATABLE else ""
    option = typer.Option(
        f"--{kind.group}",
        SHORT_OPTIONS[kind],
        metavar="NAME",
        help=f"The {kind.words}, by name or id.{several}",
        autocompletion=components_of(kind),
        callback=_at_most_one(kind),
    )
    return Annotated[list[str] if required else list[str] | None, option], ... if required else None


def _at_most_one(kind: ComponentType) -> Callable[[list[str] | None], list[str] | None]:
    def check(given: list[str] | None) -> list[str] | None:
        if given and len(given) > 1 and kind not in REPEATABLE:
            raise typer.BadParameter(f"A stack has one {kind.words}, and {len(given)} were given.")
        return given

    return check


def removed(named: Mapping[str, list[str]], flags: Mapping[str, bool]) -> dict[str, list[str]]:
    """Return what to remove: for each type the names, none for all of the type."""
    found = {kind: named.get(kind, []) for kind, asked in flags.items() if asked}
    if not found:
        raise UsageError("Say which type of component to remove.", hint="For example -c, or --step-operator=NAME.")
    return found
