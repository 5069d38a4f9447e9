"""`stackledger stack`: register, see, change and activate stacks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from stackledger.cli.calls import Call, Done
from stackledger.cli.component_options import REMOVED, RemovalCommand, component_options, removal_options, removed
from stackledger.cli.describing import (
    changes_listing,
    confirm_taking_down,
    history_listing,
    label_tables,
    ownership,
)
from stackledger.cli.groups import Group
from stackledger.cli.options import (
    Force,
    LabelChanges,
    Labels,
    NameOfCopy,
    NewName,
    NewNameOption,
    StackName,
    ThisStack,
    Yes,
    moment,
    one_name,
)
from stackledger.cli.paging import pagination
from stackledger.cli.printing import JSON, Column, Details, Lines, Listing, Table, plain, pointing, ticked
from stackledger.cli.talk import say
from stackledger.cli.values import label_changes, pairs
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import UsageError

GROUP = Group("stack", announce=True)

Decouple = Annotated[
    bool, typer.Option("--decouple-stores", help="End the pairings that the stores have with other stores.")
]
Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Delete the components too that no other stack uses.")
]


@GROUP.change(
    "register",
    example="stackledger stack register my_stack -o default -a my_artifact_store --set",
    bundle={"components": lambda: component_options(required=True)},
)
def register(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the new stack.")],
    components: Mapping[str, list[str]],
    labels: Labels = None,
    activate: Annotated[bool, typer.Option("--set", help="Activate the stack at once.")] = False,
    decouple_stores: Decouple = False,
) -> Done:
    """Register a stack. It has an orchestrator, an artifact store, and whatever else you name."""
    stack = call.client.create_stack(
        name, components, labels=pairs(labels, "--label"), activate=activate, decouple_stores=decouple_stores
    )
    say_active = f" It is active now ({call.client.activation_scope()})." if activate else ""
    return Done(f"Stack '{stack.name}' successfully registered!{say_active}", stack.to_json())


@GROUP.listing(
    "list",
    example="stackledger stack list --name=contains:gpu --sort-by=desc:name",
    filters={
        "name": "Only this name; also contains:, startswith: or endswith:TEXT.",
        "owner": "Only those of this user.",
        "flavor": "Only those with a component of this flavor.",
        "label": "Only those with this label, KEY or KEY=VALUE.",
    },
)
def list_stacks(call: Call) -> Listing:
    """List the stacks. A hand points at the active one."""
    from stackledger.client.results import Stack

    page = call.client.list_stacks(**call.filters, as_of=call.as_of, **call.paging)
    items = [stack.to_json() for stack in page.items]
    used = {kind for item in items for kind in item["components"]}
    columns = [
        Column("ACTIVE", "active", show=pointing),
        Column("STACK NAME", "name"),
        Column("STACK ID", "id"),
        Column("SHARED", "shared", show=ticked),
        Column("OWNER", "owner"),
        *(_names_column(kind, shown=kind in used) for kind in ComponentType),
        Column("LABELS", "labels", shown=False),
        Column("COMPONENTS", "components", shown=False),
    ]
    return Listing(items, columns, pagination(page), nothing="No stacks found.", keys=Stack._fields)


@GROUP.query("describe", example="stackledger stack describe my_stack --as-of 2026-03-01")
def describe(call: Call, name: ThisStack = None) -> Details:
    """Show the components of a stack."""
    stack = call.client.get_stack(name, as_of=call.as_of)
    item = stack.to_json()
    rows = [[kind.upper(), ", ".join(one["name"] for one in several)] for kind, several in item["components"].items()]
    parts: list[Table | str] = [
        Table(
            ["COMPONENT_TYPE", "COMPONENT_NAME"],
            rows,
            title="Stack Configuration",
            caption=f"'{stack.name}' stack" + (" (ACTIVE)" if stack.active else ""),
        )
    ]
    parts += label_tables(stack.labels)
    parts.append(ownership("Stack", stack))
    return Details(item, parts)


@GROUP.query("get", example="stackledger stack get")
def get(call: Call) -> Details:
    """Print which stack is active, and for whom."""
    stack, scope = call.client.active_stack_and_scope(as_of=call.as_of)
    return Details(
        {"name": stack.name, "id": stack.id, "scope": scope}, [f"The {scope} active stack is: '{stack.name}'"]
    )


@GROUP.change("set", example="stackledger stack set my_stack")
def set_active(
    call: Call,
    name: StackName,
    everywhere: Annotated[bool, typer.Option("--global", help="For you everywhere, not for this repository.")] = False,
) -> Done:
    """Activate a stack. It holds for the repository you are in, else, or with --global, for you everywhere."""
    stack = call.client.activate_stack(name, everywhere=everywhere)
    scope = call.client.activation_scope(everywhere=everywhere)
    return Done(f"Active {scope} stack set to: '{stack.name}'", stack.to_json())


@GROUP.change(
    "update",
    example="stackledger stack update my_stack -a other_store --label team=vision",
    bundle={"components": lambda: component_options(required=False)},
)
def update(
    call: Call,
    components: Mapping[str, list[str]],
    name: ThisStack = None,
    labels: LabelChanges = None,
    decouple_stores: Decouple = False,
) -> Done:
    """Put other components into a stack, or change its labels. Those of the same type make room."""
    if not (components or labels):
        raise UsageError("Nothing to update was given.", hint="For example -a OTHER_STORE, or --label team=vision.")
    stack = call.client.update_stack(
        name, component_updates=components, labels=label_changes(labels), decouple_stores=decouple_stores
    )
    return Done(f"Stack '{stack.name}' successfully updated!", stack.to_json())


@GROUP.change("rename", example="stackledger stack rename my_stack their_stack")
def rename(call: Call, name: StackName, new_name: NewName = None, new_name_option: NewNameOption = None) -> Done:
    """Give a stack another name. It stays active where it is."""
    stack = call.client.update_stack(name, one_name(new_name, new_name_option))
    return Done(f"Stack successfully renamed to '{stack.name}'!", stack.to_json())


@GROUP.change(
    "remove-component",
    example="stackledger stack remove-component my_stack --step-operator=old_operator",
    cls=RemovalCommand,
    bundle={"flags": removal_options},
)
def remove_component(call: Call, flags: Mapping[str, bool], name: ThisStack = None) -> Done:
    """Take components out of a stack. A flag takes all of its type, --step-operator=NAME one of several."""
    stack = call.client.remove_stack_components(name, removed(call.meta.get(REMOVED, {}), flags))
    return Done(f"Stack '{stack.name}' successfully updated!", stack.to_json())


@GROUP.change("copy", example="stackledger stack copy my_stack my_stack_2")
def copy(call: Call, name: StackName, new_name: NameOfCopy, decouple_stores: Decouple = False) -> Done:
    """Register a copy of a stack under another name."""
    stack = call.client.copy_stack(name, new_name, decouple_stores=decouple_stores)
    return Done(f"Stack '{stack.name}' successfully registered!", stack.to_json())


@GROUP.change("delete", example="stackledger stack delete my_stack --yes --recursive")
def delete(call: Call, name: StackName, yes: Yes = False, recursive: Recursive = False) -> Done:
    """Delete a stack that is not active. Runs on it keep what they ran on."""
    # What is deleted is the one that was asked about, whoever has its name after the answer.
    stack = call.client.get_stack(name, allow_name_prefix_match=False)
    call.confirm(f"Delete the stack '{stack.name}'{' and components only it uses' if recursive else ''}?", yes=yes)
    gone = call.client.delete_stack(stack.id, recursive=recursive)
    along = f", and with it {', '.join(f'the {kind} `{name}`' for kind, name in gone)}" if gone else ""
    return Done(f"Deleted stack '{stack.name}'{along}.", stack.to_json())


@GROUP.change("share", example="stackledger stack share my_stack")
def share(call: Call, name: StackName) -> Done:
    """Mark a stack as shared."""
    stack = call.client.share_stack(name)
    return Done(f"Stack '{stack.name}' is shared now.", stack.to_json())


@GROUP.change("unshare", example="stackledger stack unshare my_stack")
def unshare(call: Call, name: StackName) -> Done:
    """Mark a stack as private."""
    stack = call.client.unshare_stack(name)
    return Done(f"Stack '{stack.name}' is private now.", stack.to_json())


@GROUP.query("export", example="stackledger stack export my_stack stack.yaml")
def export(
    call: Call,
    name: ThisStack = None,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Where to; standard output if not given.")] = None,
) -> Details | Done:
    """Write a stack and its components as YAML."""
    from stackledger.cli.files import write_new, yaml_text

    exported = call.client.export_stack(name, as_of=call.as_of)
    text = yaml_text(exported)
    if file is None:
        return Details(exported, [text.rstrip("\n")])
    write_new(file, text)
    return Done(f"Exported the stack to {file}.", {"file": str(file), **exported})


@GROUP.change("import", example="stackledger stack import my_stack -f stack.yaml")
def import_stack(
    call: Call,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The new name; the exported one if not given.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--filename", "--file", "-f", metavar="FILE", help="What to read.")
    ] = None,
    decouple_stores: Decouple = False,
) -> Done:
    """Register a stack from a file that `export` wrote. Components that are not there are registered too."""
    from stackledger.cli.files import read_yaml

    if file is None and name is None:
        raise UsageError("Neither a name nor a file was given.", hint="Give -f FILE, or NAME for the file NAME.yaml.")
    stack = call.client.import_stack(name, read_yaml(file or Path(f"{name}.yaml")), decouple_stores=decouple_stores)
    return Done(f"Stack '{stack.name}' successfully imported!", stack.to_json())


@GROUP.query("export-requirements", example="stackledger stack export-requirements my_stack --output-file reqs.txt")
def export_requirements(
    call: Call,
    name: ThisStack = None,
    output_file: Annotated[Path | None, typer.Option("--output-file", metavar="FILE", help="Where to write.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> Lines | Done:
    """Print the packages that the stack's components need."""
    from stackledger.cli.files import write_new

    requirements = call.client.stack_requirements(name, as_of=call.as_of)
    if output_file is None:
        if not requirements:
            say("No packages are needed.")
        return Lines(requirements)
    write_new(output_file, "".join(f"{line}\n" for line in requirements), overwrite=overwrite)
    item = {"file": str(output_file), "requirements": requirements}
    return Done(f"Wrote {len(requirements)} requirements to {output_file}.", item)


@GROUP.plain("up", example="stackledger stack up my_stack")
def up(
    call: Call,
    name: ThisStack = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            metavar="PORT",
            min=1,
            max=65_535,
            help="Where Prometheus may ask the coordinator that is started; workers at the ports after it.",
        ),
    ] = None,
) -> None:
    """Start what a stack's components need on this machine, and say what that is."""
    call.client.start_stack(name, metrics_port=metrics_port)


@GROUP.plain("down", example="stackledger stack down my_stack")
def down(call: Call, name: ThisStack = None, force: Force = False, yes: Yes = False) -> None:
    """End what `up` started on this machine, and say what that is. With --force, take it down on servers, too."""
    stack = call.client.get_stack(name, allow_name_prefix_match=False)
    if force:
        confirm_taking_down(call, [(kind, ref.id) for kind, refs in stack.components.items() for ref in refs], yes=yes)
    call.client.stop_stack(stack.id, force=force)


@GROUP.listing("history", example="stackledger stack history my_stack")
def history(call: Call, name: ThisStack = None) -> Listing:
    """List what happened to a stack, newest first."""
    return history_listing(call.client.stack_history(name, as_of=call.as_of))


@GROUP.query("diff", example="stackledger stack diff my_stack --from 12 --to 40", as_of=False, columns=True)
def diff(
    call: Call,
    start: Annotated[
        str, typer.Option("--from", metavar="POSITION|TIME", help="Compare the stack as it was then", callback=moment)
    ],
    name: ThisStack = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="POSITION|TIME", help="with then; with now if not given.", callback=moment),
    ] = None,
) -> Listing:
    """Show what differs between two moments. The configuration of components is compared too."""
    return changes_listing(call.client.diff_stack(name, start, end))


@GROUP.change("restore", example="stackledger stack restore my_stack --as-of 12 --reason 'the new store is too slow'")
def restore(
    call: Call,
    name: StackName,
    as_of: Annotated[
        str, typer.Option("--as-of", metavar="POSITION|TIME", help="The moment to go back to.", callback=moment)
    ],
    decouple_stores: Decouple = False,
) -> Done:
    """Make a stack what it was earlier. Deleted components are registered anew."""
    stack = call.client.restore_stack(name, as_of, decouple_stores=decouple_stores)
    return Done(f"Stack '{stack.name}' restored to what it was at {as_of}.", stack.to_json())


def _names_column(kind: ComponentType, *, shown: bool) -> Column:
    def names(item: JSON) -> list[str]:
        return [one["name"] for one in item["components"].get(kind.value, [])]

    return Column(kind.upper(), kind.value, value=names, show=plain, shown=shown)
