"""How the processes of a fleet tell people what becomes of them."""

from __future__ import annotations

from typing import Protocol


class Tell(Protocol):
    """Gets what a person may want to know, line by line.

    `known` is what of that a program may want to know: run, step, attempt, execution, worker, orchestrator.
    """

    def __call__(self, line: str, /, **known: str | int) -> None:
        """Take one line."""
