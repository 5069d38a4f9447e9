"""The coordinator and the worker of production over a real broker: what goes wrong there, and that nothing comes of it.

The log is the simulated one, so that only the broker differs from the simulator's.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stackledger.domain.events.fleet import StepClaimed, StepLost, StepQueued, TopologyRenewed
from stackledger.domain.events.runs import RunStarted, RunSucceeded, StepSucceeded
from stackledger.workers.fleet.broker.topology import DELIVERY_LIMIT
from stackledger.workers.fleet.protocol.coordinator import Pace
from stackledger.workers.fleet.protocol.messages import Dispatch, Nudge, opened, sealed
from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED
from stackledger.workers.fleet.protocol.worker import Habits
from tests.conftest import SOAK
from tests.support.eventually import eventually
from tests.support.fleet.checker import check
from tests.support.fleet.real import HABITS, RealFleet, real_fleet
from tests.support.fleet.world import Keyring, Pen, planned
from tests.support.rabbitmq import PrivateNode

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.timeout(240)]

MANY = tuple(planned(f"s{number}") for number in range(300))
SOME = tuple(planned(f"s{number}") for number in range(12))
CHAIN = (planned("a"), planned("b", "a"), planned("c", "b"))


@pytest.fixture
def fleet(amqp_url: str) -> Iterator[RealFleet]:
    with real_fleet(amqp_url) as fleet:
        yield fleet


def succeeded(fleet: RealFleet) -> None:
    """Wait for the end of everything, and check all promises."""
    fleet.at_rest()
    check(fleet)  # type: ignore[arg-type]
    assert len(fleet.of(RunSucceeded)) == len(fleet.of(RunStarted))


def under_way(fleet: RealFleet, steps: int) -> None:
    eventually(lambda: len(fleet.of(StepSucceeded)) >= steps)


def parked(fleet: RealFleet) -> list[bytes]:
    """Return what is in the parked queue, and leave it there."""
    if fleet.ready(PARKED) < 1:
        return []
    with fleet.channel() as channel:
        found: list[bytes] = []
        while True:
            method, _, body = channel.basic_get(fleet.topology.on_broker(PARKED))
            if method is None:
                return found
            found.append(body)


def test_hundreds_of_steps_are_executed_once_each(fleet: RealFleet) -> None:
    fleet.coordinator()
    fleet.worker(slots=4)
    fleet.worker(slots=4)
    fleet.submit(MANY)
    fleet.submit(CHAIN)
    succeeded(fleet)
    assert set(fleet.executions.values()) == {1}
    assert not any(member.troubles for member in fleet.members if member.name.startswith("coordinator"))


@pytest.mark.parametrize("who", ["coordinator", "worker"])
def test_a_connection_that_is_cut_comes_back_and_nothing_is_lost(fleet: RealFleet, who: str) -> None:
    fleet.coordinator()
    fleet.worker(slots=4)
    fleet.seconds = lambda _: 0.02
    fleet.submit(MANY)
    for steps in (20, 60, 120):
        under_way(fleet, steps)
        for member in fleet.members:
            if member.name.startswith(who):
                member.proxy.cut()
    succeeded(fleet)


def test_connections_that_swallow_everything_are_noticed_by_their_heartbeats(amqp_url: str) -> None:
    with real_fleet(amqp_url, heartbeat=2) as fleet:
        fleet.coordinator()
        fleet.worker(slots=2)
        fleet.seconds = lambda _: 0.05
        fleet.submit(MANY[:60])
        under_way(fleet, 10)
        before = [len(member.troubles) for member in fleet.members]
        for member in fleet.members:
            member.proxy.swallow()
        for member, troubles in zip(fleet.members, before, strict=True):
            eventually(lambda member=member, troubles=troubles: len(member.troubles) > troubles)  # type: ignore[misc]
            member.proxy.cut()
            member.proxy.carry()
        succeeded(fleet)


def test_a_slow_connection_loses_nothing(fleet: RealFleet) -> None:
    fleet.coordinator().proxy.seconds = 0.05
    fleet.worker(slots=4).proxy.bytes_a_second = 50_000.0
    fleet.submit(SOME)
    succeeded(fleet)
    assert set(fleet.executions.values()) == {1}


def test_what_a_killed_worker_had_is_done_by_another(fleet: RealFleet) -> None:
    fleet.coordinator()
    victim = fleet.worker(slots=4)
    fleet.seconds = lambda _: 0.5
    fleet.submit(SOME)
    eventually(lambda: len(fleet.executions) >= 4)
    victim.kill()
    fleet.worker(slots=4)
    succeeded(fleet)


def test_the_claims_of_a_killed_worker_run_out(fleet: RealFleet) -> None:
    fleet.coordinator()
    victim = fleet.worker(slots=2)
    fleet.seconds = lambda task: 600.0 if task.ref.attempt == 1 else 0.0
    fleet.submit(SOME[:2])
    eventually(lambda: len(fleet.of(StepClaimed)) == 2)
    victim.kill()
    fleet.worker(slots=2)
    succeeded(fleet)
    assert {event.because for event in fleet.of(StepLost)} == {"lease ran out"}


def test_a_coordinator_replaces_one_that_was_killed(fleet: RealFleet) -> None:
    fleet.worker(slots=4)
    fleet.seconds = lambda _: 0.02
    fleet.submit(MANY)
    for steps in (30, 90, 150):
        victim = fleet.coordinator()
        under_way(fleet, steps)
        victim.kill()
    fleet.coordinator()
    succeeded(fleet)


def test_a_step_queue_that_was_deleted_is_renewed_with_what_was_in_it(fleet: RealFleet) -> None:
    fleet.coordinator()
    fleet.submit(SOME)
    eventually(lambda: fleet.ready("default") == len(SOME))
    with fleet.channel() as channel:
        channel.queue_delete(fleet.topology.on_broker("default"))
    fleet.worker(slots=4)
    succeeded(fleet)
    assert len(fleet.of(TopologyRenewed)) == 2, "one for a topology that was never there, one for what was deleted"


def test_a_step_queue_deleted_under_its_consumers_is_renewed(fleet: RealFleet) -> None:
    fleet.coordinator()
    fleet.worker(slots=2)
    fleet.seconds = lambda _: 0.1
    fleet.submit(SOME)
    under_way(fleet, 2)
    with fleet.channel() as channel:
        channel.queue_delete(fleet.topology.on_broker("default"))
    succeeded(fleet)


@pytest.mark.parametrize("queue", [OUTCOMES, PARKED])
def test_an_outcome_queue_or_a_parked_queue_that_was_deleted_comes_back(fleet: RealFleet, queue: str) -> None:
    fleet.coordinator()
    fleet.worker(slots=2)
    fleet.seconds = lambda _: 0.1
    fleet.submit(SOME)
    under_way(fleet, 2)
    with fleet.channel() as channel:
        channel.queue_delete(fleet.topology.on_broker(queue))
    fleet.put("default", b"nonsense")
    succeeded(fleet)
    eventually(lambda: parked(fleet) == [b"nonsense"])


def test_a_message_that_is_delivered_too_often_makes_its_attempt_lost(fleet: RealFleet) -> None:
    fleet.coordinator()
    fleet.submit(SOME[:1])
    eventually(lambda: fleet.of(StepQueued) and fleet.ready("default") == 1)
    with fleet.channel() as channel:
        for _ in range(DELIVERY_LIMIT + 1):
            eventually(lambda: _rejected(channel, fleet))
    eventually(lambda: fleet.of(StepLost))
    assert {event.because for event in fleet.of(StepLost)} == {"delivered too often"}
    fleet.worker()
    succeeded(fleet)


def _rejected(channel: object, fleet: RealFleet) -> bool:
    method, _, _ = channel.basic_get(fleet.topology.on_broker("default"))  # type: ignore[attr-defined]
    if method is None:
        return False
    channel.basic_reject(method.delivery_tag, requeue=True)  # type: ignore[attr-defined]
    return True


def test_nonsense_is_parked_wherever_it_is_put_and_harms_nobody(fleet: RealFleet) -> None:
    fleet.coordinator()
    fleet.worker()
    fleet.submit(SOME)
    foreign = sealed(Nudge(run_id="r"), Pen("coordinator-0"), "another log")
    nonsense = [b"\xc1", b"x" * 200_000, b"\x91" * 100_000, foreign]
    under_way(fleet, 1)
    for data in nonsense:
        fleet.put("default", data)
        fleet.put(OUTCOMES, data)
    fleet.put(OUTCOMES, b"!", headers={"x-death": "not a list", "é": None})
    succeeded(fleet)
    eventually(lambda: fleet.ready(PARKED) == 2 * len(nonsense) + 1)
    assert sorted(parked(fleet)) == sorted([*nonsense, *nonsense, b"!"])


def test_a_long_step_gives_its_delivery_up_for_a_claim(fleet: RealFleet) -> None:
    fleet.coordinator()
    fleet.worker(slots=2)
    fleet.seconds = lambda _: HABITS.lease_after * 3
    fleet.may_end = lambda task: any(claimed.step == task.ref.step for claimed in fleet.of(StepClaimed))
    fleet.submit(SOME[:3])
    succeeded(fleet)
    assert len(fleet.of(StepClaimed)) == 3
    assert set(fleet.executions.values()) == {1}


def test_a_worker_that_is_to_stop_gives_back_what_it_cannot_finish(fleet: RealFleet) -> None:
    fleet.coordinator()
    leaving = fleet.worker(slots=2)
    fleet.seconds = lambda task: 600.0 if task.ref.attempt == 1 and len(fleet.members) == 2 else 0.0
    fleet.submit(SOME)
    eventually(lambda: len(fleet.executions) >= 2)
    leaving.stop()
    assert not leaving.thread.is_alive()
    fleet.worker()
    succeeded(fleet)


def test_a_worker_that_is_to_stop_ends_even_where_the_broker_is_gone(amqp_url: str) -> None:
    with real_fleet(amqp_url, habits=Habits(lease_after=0.1, heartbeat=0.5, grace=0.2)) as fleet:
        fleet.coordinator()
        leaving = fleet.worker(slots=2)
        fleet.seconds = lambda _: 600.0
        fleet.submit(SOME)
        eventually(lambda: len(fleet.of(StepClaimed)) == 2)
        leaving.proxy.refuse()
        leaving.stop()
        assert not leaving.thread.is_alive()
        fleet.seconds = lambda _: 0.0
        fleet.worker()
        succeeded(fleet)


def test_two_logs_on_one_broker_never_meet(amqp_url: str, fleet: RealFleet) -> None:
    with real_fleet(amqp_url) as other:
        for each in (fleet, other):
            each.coordinator()
            each.worker()
            each.submit(SOME)
        for each in (fleet, other):
            succeeded(each)
            assert set(each.executions.values()) == {1}


def test_a_broker_that_crashes_and_comes_back_has_lost_nothing(rabbitmq_node: PrivateNode) -> None:
    with real_fleet(rabbitmq_node.url) as fleet:
        fleet.coordinator()
        fleet.worker(slots=4)
        fleet.seconds = lambda _: 0.02
        fleet.submit(MANY)
        under_way(fleet, 40)
        # Within half a second after its declaration RabbitMQ 3.10 loses a queue in a crash, with all in it, for good.
        rabbitmq_node.control("eval", "dets:sync(ra_directory_reverse).")
        rabbitmq_node.kill()
        rabbitmq_node.start()
        succeeded(fleet)


def test_an_alarm_of_the_broker_stops_everything_until_it_is_over(rabbitmq_node: PrivateNode) -> None:
    with real_fleet(rabbitmq_node.url) as fleet:
        coordinator = fleet.coordinator()
        fleet.worker(slots=4)
        fleet.seconds = lambda _: 0.02
        fleet.submit(MANY)
        under_way(fleet, 20)
        rabbitmq_node.control("set_vm_memory_high_watermark", "0.0000001")
        try:
            eventually(lambda: any("takes no messages" in str(each) for each in coordinator.troubles))
        finally:
            rabbitmq_node.control("set_vm_memory_high_watermark", "0.4")
        succeeded(fleet)
        assert set(fleet.executions.values()) == {1}


@pytest.mark.skipif(not SOAK, reason="it waits for the broker's consumer time-out: make soak")
def test_a_step_longer_than_the_time_out_of_consumers_runs_once(rabbitmq_node: PrivateNode) -> None:
    """The node looks once a minute for deliveries that were held for more than a minute."""
    pace = Pace(silence=10)
    with real_fleet(rabbitmq_node.url, pace=pace, habits=Habits(lease_after=20, heartbeat=3)) as fleet:
        coordinator, worker = fleet.coordinator(), fleet.worker(slots=2)
        fleet.seconds = lambda _: 200.0
        fleet.submit(CHAIN[:1])
        eventually(lambda: fleet.executions)
        before = len(worker.troubles)
        fleet.at_rest(300)
        check(fleet)  # type: ignore[arg-type]
        assert set(fleet.executions.values()) == {1}
        assert (len(worker.troubles), coordinator.troubles) == (before, [])


def test_dispatches_are_persistent_and_signed(fleet: RealFleet) -> None:
    fleet.coordinator()
    fleet.submit(SOME[:1])
    eventually(lambda: fleet.of(StepQueued) and fleet.ready("default") == 1)
    with fleet.channel() as channel:
        _, properties, body = channel.basic_get(fleet.topology.on_broker("default"))
    assert properties.delivery_mode == 2
    assert isinstance(opened(body, Keyring(), fleet.log_id).message, Dispatch)
