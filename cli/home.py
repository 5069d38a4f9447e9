"""The commands at the root, about this home and the folder you are in: init, status, doctor, clean, version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stackledger import __version__
from stackledger.cli.calls import Call, Done
from stackledger.cli.groups import Group
from stackledger.cli.options import Yes
from stackledger.cli.printing import Column, Details, Listing, Table, plain

GROUP = Group("stackledger")


@GROUP.change("init", example="stackledger init --template starter")
def init(
    call: Call,
    path: Annotated[Path | None, typer.Option("--path", metavar="FOLDER", help="Where; here if not given.")] = None,
    template: Annotated[str | None, typer.Option("--template", metavar="NAME", help="Write this project too.")] = None,
    _with_defaults: Annotated[
        bool, typer.Option("--template-with-defaults", help="Accepted; our templates ask nothing.")
    ] = False,
) -> Done:
    """Give a folder an active stack of its own. It is a repository then; `stack set` in it holds for it alone."""
    there = None if template else call.client.repository_at(path or Path())
    if there:
        return Done(f"{there.path} is a repository already; nothing was changed.", there.to_json())
    repository = call.client.init_repository(path or Path(), template=template)
    written = f" with {repository.files} files of the template '{template}'" if template else ""
    return Done(
        f"Initialized a Stackledger repository in {repository.path}{written};"
        f" its active stack is '{repository.active_stack}'.",
        repository.to_json(),
    )


@GROUP.query("status", example="stackledger status", as_of=False)
def status(call: Call) -> Details:
    """Say who and where you are, on which stack. Of a fleet it shows what answers now."""
    item = call.client.status()
    rows = [[key.replace("_", " ").upper(), plain(value)] for key, value in item.items() if key != "fleet"]
    tables = [Table(["PROPERTY", "VALUE"], rows, title="Status")]
    if "fleet" in item:
        from stackledger.cli.fleets import table_of  # most stacks have none

        tables.append(table_of(item["fleet"]))
    return Details(item, tables)


@GROUP.query("doctor", example="stackledger doctor", as_of=False, columns=True)
def doctor(call: Call) -> Listing:
    """Look for what is wrong with this installation. Exits with 1 when something is wrong."""
    findings = [finding.to_json() for finding in call.client.doctor()]
    call.exit_status = int(any(finding["status"] == "error" for finding in findings))
    columns = [Column("STATUS", "status"), Column("CHECK", "check"), Column("FINDING", "finding")]
    return Listing(findings, columns)


@GROUP.plain("clean", example="stackledger clean")
def clean(
    call: Call,
    everything: Annotated[
        bool, typer.Option("--all", help="Also move log and artifacts aside, into a dated folder, and begin afresh.")
    ] = False,
    yes: Yes = False,
) -> Done:
    """Remove what can be made again. With --all, begin afresh: log and artifacts are moved aside, never deleted."""
    if everything:
        call.confirm("Move the log and all artifacts aside and begin with an empty log?", yes=yes)
    aside = call.client.clean(all=everything)
    if aside is None:
        return Done("Removed the views and what dead processes left; the log is as it was.")
    return Done(f"Moved the log and the artifacts to {aside}; the next command begins a new log.")


@GROUP.query("version", example="stackledger version", as_of=False)
def version(_call: Call) -> Details:
    """Print the version."""
    return Details({"version": __version__}, [__version__])
