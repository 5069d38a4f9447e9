"""Whole processes of the command line, each against a minimal Typer (and Rich) program that prints as much."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import Figure, paired, paired_processes, run, took

STACKLEDGER = str(Path(sys.executable).with_name("stackledger"))
ROUNDS = 31


def floor(program: str, *arguments: str) -> list[str]:
    """Return the command that runs a program of `floors/` as a console script would, from bytecode."""
    return [sys.executable, "-c", f"from bench.floors.{program} import app; app()", *arguments]


def measure() -> Iterator[Figure]:
    with TemporaryDirectory() as folder:
        home = {"STACKLEDGER_HOME": folder}
        stack_list = [STACKLEDGER, "stack", "list"]

        pair = paired_processes([STACKLEDGER, "--help"], floor("typer_help", "--help"), ROUNDS, home)
        yield took("stackledger --help : minimal Typer --help", pair, at_most=1.3)

        pair = paired_processes(stack_list, floor("typer_table", "table", "--output", "table"), ROUNDS, home)
        yield took("stackledger stack list, fresh home : minimal Typer and Rich table", pair, at_most=1.3)

        names = count()
        register = [STACKLEDGER, "artifact-store", "register", "--flavor", "local"]
        pair = paired(lambda: run([*register, f"store-{next(names)}"], home), lambda: run(stack_list, home), ROUNDS)
        yield took("one registration : stack list", pair, at_most=2)
