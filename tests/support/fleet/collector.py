"""A store with nothing but digests, and somebody who collects what the log does not refer to, by production's rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from stackledger.domain.collection import DECIDER, MAX_OBJECTS, CollectObjects, CondemnObjects, State, boundary
from stackledger.domain.event import Event
from stackledger.domain.events.artifacts import ArtifactsCollected
from stackledger.domain.events.runs import Kept
from stackledger.workers.fleet.protocol.ports import Conflict

if TYPE_CHECKING:
    from tests.support.fleet.network import Process
    from tests.support.fleet.world import World

GRACE = 6.0
STORE_ID = "store-1"
LOOKED_FOR = {
    kind for each in boundary(CondemnObjects(STORE_ID, (Kept(digest="any", size=1),), 0)) for kind in each.types
}
"""The events that what is garbage depends on."""


class SimulatedStore:
    """Objects that are there, and those that are set aside, by collection."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.aside: dict[str, set[str]] = defaultdict(set)

    def put(self, digest: str) -> None:
        """Write an object; one that is there is left as it is."""
        self.there.add(digest)

    def holds(self, digest: str) -> bool:
        return digest in self.there or any(digest in each for each in self.aside.values())


class Collector:
    """Condemns and collects; may die between any two turns, and another one goes on."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._state = State()
        self._position = 0

    def turns(self) -> Iterator[None]:
        store = self._world.store
        for collection in list(store.aside):
            yield from self._settle(collection)
        while True:
            yield
            self._fold()
            unknown = store.there - self._state.referenced - set(self._state.due)
            objects = _kept(unknown)[:MAX_OBJECTS]
            due = self._world.timeline.time() + round(GRACE * 1_000_000)
            self._decide(CondemnObjects(STORE_ID, objects, due))
            yield
            found = [digest for digest in sorted(self._state.due) if digest in store.there]
            collection = self._world.new_id()
            for digest in found:
                if self._state.due[digest] <= self._world.timeline.time() and digest not in self._state.referenced:
                    self._process.calls()
                    store.there.remove(digest)
                    store.aside[collection].add(digest)
                    yield
            if collection in store.aside:
                aside = _kept(store.aside[collection])
                self._decide(CollectObjects(STORE_ID, aside, collection, self._world.timeline.time()))
                yield
                yield from self._settle(collection)

    def _decide(self, command: CondemnObjects | CollectObjects) -> None:
        """Append what follows, or let it be for this time where somebody else was first."""
        self._fold()
        events = DECIDER.decide(command, self._state)
        if events:
            self._process.calls()
            with suppress(Conflict):
                self._world.log.append(events, boundary(command), self._position)
            self._process.calls()

    def _fold(self) -> None:
        for recorded in self._world.log.events[self._position :]:
            if recorded.event.TYPE in LOOKED_FOR:
                self._state = DECIDER.evolve(self._state, recorded.event)
        self._position = len(self._world.log.events)

    def _settle(self, collection: str) -> Iterator[None]:
        """Delete what a collection names, and put the rest back."""
        store = self._world.store
        gone = {digest for each in self._world.log.events for digest in _collected(each.event, collection)}
        for digest in sorted(store.aside[collection]):
            self._process.calls()
            if digest not in gone:
                store.put(digest)
            store.aside[collection].discard(digest)
            yield
        store.aside.pop(collection, None)


def _kept(digests: set[str]) -> tuple[Kept, ...]:
    return tuple(Kept(digest=digest, size=1) for digest in sorted(digests))


def _collected(event: Event, collection: str) -> set[str]:
    if isinstance(event, ArtifactsCollected) and event.collection == collection:
        return {each.digest for each in event.objects}
    return set()
