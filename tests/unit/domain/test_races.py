"""Two commands decided on the same read: what one did is seen by the other, and no rule breaks between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent
from eventsourcing.dcb.popo import InMemoryDCBRecorder

from stackledger.domain import components, flavors, log, secrets, stacks, subjects
from stackledger.domain.decider import Decider
from stackledger.domain.errors import (
    AlreadyExists,
    ChangedMeanwhile,
    InUse,
    NotFound,
    PairingConflict,
    Refused,
    StackledgerError,
)
from stackledger.domain.event import Context, Item
from stackledger.domain.stack_state import Scope, stack_item
from stackledger.eventlog.codec import decode
from stackledger.eventlog.handler import CommandHandler
from stackledger.eventlog.stored import StoredEvent
from tests.support.registry import (
    ARTIFACT_STORE,
    CREATE_LOG,
    DEFAULT_PARTS,
    METADATA_STORE,
    ORCHESTRATOR,
)
from tests.support.registry_model import Model

Command = TypeVar("Command")
State = TypeVar("State")
Step = tuple[Decider[Any, Any], Any]


class Interleaving(InMemoryDCBRecorder):
    """A log in which something happens between a decision's read and its append."""

    meanwhile: Callable[[], None] | None = None
    appends = 0

    def append(self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None) -> int:
        self.appends += 1
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        return super().append(events, condition)


class Race:
    """A registry in which the next command is overtaken by another."""

    def __init__(self) -> None:
        self.log = Interleaving()
        numbers = itertools.count()
        self.handler = CommandHandler(self.log, lambda: f"e{next(numbers)}")
        self.give(log.DECIDER, CREATE_LOG)
        self.give(
            components.DECIDER,
            components.RegisterComponent(component_id="a", type=ARTIFACT_STORE, name="a", flavor="local"),
        )

    def give(
        self, decider: Decider[Command, State], command: Command, seen: Mapping[Item, int] | None = None
    ) -> list[str]:
        context = Context(command_id="c", time=0, actor="user", host="host")
        handled = self.handler.handle(decider, command, context, seen=seen)
        return [recorded.event.TYPE for recorded in handled.events]

    def overtaken(self, decider: Decider[Command, State], command: Command) -> None:
        self.log.meanwhile = lambda: _done(self.give(decider, command))

    def holds(self) -> bool:
        model = Model()
        for sequenced in self.log.read():
            event = sequenced.event
            stored = StoredEvent(sequenced.position, event.type, tuple(event.tags), event.data)
            model.fold(decode(stored).event)
        return list(model.broken()) == []


def _done(types: list[str]) -> None:
    assert types


def registering(stack_id: str, name: str, artifact_store: str = "a", metadata_store: str = "") -> stacks.RegisterStack:
    parts = {**DEFAULT_PARTS, ARTIFACT_STORE: (artifact_store,)}
    if metadata_store:
        parts[METADATA_STORE] = (metadata_store,)
    return stacks.RegisterStack(stack_id=stack_id, name=name, components=parts)


USER, OTHER = Scope("user", "user"), Scope("user", "other")
S = (stacks.DECIDER, registering("s", "mine"))
SECRET = (secrets.DECIDER, secrets.CreateSecret(secret_id="x", name="aws", keys=("k", "l")))
FLAVOR = (
    flavors.DECIDER,
    flavors.RegisterFlavor(type=ARTIFACT_STORE, name="tape", source="m.T", catalogue={}),
)
M1 = (
    components.DECIDER,
    components.RegisterComponent(component_id="m1", type=METADATA_STORE, name="m1", flavor="local"),
)
M2 = (
    components.DECIDER,
    components.RegisterComponent(component_id="m2", type=METADATA_STORE, name="m2", flavor="local"),
)
DELETE_A = (components.DECIDER, components.DeleteComponent(component_id="a"))
DELETE_S = (stacks.DECIDER, stacks.DeleteStack(stack_id="s", user_id="user"))
DELETE_S_AND_A = (stacks.DECIDER, stacks.DeleteStack(stack_id="s", user_id="user", take_along=("a",)))
ACTIVATE_S = (stacks.DECIDER, stacks.ActivateStack(stack_id="s", scope=USER))
ACTIVATE_S_FOR_OTHER = (stacks.DECIDER, stacks.ActivateStack(stack_id="s", scope=OTHER))
DROP_KEY = (secrets.DECIDER, secrets.UpdateSecret(secret_id="x", remove=("k",)))
RENAME_SECRET = (secrets.DECIDER, secrets.RenameSecret(secret_id="x", name="gcp"))
DELETE_SECRET = (secrets.DECIDER, secrets.DeleteSecret(secret_id="x"))
DELETE_FLAVOR = (flavors.DECIDER, flavors.DeleteFlavor(type=ARTIFACT_STORE, name="tape"))
REFER = (
    components.DECIDER,
    components.UpdateComponent(component_id="a", configuration={"key": "{{aws.k}}"}, labels={}, secrets={"aws": "x"}),
)
REFER_ANEW = (
    components.DECIDER,
    components.RegisterComponent(
        component_id="b",
        type=ARTIFACT_STORE,
        name="b",
        flavor="local",
        configuration={"key": "{{aws.k}}"},
        secrets={"aws": "x"},
    ),
)
TAPE = (
    components.DECIDER,
    components.RegisterComponent(component_id="t", type=ARTIFACT_STORE, name="t", flavor="tape", custom_flavor=True),
)


def named(component_id: str, name: str) -> Step:
    command = components.RegisterComponent(component_id=component_id, type=ORCHESTRATOR, name=name, flavor="local")
    return components.DECIDER, command


OTHER_ON_A = (stacks.DECIDER, registering("s2", "other"))
OTHER_ON_DEFAULT = (stacks.DECIDER, registering("s2", "MINE", "default-a"))
RENAME_S = (stacks.DECIDER, stacks.RenameStack(stack_id="s", name="other"))
MOVE_S = (stacks.DECIDER, stacks.UpdateStack(stack_id="s", components=DEFAULT_PARTS, labels={}))
PAIR_A_M1 = (stacks.DECIDER, registering("s1", "one", "a", "m1"))
PAIR_A_M2 = (stacks.DECIDER, registering("s2", "two", "a", "m2"))
DELETE_M1 = (components.DECIDER, components.DeleteComponent(component_id="m1"))


@pytest.mark.parametrize(
    ("before", "first", "second", "error"),
    [
        ([], DELETE_A, S, NotFound),
        ([], S, DELETE_A, InUse),
        ([], S, OTHER_ON_DEFAULT, AlreadyExists),
        ([], named("o1", "x"), named("o2", "X"), AlreadyExists),
        ([S], RENAME_S, OTHER_ON_A, AlreadyExists),
        ([S], DELETE_S, ACTIVATE_S, NotFound),
        ([S], ACTIVATE_S, DELETE_S, Refused),
        ([S], ACTIVATE_S_FOR_OTHER, DELETE_S, None),
        ([S], OTHER_ON_A, MOVE_S, None),
        ([S], OTHER_ON_A, DELETE_S_AND_A, None),
        ([S], DELETE_S_AND_A, OTHER_ON_A, NotFound),
        ([SECRET], DROP_KEY, REFER, NotFound),
        ([SECRET], REFER, DROP_KEY, InUse),
        ([SECRET], DROP_KEY, REFER_ANEW, NotFound),
        ([SECRET], REFER_ANEW, DROP_KEY, InUse),
        ([SECRET], RENAME_SECRET, REFER_ANEW, NotFound),
        ([SECRET], REFER_ANEW, RENAME_SECRET, InUse),
        ([SECRET], DELETE_SECRET, REFER_ANEW, NotFound),
        ([SECRET], REFER_ANEW, DELETE_SECRET, InUse),
        ([FLAVOR], DELETE_FLAVOR, TAPE, NotFound),
        ([FLAVOR], TAPE, DELETE_FLAVOR, InUse),
        ([M1, M2], PAIR_A_M1, PAIR_A_M2, PairingConflict),
        ([M1], PAIR_A_M1, DELETE_M1, InUse),
        ([M1], DELETE_M1, PAIR_A_M1, NotFound),
    ],
)
def test_who_comes_second_decides_on_what_the_first_did(
    before: list[Step], first: Step, second: Step, error: type[StackledgerError] | None
) -> None:
    race = Race()
    for decider, command in before:
        race.give(decider, command)
    race.overtaken(*first)
    if error:
        with pytest.raises(error):
            race.give(*second)
    else:
        assert race.give(*second)
    assert race.log.meanwhile is None
    assert race.holds()


def test_a_component_that_somebody_else_came_to_use_is_not_taken_along() -> None:
    race = Race()
    race.give(*S)
    race.overtaken(*OTHER_ON_A)
    assert race.give(*DELETE_S_AND_A) == ["stack.deleted/1"]


def test_of_two_updates_of_one_stack_the_second_is_told_and_changes_nothing() -> None:
    race = Race()
    race.give(*S)
    seen = {stack_item("s"): len(race.log.events)}
    race.overtaken(stacks.DECIDER, stacks.UpdateStack(stack_id="s", components=DEFAULT_PARTS, labels={"by": "one"}))
    with pytest.raises(ChangedMeanwhile, match=r"stack\.updated/1"):
        race.give(
            stacks.DECIDER,
            stacks.UpdateStack(stack_id="s", components=DEFAULT_PARTS, labels={"by": "two"}),
            seen=seen,
        )
    assert [event.event.type for event in race.log.events].count("stack.updated/1") == 1


def test_a_change_of_another_stack_is_no_change_of_this_one() -> None:
    race = Race()
    race.give(*S)
    seen = {stack_item("s"): len(race.log.events)}
    race.overtaken(*OTHER_ON_A)
    update = stacks.UpdateStack(stack_id="s", components=DEFAULT_PARTS, labels={})
    assert race.give(stacks.DECIDER, update, seen=seen) == ["stack.updated/1"]


def test_two_stacks_on_one_component_never_meet() -> None:
    race = Race()
    race.overtaken(*S)
    before = race.log.appends
    assert race.give(*OTHER_ON_A)
    assert race.log.appends == before + 2


def test_of_two_who_begin_a_log_one_does() -> None:
    race = Race()
    other = log.CreateLog(
        log_id="other",
        user_id="u2",
        user_commitment="c",
        host_id="h2",
        host_commitment="c",
        orchestrator_id="o2",
        artifact_store_id="a2",
        stack_id="s2",
    )
    race.log.events.clear()
    race.overtaken(log.DECIDER, CREATE_LOG)
    assert race.give(log.DECIDER, other) == []
    assert [event.event.type for event in race.log.events].count("log.created/1") == 1


def test_a_subject_is_enrolled_once() -> None:
    race = Race()
    enroll = subjects.EnrollSubject(subject_id="ann", kind="user", commitment="c")
    race.overtaken(subjects.DECIDER, enroll)
    assert race.give(subjects.DECIDER, enroll) == []
