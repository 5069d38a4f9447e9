"""Logs that no program of ours wrote, or an earlier one: views go on or name the event, and never fail otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackledger.domain.errors import Ambiguous, LogDamaged, NotFound
from stackledger.eventlog.stored import StoredEvent, unpacked
from stackledger.eventlog.upcasting import Body, Upcasters
from stackledger.projections.engine import View, Views
from stackledger.projections.folding import Writer
from stackledger.projections.history import of_component, of_stack
from stackledger.projections.listing import Asked
from stackledger.projections.registry_queries import active_stack, components, stacks
from stackledger.projections.run_queries import artifacts, run, runs
from tests.support.histories import history
from tests.support.memory_log import MemoryReader
from tests.support.views import dumped, folded_in_memory

EVENTS = history(Random(7), 150)


def told_nothing(message: str) -> None:
    pytest.fail(f"unexpectedly told: {message}")


def first(type_name: str) -> StoredEvent:
    return next(event for event in EVENTS if event.type == type_name)


def edited(type_name: str, **body: Any) -> tuple[StoredEvent, list[StoredEvent]]:
    """Return the first event of a type with other values in its body, and the log with it."""
    event = first(type_name)
    fields = unpacked(event.position, event.data)
    fields["body"] |= body
    odd = event._replace(data=msgpack.packb(fields))
    return odd, [odd if each.position == event.position else each for each in EVENTS]


@pytest.mark.parametrize(
    ("type_name", "body"),
    [
        ("stack.registered/1", {"stack_id": []}),
        ("stack.registered/1", {"stack_id": msgpack.ExtType(1, b"x")}),
        ("stack.registered/1", {"name": 5}),
        ("stack.registered/1", {"shared": {}}),
        ("stack.registered/1", {"labels": {"a": 1}}),
        ("stack.registered/1", {"components": []}),
        ("stack.registered/1", {"components": {"orchestrator": "x"}}),
        ("stack.registered/1", {"components": {"orchestrator": [1]}}),
        ("component.registered/1", {"configuration": "x"}),
        ("component.registered/1", {"configuration": {"a": b"x"}}),
        ("secret.created/1", {"keys": {"a": "b"}}),
        ("run.started/3", {"stack": {"id": "s", "name": "s", "components": [{}]}}),
        ("run.started/3", {"steps": [{"name": "load"}]}),
        ("step.succeeded/2", {"outputs": [5]}),
    ],
)
def test_a_body_of_another_shape_is_a_damaged_log(type_name: str, body: dict[str, Any], tmp_path: Path) -> None:
    odd, events = edited(type_name, **body)
    with pytest.raises(LogDamaged, match=f"{type_name} at position {odd.position} "):
        Writer(tmp_path / "views.db", MemoryReader(events), told_nothing).catch_up()


ODD: list[Any] = [None, True, -1, 2**63, 1.5, float("nan"), "", "\ud7ff", "x" * 5_000, b"\xff", [], [[]], {}, {"": {}}]
ODD += [msgpack.ExtType(1, b"x"), msgpack.Timestamp(1, 2)]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where there is a value inside a body, at any depth."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from _places(each, (*path, key))


def _everything(view: View) -> None:
    for each in stacks(view, Asked(size=1000)).items:
        of_stack(view, each.id)
    for kind in ("orchestrator", "artifact_store", "metadata_store"):
        for component in components(view, kind, Asked(size=1000)).items:
            of_component(view, component.id)
    for ran in runs(view, Asked(size=1000)).items:
        run(view, ran.id)
    artifacts(view, Asked(size=1000))
    with contextlib.suppress(NotFound, Ambiguous):
        active_stack(view, user_id="user-1", repository_id="repo-1")


@pytest.mark.parametrize("type_name", sorted({event.type for event in EVENTS}))
@given(data=st.data())
def test_an_odd_value_anywhere_in_an_event_is_shown_or_told_and_never_crashes(
    type_name: str, data: st.DataObject
) -> None:
    odd = data.draw(st.sampled_from([event for event in EVENTS if event.type == type_name]))
    fields = unpacked(odd.position, odd.data)
    place = data.draw(st.sampled_from(list(_places(fields["body"]))))
    inner = fields["body"]
    for key in place[:-1]:
        inner = inner[key]
    if isinstance(inner, dict) and data.draw(st.booleans()):
        del inner[place[-1]]
    else:
        inner[place[-1]] = data.draw(st.sampled_from(ODD))
    changed = odd._replace(data=msgpack.packb(fields))
    events = [changed if each.position == odd.position else each for each in EVENTS]
    with TemporaryDirectory() as folder, contextlib.suppress(LogDamaged):
        Views(Path(folder) / "views.db", MemoryReader(events), told_nothing).read(_everything)


def test_a_number_that_no_column_holds_is_a_damaged_log(tmp_path: Path) -> None:
    _, events = edited("step.succeeded/2", attempt=2**64 - 1)
    with pytest.raises(LogDamaged, match="too large"):
        Writer(tmp_path / "views.db", MemoryReader(events), told_nothing).catch_up()


def test_a_body_that_was_edited_after_it_was_folded_is_told_by_a_history(tmp_path: Path) -> None:
    odd, events = edited("stack.updated/1", labels=5)
    stack_id = unpacked(odd.position, odd.data)["body"]["stack_id"]
    reader = MemoryReader(EVENTS)
    views = Views(tmp_path / "views.db", reader, told_nothing)
    views.catch_up()
    reader.events = events
    with pytest.raises(LogDamaged, match=f"position {odd.position} "):
        views.read(lambda view: of_stack(view, stack_id))


def test_the_rest_is_shown_where_events_were_taken_out_of_the_log(tmp_path: Path) -> None:
    for number, type_name in enumerate(sorted({event.type for event in EVENTS})):
        left = [event for event in EVENTS if event.type != type_name]

        def everything(view: View) -> None:
            for each in stacks(view, Asked(size=1000)).items:
                of_stack(view, each.id)
            for ran in runs(view, Asked(size=1000)).items:
                run(view, ran.id)
            with contextlib.suppress(NotFound):  # where the default stack is gone too
                active_stack(view, user_id="user-1", repository_id="repo-1")

        path = tmp_path / f"{number}.db"
        Views(path, MemoryReader(left), told_nothing).read(everything)
        assert dumped(path) == folded_in_memory(left)


def test_events_of_an_earlier_version_are_folded_and_told_as_of_the_newest(tmp_path: Path) -> None:
    def older(event: StoredEvent) -> StoredEvent:
        if event.type != "stack.renamed/1":
            return event
        fields = unpacked(event.position, event.data)
        fields["body"] = {"to": fields["body"].pop("name"), **fields["body"]}
        return event._replace(type="stack.renamed/0", data=msgpack.packb(fields))

    def newer(body: Body) -> Body:
        return {"name": body["to"], **body}

    upcasters: Upcasters = {"stack.renamed/0": ("stack.renamed/1", newer)}
    old = [older(event) for event in EVENTS]
    assert old != EVENTS
    Writer(tmp_path / "old.db", MemoryReader(old), told_nothing, upcasters=upcasters).catch_up()
    Writer(tmp_path / "new.db", MemoryReader(EVENTS), told_nothing).catch_up()
    assert dumped(tmp_path / "old.db") == dumped(tmp_path / "new.db")

    renamed = first("stack.renamed/1")
    stack_id = unpacked(renamed.position, renamed.data)["body"]["stack_id"]
    before, after = (
        Views(tmp_path / name, MemoryReader(events), told_nothing).read(
            lambda view: of_stack(view, stack_id, upcasters)
        )
        for name, events in (("old.db", old), ("new.db", EVENTS))
    )
    assert [entry.changes for entry in before] == [entry.changes for entry in after]
