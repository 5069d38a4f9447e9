"""A chain of no-op steps on the local orchestrator against plain Python that keeps as much, as durably.

The floor pickles each value into a file of its own with fsync, and commits three small rows per step with
`synchronous=FULL`. Ours is the whole call of a pipeline through the front door, in a home of its own: put together,
pinned to the active stack, run, recorded, told of into a pipe, and its response read back.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from bench.append import PLACE
from bench.figures import Figure, paired, process_environment, took
from stackledger import pipeline, step
from stackledger.pipelines.pipeline import Pipeline

STEPS = 50


@step
def pass_on(value: list[int]) -> list[int]:
    return value


@step
def count_up(value: list[int]) -> list[int]:
    return [number + 1 for number in value]


@pipeline
def passing(length: int, start: int) -> None:
    value: object = [start, start]
    for _ in range(length):
        value = pass_on(value)


@pipeline
def counting(length: int, start: int) -> None:
    value: object = [start, start]
    for _ in range(length):
        value = count_up(value)


def measure() -> Iterator[Figure]:
    PLACE.mkdir(exist_ok=True)
    chains = (("no-op", passing, pass_on), ("a new value each", counting, count_up))
    with TemporaryDirectory(dir=PLACE) as folder:
        starts = count(step=1000)
        for name, chain, work in chains:
            with plain(Path(folder) / name, work.function) as floor:
                home = process_environment({"STACKLEDGER_HOME": str(Path(folder) / "home")})
                with mock.patch.dict(os.environ, home, clear=True), into_a_pipe():
                    pair = paired(partial(called, chain, starts), floor, 9)
            yield took(f"chain of {STEPS} steps, {name} : pickles and rows", pair, at_most=2)


def called(chain: Pipeline, starts: Iterator[int]) -> None:
    chain(STEPS, next(starts))


@contextmanager
def into_a_pipe() -> Iterator[None]:
    """Have what is printed go through a pipe to another process, as when somebody looks at it with `less`."""
    copying = [sys.executable, "-c", "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"]
    with (
        subprocess.Popen(copying, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as reader,
        redirect_stdout(reader.stdin),
        redirect_stderr(reader.stdin),
    ):
        yield


@contextmanager
def plain(folder: Path, work: Callable[..., object]) -> Iterator[Callable[[], None]]:
    """Yield the floor: `STEPS` calls, each with its value pickled, read back, and three rows committed."""
    folder.mkdir()
    files = count()
    with closing(sqlite3.connect(folder / "floor.db", isolation_level=None)) as connection:
        connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE rows (id INTEGER PRIMARY KEY, kind TEXT, step TEXT, data BLOB);"
        )

        def run() -> None:
            value: object = [0, 0]
            for number in range(STEPS):
                path = folder / f"{next(files)}.pickle"
                value = work(value)
                with path.open("wb") as file:
                    pickle.dump(value, file)
                    file.flush()
                    os.fsync(file.fileno())
                with path.open("rb") as file:
                    value = pickle.load(file)  # noqa: S301 - it was written above
                rows = [(kind, f"step-{number}", b"x" * 200) for kind in ("started", "output", "succeeded")]
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO rows (kind, step, data) VALUES (?, ?, ?)", rows)
                connection.execute("COMMIT")

        yield run
