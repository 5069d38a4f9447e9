"""Collecting garbage never takes what the log refers to, whoever is stopped or killed in between."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stackledger.client import Client
from stackledger.domain.collection import CollectionCommand
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import InvalidValue, Refused
from stackledger.domain.event import Event
from stackledger.domain.events.artifacts import ArtifactsCollected
from stackledger.domain.events.runs import StepStarted, StepSucceeded
from stackledger.domain.ports import CollectableStore, Stored
from stackledger.eventlog.codec import decode
from stackledger.flavors.local_artifact_store import LocalArtifactStore
from stackledger.pipelines.materializers import dump_value
from stackledger.pipelines.pipeline import pipeline
from stackledger.pipelines.step import step
from tests.support.artifact_stores import MemoryArtifactStore, local_store
from tests.support.local_runs import bound

DAY = 24 * 3600
EXECUTED: list[str] = []


@step
def answer() -> str:
    EXECUTED.append("answer")
    return "what was garbage"


@pipeline
def asking() -> None:
    answer()


BYTES = dump_value("what was garbage").data
DIGEST = hashlib.sha256(BYTES).hexdigest()


class Home:
    """A home with a log, and a store that is a folder beside it."""

    def __init__(self, home: Path) -> None:
        EXECUTED.clear()
        self.home = home
        self.client = Client(home=home, environment={})
        self.said: list[str] = []
        default = self.client.get_stack_component(ComponentType.ARTIFACT_STORE.value, "default")
        self.root = home / "artifacts" / default.id

    @property
    def store(self) -> LocalArtifactStore:
        return local_store(self.root)

    def run(self) -> str:
        """Run a pipeline that puts out what may be garbage, and return what is read of it."""
        with bound(lambda: self.client):
            response = asking()
        value = response.steps["answer"].output.load()
        assert isinstance(value, str)
        return value

    def litter(self, *, days: float = 0) -> None:
        """Leave an object that nothing refers to."""
        self.store.put(BYTES)
        then = time.time() - days * DAY
        os.utime(self.root / "sha256" / DIGEST, (then, then))

    def found(self, **options: Any) -> list[tuple[str, str]]:
        return [(each.digest, each.action) for each in self.client.find_garbage(**options)]

    def pruned(self, **options: Any) -> list[tuple[str, str]]:
        return [(each.digest, each.action) for each in self.client.prune_artifacts(**options)]

    def events(self, kind: type[Event]) -> list[Event]:
        events = [decode(stored).event for stored in self.client._ledger.reader.scan()]
        return [event for event in events if isinstance(event, kind)]


@pytest.fixture
def at_home(home: Path) -> Iterator[Home]:
    made = Home(home)
    made.client.prune_artifacts()
    made.client._collector(None, 0).refuse_shared(not_shared=True)
    yield made
    made.client.close()


def test_what_runs_put_out_is_no_garbage(at_home: Home) -> None:
    at_home.run()
    assert at_home.found(grace=0) == []
    assert at_home.pruned(grace=0) == []
    assert at_home.run() == "what was garbage"


def test_garbage_is_condemned_by_one_call_and_deleted_by_a_later_one_that_is_due(at_home: Home) -> None:
    at_home.litter(days=8)
    assert at_home.pruned() == [(DIGEST, "condemn")]
    assert at_home.pruned() == [(DIGEST, "wait")]
    assert at_home.store.exists(DIGEST)
    at_home.litter(days=0)
    assert at_home.pruned(grace=0) == [(DIGEST, "wait")]


def test_garbage_that_is_due_is_deleted(at_home: Home) -> None:
    at_home.litter()
    assert at_home.pruned(grace=0) == [(DIGEST, "condemn")]
    assert at_home.pruned(grace=0) == [(DIGEST, "collect")]
    assert not at_home.store.exists(DIGEST)
    assert list(at_home.store.aside()) == []
    assert at_home.pruned(grace=0) == []
    assert at_home.run() == "what was garbage"


def test_what_is_younger_than_the_grace_period_is_not_condemned(at_home: Home) -> None:
    at_home.litter(days=6.9)
    assert at_home.pruned() == [(DIGEST, "keep")]
    assert at_home.pruned(grace=6.8) == [(DIGEST, "condemn")]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(home: Path, at_home: Home) -> None:
    at_home.litter(days=8)
    (at_home.root / "writing" / "begun").write_bytes(b"...")
    os.utime(at_home.root / "writing" / "begun", (1, 1))
    position = at_home.client._ledger.reader.head()
    dry = Client(home=home, environment={}, dry_run=True)
    found = dry.prune_artifacts()
    assert [(each.digest, each.action) for each in found] == [("begun", "remove"), (DIGEST, "condemn")]
    assert [each.size for each in found] == [3, len(BYTES)]
    assert 8 * DAY <= found[1].age < 8 * DAY + 3600
    assert at_home.client._ledger.reader.head() == position
    assert (at_home.root / "writing" / "begun").exists()
    dry.close()
    assert sorted(at_home.pruned()) == sorted((each.digest, each.action) for each in found)
    assert not (at_home.root / "writing" / "begun").exists()


def test_a_reference_lifts_the_condemnation(at_home: Home) -> None:
    at_home.litter()
    assert at_home.pruned(grace=0) == [(DIGEST, "condemn")]
    assert at_home.run() == "what was garbage"
    assert at_home.pruned(grace=0) == []
    assert at_home.events(ArtifactsCollected) == []


def test_many_objects_are_collected_in_several_events(at_home: Home) -> None:
    digests = sorted(at_home.store.put(str(number).encode()).digest for number in range(101))
    assert at_home.pruned(grace=0) == [(digest, "condemn") for digest in digests]
    assert at_home.pruned(grace=0) == [(digest, "collect") for digest in digests]
    assert len(at_home.events(ArtifactsCollected)) == 2
    assert list(at_home.store.objects()) == []


@pytest.mark.parametrize("grace", [-1, float("nan"), float("inf"), "7", True])
def test_a_grace_period_that_is_none_is_refused(at_home: Home, grace: Any) -> None:
    with pytest.raises(InvalidValue, match="number of days"):
        at_home.client.prune_artifacts(grace=grace)


def test_the_doctor_says_where_pruning_was_interrupted(at_home: Home) -> None:
    def said() -> list[str]:
        return [each.status for each in at_home.client.doctor() if each.check == "artifact stores"]

    at_home.litter()
    assert said() == ["ok"]
    at_home.store.set_aside(DIGEST, "of-one-that-died")
    assert said() == ["warning"]
    assert at_home.pruned(grace=0) == [(DIGEST, "put back")]
    assert said() == ["ok"]


# Other logs


def test_a_store_that_another_log_uses_is_pruned_only_when_somebody_says_that_it_is_not_shared(at_home: Home) -> None:
    at_home.litter(days=8)
    at_home.store.sign_in("another")
    assert at_home.client.sharing_of() is not None
    with pytest.raises(Refused, match=r"other logs, or copies of this one, have used it \(another\)"):
        at_home.client.prune_artifacts()
    assert at_home.found() == [(DIGEST, "condemn")]
    assert at_home.pruned(not_shared=True) == [(DIGEST, "condemn")]
    assert at_home.pruned() == [(DIGEST, "wait")]
    assert at_home.client.sharing_of() is None


def test_a_store_in_which_there_was_something_before_is_not_pruned(home: Path) -> None:
    made = Home(home)
    made.litter(days=8)
    with pytest.raises(Refused, match="before this log used it"):
        made.client.prune_artifacts()
    made.run()
    with pytest.raises(Refused, match="before this log used it"):
        made.client.prune_artifacts()
    made.client.close()


def test_a_copy_of_the_log_is_another_log_to_a_store(home: Path, tmp_path: Path) -> None:
    made = Home(home)
    made.run()
    assert made.client.sharing_of() is None
    made.client.close()
    (tmp_path / "copy.db").write_bytes((home / "log.db").read_bytes())
    os.replace(tmp_path / "copy.db", home / "log.db")
    again = Client(home=home, environment={})
    assert again.sharing_of() is not None
    again.close()


# A step that puts out what is being collected


def test_a_step_that_found_its_output_there_is_executed_again_where_that_was_collected_since(
    at_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(store: LocalArtifactStore, data: bytes) -> Stored:
        stored = put_as_ever(store, data)
        if len(EXECUTED) == 1:
            assert at_home.pruned(grace=0) == [(DIGEST, "collect")]
        return stored

    put_as_ever = LocalArtifactStore.put
    at_home.litter()
    at_home.pruned(grace=0)
    monkeypatch.setattr(LocalArtifactStore, "put", put)
    assert at_home.run() == "what was garbage"
    assert EXECUTED == ["answer", "answer"]
    assert len(at_home.events(StepStarted)) == len(at_home.events(StepSucceeded)) == 1
    assert at_home.pruned(grace=0) == []


def test_a_step_is_executed_once_where_something_else_was_collected_meanwhile(
    at_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(store: LocalArtifactStore, data: bytes) -> Stored:
        assert [action for _, action in at_home.pruned(grace=0)] == ["collect"]
        return put_as_ever(store, data)

    put_as_ever = LocalArtifactStore.put
    at_home.store.put(b"something else")
    at_home.pruned(grace=0)
    monkeypatch.setattr(LocalArtifactStore, "put", put)
    assert at_home.run() == "what was garbage"
    assert EXECUTED == ["answer"]


# Stopped and killed


class Copying(MemoryArtifactStore):
    """A store that cannot move an object in one go, as object storage."""

    def set_aside(self, digest: str, collection: str) -> None:
        found = self._objects.get(digest)
        if found is not None:
            self._aside[collection, digest] = (found[0], time.time())
            self.between()
            self._objects.pop(digest, None)

    def put_back(self, digest: str, collection: str) -> bool:
        found = self._aside.get((collection, digest))
        if found is not None:
            self._objects.setdefault(digest, found)
        return found is not None

    def between(self) -> None:
        """Be stopped here."""


class Stopped(Exception):
    """Stands for SIGKILL."""


class Counted:
    """Lets a collector through to its store and its log, and calls `at` before the call of a number, and between."""

    def __init__(self, at_home: Home, store: CollectableStore, number: int, at: Callable[[], None]) -> None:
        self._at_home = at_home
        self._store = store
        self._left = number
        self._at = at
        self.was_reached = False

    def between(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.was_reached = True
            self._at()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)

        def called(*arguments: object) -> object:
            self.between()
            return found(*arguments)

        return called

    def prune(self) -> None:
        collector = self._at_home.client._collector(None, 0)
        decide = collector.decide

        def decided(command: CollectionCommand) -> object:
            self.between()
            events = decide(command)
            self.between()
            return events

        object.__setattr__(collector, "store", self)
        object.__setattr__(collector, "decide", decided)
        collector.collected()


@pytest.fixture(params=["local", "copying"])
def store(request: pytest.FixtureRequest, at_home: Home, monkeypatch: pytest.MonkeyPatch) -> CollectableStore:
    made: CollectableStore = at_home.store if request.param == "local" else Copying()
    made.claim("x")
    monkeypatch.setattr(Client, "_store", lambda *_: made)
    at_home.client._collector(None, 0).refuse_shared(not_shared=True)
    return made


def condemned(at_home: Home, store: CollectableStore) -> None:
    """Leave garbage that is due, and an object that a run put out."""
    store.put(BYTES)
    at_home.pruned(grace=0)


CALLS = range(1, 10)
"""The places where a collector of one object may be stopped."""


def test_there_are_no_more_places_where_a_collector_may_be_stopped(
    at_home: Home, store: CollectableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    condemned(at_home, store)
    counted = Counted(at_home, store, len(CALLS) + 1, lambda: None)
    monkeypatch.setattr(store, "between", counted.between, raising=False)
    counted.prune()
    assert not counted.was_reached


@pytest.mark.parametrize("number", CALLS)
def test_killed_anywhere_pruning_is_repeated_without_harm(
    at_home: Home, store: CollectableStore, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        raise Stopped

    condemned(at_home, store)
    counted = Counted(at_home, store, number, die)
    monkeypatch.setattr(store, "between", counted.between, raising=False)
    with suppress(Stopped):
        counted.prune()
    for _ in range(3):
        at_home.pruned(grace=0)
    assert list(store.objects()) == []
    # Where a copy was made and not decided on, whoever made it may be about to delete what is in its place.
    assert list(store.aside()) == [] or isinstance(store, Copying)
    assert at_home.run() == "what was garbage"


DEEDS: dict[str, list[str]] = {
    "a run": ["run"],
    "a run and a collector": ["run", "prune", "prune"],
    "a collector and a run": ["prune", "prune", "run", "prune"],
}


@pytest.mark.parametrize("number", CALLS)
@pytest.mark.parametrize("deeds", DEEDS.values(), ids=DEEDS)
def test_stopped_anywhere_a_collector_takes_nothing_that_came_to_be_referred_to(
    at_home: Home, store: CollectableStore, number: int, deeds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile() -> None:
        for deed in deeds:
            if deed == "run":
                assert at_home.run() == "what was garbage"
            else:
                at_home.pruned(grace=0)

    condemned(at_home, store)
    counted = Counted(at_home, store, number, meanwhile)
    monkeypatch.setattr(store, "between", counted.between, raising=False)
    counted.prune()
    for _ in range(3):
        if "run" in deeds and counted.was_reached:
            assert store.get(DIGEST, len(BYTES)) == BYTES
        at_home.pruned(grace=0)
    assert at_home.run() == "what was garbage"
    assert [each.digest for each in store.objects()] == [DIGEST]
