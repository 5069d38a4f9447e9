"""`stackledger run`, which is `stackledger pipeline runs`: what ran, on what, and how it ended."""

from __future__ import annotations

from typing import Annotated

import typer

from stackledger.cli.calls import Call, Done
from stackledger.cli.completion import run_names
from stackledger.cli.describing import configuration_text
from stackledger.cli.groups import Group
from stackledger.cli.paging import pagination
from stackledger.cli.printing import JSON, Column, Details, Lines, Listing, Table, plain
from stackledger.cli.talk import say
from stackledger.cli.values import typed
from stackledger.domain.run_status import RunStatus

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
    Column("REQUIREMENTS", "requirements", shown=False),
    Column("INPUTS", "inputs", shown=False),
    Column("OUTPUTS", "outputs", shown=False),
    Column("SKIPPED BECAUSE OF", "because", shown=False),
    Column("RETRY AT", "retry_at", shown=False),
    Column("QUEUED", "queued", shown=False),
    Column("QUEUE", "queue", shown=False),
    Column("WORKER", "worker", shown=False),
    Column("WORKER ID", "worker_id", shown=False),
    Column("EXECUTION", "execution", shown=False),
]

_TELLING = {"because", "queue", "worker"}
"""Columns that are shown where there is something in them."""


def _columns_of(steps: list[JSON]) -> list[Column]:
    told = {key for key in _TELLING for step in steps if step[key]}
    return [column._replace(shown=column.shown or column.key in told) for column in _STEPS]


RunName = Annotated[str, typer.Argument(metavar="RUN", autocompletion=run_names, help="The run, by name or id.")]


@GROUP.listing(
    "list",
    example="stackledger run list --status failed",
    filters={
        "name": "Only this name; also contains:, startswith: or endswith:TEXT.",
        "pipeline": "Only runs of this pipeline.",
        "status": "Only runs with this status: running, completed, failed, stopped or dead.",
        "stack": "Only runs on this stack.",
        "owner": "Only those of this user.",
    },
)
def list_runs(call: Call) -> Listing:
    """List the runs, newest first."""
    from stackledger.client.run_results import Run

    page = call.client.list_pipeline_runs(**call.filters, as_of=call.as_of, **call.paging)
    keys = [key for key in Run._fields if key not in _DETAILS]
    items = [{key: value for key, value in run.to_json().items() if key in keys} for run in page.items]
    return Listing(items, _COLUMNS, pagination(page), nothing="No runs found.", keys=keys)


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
    columns = [column for column in _columns_of(item["steps"]) if column.shown]
    steps = [[column.cell(step) for column in columns] for step in item["steps"]]
    return Details(
        item,
        [
            Table(["PROPERTY", "VALUE"], rows, title=f"Run '{run.name}'"),
            Table(
                ["COMPONENT_TYPE", "COMPONENT_NAME", "FLAVOR", "CONFIGURATION"],
                components,
                title="Stack, as it was then",
            ),
            Table([column.title for column in columns], steps, title="Steps"),
        ],
    )


@GROUP.listing("steps", example="stackledger run steps training-2026-03-01")
def steps(call: Call, name: RunName) -> Listing:
    """List the steps of a run."""
    found = call.client.list_run_steps(name, as_of=call.as_of)
    items = [step.to_json() for step in found]
    return Listing(items, _columns_of(items), nothing="The run has no steps.")


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
        say("No logs: nothing was printed, it was on another machine, or the step has not ended yet, on a fleet.")
    return Lines(lines)


@GROUP.query("trace", example="stackledger run trace training-2026-03-01 --otlp http://collector:4318")
def trace(
    call: Call,
    name: RunName,
    otlp: Annotated[
        str | None,
        typer.Option("--otlp", metavar="URL", help="Send it to this collector, which takes OTLP over HTTP."),
    ] = None,
) -> Details:
    """Show a run as a trace: its steps, the attempts at them, their executions.

    JSON is that of OpenTelemetry's protocol. Spans have the same ids whenever and wherever they are sent.
    """
    found = call.client.run_trace(name, as_of=call.as_of)
    if not found.has_ended:
        say(f"Run '{found.run}' has not ended: only what has ended in it is shown.")
    if otlp is not None:
        say(f"{call.client.send_trace(found, otlp):,} spans of the run '{found.run}' are sent.")
    depths: dict[str | None, int] = {}
    rows = []
    for span in found.spans:
        depth = depths[span.span_id] = depths.get(span.parent_id, -1) + 1
        said = span.attributes
        facts = (said["stackledger.status"], said.get("stackledger.worker", ""), span.message)
        rows.append(["  " * depth + span.name, f"{(span.end - span.start) / 1e9:.3f}", *map(plain, facts)])
    columns = ["SPAN", "SECONDS", "STATUS", "WORKER", "ERROR"]
    return Details(found.to_json(), [Table(columns, rows, title=f"Trace {found.trace_id}")])


@GROUP.change("cancel", example="stackledger run cancel training-2026-03-01 --reason 'wrong data'")
def cancel(call: Call, name: RunName) -> Done:
    """End a run. Workers stop at once; a process that executes it itself ends after the step that it is at."""
    run = call.client.cancel_run(name)
    if run.status == RunStatus.STOPPED:
        return Done(f"Run '{run.name}' is cancelled. What is still executed of it has no effect.", run.to_json())
    return Done(f"Run '{run.name}' had died, so it could not be cancelled: it has {run.status}.", run.to_json())


@GROUP.query("resume", example="stackledger run resume training-2026-03-01", as_of=False)
def resume(call: Call, name: RunName) -> Done:
    """Watch a run that workers execute to its end, and coordinate it if this home may. Ctrl-C leaves it going on.

    A run that the process which began it executes cannot be resumed: if that process died, start the run anew.
    """
    run = call.client.resume_run(name)
    return Done(f"Run '{run.name}' has {run.status}.", run.to_json())
