"""The reference of the command line, made from its own help: `python -m stackledger.cli.reference`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from stackledger.cli.app import PROGRAM, root
from stackledger.cli.lazy import SETTINGS, LazyGroup
from stackledger.domain.component_types import ComponentType

_WIDTH = 100
_SHOWN = ComponentType.ARTIFACT_STORE
"""The groups of component types are alike; the reference shows this one."""


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command and group with its full name, groups before their commands."""
    for context in _contexts(PROGRAM, root(), None):
        yield context.command_path, context.command


def helps() -> Iterator[tuple[str, str]]:
    """Yield every command's full name and help."""
    for context in _contexts(PROGRAM, root(), None):
        yield context.command_path, context.get_help()


def reference() -> str:
    """Return the reference as Markdown."""
    others = [kind.group for kind in ComponentType if kind is not _SHOWN]
    parts = [
        "# The command line",
        "This page is the program's own help, written by `python -m stackledger.cli.reference`.",
        f"All types of component have the commands of `{_SHOWN.group}`: {', '.join(f'`{name}`' for name in others)}.",
    ]
    for name, text in helps():
        words = name.split()
        if len(words) > 1 and words[1] in others:
            continue
        parts += [f"{'#' * min(4, len(words) + 1)} {name}", f"```text\n{text.rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _contexts(name: str, command: Any, parent: typer.Context | None) -> Iterator[typer.Context]:
    names = SETTINGS["help_option_names"]
    context = typer.Context(command, info_name=name, parent=parent, terminal_width=_WIDTH, help_option_names=names)
    yield context
    if isinstance(command, LazyGroup):
        for below, loaded in command.loaded():
            yield from _contexts(below, loaded, context)


if __name__ == "__main__":
    print(reference(), end="")
