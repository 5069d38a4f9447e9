"""A minimal Typer program with two commands, for its `--help`."""

from __future__ import annotations

import typer

# Plain help, as ours is: with Rich it would take longer, and flatter us.
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def one(name: str) -> None:
    """Do one thing."""


@app.command()
def other(name: str) -> None:
    """Do another."""
