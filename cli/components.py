"""`stackledger artifact-store` and its twelve sisters: one group for each type of component, made by one factory."""

from __future__ import annotations

from textwrap import wrap
from typing import Annotated

import typer

from stackledger.cli.calls import Call, Done
from stackledger.cli.completion import flavor_names
from stackledger.cli.describing import (
    configuration_text,
    confirm_taking_down,
    history_listing,
    label_tables,
    ownership,
)
from stackledger.cli.flavors import add_flavor_commands
from stackledger.cli.free_form import KeysCommand
from stackledger.cli.groups import Group
from stackledger.cli.options import (
    ComponentName,
    Force,
    Interactive,
    LabelChanges,
    Labels,
    NameOfCopy,
    NewName,
    NewNameOption,
    ThisComponent,
    Yes,
    one_name,
)
from stackledger.cli.paging import pagination
from stackledger.cli.parameters import ConfiguredCommand, ask_for_missing, once
from stackledger.cli.printing import Column, Details, Lines, Listing, Table, pointing, ticked
from stackledger.cli.talk import say
from stackledger.cli.values import label_changes, pairs, typed, with_files
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import UsageError

_COLUMNS = [
    Column("ACTIVE", "active", show=pointing),
    Column("NAME", "name"),
    Column("COMPONENT ID", "id"),
    Column("FLAVOR", "flavor"),
    Column("SHARED", "shared", show=ticked),
    Column("OWNER", "owner"),
    Column("TYPE", "type", shown=False),
    Column("LABELS", "labels", shown=False),
    Column("CONFIGURATION", "configuration", show=configuration_text, shown=False),
]

_EXAMPLES = {
    ComponentType.ORCHESTRATOR: "local",
    ComponentType.ARTIFACT_STORE: "local",
    ComponentType.METADATA_STORE: "sqlite",
    ComponentType.CONTAINER_REGISTRY: "default",
}
"""Flavors that the examples in the help may name."""


def component_group(name: str) -> Group:
    """Return the commands of one type of component, by the name of its group."""
    kind = ComponentType(name.replace("-", "_"))
    group = Group(name, announce=True)
    _add_registration(group, kind)
    _add_upkeep(group, kind)
    _add_queries(group, kind)
    _add_services(group, kind)
    add_flavor_commands(group, kind)
    return group


def _add_registration(group: Group, kind: ComponentType) -> None:
    program = f"stackledger {kind.group}"

    @group.change(
        "register",
        example=f"{program} register my_{kind} --flavor={_EXAMPLES.get(kind, 'FLAVOR')} --label team=vision",
        cls=ConfiguredCommand,
    )
    def register(
        call: Call,
        name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the new component.")],
        flavor: Annotated[
            str, typer.Option("--flavor", "-f", metavar="FLAVOR", autocompletion=flavor_names, help="Its flavor.")
        ],
        labels: Labels = None,
        interactive: Interactive = False,
    ) -> Done:
        """Register a component. --KEY=VALUE sets its configuration; -f FLAVOR --help lists the keys."""
        configuration: dict[str, str] = with_files(once(call.given))
        if interactive:
            configuration |= ask_for_missing(call.client.get_flavor(flavor, kind).fields, configuration)
        component = call.client.create_stack_component(
            name, flavor, kind, configuration, labels=pairs(labels, "--label")
        )
        return Done(f"Successfully registered {kind} `{component.name}`.", component.to_json())

    @group.change("update", example=f"{program} update my_{kind} --label team=vision", cls=ConfiguredCommand)
    def update(
        call: Call, name: ThisComponent = None, labels: LabelChanges = None, interactive: Interactive = False
    ) -> Done:
        """Change a component's configuration or labels. --KEY=VALUE sets a key; NAME --help lists the keys."""
        configuration = with_files(once(call.given))
        if interactive:
            component = call.client.get_stack_component(kind, name)
            fields = call.client.get_flavor(component.flavor, kind).fields
            configuration |= ask_for_missing(fields, configuration, current=component.configuration)
        if not (configuration or labels):
            raise UsageError("Nothing to update was given.", hint="Give --KEY=VALUE, or --label KEY=VALUE.")
        component = call.client.update_stack_component(
            name, kind, configuration=configuration, labels=label_changes(labels)
        )
        return Done(f"Successfully updated {kind} `{component.name}`.", component.to_json())


def _add_upkeep(group: Group, kind: ComponentType) -> None:
    program = f"stackledger {kind.group}"

    @group.change("rename", example=f"{program} rename my_{kind} their_{kind}")
    def rename(
        call: Call, name: ComponentName, new_name: NewName = None, new_name_option: NewNameOption = None
    ) -> Done:
        """Give a component another name. The stacks that use it go on using it."""
        component = call.client.update_stack_component(name, kind, one_name(new_name, new_name_option))
        return Done(f"Successfully renamed {kind} to `{component.name}`.", component.to_json())

    @group.change("copy", example=f"{program} copy my_{kind} my_{kind}_2")
    def copy(call: Call, name: ComponentName, new_name: NameOfCopy) -> Done:
        """Register a copy of a component under another name."""
        component = call.client.copy_stack_component(name, kind, new_name)
        return Done(f"Successfully registered {kind} `{component.name}`.", component.to_json())

    @group.change("remove-attribute", example=f"{program} remove-attribute my_{kind} path", cls=KeysCommand)
    def remove_attribute(
        call: Call,
        name: ComponentName,
        attributes: Annotated[
            list[str] | None, typer.Argument(metavar="KEY…", help="Keys of its configuration.")
        ] = None,
        labels: Annotated[
            list[str] | None,
            typer.Option("--label", "-l", metavar="KEY", help="Remove a label; may be given repeatedly."),
        ] = None,
    ) -> Done:
        """Take keys out of a component's configuration. Its flavor's defaults hold then. --label takes labels off."""
        if not (attributes or labels):
            raise UsageError("Nothing to remove was given.", hint="Give a KEY of the configuration, or --label KEY.")
        component = call.client.remove_stack_component_attributes(name, kind, attributes or [], labels=labels or [])
        return Done(f"Successfully updated {kind} `{component.name}`.", component.to_json())

    @group.change("delete", example=f"{program} delete my_{kind} --yes")
    def delete(call: Call, name: ComponentName, yes: Yes = False) -> Done:
        """Delete a component that is part of no stack."""
        # What is deleted is the one that was asked about, whoever has its name after the answer.
        component = call.client.get_stack_component(kind, name, allow_name_prefix_match=False)
        call.confirm(f"Delete the {kind.words} '{component.name}'?", yes=yes)
        call.client.delete_stack_component(component.id, kind)
        return Done(f"Deleted {kind} `{component.name}`.", component.to_json())

    @group.change("share", example=f"{program} share my_{kind}")
    def share(call: Call, name: ComponentName) -> Done:
        """Mark a component as shared."""
        component = call.client.share_stack_component(name, kind)
        return Done(f"The {kind} `{component.name}` is shared now.", component.to_json())

    @group.change("unshare", example=f"{program} unshare my_{kind}")
    def unshare(call: Call, name: ComponentName) -> Done:
        """Mark a component as private."""
        component = call.client.unshare_stack_component(name, kind)
        return Done(f"The {kind} `{component.name}` is private now.", component.to_json())


def _add_queries(group: Group, kind: ComponentType) -> None:
    program = f"stackledger {kind.group}"

    @group.listing(
        "list",
        example=f"{program} list --name=contains:s3",
        filters={
            "name": "Only this name; also contains:, startswith: or endswith:TEXT.",
            "owner": "Only those of this user.",
            "flavor": "Only those of this flavor.",
            "label": "Only those with this label, KEY or KEY=VALUE.",
        },
    )
    def list_components(call: Call) -> Listing:
        """List the components of this type. A hand points at those of the active stack."""
        from stackledger.client.results import Component

        page = call.client.list_stack_components(kind, **call.filters, as_of=call.as_of, **call.paging)
        items = [component.to_json() for component in page.items]
        nothing = f"No components of the type {kind.words} found."
        return Listing(items, _COLUMNS, pagination(page), nothing=nothing, keys=Component._fields)

    @group.query("describe", example=f"{program} describe my_{kind}")
    def describe(call: Call, name: ThisComponent = None) -> Details:
        """Show a component's flavor, configuration and labels."""
        component = call.client.get_stack_component(kind, name, as_of=call.as_of)
        rows = [[key, typed(value)] for key, value in component.configuration.items()]
        title = f"'{component.name}' {kind.upper()} Component Configuration" + (" (ACTIVE)" if component.active else "")
        parts: list[Table | str] = [
            Table(["COMPONENT_PROPERTY", "VALUE"], rows, title=title)
            if rows
            else f"No configuration options are set for component '{component.name}'."
        ]
        parts += label_tables(component.labels)
        parts.append(f"Its flavor is '{component.flavor}'.")
        parts.append(ownership(f"{kind.words.capitalize()}", component))
        return Details(component.to_json(), parts)

    @group.query("get", example=f"{program} get")
    def get(call: Call) -> Details:
        """Print the active stack's component of this type."""
        component = call.client.get_stack_component(kind, as_of=call.as_of)
        item = {"name": component.name, "id": component.id, "flavor": component.flavor}
        return Details(item, [f"Active {kind.words}: '{component.name}'"])

    @group.listing("history", example=f"{program} history my_{kind}")
    def history(call: Call, name: ThisComponent = None) -> Listing:
        """List what happened to a component, newest first."""
        return history_listing(call.client.component_history(kind, name, as_of=call.as_of))

    @group.query("explain", example=f"{program} explain", as_of=False)
    def explain(call: Call) -> Lines:
        """Say what components of this type are for."""
        return Lines(wrap(call.client.explain(kind), 100))


def _add_services(group: Group, kind: ComponentType) -> None:
    program = f"stackledger {kind.group}"

    @group.plain("up", example=f"{program} up my_{kind}")
    def up(call: Call, name: ThisComponent = None) -> None:
        """Start what a component needs on this machine, and say what that is."""
        call.client.start_component(kind, name)

    @group.plain("down", example=f"{program} down my_{kind}")
    def down(call: Call, name: ThisComponent = None, force: Force = False, yes: Yes = False) -> None:
        """End what `up` started on this machine, and say what that is. With --force, take it down on servers, too."""
        component = call.client.get_stack_component(kind, name, allow_name_prefix_match=False)
        if force:
            confirm_taking_down(call, [(kind, component.id)], yes=yes)
        call.client.stop_component(kind, component.id, force=force)

    @group.query("logs", example=f"{program} logs my_{kind}", as_of=False)
    def logs(call: Call, name: ThisComponent = None) -> Lines:
        """Print what a component's services wrote. Local flavors run none."""
        lines = list(call.client.component_logs(kind, name))
        if not lines:
            say("No logs: no service of this component writes any.")
        return Lines(lines)
