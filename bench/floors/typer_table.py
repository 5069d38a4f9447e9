"""A minimal Typer program with two commands, one of which prints the table of `stack list` by Rich."""

from __future__ import annotations

import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def table(output: str = "table", rows: int = 1) -> None:
    """Print a list of stacks."""
    if output != "table":
        raise typer.BadParameter(output)
    from rich.box import HEAVY_HEAD
    from rich.console import Console
    from rich.table import Table

    found = Table(
        "ACTIVE", "STACK NAME", "STACK ID", "SHARED", "OWNER", "ORCHESTRATOR", "ARTIFACT_STORE", box=HEAVY_HEAD
    )
    for _ in range(rows):
        found.add_row("👉", "default", "01936f5e-7a31-7cc1-8a4e-0e3c5d2a9b10", "", "default", "default", "default")
    Console().print(found)


@app.command()
def other() -> None:
    """Do another thing: with one command alone Typer would make no group."""
