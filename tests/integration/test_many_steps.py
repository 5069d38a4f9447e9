"""Runs of very many steps, and of very large values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from stackledger.domain.events.runs import StepSucceeded
from stackledger.domain.run_status import RunStatus, StepStatus
from stackledger.pipelines.pipeline import Pipeline, pipeline
from stackledger.pipelines.step import step
from tests.support.local_runs import LocalHome


@pytest.fixture
def local(home: Path) -> Iterator[LocalHome]:
    made = LocalHome(home)
    yield made
    made.close()


@step
def one(number: int = 0) -> int:
    return number


@step
def broken() -> int:
    raise ValueError


def chain(steps: int) -> Pipeline:
    @pipeline
    def chained() -> None:
        number = one()
        for _ in range(steps - 1):
            number = one(number)

    return chained


def wide(steps: int) -> Pipeline:
    @pipeline
    def spread() -> None:
        for number in range(steps):
            one(number)

    return spread


def gathered(steps: int) -> Pipeline:
    @pipeline
    def gathering() -> None:
        first = one()
        one(after=[one(first) for _ in range(steps - 2)])

    return gathering


def calls(function: Callable[[], object]) -> int:
    """Return how many Python functions and generators were entered."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        del frame, argument
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("make", [chain, wide, gathered])
def test_a_run_of_2000_steps_costs_for_each_what_a_run_of_200_does(
    tmp_path: Path, make: Callable[[int], Pipeline]
) -> None:
    cost = {}
    for steps in (200, 2000):
        local = LocalHome(tmp_path / str(steps))
        made = make(steps)
        cost[steps] = calls(lambda made=made, local=local: local.finish(made.plan())) / steps  # type: ignore[misc]
        assert sum(isinstance(one.event, StepSucceeded) for one in local.seen) == steps
        local.close()
    assert cost[2000] < 1.1 * cost[200]


def test_two_thousand_dependents_of_a_failure_are_skipped_at_once(local: LocalHome) -> None:
    @pipeline
    def failing() -> None:
        number = broken()
        for _ in range(2000):
            number = one(number)

    finished = local.finish(failing.plan())
    assert finished.run.status is RunStatus.FAILED
    assert sum(state.status is StepStatus.SKIPPED for state in finished.run.steps.values()) == 2000
    assert len(local.story()) == 1 + 1 + 1 + 2000 + 1


@step
def grown(rows: list[dict[str, int]], text: str) -> dict[str, object]:
    return {"rows": rows, "text": text}


@step
def measured(value: dict[str, object]) -> int:
    return len(str(value["text"]))


def test_parameters_and_outputs_of_7_megabytes_go_through(local: LocalHome) -> None:
    rows = [{"number": number} for number in range(100_000)]

    @pipeline
    def heavy() -> None:
        measured(grown(rows, "x" * 5_000_000))

    run = local.run(heavy.plan())
    assert run.steps["measured"].output.load() == 5_000_000
    assert run.steps["grown"].output.load() == {"rows": rows, "text": "x" * 5_000_000}
    assert local.state().steps["grown"].plan.parameters["rows"] == rows
