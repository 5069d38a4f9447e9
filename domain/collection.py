"""Which objects of an artifact store are garbage, and when they may go.

An object is garbage as long as no event of the log refers to it. That is looked at twice: when it is condemned, and
when it is collected, at least a grace period later. Whoever collects has set the object aside before, so what is
decided here holds: an event that refers to it came before, and nothing is collected, or is refused, or is of an
attempt that began later and found no object there (docs/adr/0017-collecting-garbage.md).

Commands: CondemnObjects, CollectObjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from stackledger.domain.decider import Decider
from stackledger.domain.event import Boundary, Event, Item, item
from stackledger.domain.events.artifacts import COLLECTIONS_TAG, ArtifactsCollected, ArtifactsCondemned, garbage_tag
from stackledger.domain.events.fleet import StepQueued
from stackledger.domain.events.runs import (
    Kept,
    RunStarted,
    StepFailed,
    StepStarted,
    StepSucceeded,
    content_tag,
)

MAX_OBJECTS = 100
"""How many objects one event is about: a decision looks at two tags for each."""

COLLECTIONS = item(COLLECTIONS_TAG, ArtifactsCollected)
"""What an event that refers to objects depends on, since they were put into the store."""


@dataclass(frozen=True, slots=True)
class CondemnObjects:
    """Announce that objects go, unless something refers to them by `due`, in microseconds since 1970 UTC."""

    store_id: str
    objects: tuple[Kept, ...]
    due: int


@dataclass(frozen=True, slots=True)
class CollectObjects:
    """Let go of objects that were condemned, are due `now`, and have been set aside as `collection`."""

    store_id: str
    objects: tuple[Kept, ...]
    collection: str
    now: int


CollectionCommand = CondemnObjects | CollectObjects


@dataclass(frozen=True, slots=True)
class State:
    """The digests that something refers to, and from when on those that are condemned may go."""

    referenced: frozenset[str] = frozenset()
    due: dict[str, int] = field(default_factory=dict)


def boundary(command: CollectionCommand) -> Boundary:
    """Depend on all that refers to the objects, and on what was said about them as garbage."""
    if len(command.objects) > MAX_OBJECTS:
        raise ValueError(f"at most {MAX_OBJECTS} objects at a time")
    items: list[Item] = []
    for each in command.objects:
        items.append(item(content_tag(each.digest), RunStarted, StepStarted, StepQueued, StepSucceeded, StepFailed))
        items.append(item(garbage_tag(command.store_id, each.digest), ArtifactsCondemned, ArtifactsCollected))
    return tuple(items)


def decide(command: CollectionCommand, state: State) -> Sequence[Event]:
    """Condemn, or collect, those of the objects of which that is true; none may be left."""
    match command:
        case CondemnObjects():
            objects = tuple(
                each for each in command.objects if each.digest not in state.referenced and each.digest not in state.due
            )
            return (ArtifactsCondemned(store_id=command.store_id, objects=objects, due=command.due),) if objects else ()
        case CollectObjects():
            objects = tuple(
                each
                for each in command.objects
                if each.digest not in state.referenced and state.due.get(each.digest, command.now + 1) <= command.now
            )
            collected = ArtifactsCollected(store_id=command.store_id, collection=command.collection, objects=objects)
            return (collected,) if objects else ()
        case _:
            assert_never(command)


def evolve(state: State, event: Event) -> State:
    """Fold one event. What is under one store's tag may name other digests than those that are asked about."""
    match event:
        case ArtifactsCondemned():
            return State(state.referenced, {**state.due, **{each.digest: event.due for each in event.objects}})
        case ArtifactsCollected():
            gone = {each.digest for each in event.objects}
            return State(state.referenced, {digest: due for digest, due in state.due.items() if digest not in gone})
        case _:
            prefix = content_tag("")
            named = {tag.removeprefix(prefix) for tag in event.tags() if tag.startswith(prefix)}
            return State(state.referenced | named, state.due)


DECIDER: Decider[CollectionCommand, State] = Decider(initial=State(), boundary=boundary, decide=decide, evolve=evolve)
