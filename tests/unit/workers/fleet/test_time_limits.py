from __future__ import annotations

from dataclasses import replace
from random import Random

from stackledger.domain.events.runs import Retry, StepFailed, StepSucceeded
from tests.support.fleet.checker import check
from tests.support.fleet.world import HABITS, World, planned


def test_a_step_that_takes_too_long_fails_also_after_its_claim() -> None:
    world = World(Random(1), coordinators=1, workers=2, slots=1)
    world.failing = 0.0
    world.seconds = lambda task: 0.1 if task.ref.step == "quick" else 1000.0
    limits = {"quick": 1.0, "short": 1.0, "long": HABITS.lease_after + 5}
    world.timeline.run(2.0)
    world.submit(
        tuple(planned(name).model_copy(update={"timeout": limit, "retry": Retry()}) for name, limit in limits.items())
    )
    world.rest(120.0)
    check(world)
    events = [each.event for each in world.log.events]
    failed = sorted((event.step, event.error) for event in events if isinstance(event, StepFailed))
    assert failed == [("long", "StepTimeout"), ("short", "StepTimeout")]
    assert [event.step for event in events if isinstance(event, StepSucceeded)] == ["quick"]


def test_a_worker_can_have_a_shorter_limit_of_its_own() -> None:
    world = World(Random(1), coordinators=1, workers=1, slots=1, habits=replace(HABITS, step_timeout=2.0))
    world.failing = 0.0
    world.seconds = lambda task: 1.0 if task.ref.step == "quick" else 1000.0
    world.timeline.run(2.0)
    limits = {"quick": 5.0, "unlimited": None, "longer": 50.0}
    world.submit(
        tuple(planned(name).model_copy(update={"timeout": limit, "retry": Retry()}) for name, limit in limits.items())
    )
    world.rest(120.0)
    events = [each.event for each in world.log.events]
    failed = {event.step: event.message for event in events if isinstance(event, StepFailed)}
    assert failed == dict.fromkeys(("unlimited", "longer"), "It was not done after 2 seconds.")
    assert [event.step for event in events if isinstance(event, StepSucceeded)] == ["quick"]
