"""`stackledger run`, which is `stackledger pipeline runs`: what ran, on what, and how it ended."""

from __future__ import annotations

from typing import Annotated

import typer

from stackledger.cli.calls import Call
from stackledger.cli.completion import run_names
from stackledger.cli.describing import configuration_text
from stackledger.cli.groups import Group
from stackledger.cli.paging import pagination
from stackledger.cli.printing import Column, Details, Lines, Listing, Table, plain
from stackledger.cli.talk import say
from stackledger.cli.values import typed

GROUP = Group("run", "See runs, their steps and what these printed.")

_COLUMNS = [
    Column("RUN NAME", "name"),
    Column("RUN ID", "id"),
    Column("PIPELINE", "pipeline"),
    Column("STATUS", "status"),
    Column("STACK", "stack", show=lambda stack: stack["name"]),
    Column("OWNER", "owner"),
    Column("STARTED", "started"),
    Column("ENDED", "ended", shown=False),
    Column("REASON", "reason", shown=False),
]
_DETAILS = ("code", "parameters", "environment", "steps")
"""What only `describe` reads of a run."""

_STEPS = [
    Column("STEP", "name"),
    Column("STATUS", "status"),
    Column("ATTEMPT", "attempt"),
    Column("UPSTREAM", "upstream"),
    Column("STARTED", "started"),
    Column("ENDED", "ended"),
    Column("ERROR", "error"),
    Column("PARAMETERS", "parameters", shown=False),
    Column("INPUTS", "inputs", shown=False),
    Column("OUTPUTS", "outputs", shown=False),
]

RunName = Annotated[str, typer.Argument(metavar="RUN", autocompletion=run_names, help="The run, by name or id.")]


@GROUP.listing(
    "list",
    example="stackledger run list --status failed",
    filters={
        "name": "Only this name; also contains:, startswith: or endswith:TEXT.",
        "pipeline": "Only runs of this pipeline.",
        "status": "Only runs with this status: running, completed, failed or dead.",
        "stack": "Only runs on this stack.",
        "owner": "Only those of this user.",
    },
)
def list_runs(call: Call) -> Listing:
    """List the runs, newest first."""
    page = call.client.list_pipeline_runs(**call.filters, as_of=call.as_of, **call.paging)
    items = [{key: value for key, value in run.to_json().items() if key not in _DETAILS} for run in page.items]
    return Listing(items, _COLUMNS, pagination(page), nothing="No runs found.")


@GROUP.query("describe", example="stackledger run describe training-2026-03-01")
def describe(call: Call, name: RunName) -> Details:
    """Show a run. Its stack and configuration are shown as they were then."""
    run = call.client.describe_pipeline_run(name, as_of=call.as_of)
    item = run.to_json()
    facts = ("id", "pipeline", "status", "owner", "started", "ended", "reason")
    rows = [[key.upper(), plain(item[key])] for key in facts if item[key] is not None]
    rows += [
        ["STACK", item["stack"]["name"]],
        *([f"CODE {key.upper()}", plain(value)] for key, value in item["code"].items() if value),
    ]
    rows += [[f"PARAMETER {key}", typed(value)] for key, value in item["parameters"].items()]
    components = [
        [one["type"].upper(), one["name"], one["flavor"], configuration_text(one["configuration"])]
        for one in item["stack"]["components"]
    ]
    steps = [[column.cell(step) for column in _STEPS if column.shown] for step in item["steps"]]
    return Details(
        item,
        [
            Table(["PROPERTY", "VALUE"], rows, title=f"Run '{run.name}'"),
            Table(
                ["COMPONENT_TYPE", "COMPONENT_NAME", "FLAVOR", "CONFIGURATION"],
                components,
                title="Stack, as it was then",
            ),
            Table([column.title for column in _STEPS if column.shown], steps, title="Steps"),
        ],
    )


@GROUP.listing("steps", example="stackledger run steps training-2026-03-01")
def steps(call: Call, name: RunName) -> Listing:
    """List the steps of a run."""
    found = call.client.list_run_steps(name, as_of=call.as_of)
    return Listing([step.to_json() for step in found], _STEPS, nothing="The run has no steps.")


@GROUP.query("logs", example="stackledger run logs training-2026-03-01 --step trainer", as_of=False)
def logs(
    call: Call,
    name: RunName,
    step: Annotated[
        str | None, typer.Option("--step", "-s", metavar="STEP", help="Only what this step printed.")
    ] = None,
) -> Lines:
    """Print what the steps of a run printed."""
    run = call.client.describe_pipeline_run(name)
    chosen = [step] if step else [one.name for one in run.steps]
    several = len(chosen) > 1
    lines = [f"{f'[{one}] ' if several else ''}{line}" for one in chosen for line in call.client.step_logs(run.id, one)]
    if not lines:
        say("No logs: nothing was printed, or it was on another machine.")
    return Lines(lines)
