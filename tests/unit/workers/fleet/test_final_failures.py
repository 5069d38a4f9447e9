from __future__ import annotations

from random import Random

import pytest

from stackledger.domain.events.runs import RunFailed, StepFailed
from stackledger.workers.fleet.protocol.messages import Failure, Task
from tests.support.fleet.checker import check
from tests.support.fleet.world import SimulatedChildren, World, planned


@pytest.mark.parametrize(("final", "attempts"), [(True, [1]), (False, [1, 2, 3])])
def test_a_failure_that_would_only_come_again_is_not_retried(
    monkeypatch: pytest.MonkeyPatch, *, final: bool, attempts: list[int]
) -> None:
    def fail(children: SimulatedChildren, slot: int, execution: str, _: Task) -> None:
        assert children.worker is not None
        children.running.remove(execution)
        children.worker.ended(slot, execution, Failure(error="MissingRequirements", message="torch>=2", final=final))

    monkeypatch.setattr(SimulatedChildren, "_end", fail)
    world = World(Random(1), coordinators=1, workers=1, slots=1)
    world.timeline.run(2.0)
    world.submit((planned("train", retries=2),))
    world.rest(120.0)
    check(world)
    events = [each.event for each in world.log.events]
    assert [event.attempt for event in events if isinstance(event, StepFailed)] == attempts
    assert [event.steps for event in events if isinstance(event, RunFailed)] == [("train",)]
