"""The laws of the views, over any history: however they came about, they are what a fold of the log makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackledger.eventlog.postgres_reader import PostgresReader
from stackledger.eventlog.postgres_server import Server
from stackledger.eventlog.stored import StoredEvent
from stackledger.projections import history
from stackledger.projections.engine import View, Views
from stackledger.projections.folding import Writer
from stackledger.projections.key_queries import enrolled, key, keys, trust
from stackledger.projections.listing import Asked, Filters
from stackledger.projections.registry_queries import (
    active_stack,
    components,
    flavors,
    secrets,
    stack,
    stacks,
    stacks_using,
)
from stackledger.projections.run_queries import artifact, artifacts, driven_runs, pipelines, run, runs, unfinished_runs
from stackledger.projections.schema import COMPONENTS, STACKS, Table
from tests.support.histories import histories
from tests.support.memory_log import MemoryReader, cut
from tests.support.postgres import Databases, make_log
from tests.support.views import at, bookkeeping, dumped, folded_in_memory


def told_nothing(message: str) -> None:
    pytest.fail(f"unexpectedly told: {message}")


def views_of(events: list[StoredEvent], folder: str, name: str = "views") -> Path:
    path = Path(folder) / f"{name}.db"
    Writer(path, MemoryReader(events), told_nothing).catch_up()
    return path


@given(histories())
def test_views_are_what_a_fold_in_memory_makes(events: list[StoredEvent]) -> None:
    with TemporaryDirectory() as folder:
        assert dumped(views_of(events, folder)) == folded_in_memory(events)


@given(histories(), st.data())
def test_views_caught_up_step_by_step_are_views_built_at_once(events: list[StoredEvent], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path, reader = Path(folder) / "steps.db", MemoryReader()
        stops = data.draw(st.sets(st.integers(0, len(events)), max_size=6))
        for stop in [*sorted(stops), len(events)]:
            reader.events = events[:stop]
            Writer(path, reader, told_nothing).catch_up()
        whole = views_of(events, folder)
        assert dumped(path) == dumped(whole)
        assert bookkeeping(path) == bookkeeping(whole)


@given(histories(), st.integers(1, 20))
def test_views_built_in_pieces_are_views_built_at_once(events: list[StoredEvent], batch: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pieces.db"
        Writer(path, MemoryReader(events), told_nothing, batch_events=batch).catch_up()
        whole = views_of(events, folder)
        assert dumped(path) == dumped(whole)
        assert bookkeeping(path) == bookkeeping(whole)


@given(histories())
def test_rows_as_of_any_position_are_the_rows_of_the_log_cut_there(events: list[StoredEvent]) -> None:
    with TemporaryDirectory() as folder:
        whole = dumped(views_of(events, folder))
    for position in range(events[-1].position + 1):
        assert at(whole, position) == at(folded_in_memory(cut(events, position)), position)


@settings(max_examples=25)
@given(histories(), st.data())
def test_queries_as_of_a_position_answer_as_if_the_log_ended_there(
    events: list[StoredEvent], data: st.DataObject
) -> None:
    position = data.draw(st.integers(events[0].position, events[-1].position))
    earlier = cut(events, position)
    with TemporaryDirectory() as folder:
        before = Views(views_of(earlier, folder, "before"), MemoryReader(earlier), told_nothing)
        now = Views(views_of(events, folder, "now"), MemoryReader(events), told_nothing)
        then = before.read(everything)
        assert now.read(lambda view: everything(view._replace(position=position))) == then


def everything(view: View) -> list[object]:
    """Return what all queries answer."""
    all_stacks = stacks(view, Asked(size=1000))
    all_runs = runs(view, Asked(size=1000))
    some_filters = (
        Filters(name="contains:STACK"),
        Filters(owner="user-2"),
        Filters(name="startswith:a%", labels=(("team", None),)),
        Filters(labels=(("team", "a"), ("x", "ü"))),
    )
    return [
        all_stacks,
        *(
            stacks(view, Asked(sort_by=key, size=5, page=2))
            for key in ("name", "desc:created", "owner", "shared", "id")
        ),
        *(stacks(view, Asked(filters=filters)) for filters in some_filters),
        *(components(view, kind, Asked(size=1000)) for kind in ("orchestrator", "artifact_store", "alerter")),
        *(
            components(view, "orchestrator", Asked(filters=filters))
            for filters in (*some_filters, Filters(flavor="s3"))
        ),
        [stack(view, each.id) == stack(view, each.name) == each for each in all_stacks.items],
        [stacks_using(view, each.id) for each in components(view, "artifact_store").items],
        [
            active_stack(view, user_id=user, repository_id=repository)
            for user in ("user-1", "user-2")
            for repository in ("repo-1", None)
            if all_stacks.items
        ],
        secrets(view, Asked(size=1000)),
        flavors(view),
        keys(view, Asked(size=1000)),
        keys(view, Asked(filters=Filters(role="worker", status="enrolled"), sort_by="desc:name")),
        [key(view, each.id) for each in keys(view, Asked(size=1000)).items],
        enrolled(view, "coordinator"),
        trust(view),
        all_runs,
        runs(view, Asked(filters=Filters(status="failed", pipeline="Training"), sort_by="name")),
        [run(view, each.id) for each in all_runs.items],
        unfinished_runs(view),
        driven_runs(view),
        pipelines(view),
        artifacts(view, Asked(size=1000)),
        artifacts(view, Asked(sort_by="size", filters=Filters(name="Model", step="train"))),
        [(history.of_stack(view, each), history.stack_facts(view, each)) for each in ever(view, STACKS)],
        [history.of_component(view, each) for each in ever(view, COMPONENTS)],
        [artifact(view, name) for name in sorted({each.name for each in artifacts(view).items})],
        [artifact(view, each.name, each.version) == artifact(view, each.id) == each for each in artifacts(view).items],
    ]


def ever(view: View, table: Table) -> list[str]:
    """Return the ids of all that there was until then, deleted or not."""
    (key,) = table.key
    sql = f"SELECT DISTINCT {key} FROM {table.name} WHERE from_pos <= ? ORDER BY {key}"
    return [row[0] for row in view.connection.execute(sql, (view.position,))]


class Repeating(MemoryReader):
    """A log that is read again from its beginning, each event twice."""

    def scan(self, *, after: int = 0, upto: int | None = None, tags: tuple[str, ...] = ()) -> Iterator[StoredEvent]:
        for event in self.events:
            yield event
            yield event


@pytest.fixture(scope="module")
def database(postgres: Databases) -> Iterator[str]:
    with postgres.database() as address:
        yield address


def test_views_over_a_log_on_postgresql_are_the_same(database: str) -> None:
    @settings(max_examples=max(10, settings().max_examples // 5))
    @given(histories())
    def same(events: list[StoredEvent]) -> None:
        make_log(database, events)
        with TemporaryDirectory() as folder, closing(PostgresReader(Server(database))) as reader:
            path = Path(folder) / "server.db"
            Writer(path, reader, told_nothing, batch_events=7).catch_up()
            whole = views_of(events, folder)
            assert dumped(path) == dumped(whole)
            assert bookkeeping(path) == bookkeeping(whole)

    same()


@given(histories(20))
def test_events_delivered_again_change_nothing(events: list[StoredEvent]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "twice.db"
        for stop in (len(events) // 2, len(events), len(events)):
            Writer(path, Repeating(events[:stop]), told_nothing, batch_events=7).catch_up()
        whole = views_of(events, folder)
        assert dumped(path) == dumped(whole)
        assert bookkeeping(path) == bookkeeping(whole)
