"""A pipeline in a process of its own, which waits in the middle of a step until it is let go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.services import interruptible

PROGRAM = """
from stackledger import pipeline, step


@step
def wait() -> int:
    with open("started", "w", encoding="utf-8"):
        pass
    with open("go", encoding="utf-8") as go:
        return len(go.read())


@step
def after(number: int) -> int:
    return number


@pipeline
def waiting() -> None:
    after(wait())


waiting()
"""


class WaitingRun:
    """A run whose first step has started."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def let_go(self) -> int:
        """Let the step go on, and return the exit status of the process."""
        Path("go").write_text("go", encoding="utf-8")
        return self._process.wait(100)

    def said(self) -> str:
        """Return what the process, which has ended, wrote to standard error."""
        assert self._process.stderr is not None
        return self._process.stderr.read()

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and return the exit status of the process."""
        self._process.send_signal(number)
        return self._process.wait(100)


@contextmanager
def waiting_run() -> Iterator[WaitingRun]:
    """Start the run in the working directory, and wait until its first step has started."""
    for name in ("started", "go"):
        if not Path(name).exists():
            os.mkfifo(name)
    Path("waiting.py").write_text(PROGRAM, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "waiting.py"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,  # noqa: PLW1509 - it makes a few system calls
    ) as process:
        try:
            with open("started", encoding="utf-8") as started:
                started.read()
            yield WaitingRun(process)
        finally:
            process.kill()
