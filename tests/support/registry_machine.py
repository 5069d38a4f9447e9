"""Random commands through the real handler: no rule ever breaks, and nothing is refused that no rule forbids."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TypeVar

from eventsourcing.dcb.api import DCBRecorder
from eventsourcing.dcb.popo import InMemoryDCBRecorder
from hypothesis import event as note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from stackledger.domain import components, flavors, log, secrets, stacks
from stackledger.domain.component_types import ComponentType
from stackledger.domain.decider import Decider
from stackledger.domain.errors import StackledgerError
from stackledger.domain.event import Context
from stackledger.domain.stack_state import Scope
from stackledger.eventlog.handler import CommandHandler, Handled
from tests.support.registry import ALERTER, ARTIFACT_STORE, CREATE_LOG, METADATA_STORE, ORCHESTRATOR
from tests.support.registry_model import Command as AnyCommand
from tests.support.registry_model import Model

Command = TypeVar("Command", bound=AnyCommand)
State = TypeVar("State")

NAMES = st.sampled_from(["a", "A", "b", "default"])
TYPES = st.sampled_from([ORCHESTRATOR, ARTIFACT_STORE, METADATA_STORE, ALERTER])
KEYS = st.lists(st.sampled_from(["k", "l"]), max_size=2, unique=True).map(tuple)
CONFIGURATIONS = st.sampled_from([{}, {"x": 1}, {"x": "{{a.k}}"}, {"x": ["{{b.l}}", "{{A.l}}"]}])
SCOPES = st.sampled_from([Scope("user", "user"), Scope("repository", "repo")])
_FAR = 2**62
PICK = st.integers(min_value=0, max_value=1_000)


class Registry(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.recorder = self.made()
        self.counter = itertools.count()
        self.handler = CommandHandler(self.recorder, lambda: f"e{next(self.counter)}")
        self.model = Model()
        self.gone: list[str] = ["unknown"]

    def made(self) -> DCBRecorder:
        """Return an empty log."""
        return InMemoryDCBRecorder()

    def head(self) -> int:
        return self.recorder.read(after=_FAR).head or 0

    def new_id(self) -> str:
        return f"i{next(self.counter)}"

    def pick(self, known: Mapping[str, object], number: int) -> str:
        """Return an id: mostly of what is there, sometimes of what was."""
        if not known or number % 10 == 0:
            return self.gone[number % len(self.gone)]
        return list(known)[number % len(known)]

    def secret_ids(self) -> dict[str, str]:
        return {secret.name: secret_id for secret_id, secret in self.model.secrets.items()}

    def give(self, decider: Decider[Command, State], command: Command) -> None:
        allowed = self.model.allowed(command)
        before = self.head()
        context = Context(command_id=f"c{before}", time=before, actor="user", host="host")
        refusal = ""
        handled: Handled[State] | None = None
        try:
            handled = self.handler.handle(decider, command, context)
        except StackledgerError as error:
            refusal = str(error)
        if handled is None:
            assert not allowed, f"{command} was refused: {refusal}"
            assert self.head() == before
            note(f"{type(command).__name__} refused")
            return
        assert allowed, f"{command} was accepted"
        assert self.head() == before + len(handled.events)
        note(f"{type(command).__name__} {'done' if handled.events else 'was nothing'}")
        there = {**self.model.components, **self.model.stacks, **self.model.secrets}
        for recorded in handled.events:
            self.model.fold(recorded.event)
        left = {**self.model.components, **self.model.stacks, **self.model.secrets}
        self.gone.extend(there.keys() - left.keys())

    @initialize()
    def create_the_log(self) -> None:
        context = Context(command_id="c", time=0, actor="user", host="host")
        for _ in range(2):
            for recorded in self.handler.handle(log.DECIDER, CREATE_LOG, context).events:
                self.model.fold(recorded.event)
        for component_type in (ORCHESTRATOR, ARTIFACT_STORE, METADATA_STORE, METADATA_STORE, ALERTER):
            command = components.RegisterComponent(
                component_id=self.new_id(), type=component_type, name=f"n{next(self.counter)}", flavor="local"
            )
            self.give(components.DECIDER, command)

    @rule(component_type=TYPES, name=NAMES, configuration=CONFIGURATIONS, custom=st.booleans())
    def register_component(
        self, *, component_type: ComponentType, name: str, configuration: dict[str, object], custom: bool
    ) -> None:
        command = components.RegisterComponent(
            component_id=self.new_id(),
            type=component_type,
            name=name,
            flavor="mine" if custom else "local",
            custom_flavor=custom,
            configuration=configuration,  # type: ignore[arg-type]
            secrets=self.secret_ids(),
        )
        self.give(components.DECIDER, command)

    @rule(number=PICK, configuration=CONFIGURATIONS)
    def update_component(self, number: int, configuration: dict[str, object]) -> None:
        command = components.UpdateComponent(
            component_id=self.pick(self.model.components, number),
            configuration=configuration,  # type: ignore[arg-type]
            labels={},
            secrets=self.secret_ids(),
        )
        self.give(components.DECIDER, command)

    @rule(number=PICK, name=NAMES, component_type=TYPES, wrong=st.booleans())
    def rename_component(self, *, number: int, name: str, component_type: ComponentType, wrong: bool) -> None:
        component_id = self.pick(self.model.components, number)
        known = self.model.components.get(component_id)
        wanted = component_type if wrong or known is None else known.type
        command = components.RenameComponent(component_id=component_id, type=wanted, name=name)
        self.give(components.DECIDER, command)

    @rule(number=PICK)
    def delete_component(self, number: int) -> None:
        component_id = self.pick(self.model.components, number)
        self.give(components.DECIDER, components.DeleteComponent(component_id=component_id))

    def parts(self, numbers: list[int]) -> dict[ComponentType, tuple[str, ...]]:
        """Return parts of a stack: mostly of fitting types, not always enough or few enough."""
        orchestrator, artifact_store, metadata_store, first, second = numbers
        chosen: dict[ComponentType, tuple[str, ...]] = {}
        for wanted, number in (
            (ORCHESTRATOR, orchestrator),
            (ARTIFACT_STORE, artifact_store),
            (METADATA_STORE, metadata_store),
            (ALERTER, first),
            (ALERTER, second),
        ):
            fitting = {key: each for key, each in self.model.components.items() if each.type == wanted}
            if fitting and number % 17:
                chosen[wanted] = (*chosen.get(wanted, ()), self.pick(fitting, number))
        return chosen

    @rule(
        name=NAMES,
        numbers=st.lists(PICK, min_size=5, max_size=5),
        decouple=st.booleans(),
        activate=st.lists(SCOPES, max_size=2, unique=True),
    )
    def register_stack(self, *, name: str, numbers: list[int], decouple: bool, activate: list[Scope]) -> None:
        command = stacks.RegisterStack(
            stack_id=self.new_id(),
            name=name,
            components=self.parts(numbers),
            decouple_stores=decouple,
            activate=tuple(activate),
        )
        self.give(stacks.DECIDER, command)

    @rule(number=PICK, numbers=st.lists(PICK, min_size=5, max_size=5), decouple=st.booleans())
    def update_stack(self, *, number: int, numbers: list[int], decouple: bool) -> None:
        stack_id = self.pick(self.model.stacks, number)
        command = stacks.UpdateStack(
            stack_id=stack_id, components=self.parts(numbers), labels={}, decouple_stores=decouple
        )
        self.give(stacks.DECIDER, command)

    @rule(name=NAMES, component_types=st.lists(TYPES, max_size=2), numbers=st.lists(PICK, min_size=5, max_size=5))
    def assemble_stack(self, name: str, component_types: list[ComponentType], numbers: list[int]) -> None:
        new = tuple(
            components.RegisterComponent(
                component_id=self.new_id(), type=each, name=f"{name}{number % 3}", flavor="local"
            )
            for each, number in zip(component_types, numbers, strict=False)
        )
        parts = self.parts(numbers)
        for part in new:
            parts[part.type] = (part.component_id,)
        register = stacks.RegisterStack(stack_id=self.new_id(), name=name, components=parts)
        stack_id = self.pick(self.model.stacks, numbers[0])
        update = stacks.UpdateStack(stack_id=stack_id, components=parts, labels={"anew": "yes"}, decouple_stores=True)
        self.give(stacks.DECIDER, stacks.AssembleStack(new=new, stack=register if numbers[1] % 2 else update))

    @rule(number=PICK, name=NAMES)
    def rename_stack(self, number: int, name: str) -> None:
        self.give(stacks.DECIDER, stacks.RenameStack(stack_id=self.pick(self.model.stacks, number), name=name))

    @rule(number=PICK, inside=st.booleans(), elsewhere=st.booleans(), recursive=st.booleans())
    def delete_stack(self, *, number: int, inside: bool, elsewhere: bool, recursive: bool) -> None:
        stack_id = self.pick(self.model.stacks, number)
        known = self.model.stacks.get(stack_id)
        command = stacks.DeleteStack(
            stack_id=stack_id,
            user_id="user",
            repository_id="repo" if inside else None,
            environment_stack_id="default-s" if elsewhere else None,
            take_along=tuple(known.uses()) if known and recursive else (),
        )
        self.give(stacks.DECIDER, command)

    @rule(number=PICK, scope=SCOPES)
    def activate_stack(self, number: int, scope: Scope) -> None:
        self.give(stacks.DECIDER, stacks.ActivateStack(stack_id=self.pick(self.model.stacks, number), scope=scope))

    @rule(name=NAMES, keys=KEYS)
    def create_secret(self, name: str, keys: tuple[str, ...]) -> None:
        self.give(secrets.DECIDER, secrets.CreateSecret(secret_id=self.new_id(), name=name, keys=keys))

    @rule(number=PICK, put=KEYS, remove=KEYS)
    def update_secret(self, number: int, put: tuple[str, ...], remove: tuple[str, ...]) -> None:
        secret_id = self.pick(self.model.secrets, number)
        self.give(secrets.DECIDER, secrets.UpdateSecret(secret_id=secret_id, put=put, remove=remove))

    @rule(number=PICK, name=NAMES)
    def rename_secret(self, number: int, name: str) -> None:
        self.give(secrets.DECIDER, secrets.RenameSecret(secret_id=self.pick(self.model.secrets, number), name=name))

    @rule(number=PICK)
    def delete_secret(self, number: int) -> None:
        self.give(secrets.DECIDER, secrets.DeleteSecret(secret_id=self.pick(self.model.secrets, number)))

    @rule(component_type=TYPES, name=st.sampled_from(["mine", "MINE", "local"]))
    def register_flavor(self, component_type: ComponentType, name: str) -> None:
        command = flavors.RegisterFlavor(
            type=component_type, name=name, source="mine.Flavor", catalogue={"local": "Stackledger"}
        )
        self.give(flavors.DECIDER, command)

    @rule(component_type=TYPES, name=st.sampled_from(["mine", "local"]))
    def delete_flavor(self, component_type: ComponentType, name: str) -> None:
        self.give(flavors.DECIDER, flavors.DeleteFlavor(type=component_type, name=name))

    @invariant()
    def no_rule_is_broken(self) -> None:
        if self.head():
            assert list(self.model.broken()) == []
