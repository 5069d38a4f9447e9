"""`stackledger pipeline`: the pipelines that ran."""

from __future__ import annotations

from typing import Annotated

import typer

from stackledger.cli import runs
from stackledger.cli.calls import Call
from stackledger.cli.completion import pipeline_names
from stackledger.cli.groups import Group
from stackledger.cli.paging import pagination
from stackledger.cli.printing import Column, Details, Listing, Table, plain

GROUP = Group("pipeline")
GROUP.add(runs.GROUP, "runs")

_COLUMNS = [
    Column("PIPELINE", "name"),
    Column("RUNS", "runs"),
    Column("LAST RUN", "last_run"),
    Column("LAST STATUS", "last_status"),
    Column("LAST STARTED", "last_started"),
]


@GROUP.listing("list", example="stackledger pipeline list", filters={"name": "Only this name; also contains:TEXT."})
def list_pipelines(call: Call) -> Listing:
    """List the pipelines that ran, with their newest run."""
    page = call.client.list_pipelines(**call.filters, as_of=call.as_of, **call.paging)
    return Listing([found.to_json() for found in page.items], _COLUMNS, pagination(page), nothing="No pipelines found.")


@GROUP.query("describe", example="stackledger pipeline describe training")
def describe(
    call: Call,
    name: Annotated[
        str, typer.Argument(metavar="PIPELINE", autocompletion=pipeline_names, help="The pipeline, by name.")
    ],
) -> Details:
    """Show a pipeline and its newest run."""
    item = call.client.get_pipeline(name, as_of=call.as_of).to_json()
    rows = [[key.replace("_", " ").upper(), plain(value)] for key, value in item.items()]
    return Details(item, [Table(["PROPERTY", "VALUE"], rows, title=f"Pipeline '{item['name']}'")])
