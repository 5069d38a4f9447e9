"""A chain of no-op steps on the local orchestrator against plain Python that keeps as much, as durably.

The floor pickles each value into a file of its own with fsync, and commits three small rows per step with
`synchronous=FULL`. Ours is the whole call of a pipeline: put together, pinned, run and recorded.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from bench.append import PLACE
from bench.figures import Figure, paired, took
from stackledger.domain.component_types import ComponentType
from stackledger.domain.event import Context, Recorded
from stackledger.domain.events.runs import PinnedComponent, PinnedStack
from stackledger.eventlog.handler import CommandHandler
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.sqlite import SQLiteRecorder
from stackledger.flavors.local_artifact_store import LocalArtifactStore, LocalArtifactStoreConfig
from stackledger.flavors.resolving import Redactor
from stackledger.pipelines.pipeline import Pipeline, pipeline
from stackledger.pipelines.plan import PipelinePlan
from stackledger.pipelines.step import step
from stackledger.workers.local import LocalOrchestrator, Services

STEPS = 50
Run = Callable[[PipelinePlan], None]

STACK = PinnedStack(
    id=new_id(),
    name="default",
    position=4,
    components=tuple(
        PinnedComponent(id=new_id(), type=component_type, name="default", flavor="local", configuration={})
        for component_type in (ComponentType.ORCHESTRATOR, ComponentType.ARTIFACT_STORE)
    ),
)


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
    with TemporaryDirectory(dir=PLACE) as folder, closing(SQLiteRecorder(Path(folder) / "log.db")) as recorder:
        run = runner(Path(folder), recorder)
        starts = count(step=1000)
        for name, chain, work in chains:
            with plain(Path(folder) / name, work.function) as floor:
                pair = paired(partial(started, run, chain, starts), floor, 9)
            yield took(f"chain of {STEPS} steps, {name} : pickles and rows", pair, at_most=2)


def started(run: Run, chain: Pipeline, starts: Iterator[int]) -> None:
    run(chain.plan(STEPS, next(starts)))


class _Nobody:
    def happened(self, recorded: Recorded) -> None:
        """Watch nothing."""

    def show(self, stream: TextIO, text: str) -> None:
        """Be in nobody's way."""
        stream.write(text)


def runner(home: Path, recorder: SQLiteRecorder) -> Run:
    store = LocalArtifactStore(LocalArtifactStoreConfig(), home=home, component_id=new_id())
    actor, host = new_id(), new_id()
    moments = count(1_795_000_000_000_000)
    services = Services(
        handler=CommandHandler(recorder, new_id),
        store=store,
        make_context=lambda: Context(command_id=new_id(), time=next(moments), actor=actor, host=host),
        new_id=new_id,
        progress=_Nobody(),
        redactor=Redactor(),
    )
    orchestrator = LocalOrchestrator(None, home=home, component_id=new_id())

    def run(plan: PipelinePlan) -> None:
        orchestrator.run(plan, STACK, services).raise_if_failed()

    return run


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
