"""Commands that are given at the same instant, each in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from stackledger.cli.app import main
from tests.support.processes import ended, forked
from tests.support.program import Finished


def at_once(commands: Iterable[Sequence[str]], env: Sequence[Mapping[str, str]] = ({},)) -> list[Finished]:
    """Run commands of `stackledger` at once, each with the next of the environments, and return how each ended.

    Children by fork, so that all are ready before the first begins: programs that start one after another hardly meet.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        waiting, go = os.pipe()
        children = []
        for number, arguments in enumerate(commands):

            def work(number: int = number, arguments: Sequence[str] = arguments) -> None:
                os.close(go)
                os.environ.update(env[number % len(env)])
                os.read(waiting, 1)  # ends when the last holder of `go` closes it
                os._exit(run_into(folder / str(number), arguments))

            children.append(forked(work))
        os.close(waiting)
        os.close(go)
        statuses = [ended(child) for child in children]
        outs = [(folder / f"{number}.out").read_text(encoding="utf-8") for number in range(len(children))]
        errs = [(folder / f"{number}.err").read_text(encoding="utf-8") for number in range(len(children))]
        return [Finished(*finished) for finished in zip(statuses, outs, errs, strict=True)]


def run_into(name: Path, arguments: Sequence[str]) -> int:
    """Run a command in this process, which ends after it; what it prints goes to NAME.out and NAME.err."""
    with open(f"{name}.out", "w", encoding="utf-8") as out, open(f"{name}.err", "w", encoding="utf-8") as err:
        sys.stdout, sys.stderr = out, err
        try:
            return main(arguments)
        except SystemExit as exited:
            return exited.code if isinstance(exited.code, int) else 1
