"""`stackledger flavor`, and the `flavor` group of each type of component."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stackledger.cli.calls import Call, Done
from stackledger.cli.completion import component_types
from stackledger.cli.describing import field_notes
from stackledger.cli.groups import Group
from stackledger.cli.options import FlavorName, Yes
from stackledger.cli.printing import Column, Details, Listing, Table, ticked
from stackledger.domain.component_types import ComponentType

GROUP = Group("flavor", aliases={"--list": "list"})

_COLUMNS = [
    Column("FLAVOR", "name"),
    Column("TYPE", "type"),
    Column("SUMMARY", "summary"),
    Column("CUSTOM", "custom", show=ticked),
    Column("SOURCE", "source", shown=False),
]

Kind = Annotated[
    str | None,
    typer.Option(
        "--type",
        "-t",
        metavar="TYPE",
        autocompletion=component_types,
        help="Only flavors of this type of component, such as artifact-store.",
    ),
]
Source = Annotated[str, typer.Argument(metavar="MODULE.CLASS", help="The dotted name of the flavor's class.")]


@GROUP.listing("list", example="stackledger flavor list --type artifact-store")
def list_all(call: Call, kind: Kind = None) -> Listing:
    """List the flavors of all types of component."""
    return _listing(call.client.list_flavors(_type(kind) if kind else None, as_of=call.as_of))


def add_flavor_commands(group: Group, kind: ComponentType) -> None:
    """Give the group of a component type its `flavor` group; `flavor --list` is `flavor list`."""
    flavors = Group(
        "flavor", f"See the flavors of the type {kind.words}, and add your own.", aliases={"--list": "list"}
    )
    program = f"stackledger {kind.group} flavor"

    @flavors.listing("list", example=f"{program} list")
    def list_flavors(call: Call) -> Listing:
        """List the flavors of this type."""
        return _listing(call.client.list_flavors(kind, as_of=call.as_of))

    @flavors.query("describe", example=f"{program} describe FLAVOR")
    def describe(call: Call, name: FlavorName) -> Details:
        """Show a flavor and how it is configured."""
        flavor = call.client.get_flavor(name, kind, as_of=call.as_of)
        rows = [
            [field["name"], field["type"], "\n".join(field_notes(field)), field["description"]]
            for field in flavor.fields
        ]
        return Details(
            flavor.to_json(),
            [
                f"{kind.words.capitalize()} flavor '{flavor.name}': {flavor.summary}",
                Table(["KEY", "TYPE", "NEEDED", "MEANING"], rows, title="Configuration")
                if rows
                else "It has no configuration.",
            ],
        )

    @flavors.change("register", example=f"{program} register my_module.MyFlavor")
    def register(call: Call, source: Source) -> Done:
        """Add a flavor of your own. It is a class that your Python can import."""
        flavor = call.client.create_flavor(source, kind)
        return Done(f"Successfully registered the {kind.words} flavor `{flavor.name}`.", flavor.to_json())

    @flavors.change("delete", example=f"{program} delete my_flavor --yes")
    def delete(call: Call, name: FlavorName, yes: Yes = False) -> Done:
        """Take a flavor of your own away. No component may be of it."""
        flavor = call.client.find_flavor(name, kind)
        call.confirm(f"Delete the {kind.words} flavor '{flavor.name}'?", yes=yes)
        call.client.delete_flavor(name, kind)
        return Done(f"Deleted the {kind.words} flavor `{flavor.name}`.", flavor.to_json())

    group.add(flavors)


def _listing(flavors: Any) -> Listing:
    return Listing([flavor.to_json() for flavor in flavors], _COLUMNS, nothing="There are no flavors of this type yet.")


def _type(text: str) -> ComponentType:
    from stackledger.domain.errors import UsageError, near_names
    from stackledger.domain.names import quoted

    name = text.replace("-", "_")
    if name not in set(ComponentType):
        groups = [kind.group for kind in ComponentType]
        raise UsageError(
            f"There is no type of component {quoted(text)}.",
            near=near_names(text, groups),
            hint=f"The types are {', '.join(groups)}.",
        )
    return ComponentType(name)
