"""The interleavings that shaped the protocol, each by its name, with the coordinators and workers of production."""

from __future__ import annotations

from random import Random

import pytest

from stackledger.domain.event import Event
from stackledger.domain.events.artifacts import ArtifactsCollected, ArtifactsCondemned
from stackledger.domain.events.fleet import (
    DispatchConfirmed,
    RunCancelled,
    StepClaimed,
    StepLost,
    StepQueued,
    TopologyRenewed,
)
from stackledger.domain.events.log import LogAdopted, LogMoved
from stackledger.domain.events.runs import Kept, Produced, RunFailed, RunSucceeded, StepFailed, StepSucceeded
from stackledger.domain.incarnations import called
from stackledger.workers.fleet.protocol.messages import (
    Cancel,
    Message,
    MessageRefused,
    OutcomeOf,
    Refusal,
    Success,
    opened,
    sealed,
)
from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED
from tests.support.fleet.broker import LIMIT, Stored
from tests.support.fleet.checker import check, check_store
from tests.support.fleet.world import HABITS, LOG, PACE, Keyring, Pen, World, planned

CHAIN = (planned("a"), planned("b", "a"), planned("c", "b"))
FORK = (planned("left"), planned("right"), planned("end", "left", "right"))
SIX = tuple(planned(f"s{number}") for number in range(6))
ONE = (planned("only"),)
LONG = HABITS.lease_after + 4


def a_world(seconds: float = 1.0, *, workers: int = 2, slots: int = 1, coordinators: int = 2, seed: int = 1) -> World:
    """Return a fleet at work without a fault; each step takes `seconds`."""
    world = World(Random(seed), coordinators=coordinators, workers=workers, slots=slots)
    world.failing = 0.0
    world.seconds = lambda _: seconds
    world.timeline.run(2.0)
    return world


def at_rest(world: World, within: float = 120.0) -> World:
    world.rest(within)
    check(world)
    return world


def of(world: World, kind: type[Event]) -> list[Event]:
    return [recorded.event for recorded in world.log.events if isinstance(recorded.event, kind)]


def heard(data: bytes) -> Message | None:
    """Return a message to all workers, None for a list of coordinators."""
    try:
        return opened(data, Keyring(), LOG).message
    except MessageRefused:
        return None


def active(world: World) -> str:
    assert world.log.holder is not None
    return world.log.holder.name


def stop_active(world: World, seconds: float) -> str:
    name = active(world)
    world.processes[name].stop(seconds)
    return name


# Coordinators


@pytest.mark.parametrize("seed", range(20))
def test_restart_storm(seed: int) -> None:
    """Coordinators that come and go put copies into the queues; at most one copy of an attempt is ever granted."""
    world = a_world(2.0, workers=3, slots=2, seed=seed)
    for _ in range(3):
        world.submit(SIX)
    world.timeline.run(5.0)
    for _ in range(6):
        world.processes[active(world)].kill()
        world.until(lambda: world.log.holder)
    at_rest(world)
    assert max(world.executions.values()) <= 2


def test_what_was_confirmed_is_not_sent_again_by_another_coordinator() -> None:
    world = a_world(20.0, workers=3, slots=2)
    world.submit(SIX)
    world.until(lambda: of(world, StepQueued))
    last = max(each.position for each in world.log.events if isinstance(each.event, StepQueued))
    world.until(lambda: any(event.through >= last for event in of(world, DispatchConfirmed)))  # type: ignore[attr-defined]
    sent = len(world.broker.history)
    world.processes[active(world)].kill()
    world.until(lambda: world.log.holder)
    world.timeline.run(world.timeline.now + 1)
    kinds = [opened(data, Keyring(), LOG).message.kind for _, data in world.broker.history[sent:]]
    assert "dispatch" not in kinds


@pytest.mark.parametrize(("leaving", "calls"), [(0.0, 4), (1.0, 6)])
@pytest.mark.parametrize("seed", range(20))
def test_unconfirmed_dispatches_of_a_dead_coordinator_are_copies_that_wait(
    seed: int, leaving: float, calls: int
) -> None:
    world = a_world(2.0, workers=3, slots=2, seed=seed)
    world.leaving = leaving
    world.processes[active(world)].doom(calls)
    world.submit(SIX)
    at_rest(world)
    assert set(world.executions.values()) == {1}


@pytest.mark.parametrize("name", ["sleeping laptop", "stopped coordinator"])
def test_a_coordinator_that_sleeps_is_replaced_and_has_no_effect_when_it_wakes(name: str) -> None:
    world = a_world(1.0)
    world.submit(CHAIN)
    world.timeline.run(3.0)
    sleeper = stop_active(world, 60.0 if name == "sleeping laptop" else 15.0)
    at_rest(world)
    assert active(world) != sleeper
    world.timeline.run(world.timeline.now + 60)
    world.submit(CHAIN)
    at_rest(world)
    assert len(of(world, RunSucceeded)) == 2


def test_log_unreachable_from_all() -> None:
    """Nobody holds a delivery for long meanwhile: the broker would close the channel with everything on it."""
    world = a_world(1.0)
    world.submit(SIX)
    world.timeline.run(2.5)
    world.log.away = True
    world.timeline.run(60.0)
    assert not of(world, RunSucceeded)
    world.log.away = False
    at_rest(world)
    assert world.broker.held_for < PACE.patience + 3
    assert set(world.executions.values()) == {1}


def test_log_unreachable_from_one() -> None:
    """The one that cannot reach it leaves the broker; when its lock is taken for dead another one goes on."""
    world = a_world(1.0)
    world.submit(CHAIN)
    world.timeline.run(3.0)
    world.cut_off = world.log.holder
    world.timeline.run(30.0)
    assert of(world, RunSucceeded)
    world.cut_off = None
    at_rest(world)


def test_coordinator_killed_with_hundreds_prefetched() -> None:
    world = a_world(0.0, workers=4, slots=4)
    world.deserted = True
    for _ in range(40):
        world.submit(SIX)
    for _ in range(2 * LIMIT):
        world.deserted = False
        world.until(lambda: world.log.holder)
        world.timeline.run(world.timeline.now + 0.3)
        world.processes[active(world)].kill()
    at_rest(world, within=1_000)
    assert len(of(world, RunSucceeded)) == 40
    assert not of(world, StepLost)


def test_fan_in_from_two_batches() -> None:
    """The parents' outcomes are recorded by two coordinators; their child is queued once."""
    world = a_world()
    world.seconds = lambda task: 1.0 if task.ref.step == "left" else 2.0
    world.submit(FORK)
    world.until(lambda: of(world, StepSucceeded))
    world.processes[active(world)].kill()
    at_rest(world)
    assert sum(event.step == "end" for event in of(world, StepQueued)) == 1  # type: ignore[attr-defined]


def test_an_append_whose_answer_is_lost_is_found_again() -> None:
    world = a_world()
    world.unsure = 0.5
    for _ in range(5):
        world.submit(CHAIN)
    world.timeline.run(30.0)
    world.unsure = 0.0
    at_rest(world)
    assert set(world.executions.values()) == {1}


def test_log_restored_under_a_running_coordinator() -> None:
    """What was sent before the log was restored is no answer to what is queued after it under the same name."""
    world = a_world(6.0, workers=1, slots=1)
    run_id = world.submit(ONE)
    world.until(lambda: world.executions[run_id, "only", 1])
    world.restore(lambda event: not isinstance(event, StepQueued | StepClaimed))
    world.until(lambda: of(world, StepSucceeded))
    queued, succeeded = of(world, StepQueued), of(world, StepSucceeded)
    assert len(queued) == len(succeeded) == 1
    assert world.executions[run_id, "only", 1] == 2
    at_rest(world)


def test_the_laptops_old_coordinator() -> None:
    """It sleeps while its log is moved; when it wakes it appends nothing, and nothing that it said counts elsewhere."""
    laptop = a_world(LONG, workers=1)
    run_id = laptop.submit(ONE)
    laptop.until(lambda: of(laptop, StepClaimed))
    stop_active(laptop, 40.0)
    laptop.log.append([LogMoved(log_id=LOG, destination="the server")])

    server = World(Random(2), coordinators=0, workers=0, name=called(LOG, "second"))
    server.failing, server.seconds = 0.0, lambda _: 1.0
    for recorded in laptop.log.events:
        server.log.append([recorded.event])
    server.log.append([LogAdopted(log_id=LOG, incarnation="second")])
    server.start_coordinator("coordinator-0")
    server.start_worker("worker-0")

    laptop.timeline.run(laptop.timeline.now + 60.0)
    assert isinstance(laptop.log.events[-1].event, LogMoved)
    assert not laptop.processes["coordinator-0"].alive or laptop.log.holder is None
    for queue, data in laptop.broker.history:  # as if somebody had shovelled them over
        server.broker.declare([queue])
        server.broker.put(queue, Stored(data))
    put = len(laptop.broker.history)
    at_rest(server)
    assert server.executions == {(run_id, "only", 2): 1}
    assert len(of(server, RunSucceeded)) == 1
    assert len(server.broker.queues[PARKED].ready) == put


# The store


def test_outcome_waits_over_a_weekend() -> None:
    """Its attempt found its output there and put none; that is collected before anybody reads the outcome."""
    world = a_world(1.0)
    world.bytes_of = lambda _, task: task.ref.step
    world.store.put("digest-of-only")  # by an execution that came to nothing
    run_id = world.submit(ONE)
    world.until(lambda: world.executions[run_id, "only", 1])
    world.deserted = True
    world.processes[active(world)].kill()
    world.start_collector()
    world.until(lambda: of(world, ArtifactsCollected))
    assert of(world, ArtifactsCondemned)
    world.until(lambda: not world.store.holds("digest-of-only"))
    world.deserted = False
    at_rest(world)
    assert [event.because for event in of(world, StepLost)] == ["what it kept was collected"]  # type: ignore[attr-defined]
    assert len(of(world, RunSucceeded)) == 1
    check_store(world)


def test_what_is_collected_while_an_outcome_is_recorded_makes_that_be_decided_anew() -> None:
    world = a_world(1.0)
    world.bytes_of = lambda _, task: task.ref.step
    world.submit(ONE)
    world.until(lambda: world.store.holds("digest-of-only"))
    object_ = Kept(digest="digest-of-only", size=1)
    world.log.first = [ArtifactsCollected(store_id="store-1", collection="c", objects=(object_,))]
    world.store.there.clear()
    at_rest(world)
    assert [event.because for event in of(world, StepLost)] == ["what it kept was collected"]  # type: ignore[attr-defined]
    check_store(world)


@pytest.mark.parametrize("seed", range(10))
def test_what_is_referred_to_in_the_end_stays_whoever_collects_and_dies_of_it(seed: int) -> None:
    world = a_world(0.5, workers=4, slots=3, seed=seed)
    runs: dict[str, int] = {}
    world.bytes_of = lambda _, task: f"{task.ref.step}/{runs[task.ref.run_id]}"
    world.start_collector()

    def leave(number: int) -> None:
        """Leave what a later run will put out, as one does that came to nothing."""
        for name in "abc":
            world.store.put(f"digest-of-{name}/{number + 7}")
        world.processes["collector"].doom(world.random.randrange(30))

    for number in range(0, 40, 8):  # outcomes wait meanwhile
        world.timeline.after(number, lambda: world.processes[active(world)].stop(5.0))
    for number in range(40):
        world.timeline.after(number, lambda number=number: leave(number))  # type: ignore[misc]
        world.timeline.after(number, lambda number=number: runs.update({world.submit(CHAIN): number}))  # type: ignore[misc]
    world.timeline.run(world.timeline.now + 45.0)
    at_rest(world)
    world.until(lambda: of(world, ArtifactsCollected))
    check_store(world)


# Queues


@pytest.mark.parametrize("seed", range(10))
def test_queues_deleted(seed: int) -> None:
    world = a_world(1.0, workers=1, slots=1, seed=seed)
    world.submit(SIX)
    world.timeline.run(3.0)
    world.broker.delete("default")
    at_rest(world)
    assert of(world, TopologyRenewed)
    assert len(of(world, RunSucceeded)) == 1


def test_what_is_to_be_parked_waits_for_a_parked_queue_that_was_deleted() -> None:
    world = a_world(1.0, workers=1, slots=1)
    world.broker.delete(PARKED)
    world.send_nonsense()
    world.submit(SIX)
    at_rest(world)
    assert len(of(world, RunSucceeded)) == 1
    assert len(world.broker.queues[PARKED].ready) == 8


@pytest.mark.parametrize("calls", range(12))
def test_crash_while_declaring(calls: int) -> None:
    world = a_world(1.0, workers=1, slots=1)
    world.submit(SIX)
    world.timeline.run(3.0)
    world.processes[active(world)].doom(calls)
    world.broker.delete("default")
    at_rest(world)
    assert len(of(world, RunSucceeded)) == 1


def test_a_purged_queue_is_found_out_by_a_probe() -> None:
    world = a_world(1.0, workers=1, slots=1)
    world.submit(SIX)
    world.until(lambda: len(world.broker.queues["default"].ready) == 5)
    world.timeline.run(world.timeline.now + 2)
    world.broker.purge("default")
    at_rest(world)
    assert set(world.executions.values()) == {1}


def test_two_logs_on_one_broker() -> None:
    """A message of another log is parked, and nothing of it has an effect."""
    world = a_world()
    run_id = world.submit(ONE)
    world.timeline.run(2.5)
    foreign = outcome(world, run_id)
    world.broker.put(OUTCOMES, Stored(sealed(foreign, Pen("worker-0"), "another log")))
    at_rest(world)
    assert len(world.broker.queues["parked"].ready) == 1
    assert digest_of_result(world) != foreign.result.outputs[0].digest  # type: ignore[union-attr]


def test_give_backs_count_before_4_3() -> None:
    """Deliveries that were only given back use the limit up: the attempt is lost, and spends no retry of the step."""
    world = a_world(1.0, workers=0)
    run_id = world.submit((planned("only", retries=0),))
    world.until(lambda: world.broker.queues["default"].ready)
    world.broker.queues["default"].ready[0].deliveries = LIMIT + 1
    world.broker.put_back("default", world.broker.queues["default"].ready.popleft())
    world.enroll("worker-0", "worker")
    world.start_worker("worker-0")
    at_rest(world)
    assert [event.because for event in of(world, StepLost)] == ["delivered too often"]  # type: ignore[attr-defined]
    assert world.executions[run_id, "only", 2] == 1
    assert of(world, RunSucceeded)


# Executions


def test_hoarding() -> None:
    """A worker that is busy with a long step holds no other that somebody else could execute."""
    world = a_world(workers=2, slots=1)
    world.seconds = lambda task: 60.0 if task.ref.step == "s0" else 0.5
    world.submit(SIX)
    world.timeline.run(12.0)
    assert len(of(world, StepSucceeded)) == 5


def test_406_after_30_minutes() -> None:
    """However long a step takes, its delivery is acknowledged soon after `lease_after`, and it runs once."""
    world = a_world(300.0)
    run_id = world.submit(ONE)
    at_rest(world, within=400)
    assert world.broker.held_for < HABITS.lease_after + 3
    assert world.executions[run_id, "only", 1] == 1


@pytest.mark.parametrize("seed", range(10))
def test_grant_lost_with_the_connection(seed: int) -> None:
    """The grant of a copy is never heard at first: the worker goes on asking, and executes it once in the end."""
    world = a_world(1.0, workers=1, slots=1, seed=seed)
    world.broker.lossy_control = 1.0
    run_id = world.submit(ONE)
    world.broker.restart()
    world.timeline.run(15.0)
    world.broker.lossy_control = 0.0
    at_rest(world)
    assert world.executions[run_id, "only", 1] == 1


@pytest.mark.parametrize("seed", range(10))
def test_redelivery_while_nobody_is_active(seed: int) -> None:
    """The second worker waits for somebody to grant it the attempt: the first one may still be at it."""
    world = a_world(2.5, seed=seed)
    run_id = world.submit(ONE)
    world.until(lambda: world.executions[run_id, "only", 1])
    world.deserted = True
    world.processes[active(world)].kill()
    for session in list(world.broker.sessions):
        session.cut()
    world.timeline.run(world.timeline.now + 10)
    assert world.executions[run_id, "only", 1] == 1
    world.deserted = False
    at_rest(world)
    assert world.executions[run_id, "only", 1] <= 2


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.5, 1.0, 1.1, 1.2, 2.0])
def test_cancel_races_success(delay: float) -> None:
    world = a_world(1.0)
    run_id = world.submit(ONE)
    world.timeline.after(delay, lambda: world.cancel(run_id))
    at_rest(world)
    assert len(of(world, RunCancelled)) + len(of(world, RunSucceeded)) == 1


def test_a_long_step_of_a_cancelled_run_is_stopped() -> None:
    world = a_world(1_000.0)
    run_id = world.submit(ONE)
    world.until(lambda: of(world, StepClaimed))
    world.cancel(run_id)
    world.until(lambda: all(worker.is_idle for worker in world.workers.values()))
    at_rest(world)


def test_cancel_races_success_while_a_worker_is_away() -> None:
    """A cancellation that nobody heard is told to the worker that comes back, with the answer to its hello."""
    world = a_world(1_000.0, workers=1)
    run_id = world.submit(ONE)
    world.until(lambda: world.executions[run_id, "only", 1])
    (session,) = [each for each in world.broker.sessions if each.told is not None]
    session.cut()
    world.cancel(run_id)
    world.broker.unheard = lambda data: isinstance(heard(data), Refusal)
    world.until(lambda: world.workers["worker-0"].is_idle, within=10.0)
    world.broker.unheard = lambda _: False
    at_rest(world)
    assert not of(world, RunSucceeded)


def test_a_worker_that_comes_is_told_of_the_cancelled_runs_that_somebody_may_be_at_and_of_no_others() -> None:
    world = a_world(1_000.0, workers=1)
    at_work, never_queued = world.submit(ONE), world.submit(ONE)
    world.cancel(never_queued)
    world.until(lambda: world.executions[at_work, "only", 1])
    world.cancel(at_work)
    at_rest(world)
    before = len(world.broker.announced)
    world.enroll("worker-9", "worker")
    world.start_worker("worker-9")
    world.timeline.run(world.timeline.now + 6)
    told = [message.run_ids for message in map(heard, world.broker.announced[before:]) if isinstance(message, Cancel)]
    assert set(told) == {(at_work,)}


def test_zombie_finishes_late() -> None:
    world = a_world(LONG)
    run_id = world.submit(ONE)
    world.until(lambda: of(world, StepClaimed))
    claim = of(world, StepClaimed)[0]
    world.processes[claim.worker].stop(40.0)  # type: ignore[attr-defined]
    world.until(lambda: of(world, StepSucceeded))
    winner = of(world, StepSucceeded)[0].execution  # type: ignore[attr-defined]
    world.timeline.run(60.0)
    at_rest(world)
    assert winner.worker != claim.worker  # type: ignore[attr-defined]
    assert [event.because for event in of(world, StepLost)] == ["lease ran out"]  # type: ignore[attr-defined]
    assert world.executions[run_id, "only", 2] == 1


def test_heartbeats_behind_100_000_outcomes() -> None:
    """Words of a worker that are far behind in the queue count as said: a marker goes through it first."""
    world = a_world(40.0, workers=1, slots=1)
    world.submit(ONE)
    world.until(lambda: of(world, StepClaimed))
    world.clog(messages=3_000)
    at_rest(world, within=300)
    assert not of(world, StepLost)


@pytest.mark.parametrize("signal", [0.2, 1.0, 4.0])
def test_a_worker_that_is_told_to_stop_leaves_nothing_behind(signal: float) -> None:
    world = a_world(LONG)
    world.submit(SIX)
    world.timeline.after(signal, world.workers["worker-0"].stop)
    at_rest(world)
    assert len(of(world, RunSucceeded)) == 1
    assert {event.because for event in of(world, StepLost)} <= {"worker gave it back"}  # type: ignore[attr-defined]


# Outcomes and keys


def outcome(world: World, run_id: str, **changes: object) -> OutcomeOf:
    """Return what a worker might say of the step `only` of a run."""
    queued = next(event for event in of(world, StepQueued) if event.run_id == run_id)  # type: ignore[attr-defined]
    produced = Produced(
        output="out",
        artifact_id="x",
        artifact="out",
        digest="forged",
        size=1,
        layout="file",
        materializer="json/1",
        data_type="int",
    )
    ref = {"run_id": run_id, "step": "only", "attempt": 1, "dispatch": queued.dispatch}  # type: ignore[attr-defined]
    fields = {"execution": "x", "began": 1, "ended": 2, "result": Success(outputs=(produced,))}
    return OutcomeOf.model_validate({"ref": ref, **fields, **changes})


def digest_of_result(world: World) -> str:
    succeeded = of(world, StepSucceeded)[0]
    assert isinstance(succeeded, StepSucceeded)
    return succeeded.outputs[0].digest


@pytest.mark.parametrize("pen", ["coordinator-0", "nobody", "mallory"])
def test_forged_outcome(pen: str) -> None:
    """An outcome that no enrolled worker signed is parked: it ends nothing."""
    world = a_world(1.0)
    run_id = world.submit(ONE)
    world.until(lambda: of(world, StepQueued))
    world.broker.put(OUTCOMES, Stored(sealed(outcome(world, run_id), Pen(pen), LOG)))
    at_rest(world)
    assert digest_of_result(world) != "forged"
    assert len(world.broker.queues["parked"].ready) == 1


def test_an_outcome_of_somebody_elses_claim_is_superseded() -> None:
    world = a_world(LONG)
    run_id = world.submit(ONE)
    world.until(lambda: of(world, StepClaimed))
    claim = of(world, StepClaimed)[0]
    other = next(name for name in world.workers if name != claim.worker)  # type: ignore[attr-defined]
    forged = outcome(world, run_id, execution=claim.execution)  # type: ignore[attr-defined]
    world.broker.put(OUTCOMES, Stored(sealed(forged, Pen(other), LOG)))
    at_rest(world)
    assert digest_of_result(world) != "forged"


def test_an_outcome_of_another_dispatch_is_parked() -> None:
    world = a_world(1.0)
    run_id = world.submit(ONE)
    world.until(lambda: of(world, StepQueued))
    ref = {"run_id": run_id, "step": "only", "attempt": 1, "dispatch": "of another time"}
    world.broker.put(OUTCOMES, Stored(sealed(outcome(world, run_id, ref=ref), Pen("worker-0"), LOG)))
    at_rest(world)
    assert digest_of_result(world) != "forged"
    assert len(world.broker.queues["parked"].ready) == 1


@pytest.mark.parametrize("seconds", [1.0, LONG])
def test_key_revoked_in_mid_execution(seconds: float) -> None:
    """From the revocation on nothing of the worker counts, and somebody else executes what it had."""
    world = a_world(seconds)
    run_id = world.submit(ONE)
    if seconds == LONG:
        world.until(lambda: of(world, StepClaimed))
    world.until(lambda: world.executions[run_id, "only", 1])
    busy = next(name for name, worker in world.workers.items() if not worker.is_idle)
    world.revoke(busy)
    world.processes[busy].doom(30)
    at_rest(world)
    succeeded = of(world, StepSucceeded)[0]
    assert succeeded.execution.worker != busy  # type: ignore[attr-defined]


def test_poison_outcome() -> None:
    """An outcome that does not fit its step fails the attempt, like every failure; the fleet goes on."""
    world = a_world(1.0)
    run_id = world.submit((planned("only", retries=0),))
    world.until(lambda: of(world, StepQueued))
    poison = outcome(world, run_id, result=Success(outputs=()))
    world.broker.put(OUTCOMES, Stored(sealed(poison, Pen("worker-0"), LOG)))
    world.submit(CHAIN)
    at_rest(world)
    assert [event.error for event in of(world, StepFailed)] == ["WrongOutputs"]  # type: ignore[attr-defined]
    assert len(of(world, RunSucceeded)) == 1


def test_an_outcome_that_the_log_cannot_hold_fails_its_step_and_keeps_no_other_from_being_recorded() -> None:
    world = a_world(1.0, workers=3, slots=3)
    world.log.cannot_hold = lambda event: isinstance(event, StepSucceeded) and event.step == "s1"
    world.submit((planned("s1", retries=0), planned("after", "s1")))
    world.submit((planned("s2"), planned("s3", "s2")))
    at_rest(world)
    failed = of(world, StepFailed)
    assert [(event.step, event.error) for event in failed] == [("s1", "WrongOutcome")]  # type: ignore[attr-defined]
    assert len(of(world, RunSucceeded)) == len(of(world, RunFailed)) == 1
    assert not world.broker.queues["parked"].ready


def test_an_outcome_that_the_log_cannot_hold_stands_alone_among_many_that_come_at_once() -> None:
    world = a_world(1.0, workers=3, slots=2)
    world.log.cannot_hold = lambda event: isinstance(event, StepSucceeded) and event.step == "s1"
    world.submit(tuple(planned(each.name, retries=0) for each in SIX))
    world.until(lambda: len(world.executions) == len(SIX))
    world.log.away = True
    world.timeline.run(world.timeline.now + 2.0)
    world.log.away = False
    at_rest(world)
    assert [(event.step, event.error) for event in of(world, StepFailed)] == [("s1", "WrongOutcome")]  # type: ignore[attr-defined]
    assert {event.step for event in of(world, StepSucceeded)} == {each.name for each in SIX} - {"s1"}  # type: ignore[attr-defined]
    assert set(world.executions.values()) == {1}


def test_a_claim_that_the_log_cannot_hold_is_parked() -> None:
    world = a_world(LONG)
    world.log.cannot_hold = lambda event: isinstance(event, StepClaimed)
    world.submit(ONE)
    world.until(lambda: world.broker.queues["parked"].ready)
    world.log.cannot_hold = lambda _: False
    at_rest(world)
    assert len(of(world, RunSucceeded)) == 1


def test_an_attempt_that_no_worker_can_be_told_of_fails_its_step_and_holds_nobody_up() -> None:
    world = a_world(1.0)
    endless = planned("endless", retries=5).model_copy(update={"source": f"m.{'x' * 70_000}"})
    world.submit((endless, planned("after", "endless"), planned("other")))
    at_rest(world)
    assert [(event.step, event.error) for event in of(world, StepFailed)] == [("endless", "TooLarge")]  # type: ignore[attr-defined]
    assert [event.step for event in of(world, StepSucceeded)] == ["other"]  # type: ignore[attr-defined]
    assert len(of(world, RunFailed)) == 1


def test_nonsense_in_every_queue_is_parked_and_harms_nobody() -> None:
    world = a_world(1.0)
    world.submit(CHAIN)
    for _ in range(10):
        world.send_nonsense()
    at_rest(world)
    assert len(of(world, RunSucceeded)) == 1
    assert len(world.broker.queues["parked"].ready) == 80


def test_what_the_coordinator_sends_can_be_read_by_workers() -> None:
    world = a_world(1.0)
    world.submit(ONE)
    at_rest(world)
    kinds = set()
    for _, data in world.broker.history:
        kinds.add(opened(data, Keyring(), LOG).message.kind)
    assert kinds >= {"dispatch", "outcome"}
