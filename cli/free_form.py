"""Commands that take options which they do not declare: whose keys a flavor or a user chooses."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperCommand

from stackledger.domain.errors import UsageError
from stackledger.domain.names import visible

GIVEN = "stackledger.given"
"""Under this key of the context stand the options that were put aside, each with all its values."""

ARGUMENTS = "stackledger.arguments"
"""Under this key of the context stand the arguments as they were given, for the help."""


class FreeForm(TyperCommand):
    """A command that also takes options that it does not declare, always with a value: `--key=value`, `--key value`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the undeclared options aside and parse the rest."""
        ctx.meta[ARGUMENTS] = list(args)
        takes_value = {
            name: not getattr(parameter, "is_flag", False)
            for parameter in self.get_params(ctx)
            for name in (*parameter.opts, *parameter.secondary_opts)
        }
        rest: list[str] = []
        given: dict[str, list[str]] = ctx.meta.setdefault(GIVEN, {})
        waiting = list(reversed(args))
        while waiting:
            argument = waiting.pop()
            if argument == "--":
                rest += [argument, *reversed(waiting)]
                break
            name, equals, value = argument.partition("=")
            declared = takes_value.get(f"--{name[2:].replace('_', '-')}")
            if not argument.startswith("--") or declared is not None:
                rest.append(argument)
                if declared and not equals and waiting:
                    rest.append(waiting.pop())
                continue
            if not equals:
                if ctx.resilient_parsing:
                    continue
                if not waiting or (waiting[-1].startswith("-") and waiting[-1] != "-"):
                    raise UsageError(f"The option {visible(name)} has no value.", hint=f"Write {visible(name)}=VALUE.")
                value = waiting.pop()
            given.setdefault(name[2:], []).append(value)
        try:
            return super().parse_args(ctx, rest)
        except typer.TyperException as error:
            missing: list[str] = getattr(getattr(error, "param", None), "opts", [])
            near = [f"--{key}" for key in given if get_close_matches(f"--{key}", missing, n=1, cutoff=0.8)]
            if not near:
                raise
            raise UsageError(
                f"The option {missing[0]} is missing, and there is no option {visible(near[0])}.", near=missing[:1]
            ) from error


class KeysCommand(TyperCommand):
    """A command whose arguments, keys of a configuration, may also be written as options: `--path` for `path`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the dashes off every option that is not declared."""
        declared = {name for parameter in self.get_params(ctx) for name in parameter.opts}

        def plain(argument: str) -> str:
            name = f"--{argument[2:].partition('=')[0].replace('_', '-')}"
            return (
                argument
                if not argument.startswith("--") or name in {*declared, "--"}
                else argument[2:].replace("-", "_")
            )

        return super().parse_args(ctx, [plain(argument) for argument in args])
