"""Groups of commands, declared as functions.

A command is a function that takes a `Call` and its own parameters, calls one method of the client and returns
one result to print. `query`, `listing` and `change` add the options that such commands share, so that each of
them is declared once; nothing is built of a command but its name and help until somebody runs it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand

from stackledger.cli import completion, options
from stackledger.cli.calls import Call, Result, show
from stackledger.cli.lazy import PLAIN, SETTINGS, LazyGroup, Stub
from stackledger.cli.printing import Listing
from stackledger.cli.talk import say
from stackledger.domain.errors import LogDamaged

Bundle = Callable[[], Mapping[str, tuple[Any, Any]]]
"""Makes options: their annotations and defaults by name."""


class Declared(NamedTuple):
    """A command before it is built."""

    function: Callable[..., Result]
    shared: Mapping[str, tuple[Any, Any]]
    example: str
    cls: type[TyperCommand]
    filters: Sequence[str]
    bundle: Mapping[str, Bundle]


_QUERY: dict[str, tuple[Any, Any]] = {"output": (options.Output, "table"), "as_of": (options.AsOf, None)}
_LISTING: dict[str, tuple[Any, Any]] = {
    "columns": (options.Columns, None),
    "sort_by": (options.SortBy, None),
    "page": (options.PageNumber, 1),
    "size": (options.PageSize, 20),
}
_CHANGE: dict[str, tuple[Any, Any]] = {
    "reason": (options.Reason, None),
    "ticket": (options.Ticket, None),
    "dry_run": (options.DryRun, False),
    "output": (options.Output, "table"),
}


class Group:
    """Commands under one name. With `announce`, each first says which database and which stack it works with.

    A group at the root has its help in the root's table of contents, so that it need not be imported for it.
    """

    def __init__(
        self, name: str, help: str = "", *, announce: bool = False, aliases: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.help = help
        self.announce = announce
        self.aliases = aliases or {}
        self._commands: dict[str, Callable[[], Any]] = {}
        self._helps: dict[str, str] = {}

    def query(
        self,
        name: str,
        *,
        example: str,
        as_of: bool = True,
        columns: bool = False,
    ) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        """Declare a command that reads: it takes `--output`, and `--as-of` unless it reads no view."""
        shared = {"output": _QUERY["output"]}
        if columns:
            shared["columns"] = _LISTING["columns"]
        if as_of:
            shared["as_of"] = _QUERY["as_of"]
        return self._declared(name, shared, example, TyperCommand)

    def listing(
        self,
        name: str,
        *,
        example: str,
        filters: Mapping[str, str] | None = None,
        as_of: bool = True,
    ) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        """Declare a command that lists, page by page; `filters` are its filters and their help.

        A function that returns a whole list, without `pagination`, has it sorted and cut for it.
        """
        shared = {name: (_filter(name, text), None) for name, text in (filters or {}).items()}
        shared |= _LISTING
        shared |= _QUERY if as_of else {"output": _QUERY["output"]}
        return self._declared(name, shared, example, TyperCommand, filters=tuple(filters or ()))

    def change(
        self,
        name: str,
        *,
        example: str,
        cls: type[TyperCommand] = TyperCommand,
        bundle: Mapping[str, Bundle] | None = None,
    ) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        """Declare a command that changes: it takes `--reason`, `--ticket`, `--dry-run` and `--output`.

        `bundle` maps a parameter of the function to what makes options whose values it gets as one mapping.
        """
        return self._declared(name, _CHANGE, example, cls, bundle=bundle or {})

    def plain(self, name: str, *, example: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        """Declare a command without shared options."""
        return self._declared(name, {}, example, TyperCommand)

    def add(self, group: Group, name: str = "") -> None:
        """Put a group into this one, under its own or another name."""
        self._commands[name or group.name] = group.build
        self._helps[name or group.name] = group.help

    def build(self) -> LazyGroup:
        """Return the group for Typer, made of stubs."""
        app = typer.Typer(
            name=self.name,
            help=self.help,
            cls=LazyGroup,
            no_args_is_help=True,
            context_settings=SETTINGS,
            callback=lambda: None,
            **PLAIN,
        )
        group = typer.main.get_group(app)
        assert isinstance(group, LazyGroup)
        group.aliases = self.aliases
        for name, load in self._commands.items():
            group.add_command(Stub(name, self._helps[name], load), name)
        return group

    def command(self, name: str) -> Any:
        """Return one of the commands for Typer."""
        return self._commands[name]()

    def _declared(
        self,
        name: str,
        shared: Mapping[str, tuple[Any, Any]],
        example: str,
        cls: type[TyperCommand],
        *,
        filters: Sequence[str] = (),
        bundle: Mapping[str, Bundle] | None = None,
    ) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
        def declare(function: Callable[..., Result]) -> Callable[..., Result]:
            declared = Declared(function, shared, example, cls, filters, bundle or {})
            self._commands[name] = lambda: self._built(name, declared)
            self._helps[name] = inspect.getdoc(function) or ""
            return function

        return declare

    def _built(self, name: str, declared: Declared) -> Any:
        """Return the command for Typer: the function with the shared options added to its own."""
        own = [
            parameter
            for parameter in list(inspect.signature(declared.function, eval_str=True).parameters.values())[1:]
            if parameter.name not in declared.bundle
        ]
        bundle = {parameter: make() for parameter, make in declared.bundle.items()}
        added = {**{key: option for part in bundle.values() for key, option in part.items()}, **declared.shared}

        def run(context: typer.Context, **values: Any) -> None:
            shared = {key: values.pop(key) for key in declared.shared}
            for parameter, part in bundle.items():
                values[parameter] = {key: found for key in part if (found := values.pop(key)) is not None}
            self._run(declared, Call(context, shared, declared.filters), values)

        keyword = inspect.Parameter.KEYWORD_ONLY
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter("context", keyword, annotation=typer.Context),
                *(parameter.replace(kind=keyword) for parameter in own),
                *(
                    inspect.Parameter(key, keyword, annotation=kind, default=default)
                    for key, (kind, default) in added.items()
                ),
            ]
        )
        run.__annotations__ = {}
        app = typer.Typer(add_completion=False, **PLAIN)
        app.command(
            name,
            cls=declared.cls,
            help=self._helps[name],
            epilog=f"Example:  {declared.example}",
            context_settings=SETTINGS,
        )(run)
        return typer.main.get_command(app)

    def _announce(self, call: Call) -> None:
        try:
            stack, scope = call.client.active_stack_and_scope()
        except LogDamaged:
            if call.as_of is None:
                raise
            return  # what was before the damage can be seen without it
        say(call.client.which_log())
        say(f"Running with active stack: '{stack.name}' ({scope})")

    def _run(self, declared: Declared, call: Call, values: Mapping[str, Any]) -> None:
        from stackledger.client import DryRun

        try:
            if self.announce:
                self._announce(call)
            show(declared.function(call, **values), call)
        except DryRun as stopped:
            show(_events(stopped.events), call)
        finally:
            call.client.close()
        if call.exit_status:
            raise typer.Exit(call.exit_status)


_COMPLETIONS: Mapping[str, Callable[..., list[str]]] = {
    "stack": completion.stack_names,
    "flavor": completion.flavor_names,
    "pipeline": completion.pipeline_names,
    "run": completion.run_names,
    "role": completion.key_roles,
    "status": completion.statuses,
    "type": completion.event_types,
}
"""What completes the values of filters."""


def _filter(name: str, text: str) -> Any:
    """Return the option of a filter: labels, tags and types may be several, since and until are moments."""
    several = name in {"label", "tag", "type"}
    moment = name in {"since", "until"}
    option = typer.Option(
        f"--{name}",
        metavar="POSITION|TIME" if moment else "KEY[=VALUE]" if name == "label" else name.upper(),
        help=text,
        callback=options.moment if moment else None,
        autocompletion=_COMPLETIONS.get(name),
    )
    return Annotated[list[str] | None if several else str | None, option]


def _events(events: Sequence[Mapping[str, Any]]) -> Listing:
    from stackledger.cli.events import dry_run_listing  # only for dry runs

    return dry_run_listing([dict(event) for event in events])
