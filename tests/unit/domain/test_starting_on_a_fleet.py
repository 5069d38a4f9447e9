from __future__ import annotations

import pytest

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import AlreadyExists
from stackledger.domain.events.fleet import StepQueued
from stackledger.domain.events.runs import Code, OutputOfStep, PinnedComponent, PinnedStack, PlannedStep, Retry
from stackledger.domain.fleet import START_ON_FLEET, settled
from stackledger.domain.run_state import RunEvent, evolve
from stackledger.domain.runs import START_RUN, StartRun

STACK = PinnedStack(
    id="s",
    name="fleet",
    position=1,
    components=(
        PinnedComponent(id="o", type=ComponentType.ORCHESTRATOR, name="o", flavor="rabbitmq", configuration={}),
    ),
)


def planned(name: str, *parents: str, queue: str = "default") -> PlannedStep:
    return PlannedStep(
        name=name,
        source=f"m.{name}",
        digest="",
        upstream=parents,
        inputs={parent: OutputOfStep(step=parent, output="out") for parent in parents},
        parameters={},
        outputs=("out",),
        queue=queue,
        retry=Retry(),
    )


COMMAND = StartRun(
    run_id="r",
    name="first",
    pipeline="p",
    stack=STACK,
    code=Code(digest="", commit=None, dirty=False),
    parameters={},
    steps=(planned("a"), planned("b", queue="gpu"), planned("c", "a", "b")),
    environment={},
)


def test_the_steps_that_need_no_others_are_queued_as_the_run_begins() -> None:
    started, *queued = START_ON_FLEET.decide(COMMAND, {})
    assert [started] == list(START_RUN.decide(COMMAND, {}))
    assert queued == [
        StepQueued(run_id="r", step=step, attempt=1, queue=queue, dispatch="r", inputs={})
        for step, queue in (("a", "default"), ("b", "gpu"))
    ]


def test_a_coordinator_finds_nothing_left_to_queue() -> None:
    run = None
    for event in START_ON_FLEET.decide(COMMAND, {}):
        assert isinstance(event, RunEvent)
        run = evolve(run, event)
    assert run is not None
    assert settled({"r": run}, {}, (), {"r"}, now=0, dispatch="d").events == ()


def test_a_name_is_taken_by_the_run_that_has_it() -> None:
    state = START_ON_FLEET.initial
    for event in START_ON_FLEET.decide(COMMAND, state):
        state = START_ON_FLEET.evolve(state, event)
    with pytest.raises(AlreadyExists, match="A run with the id r"):
        START_ON_FLEET.decide(COMMAND, state)
    assert START_ON_FLEET.boundary(COMMAND) == START_RUN.boundary(COMMAND)
