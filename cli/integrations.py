"""`stackledger integration`: the libraries behind the flavors and materializers that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stackledger.cli.calls import Call, Done
from stackledger.cli.completion import integration_names
from stackledger.cli.groups import Group
from stackledger.cli.options import Yes
from stackledger.cli.printing import Column, Lines, Listing, ticked

GROUP = Group("integration")

_COLUMNS = [
    Column("INSTALLED", "installed", show=ticked),
    Column("INTEGRATION", "name"),
    Column("REQUIRED PACKAGES", "requirements"),
    Column("FOR", "summary"),
]

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INTEGRATION…", autocompletion=integration_names, help="The integrations; all if none is given."
    ),
]


@GROUP.listing("list", example="stackledger integration list", as_of=False)
def list_integrations(call: Call) -> Listing:
    """List the integrations, and which are installed."""
    return Listing([found.to_json() for found in call.client.list_integrations()], _COLUMNS)


@GROUP.query("requirements", example="stackledger integration requirements sklearn", as_of=False)
def requirements(call: Call, names: Names = None) -> Lines:
    """Print the packages that integrations need."""
    return Lines(call.client.integration_requirements(names))


@GROUP.plain("install", example="stackledger integration install sklearn --yes")
def install(call: Call, names: Names = None, yes: Yes = False) -> Done:
    """Install the packages of integrations into this Python."""
    packages = call.client.integration_requirements(names)
    call.confirm(f"Install {', '.join(packages)}?", yes=yes)
    call.client.install_packages(packages)
    return Done(f"Installed {', '.join(packages)}.")


@GROUP.plain("uninstall", example="stackledger integration uninstall sklearn --yes")
def uninstall(call: Call, names: Names = None, yes: Yes = False) -> Done:
    """Remove the packages of integrations from this Python. What others need stays."""
    packages = call.client.integration_leftovers(names)
    if not packages:
        return Done("Nothing was uninstalled: other installed packages need all that these integrations do.")
    call.confirm(f"Uninstall {', '.join(packages)}?", yes=yes)
    call.client.uninstall_packages(packages)
    return Done(f"Uninstalled {', '.join(packages)}.")


@GROUP.query(
    "export-requirements",
    example="stackledger integration export-requirements sklearn --output-file reqs.txt",
    as_of=False,
)
def export_requirements(
    call: Call,
    names: Names = None,
    output_file: Annotated[Path | None, typer.Option("--output-file", metavar="FILE", help="Where to write.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> Lines | Done:
    """Print the packages that integrations need, one a line."""
    from stackledger.cli.files import write_new

    packages = call.client.integration_requirements(names)
    if output_file is None:
        return Lines(packages)
    write_new(output_file, "".join(f"{line}\n" for line in packages), overwrite=overwrite)
    item = {"file": str(output_file), "requirements": packages}
    return Done(f"Wrote {len(packages)} requirements to {output_file}.", item)
