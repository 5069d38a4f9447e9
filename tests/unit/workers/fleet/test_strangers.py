"""What a worker does with messages by a key that is on no list of coordinators that it has heard of."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from stackledger.domain.events.fleet import KeyEnrolled, StepQueued
from stackledger.domain.events.runs import RunSucceeded
from stackledger.workers.fleet.protocol.messages import Dismissal, Dispatch, Hello, Nudge, opened, sealed
from stackledger.workers.fleet.protocol.ports import PARKED
from stackledger.workers.fleet.protocol.worker import Worker
from tests.support.fleet.broker import Stored
from tests.support.fleet.checker import check
from tests.support.fleet.world import HABITS, LOG, PACE, Keyring, Pen, World, planned

ONE = (planned("only"),)
UNPROBED = replace(PACE, probe_grace=float("inf"))  # nobody finds what is missing
FLOOD = 60


def a_world(*, workers: int = 1) -> World:
    world = World(Random(4), coordinators=1, workers=workers, slots=1, pace=UNPROBED)
    world.failing = 0.0
    world.seconds = lambda _: 1.0
    world.timeline.run(4.0)
    return world


def with_a_new_coordinator(world: World) -> str:
    """Have a coordinator dispatch that no worker hears of; return the run's id."""
    world.broker.lossy_control = 1.0
    assert world.log.holder is not None
    gone = world.log.holder
    world.deserted = True
    gone.kill()
    # The list with both goes unheard, and only the new one takes the seat.
    world.enroll("coordinator-9", "coordinator")
    world.log.append([KeyEnrolled(key_id="unused", role="submitter", name="unused", public="unused", queues=())])
    world.until(lambda: world.processes["coordinator-0"] is not gone)
    world.processes["coordinator-0"].stop(1_000.0)
    world.deserted = False
    world.start_coordinator("coordinator-9")
    run_id = world.submit(ONE)
    world.until(lambda: any(isinstance(each.event, StepQueued) for each in world.log.events))
    return run_id


def worker(world: World) -> Worker:
    return world.workers["worker-0"]


def waits(world: World) -> bool:
    return any(slot.unread is not None for slot in worker(world)._slots)


def parked(world: World) -> int:
    return len(world.broker.queues[PARKED].ready)


def hellos(world: World) -> int:
    return sum(
        isinstance(opened(data, Keyring(), LOG).message, Hello)
        for queue, data in world.broker.history
        if queue == "outcomes"
    )


def flood(world: World) -> None:
    for number in range(FLOOD):
        world.broker.put("default", Stored(sealed(Nudge(run_id=f"{number}"), Pen(f"stranger-{number}"), LOG)))


def at_rest(world: World) -> None:
    world.rest(200.0)
    check(world)


def test_a_dispatch_by_a_coordinator_that_a_worker_has_not_heard_of_waits_for_the_list_and_is_executed() -> None:
    world = a_world()
    run_id = with_a_new_coordinator(world)
    world.until(lambda: waits(world))
    world.timeline.run(world.timeline.now + 5)
    assert waits(world)
    assert not world.executions
    world.broker.lossy_control = 0.0
    at_rest(world)
    assert any(isinstance(each.event, RunSucceeded) for each in world.log.events)
    assert world.executions[run_id, "only", 1] == 1
    assert parked(world) == 0


def test_the_worker_asks_for_the_list_rather_than_waiting_for_the_next_one() -> None:
    world = a_world()
    world.pace = replace(UNPROBED, trust_every=float("inf"))
    with_a_new_coordinator(world)
    world.until(lambda: waits(world))
    world.broker.lossy_control = 0.0
    world.until(lambda: not waits(world), within=HABITS.heartbeat + 5.0)
    assert parked(world) == 0
    at_rest(world)


def test_what_is_waited_for_in_vain_is_parked() -> None:
    world = a_world()
    with_a_new_coordinator(world)
    world.until(lambda: waits(world))
    world.timeline.run(world.timeline.now + HABITS.patience + 3)
    assert not waits(world)
    assert isinstance(opened(world.broker.queues[PARKED].ready[0].data, Keyring(), LOG).message, Dispatch)


def test_a_flood_by_strangers_holds_the_slots_up_once_and_has_a_worker_ask_now_and_then_only() -> None:
    world = a_world()
    began, before = world.timeline.now, hellos(world)
    flood(world)
    world.until(lambda: parked(world) == FLOOD, within=HABITS.patience + 400)
    assert hellos(world) - before <= (HABITS.patience + 2) / HABITS.heartbeat
    before, began = hellos(world), world.timeline.now
    flood(world)
    world.submit(ONE)
    world.timeline.run(began + 0.5)
    assert not waits(world), "a second flood is not waited for"
    world.until(lambda: parked(world) == 2 * FLOOD, within=400)
    assert hellos(world) == before
    at_rest(world)


def test_a_list_that_is_news_makes_a_worker_wait_again() -> None:
    world = a_world()
    flood(world)
    world.until(lambda: parked(world) == FLOOD, within=HABITS.patience + 400)
    world.publish_trust()
    world.timeline.run(world.timeline.now + 3)
    run_id = with_a_new_coordinator(world)
    world.until(lambda: waits(world))
    world.broker.lossy_control = 0.0
    at_rest(world)
    assert world.executions[run_id, "only", 1] == 1


@pytest.mark.parametrize("how", ["stop", "dismissal", "cut", "expiry"])
def test_what_waits_is_given_back_by_a_worker_that_takes_nothing_more_and_forgotten_with_the_connection(
    how: str,
) -> None:
    world = a_world()
    run_id = with_a_new_coordinator(world)
    world.until(lambda: waits(world))
    match how:
        case "stop":
            worker(world).stop()
        case "dismissal":
            worker(world).told(sealed(Dismissal(keys=("worker-0",)), Pen("coordinator-0"), LOG))
        case "cut":
            for session in list(world.broker.sessions):
                session.cut()
        case _:
            world.trusted["worker-0"].newest = world.trusted["worker-0"].newest.model_copy(update={"expires": 0})
            world.timeline.run(world.timeline.now + 1)
    assert how == "cut" or not waits(world)
    world.until(lambda: not waits(world), within=5.0)
    world.broker.lossy_control = 0.0
    if how == "dismissal":
        world.enroll("worker-8", "worker")
        world.start_worker("worker-8")
    at_rest(world)
    assert world.executions[run_id, "only", 1] == 1
    assert parked(world) == 0
