"""What a step says that it needs of a machine, and which queue it chooses."""

from __future__ import annotations

from typing import Any

import pytest

import stackledger
from stackledger.config import ResourceSettings, StepRetryConfig
from stackledger.domain.errors import PipelineError
from stackledger.pipelines.pipeline import pipeline
from stackledger.pipelines.plan import StepPlan
from stackledger.pipelines.resources import memory_bytes
from stackledger.pipelines.step import Step, step

GPU = ResourceSettings(cpu_count=2, gpu_count=1, memory="8GB")


def plan_of(one: Step) -> StepPlan:
    @pipeline
    def single() -> None:
        one()

    return single.plan().steps[0]


def nothing() -> None:
    pass


def test_they_are_found_where_zenml_has_them() -> None:
    assert stackledger.ResourceSettings is ResourceSettings
    assert stackledger.StepRetryConfig is StepRetryConfig


def test_a_plan_has_what_the_step_says() -> None:
    planned = plan_of(step(queue="long", settings={"resources": GPU})(nothing))
    assert (planned.queue, planned.resources) == ("long", GPU)
    planned = plan_of(step(nothing))
    assert (planned.queue, planned.resources) == (None, None)


def test_they_may_be_given_as_a_mapping() -> None:
    assert plan_of(step(settings={"resources": {"gpu_count": 1}})(nothing)).resources == ResourceSettings(gpu_count=1)


def test_options_of_a_copy_change_nothing_about_the_step() -> None:
    first = step(queue="long", settings={"resources": GPU})(nothing)
    second = first.with_options(queue="short", settings={"resources": ResourceSettings(cpu_count=1)})
    third = second.with_options(name="third")
    assert [(each.queue, each.resources) for each in map(plan_of, (first, second, third))] == [
        ("long", GPU),
        ("short", ResourceSettings(cpu_count=1, gpu_count=1, memory="8GB")),
        ("short", ResourceSettings(cpu_count=1, gpu_count=1, memory="8GB")),
    ]


@pytest.mark.parametrize(
    ("text", "size"), [("1KB", 1000), ("2 MiB", 2 * 1024**2), ("8GB", 8 * 10**9), ("1TiB", 1024**4)]
)
def test_memory_is_an_amount_with_a_unit(text: str, size: int) -> None:
    assert memory_bytes(text) == size


@pytest.mark.parametrize(
    "wrong",
    [
        {"cpu_count": 0},
        {"cpu_count": float("nan")},
        {"cpu_count": float("inf")},
        {"cpu_count": "2"},
        {"cpu_count": True},
        {"gpu_count": -1},
        {"gpu_count": 1.5},
        {"memory": "8"},
        {"memory": "GB"},
        {"memory": "8 gigabytes"},
        {"memory": "8GB each"},
        {"memory": 8},
    ],
)
def test_what_no_machine_can_have_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PipelineError, match="A step cannot need"):
        ResourceSettings(**wrong)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"resource": GPU}, "Did you mean 'resources'"),
        ({"resources": {"gpu": 1}}, "Did you mean 'gpu_count'"),
        ({"resources": 3}, "has 3 where ResourceSettings belong"),
        ([GPU], "for its settings"),
    ],
)
def test_settings_that_nothing_knows_are_refused(settings: Any, told: str) -> None:
    with pytest.raises(PipelineError, match=told):
        step(settings=settings)(nothing)


def test_a_queue_is_a_name() -> None:
    with pytest.raises(PipelineError, match="has 3 for its queue"):
        step(queue=3)(nothing)  # type: ignore[call-overload]
