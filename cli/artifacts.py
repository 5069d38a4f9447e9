"""`stackledger artifact`: what steps put out."""

from __future__ import annotations

from typing import Annotated

import typer

from stackledger.cli.calls import Call
from stackledger.cli.completion import artifact_names
from stackledger.cli.groups import Group
from stackledger.cli.paging import pagination
from stackledger.cli.printing import Column, Details, Listing, Table, plain

GROUP = Group("artifact")

_COLUMNS = [
    Column("NAME", "name"),
    Column("VERSION", "version"),
    Column("ARTIFACT ID", "id"),
    Column("RUN", "run"),
    Column("STEP", "step"),
    Column("TYPE", "data_type"),
    Column("SIZE", "size"),
    Column("OUTPUT", "output", shown=False),
    Column("MATERIALIZER", "materializer", shown=False),
    Column("RUNS CODE", "runs_code", shown=False),
    Column("DIGEST", "digest", shown=False),
    Column("CREATED", "created", shown=False),
]


@GROUP.listing(
    "list",
    example="stackledger artifact list --name=contains:model",
    filters={
        "name": "Only this name; also contains:, startswith: or endswith:TEXT.",
        "run": "Only what this run put out.",
        "step": "Only what steps of this name put out.",
    },
)
def list_artifacts(call: Call) -> Listing:
    """List artifacts, newest first."""
    page = call.client.list_artifact_versions(**call.filters, as_of=call.as_of, **call.paging)
    return Listing([found.to_json() for found in page.items], _COLUMNS, pagination(page), nothing="No artifacts found.")


@GROUP.query("describe", example="stackledger artifact describe model")
def describe(
    call: Call,
    name: Annotated[
        str,
        typer.Argument(
            metavar="ARTIFACT",
            autocompletion=artifact_names,
            help="The artifact, by id, or the newest version by name.",
        ),
    ],
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", min=1, help="Another version than the newest.")
    ] = None,
) -> Details:
    """Show where an artifact came from, and its digest."""
    item = call.client.describe_artifact_version(name, version=version, as_of=call.as_of).to_json()
    rows = [[key.replace("_", " ").upper(), plain(value)] for key, value in item.items()]
    return Details(item, [Table(["PROPERTY", "VALUE"], rows, title=f"Artifact '{item['name']}'")])
