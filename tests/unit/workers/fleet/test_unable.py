"""What a worker does with attempts that its machine is at fault for, not the step."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from stackledger.domain.events.fleet import StepLost, StepQueued
from stackledger.domain.events.runs import RunFailed, RunSucceeded, StepFailed
from stackledger.domain.fleet import MAX_LOST
from tests.support.fleet.checker import check
from tests.support.fleet.world import HABITS, World, planned

ONE = (planned("only", retries=0),)
LONG = HABITS.lease_after + 3


def a_world(*, workers: int = 1) -> World:
    world = World(Random(5), coordinators=1, workers=workers, slots=1)
    world.failing = 0.0
    world.seconds = lambda _: 1.0
    world.timeline.run(5.0)
    return world


def times(world: World, kind: type) -> list[float]:
    return [each.envelope.time / 1e6 for each in world.log.events if isinstance(each.event, kind)]


def at_rest(world: World) -> None:
    world.rest(300.0)
    check(world)


def fails_what_it_takes(world: World, name: str = "worker-0") -> None:
    """Have a worker fail everything, although it finds nothing wrong when it looks."""
    world.full.add(name)
    world.unaware.add(name)


def test_it_is_lost_spends_no_retry_and_is_executed_once_there_is_room() -> None:
    world = a_world()
    fails_what_it_takes(world)
    run_id = world.submit(ONE)
    world.until(lambda: times(world, StepLost))
    assert world.workers["worker-0"].unable == "The disk is full."
    world.full.clear()
    at_rest(world)
    assert times(world, RunSucceeded)
    assert world.executions == {(run_id, "only", 2): 1}


def test_another_worker_executes_it_meanwhile() -> None:
    world = a_world(workers=2)
    world.full.add("worker-0")
    for _ in range(5):
        world.submit(ONE)
    at_rest(world)
    assert len(times(world, RunSucceeded)) == 5


def test_a_worker_that_finds_its_disk_full_takes_nothing_and_one_with_room_does() -> None:
    world = a_world()
    world.full.add("worker-0")
    world.timeline.run(world.timeline.now + HABITS.heartbeat + 3.0)
    run_id = world.submit(ONE)
    world.timeline.run(world.timeline.now + 100.0)
    assert not times(world, StepLost)
    assert [stored.deliveries for stored in world.broker.queues["default"].ready][:1] == [0]
    world.full.clear()
    at_rest(world)
    assert world.executions == {(run_id, "only", 1): 1}


def test_a_step_gets_lost_so_a_bounded_number_of_times() -> None:
    world = a_world()
    fails_what_it_takes(world)
    world.submit(ONE)
    at_rest(world)
    assert times(world, RunFailed)
    (failed,) = [each.event for each in world.log.events if isinstance(each.event, StepFailed)]
    assert failed.error == "Lost"
    assert len(times(world, StepLost)) == MAX_LOST - 1


def test_a_worker_rests_longer_each_time_and_no_longer_after_a_success() -> None:
    world = a_world()
    fails_what_it_takes(world)
    for _ in range(9):
        world.submit(ONE)
    world.until(lambda: len(times(world, StepLost)) == 5, within=200.0)
    lost = times(world, StepLost)
    # It says so a moment later than it begins to rest, and the first time perhaps later than the next times.
    rests = [after - before for before, after in pairwise(lost)]
    assert all(rest >= HABITS.heartbeat * 2**number - 1.0 for number, rest in enumerate(rests))
    assert max(rests) < 2 * HABITS.heartbeat * 2 ** len(rests)
    world.full.clear()
    world.until(lambda: times(world, RunSucceeded), within=200.0)
    assert world.workers["worker-0"]._rest == 0.0
    at_rest(world)


def test_what_it_executes_already_goes_on() -> None:
    world = a_world()
    world.seconds = lambda _: 20.0
    run_id = world.submit(ONE)
    world.until(lambda: world.executions)
    world.full.add("worker-0")
    world.until(lambda: world.workers["worker-0"].unable)
    world.until(lambda: times(world, RunSucceeded))
    world.full.clear()
    at_rest(world)
    assert world.executions == {(run_id, "only", 1): 1}


@pytest.mark.parametrize("seed", range(5))
def test_a_claimed_one_is_given_back_too(seed: int) -> None:
    world = World(Random(seed), coordinators=1, workers=1, slots=1)
    world.failing = 0.0
    world.seconds = lambda _: LONG
    world.timeline.run(5.0)
    world.submit(ONE)
    world.until(lambda: world.executions)
    fails_what_it_takes(world)
    world.processes["worker-0"].kill()  # what comes again waits for its grant, and so has a claim
    world.until(lambda: times(world, StepLost))
    world.full.clear()
    at_rest(world)
    assert times(world, RunSucceeded)
    assert len(times(world, StepQueued)) <= MAX_LOST
