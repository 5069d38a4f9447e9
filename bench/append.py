"""Durable appends through the command handler against plain `sqlite3` writing the same rows, as durably.

The floor keeps the same two tables in a write-ahead log with `synchronous=FULL`, and is given the rows ready made.
A registration is measured on a component that 100,000 stacks use against one that 10 use.
"""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from eventsourcing.dcb.api import DCBEvent

from bench.figures import Figure, Pair, paired, rate, took
from stackledger.domain import stacks
from stackledger.domain.component_types import ComponentType
from stackledger.domain.decider import Decider
from stackledger.domain.event import Boundary, Context, Envelope, Event, item
from stackledger.domain.events.components import ComponentRegistered
from stackledger.domain.events.stacks import Components, StackRegistered, stack_name_tag
from stackledger.domain.stacks import RegisterStack
from stackledger.eventlog.codec import encode, stored_tags
from stackledger.eventlog.handler import CommandHandler
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.schema import tags_text
from stackledger.eventlog.sqlite import SQLiteRecorder

PLACE = Path(__file__).parents[1] / ".bench"
"""On the disk of the checkout: a temporary directory may be in memory, where nothing is durable."""

CONTEXT = Context(command_id=new_id(), time=1, actor=new_id(), host=new_id())
COMPONENTS: Components = {
    ComponentType.ORCHESTRATOR: ("01990000-0000-7000-8000-000000000001",),
    ComponentType.ARTIFACT_STORE: ("01990000-0000-7000-8000-000000000002",),
}
Batch = Sequence[tuple[int, str]]
"""Stacks to register at once: a number for the name, and an id."""
MANY = 100_000
FEW = 10

_FLOOR = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE events (position INTEGER PRIMARY KEY, type TEXT NOT NULL, tags TEXT NOT NULL, data BLOB NOT NULL);
CREATE TABLE event_tags (tag TEXT NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (tag, position)) WITHOUT ROWID;
"""


def measure() -> Iterator[Figure]:
    PLACE.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=PLACE) as folder:
        one = appended(Path(folder) / "one", commits=500, per_commit=1)
        yield rate("durable append, 1 event a commit : raw sqlite3", one, 500, at_least=0.5)
        many = appended(Path(folder) / "many", commits=30, per_commit=100)
        yield rate("durable append, 100 events a commit : raw sqlite3", many, 3000, at_least=0.5)
        pair = registered(Path(folder))
        yield took(f"registration on a component of {MANY:,} stacks : of {FEW}", pair, at_most=1.2)


def appended(folder: Path, *, commits: int, per_commit: int) -> Pair:
    """Measure rounds of `commits` commits of `per_commit` events each."""
    folder.mkdir()
    numbers, positions = count(), count(1)
    recorder = SQLiteRecorder(folder / "log.db")
    handler = CommandHandler(recorder, new_id)
    # What the floor writes was made before: it is about the disk and SQLite alone.
    total = 10 * commits * per_commit
    ready = iter([stored(registration(number, new_id())) for number in range(total)])
    ids = [new_id() for _ in range(total)]
    gc.freeze()  # what the benchmark keeps is not walked through while it measures

    def ours() -> None:
        for _ in range(commits):
            batch = [(number, ids[number]) for number in islice(numbers, per_commit)]
            handler.handle(BATCHES, batch, CONTEXT)

    with closing(recorder), closing(sqlite3.connect(folder / "floor.db", isolation_level=None)) as connection:
        connection.executescript(_FLOOR)

        def floor() -> None:
            for _ in range(commits):
                rows = list(zip(positions, islice(ready, per_commit), strict=False))
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "INSERT INTO events VALUES (?, ?, ?, ?)",
                    ((position, event.type, tags_text(event.tags), event.data) for position, event in rows),
                )
                connection.executemany(
                    "INSERT INTO event_tags VALUES (?, ?)",
                    ((tag, position) for position, event in rows for tag in event.tags),
                )
                connection.execute("COMMIT")

        return paired(ours, floor, 9)


def registered(folder: Path) -> Pair:
    """Measure 100 registrations, with many and with few stacks on the components that they use."""

    def log(stacks_there: int) -> SQLiteRecorder:
        recorder = SQLiteRecorder(folder / f"{stacks_there}.db")
        recorder.append([stored(component) for component in components()])
        for start in range(0, stacks_there, 1000):
            end = min(start + 1000, stacks_there)
            recorder.append([stored(registration(number, new_id())) for number in range(start, end)])
        return recorder

    numbers = count(MANY)

    def register(handler: CommandHandler) -> None:
        for number in islice(numbers, 100):
            command = RegisterStack(stack_id=new_id(), name=f"stack-{number}", components=COMPONENTS)
            handler.handle(stacks.DECIDER, command, CONTEXT)

    with closing(log(MANY)) as many, closing(log(FEW)) as few:
        on_many, on_few = CommandHandler(many, new_id), CommandHandler(few, new_id)
        return paired(lambda: register(on_many), lambda: register(on_few), 31)


def registration(number: int, stack_id: str) -> StackRegistered:
    return StackRegistered(
        stack_id=stack_id, name=f"stack-{number}", components=COMPONENTS, labels={}, shared=False, built_in=False
    )


def components() -> Iterator[ComponentRegistered]:
    for component_type, ids in COMPONENTS.items():
        yield ComponentRegistered(
            component_id=ids[0],
            type=component_type,
            name="popular",
            flavor="local",
            custom_flavor=False,
            configuration={},
            labels={},
            shared=False,
            built_in=False,
            secrets=(),
        )


def stored(event: Event) -> DCBEvent:
    envelope = Envelope(new_id(), 1, CONTEXT.actor, CONTEXT.host, None, None, CONTEXT.command_id, CONTEXT.command_id)
    return DCBEvent(type=event.TYPE, data=encode(event, envelope), tags=list(stored_tags(event, envelope)))


def name_of_first(batch: Batch) -> Boundary:
    return (item(stack_name_tag(f"stack-{batch[0][0]}"), StackRegistered),)


def evolve(state: int, _event: Event) -> int:
    return state + 1


BATCHES: Decider[Batch, int] = Decider(
    initial=0,
    boundary=name_of_first,
    decide=lambda batch, _: [registration(number, stack_id) for number, stack_id in batch],
    evolve=evolve,
)
