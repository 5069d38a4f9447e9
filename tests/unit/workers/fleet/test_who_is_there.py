"""Asking which workers there are: the coordinator says the question on, each worker answers whoever asked."""

from __future__ import annotations

from random import Random

import pytest
from pydantic import ValidationError

from stackledger.workers.fleet.protocol.messages import Message, Present, Presiding, WhoIsThere, opened, sealed
from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED
from tests.support.fleet.broker import Stored
from tests.support.fleet.world import LOG, Keyring, Pen, World, planned

REPLY = "amq.gen-Zq3_x-1"


def a_world() -> World:
    world = World(Random(1), coordinators=1, workers=2, slots=1)
    world.failing = 0.0
    world.broker.lossy_control = 0.0
    world.seconds = lambda _: 60.0
    world.enroll("submitter-0", "submitter")
    world.timeline.run(2.0)
    return world


def asked(world: World, asker: str = "submitter-0") -> dict[str, Present]:
    world.answers.clear()
    world.broker.put(OUTCOMES, Stored(sealed(WhoIsThere(reply=REPLY), Pen(asker), LOG)))
    world.timeline.run(world.timeline.now + 5.0)
    found = {}
    for reply, data in world.answers:
        assert reply == REPLY
        answer = opened(data, Keyring(), LOG)
        if isinstance(answer.message, Present):
            found[answer.key] = answer.message
    return found


def test_the_active_coordinator_says_that_it_is_and_how_far_it_has_read() -> None:
    world = a_world()
    asked(world)
    (presiding,) = [answer for answer in answers(world) if isinstance(answer, Presiding)]
    assert presiding.position == world.log.events[-1].position
    assert presiding.began <= world.timeline.time()


def answers(world: World) -> list[Message]:
    return [opened(data, Keyring(), LOG).message for _, data in world.answers]


def test_every_worker_answers_what_it_does_and_since_when() -> None:
    world = a_world()
    idle = asked(world)
    assert set(idle) == {"worker-0", "worker-1"}
    assert all((each.slots, each.executions, each.stopping) == (1, (), False) for each in idle.values())
    began = world.timeline.time()
    run_id = world.submit((planned("long"),))
    while not world.executions:
        world.timeline.run(world.timeline.now + 1.0)
    (busy,) = [each for each in asked(world).values() if each.executions]
    (doing,) = busy.executions
    assert (doing.taken.ref.run_id, doing.taken.ref.step) == (run_id, "long")
    assert began <= doing.began <= world.timeline.time()
    world.workers["worker-1"].stop()
    assert {key: each.stopping for key, each in asked(world).items()} == {"worker-0": False, "worker-1": True}


def test_workers_answer_a_coordinators_word_only() -> None:
    world = a_world()
    world.broker.broadcast(sealed(WhoIsThere(reply=REPLY), Pen("worker-0"), LOG))
    world.timeline.run(world.timeline.now + 5.0)
    assert not world.answers
    assert not asked(world, "worker-1"), "a worker is not to ask either"
    assert len(world.broker.queues[PARKED].ready) == 1


@pytest.mark.parametrize("queue", ["stackledger.log-1.o.steps.default", "amq.gen-", "amq.gen-a b", ""])
def test_answers_go_into_no_queue_of_a_fleet(queue: str) -> None:
    with pytest.raises(ValidationError):
        WhoIsThere(reply=queue)
