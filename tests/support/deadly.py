"""Commands that die at a chosen instant, and commands whose files cannot grow."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from stackledger.cli.app import main
from tests.support.at_once import run_into
from tests.support.processes import ended, forked
from tests.support.program import Finished

TOUCHES = ("os.mkdir", "os.rename", "os.remove", "os.link", "os.truncate", "shutil.copyfile", "sqlite3.connect")


def killed_at(instant: int, arguments: Sequence[str], home: Path) -> int | None:
    """Run a command of `stackledger` in a child that is killed at its `instant`, the first being 1.

    Return how many instants it had if it came to its end before, None if it was killed.
    """
    touched = count(1)
    reading, writing = os.pipe()

    def touch() -> None:
        if next(touched) == instant:
            os.kill(os.getpid(), signal.SIGKILL)

    def heard(event: str, told: tuple[Any, ...]) -> None:
        written = event == "open" and isinstance(told[2], int) and told[2] & (os.O_WRONLY | os.O_RDWR)
        if event in TOUCHES or (written and str(told[0]).startswith(str(home.parents[1]))):
            touch()

    class Deadly(sqlite3.Connection):
        def execute(self, *arguments: Any) -> Any:
            touch()
            return super().execute(*arguments)

        def executemany(self, *arguments: Any) -> Any:
            touch()
            return super().executemany(*arguments)

    execute = psycopg.Cursor.execute

    def executed(cursor: Any, *arguments: Any, **options: Any) -> Any:
        touch()
        found = execute(cursor, *arguments, **options)
        touch()  # the server has done it, and nobody knows
        return found

    def work() -> None:
        psycopg.Cursor.execute = executed  # type: ignore[assignment]
        connect = sqlite3.connect
        sqlite3.connect = lambda *given, **options: connect(*given, **{"factory": Deadly, **options})
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - the process ends with it
        sys.addaudithook(heard)
        status = main(arguments)
        os.write(writing, str(next(touched) - 1).encode())
        os._exit(status)

    child = forked(work)
    os.close(writing)
    with open(reading, encoding="ascii") as told:
        touches = told.read()
    status = ended(child)
    if status == -signal.SIGKILL:
        return None
    assert status == 0, f"{arguments} exited with {status}"
    return int(touches)


def full_at(size: int, arguments: Sequence[str], told: Path) -> Finished:
    """Run a command in a child for which no file can grow beyond `size` bytes; what it says goes through `told`."""

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        os._exit(run_into(told, arguments))

    status = ended(forked(work))
    return Finished(status, *(Path(f"{told}.{stream}").read_text(encoding="utf-8") for stream in ("out", "err")))
