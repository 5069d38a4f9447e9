"""The configuration of a component on the command line: `--KEY=VALUE`, questions for it, and its help."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stackledger.cli.describing import field_notes
from stackledger.cli.free_form import ARGUMENTS, FreeForm
from stackledger.cli.talk import answer, say
from stackledger.cli.values import typed
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import StackledgerError, UsageError
from stackledger.domain.names import visible


def once(given: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the options that a command does not declare as configuration, each given once."""
    found = {}
    for key, values in given.items():
        name = key.replace("-", "_")
        if len(values) > 1 or name in found:
            raise UsageError(f"The option --{visible(key)} was given more than once.")
        found[name] = values[0]
    return found


def ask_for_missing(
    fields: Iterable[Mapping[str, Any]], given: Mapping[str, str], *, current: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """Ask for every field that was not given; ENTER skips one that is optional or has a value already."""
    found = {}
    for field in fields:
        name = field["name"]
        if name in given:
            continue
        skippable = not field["required"] or (current is not None and name in current)
        kept = (current or {}).get(name, field["default"])
        notes = [field["type"], "a reference such as {{name.key}}" if field["secret"] else ""]
        notes += [f"ENTER for {typed(kept)}" if kept is not None else "ENTER to skip"] if skippable else ["required"]
        question = f"{name} ({', '.join(note for note in notes if note)})"
        value = answer(question)
        while not value and not skippable:
            if value is None:
                raise StackledgerError(
                    f"There was no answer for {name}, which is required.", hint="Nothing was changed."
                )
            say(f"{name} is required.")
            value = answer(question)
        if value:
            found[name] = value
    return found


class ConfiguredCommand(FreeForm):
    """A command that takes a component's configuration; its help lists the keys of the flavor that is named."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the declared options, then those of the flavor."""
        super().format_options(ctx, formatter)
        kind = ComponentType(ctx.parent.info_name.replace("-", "_"))
        flavor = self._flavor(ctx, kind)
        if flavor is None:
            return
        with formatter.section(f"Configuration of the flavor {flavor.name}"):
            formatter.write_dl([(f"--{field['name']} <{field['type']}>", _about(field)) for field in flavor.fields])

    def _flavor(self, ctx: Any, kind: ComponentType) -> Any:
        arguments = ctx.meta.get(ARGUMENTS, [])
        if not arguments:
            return None
        from stackledger.client import Client  # only help that names a flavor or component needs it

        client = Client()
        try:
            named = _option(arguments, "--flavor", "-f")
            if named is not None:
                return client.get_flavor(named, kind)
            if self.name == "update" and arguments and not arguments[0].startswith("-"):
                return client.get_flavor(client.get_stack_component(kind, arguments[0]).flavor, kind)
        finally:
            client.close()
        return None


def _option(arguments: list[str], *names: str) -> str | None:
    for at, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option in names:
            return value if equals else next(iter(arguments[at + 1 :]), None)
    return None


def _about(field: Mapping[str, Any]) -> str:
    return f"{field['description']}  {''.join(f'[{note}]' for note in field_notes(field))}".strip()
