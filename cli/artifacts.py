"""`stackledger artifact`: what steps put out."""

from __future__ import annotations

from typing import Annotated

import typer

from stackledger.cli.calls import Call
from stackledger.cli.completion import artifact_names
from stackledger.cli.groups import Group
from stackledger.cli.options import Yes, finite
from stackledger.cli.paging import pagination
from stackledger.cli.printing import Column, Details, Listing, Table, plain
from stackledger.cli.talk import say

GROUP = Group("artifact")

_COLUMNS = [
    Column("NAME", "name"),
    Column("VERSION", "version"),
    Column("ARTIFACT ID", "id"),
    Column("RUN", "run"),
    Column("RUN ID", "run_id", shown=False),
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
    from stackledger.client.run_results import Artifact

    page = call.client.list_artifact_versions(**call.filters, as_of=call.as_of, **call.paging)
    items = [found.to_json() for found in page.items]
    return Listing(items, _COLUMNS, pagination(page), nothing="No artifacts found.", keys=Artifact._fields)


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


_GARBAGE = [
    Column("DIGEST", "digest"),
    Column("SIZE", "size"),
    Column("AGE", "age", show=lambda seconds: f"{seconds // 86_400} d {seconds % 86_400 // 3_600} h"),
    Column("ACTION", "action"),
    Column("DUE", "due"),
]
_DONE = {
    "condemn": "condemned",
    "collect": "deleted",
    "remove": "leavings removed",
    "put back": "put back",
    "wait": "not due yet",
    "keep": "too young",
}


@GROUP.change("prune", example="stackledger artifact prune --dry-run")
def prune(
    call: Call,
    artifact_store: Annotated[
        str | None,
        typer.Option(
            "--artifact-store",
            "-a",
            metavar="NAME",
            help="The artifact store, by name or id; the active stack's if not given.",
        ),
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            metavar="DAYS",
            min=0,
            callback=finite,
            help="How old garbage is before it is condemned, and how long it stays then.",
        ),
    ] = 7.0,
    not_shared: Annotated[
        bool,
        typer.Option("--not-shared", help="Say once that no other log refers to what is in the store."),
    ] = False,
    yes: Yes = False,
) -> Listing:
    """Condemn, and later delete, what nothing in the log refers to.

    What one call condemns a later one deletes, once it is due. What a run put out, or runs on, is kept for ever. With
    --dry-run what would be done is printed, and nothing done.
    """
    found = call.client.find_garbage(artifact_store, grace=grace)
    if call.dry_run:
        why = call.client.sharing_of(artifact_store)
        if why is not None:
            say(f"Nothing would be pruned without --not-shared: {why}.")
    else:
        changed = {action: [each for each in found if each.action == action] for action in _DONE}
        if any(changed[action] for action in ("condemn", "collect", "remove", "put back")):
            size = sum(each.size or 0 for each in changed["collect"])
            call.confirm(
                f"Garbage to condemn: {len(changed['condemn']):,}, to delete: {len(changed['collect']):,}"
                f" ({size:,} bytes), leavings to remove: {len(changed['remove']):,}. Go on?",
                yes=yes,
            )
        found = call.client.prune_artifacts(artifact_store, grace=grace, not_shared=not_shared)
        counts = {action: sum(each.action == action for each in found) for action in _DONE}
        said = ", ".join(f"{count:,} {_DONE[action]}" for action, count in counts.items() if count)
        say(f"{said[:1].upper()}{said[1:]}." if said else "There is no garbage.")
    return Listing([each.to_json() for each in found], _GARBAGE, nothing="No garbage found.")
