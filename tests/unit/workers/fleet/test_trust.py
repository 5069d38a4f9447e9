"""Whose word counts: what workers take for the list of coordinators, and what becomes of keys that do not count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from stackledger.domain.events.fleet import DispatchConfirmed, KeyEnrolled, StepClaimed, StepQueued, TrustPublished
from stackledger.domain.events.runs import RunSucceeded, StepSucceeded
from stackledger.domain.incarnations import called
from stackledger.workers.fleet.protocol.coordinator import Coordinator, Pace
from stackledger.workers.fleet.protocol.known import Known
from stackledger.workers.fleet.protocol.messages import (
    Cancel,
    Dismissal,
    Hello,
    Marker,
    MessageRefused,
    Nudge,
    TrustList,
    opened,
    sealed,
)
from stackledger.workers.fleet.protocol.ports import Arrived, Tag
from stackledger.workers.fleet.tasks import task_of
from stackledger.workers.fleet.trust.keys import SigningKey, create_key
from stackledger.workers.fleet.trust.trusting import EnrolledKeys, Trusted
from tests.support.fleet.broker import Stored
from tests.support.fleet.checker import check
from tests.support.fleet.log import Access
from tests.support.fleet.network import Process
from tests.support.fleet.world import (
    HABITS,
    LOG,
    ORCHESTRATOR,
    PACE,
    ROOT,
    Keyring,
    Pen,
    World,
    enrolled_keys,
    planned,
    signed,
    trust_list,
)

NOW = 1_795_000_000_000_000
ONE = (planned("only"),)


class Keys:
    """A root key and two coordinators', with real signatures."""

    def __init__(self, home: Path) -> None:
        self.root = create_key(home / "root", "root", "root")
        self.other_root = create_key(home / "other", "root", "root")
        self.first = create_key(home, "first", "coordinator")
        self.second = create_key(home, "second", "coordinator")

    def trusted(self, kept: Path | None = None) -> Trusted:
        return Trusted(LOG, self.root.shown.public, kept=kept)

    def listing(
        self,
        number: int,
        *coordinators: SigningKey,
        by: SigningKey | None = None,
        log_id: str = LOG,
        expires: int = NOW + 1,
    ) -> bytes:
        keys = {key.key_id: key.shown.public for key in coordinators}
        return sealed(TrustList(number=number, expires=expires, coordinators=keys), by or self.root, log_id)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def take(trusted: Trusted, data: bytes) -> None:
    """Take a list as a worker does."""
    message = opened(data, trusted, LOG).message
    assert isinstance(message, TrustList)
    trusted.take(message, data)


def is_heard(trusted: Trusted, key: SigningKey) -> bool:
    try:
        opened(sealed(Cancel(run_ids=("r",)), key, LOG), trusted, LOG)
    except MessageRefused:
        return False
    return True


# Lists


def test_the_list_holds_for_every_incarnation_of_a_log_and_no_other_word_does(keys: Keys) -> None:
    trusted, second = keys.trusted(), called(LOG, "second")
    listing = keys.listing(1, keys.first, log_id=second)
    assert listing == keys.listing(1, keys.first)
    for log in (LOG, second):
        message = opened(listing, trusted, log).message
        assert isinstance(message, TrustList)
        trusted.take(message, listing)
        word = sealed(Cancel(run_ids=("r",)), keys.first, log)
        assert opened(word, trusted, log).key == keys.first.key_id
        for another in {LOG, second, called(LOG, "third")} - {log}:
            with pytest.raises(MessageRefused, match="signature"):
                opened(word, trusted, another)


def test_a_worker_hears_the_coordinators_that_the_root_key_lists_and_nobody_else(keys: Keys) -> None:
    trusted = keys.trusted()
    assert not is_heard(trusted, keys.first)
    take(trusted, keys.listing(1, keys.first))
    assert is_heard(trusted, keys.first)
    assert not is_heard(trusted, keys.second)
    take(trusted, keys.listing(2, keys.second))
    assert not is_heard(trusted, keys.first)
    assert is_heard(trusted, keys.second)


def test_a_lower_number_is_refused_and_the_same_one_changes_nothing(keys: Keys) -> None:
    trusted = keys.trusted()
    take(trusted, keys.listing(7, keys.second))
    with pytest.raises(MessageRefused, match="6 is older than 7"):
        take(trusted, keys.listing(6, keys.first, keys.second))
    take(trusted, keys.listing(7, keys.first, expires=NOW + 9))
    assert not is_heard(trusted, keys.first)
    assert trusted.newest.expires == NOW + 1


def test_a_list_holds_until_it_expires_and_none_before_there_is_one(keys: Keys) -> None:
    trusted = keys.trusted()
    assert not trusted.holds(0)
    take(trusted, keys.listing(1, keys.first, expires=NOW))
    assert trusted.holds(NOW - 1)
    assert not trusted.holds(NOW)
    assert is_heard(trusted, keys.first), "what is executed goes on, with grants and cancellations"


def spoiled(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def longer_lived(data: bytes) -> bytes:
    return data.replace(b"expires\xcf", b"expires\xce")


@pytest.mark.parametrize(
    "made",
    [
        lambda keys: keys.listing(9, keys.first, by=keys.other_root),
        lambda keys: keys.listing(9, keys.first, by=keys.first),
        lambda keys: keys.listing(9, keys.first, by=keys.second),
        lambda keys: keys.listing(9, keys.first, log_id="another log"),
        lambda keys: spoiled(keys.listing(9, keys.first)),
        lambda keys: longer_lived(keys.listing(9, keys.first)),
        lambda keys: keys.listing(9, keys.first)[:-10],
        lambda _: b"",
        lambda _: b"\xc1garbage",
        lambda keys: sealed(Marker(marker="m"), keys.root, LOG),
    ],
    ids=[
        "another root",
        "a listed coordinator",
        "a coordinator",
        "another log",
        "signature changed",
        "body changed",
        "cut short",
        "empty",
        "garbage",
        "no list, by the root",
    ],
)
def test_nothing_but_a_list_by_the_root_key_for_this_log_is_taken(keys: Keys, made: Callable[[Keys], bytes]) -> None:
    trusted = keys.trusted()
    take(trusted, keys.listing(1, keys.second))
    with pytest.raises(MessageRefused):
        take(trusted, made(keys))
    assert trusted.newest.number == 1
    assert not is_heard(trusted, keys.first)


def test_a_worker_that_starts_anew_takes_no_older_list_than_before(keys: Keys, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    take(keys.trusted(kept), keys.listing(7, keys.second))
    again = keys.trusted(kept)
    assert is_heard(again, keys.second)
    with pytest.raises(MessageRefused, match="older"):
        take(again, keys.listing(6, keys.first))


@pytest.mark.parametrize("by", ["garbage", "another root", "a folder"])
def test_a_kept_list_that_the_root_key_did_not_sign_is_none(keys: Keys, tmp_path: Path, by: str) -> None:
    kept = tmp_path / "kept"
    if by == "a folder":
        kept.mkdir()
    else:
        kept.write_bytes(b"\xc1" if by == "garbage" else keys.listing(7, keys.first, by=keys.other_root))
    trusted = keys.trusted(kept)
    assert trusted.newest.number == 0
    take(trusted, keys.listing(1, keys.second))
    assert is_heard(trusted, keys.second)


def test_a_coordinator_goes_by_what_the_log_enrolled(keys: Keys) -> None:
    known = Known("orchestrator-1")
    verifier = EnrolledKeys(known)
    data = sealed(Nudge(run_id="r"), keys.first, LOG)
    with pytest.raises(MessageRefused) as refused:
        opened(data, verifier, LOG)
    assert refused.value.stranger == keys.first.key_id
    first = keys.first.shown
    world = World(Random(1), coordinators=0, workers=0)
    world.log.append([KeyEnrolled(key_id=first.key_id, role="submitter", name="first", public=first.public, queues=())])
    known.fold(world.log.events[-1])
    assert opened(data, verifier, LOG).message == Nudge(run_id="r")
    with pytest.raises(MessageRefused, match="not the word of a submitter"):
        opened(sealed(Hello(queue="default"), keys.first, LOG), verifier, LOG)
    with pytest.raises(MessageRefused, match="signature"):
        opened(spoiled(data), verifier, LOG)
    with pytest.raises(MessageRefused, match="not enrolled"):
        opened(keys.listing(1, keys.first), verifier, LOG)


# A fleet


def a_world(seconds: float = 1.0, *, workers: int = 1, coordinators: int = 1, pace: Pace = PACE) -> World:
    world = World(Random(3), coordinators=coordinators, workers=workers, slots=1, pace=pace)
    world.failing = 0.0
    world.seconds = lambda _: seconds
    world.timeline.run(3.0)
    return world


def of(world: World, kind: type) -> list[object]:
    return [recorded.event for recorded in world.log.events if isinstance(recorded.event, kind)]


def at_rest(world: World) -> None:
    world.rest(200.0)
    check(world)


def test_no_new_work_is_taken_by_an_expired_list_and_what_is_executed_goes_on() -> None:
    world = a_world(8.0)
    first = world.submit(ONE)
    world.until(lambda: of(world, StepClaimed))
    world.publish_trust(0.5)
    second = world.submit(ONE)
    world.until(lambda: of(world, StepSucceeded))
    world.timeline.run(world.timeline.now + 20)
    assert world.executions[first, "only", 1] == 1
    assert world.executions[second, "only", 1] == 0
    assert sum(stored.deliveries for stored in world.broker.queues["default"].ready) == 0, "nothing was given back"
    world.publish_trust()
    at_rest(world)
    assert world.executions[second, "only", 1] == 1


def test_what_comes_in_the_moment_in_which_a_list_expires_is_given_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world()
    trusted = world.trusted["worker-0"]
    monkeypatch.setattr(trusted, "holds", lambda _: False)
    world.broker.put("default", Stored(b"anything"))
    world.timeline.run(world.timeline.now + 10)
    (stored,) = world.broker.queues["default"].ready
    assert stored.deliveries == 1
    monkeypatch.undo()
    at_rest(world)


def test_a_worker_takes_nothing_before_it_has_a_list() -> None:
    world = World(Random(3), coordinators=0, workers=1, slots=1)
    world.broker.declare(("default",))
    world.broker.put("default", Stored(b"anything"))
    world.timeline.run(10.0)
    assert [stored.deliveries for stored in world.broker.queues["default"].ready] == [0]


def test_a_worker_that_comes_late_is_told_the_list_at_once() -> None:
    world = a_world(workers=0)
    world.enroll("worker-9", "worker")
    world.start_worker("worker-9")
    world.until(lambda: world.trusted["worker-9"].newest.number, within=3.0)


def test_a_worker_that_did_not_get_the_list_gets_it_a_little_later() -> None:
    world = a_world(workers=0)
    world.broker.lossy_control = 1.0
    world.enroll("worker-9", "worker")
    world.start_worker("worker-9")
    world.timeline.run(world.timeline.now + 4)
    assert world.trusted["worker-9"].newest.number == 0
    world.broker.lossy_control = 0.0
    world.until(lambda: world.trusted["worker-9"].newest.number, within=2 * world.pace.trust_every)


def test_a_revoked_coordinator_gives_way_and_its_word_counts_no_more() -> None:
    world = a_world(coordinators=2)
    assert world.log.holder is not None
    revoked = world.log.holder.name
    world.revoke(revoked)
    world.until(lambda: world.log.holder is not None and world.log.holder.name != revoked)
    world.submit(ONE)
    at_rest(world)
    assert of(world, RunSucceeded)
    run_id = world.submit(ONE)
    world.until(lambda: world.executions[run_id, "only", 1])
    world.broker.broadcast(sealed(Cancel(run_ids=(run_id,)), Pen(revoked), LOG))
    world.timeline.run(world.timeline.now + 0.3)
    assert not world.workers["worker-0"].is_idle, "a revoked coordinator cancelled a run"
    at_rest(world)


@pytest.mark.parametrize("active", [True, False])
def test_what_a_revoked_coordinator_dispatched_is_dispatched_again_at_once(active: bool) -> None:  # noqa: FBT001
    pace = replace(PACE, probe_grace=float("inf"))  # nobody finds what is missing
    world = a_world(workers=0, coordinators=2, pace=pace)
    assert world.log.holder is not None
    revoked = world.log.holder
    run_id = world.submit(ONE)
    world.until(lambda: of(world, StepQueued))
    (queued,) = [each.position for each in world.log.events if isinstance(each.event, StepQueued)]
    world.until(lambda: any(event.through >= queued for event in of(world, DispatchConfirmed)))  # type: ignore[attr-defined]
    if not active:
        revoked.kill()
    else:
        world.revoke(revoked.name)
    world.until(lambda: world.log.holder is not None and world.log.holder is not revoked)
    if not active:
        world.timeline.run(world.timeline.now + 1)
        assert world.counts(revoked.name)
        world.revoke(revoked.name)
    world.timeline.run(world.timeline.now + 2)
    world.enroll("worker-9", "worker")
    world.start_worker("worker-9")
    at_rest(world)
    assert of(world, RunSucceeded)
    assert world.executions[run_id, "only", 1] == 1


@pytest.mark.parametrize("kind", ["revoked", "never enrolled", "for another queue"])
def test_a_worker_whose_key_does_not_count_is_told_and_takes_nothing_more(kind: str) -> None:
    world = a_world(workers=0)
    name = "worker-7"
    if kind == "for another queue":
        world.log.append([KeyEnrolled(key_id=name, role="worker", name=name, public=name, queues=("gpu",))])
    else:
        world.enroll(name, "worker")
    world.start_worker(name)
    world.until(lambda: world.trusted[name].newest.number)
    if kind == "revoked":
        world.revoke(name)
    elif kind == "never enrolled":
        # As a log says that was put back from before the enrolment.
        world.restore(lambda event: getattr(event, "key_id", "") != name)
    worker = world.workers[name]
    world.submit(ONE)
    world.until(lambda: worker.is_dismissed)
    world.enroll("worker-9", "worker")
    world.start_worker("worker-9")
    at_rest(world)
    assert of(world, RunSucceeded)
    assert [event.execution.worker for event in of(world, StepSucceeded)] == ["worker-9"]  # type: ignore[attr-defined]


def test_a_worker_whose_key_is_for_another_queue_is_told_before_it_executes_anything() -> None:
    world = a_world(workers=0)
    world.submit(ONE)
    world.log.append([KeyEnrolled(key_id="worker-7", role="worker", name="w", public="worker-7", queues=("gpu",))])
    world.start_worker("worker-7")
    world.until(lambda: world.workers["worker-7"].is_dismissed)
    assert not world.executions
    world.enroll("worker-9", "worker")
    world.start_worker("worker-9")
    at_rest(world)
    assert of(world, RunSucceeded)


def test_a_worker_is_told_at_once_that_its_key_was_revoked() -> None:
    world = a_world(50.0)
    world.submit(ONE)
    worker = world.workers["worker-0"]
    world.until(lambda: world.executions)
    world.revoke("worker-0")
    world.until(lambda: worker.is_dismissed, within=HABITS.lease_after / 2)
    world.enroll("worker-9", "worker")
    world.start_worker("worker-9")
    at_rest(world)
    assert of(world, RunSucceeded)


@pytest.mark.parametrize("claimed", [True, False])
def test_a_worker_that_is_dismissed_lets_go_of_everything_at_once(claimed: bool) -> None:  # noqa: FBT001
    world = a_world(50.0)
    world.submit(ONE)
    worker = world.workers["worker-0"]
    world.until(lambda: of(world, StepClaimed) if claimed else world.executions)
    world.broker.broadcast(sealed(Dismissal(keys=("worker-0",)), Pen("coordinator-0"), LOG))
    world.until(lambda: worker.is_dismissed)
    assert not worker._children.running  # type: ignore[attr-defined]
    world.until(lambda: worker.is_done, within=HABITS.grace / 2)
    at_rest(world)
    assert of(world, RunSucceeded)
    assert sum(world.executions.values()) == 2


def test_only_a_coordinator_dismisses_and_only_whom_it_names() -> None:
    world = a_world()
    worker = world.workers["worker-0"]
    world.broker.broadcast(sealed(Dismissal(keys=("worker-1",)), Pen("coordinator-0"), LOG))
    for pen in (Pen("worker-0"), Pen("submitter-0"), Pen("coordinator-9")):
        world.broker.broadcast(sealed(Dismissal(keys=("worker-0",)), pen, LOG))
    world.timeline.run(world.timeline.now + 3)
    assert not worker.is_dismissed


class Ether:
    """A broker that keeps what everybody is told, and forgets all else."""

    def __init__(self) -> None:
        self.told: list[bytes] = []

    def publish(self, queue: str, data: bytes, token: int) -> None:
        pass

    def park(self, data: bytes, why: str, token: int) -> None:
        pass

    def answer(self, reply: str, data: bytes) -> None:
        pass

    def acknowledge(self, tag: Tag) -> None:
        pass

    def declare(self, queues: Sequence[str]) -> None:
        pass

    def close(self) -> None:
        pass

    def broadcast(self, data: bytes) -> None:
        self.told.append(data)


def coordinator_over(ether: Ether) -> Coordinator:
    """Return an active coordinator that is connected."""
    world = World(Random(1), coordinators=0, workers=0)
    world.enroll("coordinator-0", "coordinator")
    process = Process(world.timeline, "coordinator-0")
    world.log.holder = process
    coordinator = Coordinator(
        ORCHESTRATOR,
        LOG,
        log=Access(world.log, process, unsure=lambda: 0.0, away=lambda: False),
        broker=ether,
        signer=Pen("coordinator-0"),
        verifier=enrolled_keys,
        clock=world.timeline,
        new_id=world.new_id,
        task_of=task_of,
        pace=world.pace,
    )
    coordinator.activate()
    coordinator.connected([])
    return coordinator


def test_strangers_fill_no_message_however_many_they_are_and_whatever_they_are_called() -> None:
    ether = Ether()
    coordinator = coordinator_over(ether)
    names = ["x" * 30_000, *(f"{number:064x}" for number in range(1_000))]
    coordinator.arrived(
        [Arrived(Tag(1, number), sealed(Hello(queue="default"), Pen(name), LOG)) for number, name in enumerate(names)]
    )
    coordinator.tick()
    *lists, told = ether.told
    messages = [opened(data, Trusted(LOG, ROOT, verify=signed), LOG).message for data in lists]
    assert [message.kind for message in messages] == ["trust", "trust"], "strangers may have none to go by yet"
    dismissal = opened(told, Keyring(), LOG).message
    assert isinstance(dismissal, Dismissal)
    assert all(len(key) == 64 for key in dismissal.keys)


def test_runs_that_are_cancelled_at_once_fill_no_message_however_many_they_are() -> None:
    ether = Ether()
    coordinator = coordinator_over(ether)
    run_ids = [f"{number:036x}" for number in range(5_000)]
    coordinator.known.cancelled.extend(run_ids)
    coordinator.tick()
    messages = [opened(data, Keyring(), LOG).message for data in ether.told[-5:]]
    assert [run_id for each in messages if isinstance(each, Cancel) for run_id in each.run_ids] == run_ids
    coordinator.tick()
    assert len(coordinator.known.cancelled) == 0


def test_a_list_of_another_root_key_in_the_log_reaches_nobody() -> None:
    world = a_world()
    ours = trust_list(5, ["coordinator-0"], NOW)
    foreign = TrustPublished(**{**ours.model_dump(), "root": "11" * 32, "number": 6})
    known = Known("orchestrator-1")
    world.log.append([ours, foreign])
    for recorded in world.log.events[-2:]:
        known.fold(recorded)
    assert known.trust == ours
