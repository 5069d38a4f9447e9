"""Commands and groups that are known by name and help, and imported and built only when they are named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from typer.core import TyperCommand, TyperGroup

SETTINGS: dict[str, Any] = {
    "help_option_names": ["--help", "-h"],
    # Both spellings of every option and command: --container_registry is --container-registry.
    "token_normalize_func": lambda token: token.replace("_", "-"),
    "max_content_width": 120,
}
PLAIN: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}


class Stub(TyperCommand):
    """A command or group that is known by name and help, and loaded when it is named."""

    def __init__(self, name: str, help: str, load: Callable[[], Any]) -> None:
        super().__init__(name, help=help, rich_markup_mode=None)
        self.load = load


class LazyGroup(TyperGroup):
    """A group whose commands are stubs until they are named; `aliases` are other words for some of them."""

    aliases: Mapping[str, str] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in the place of its alias, which may look like an option."""
        return super().parse_args(ctx, [self.aliases.get(args[0], args[0]), *args[1:]] if args else args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command as Typer does, and load it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, Stub) else command, rest

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete commands in both spellings."""
        return super().shell_complete(ctx, incomplete.replace("_", "-"))

    def loaded(self) -> Iterable[tuple[str, Any]]:
        """Load and yield every command, for the reference and for tests."""
        for name, command in self.commands.items():
            yield name, command.load() if isinstance(command, Stub) else command
