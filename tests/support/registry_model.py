"""The registry's rules in plain Python over the whole log: no boundaries, no states, nothing of `domain` but words.

`Model` folds every event. `allowed` says whether a command must be accepted, `broken` which rules do not hold.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field

from stackledger.domain.component_types import REPEATABLE, REQUIRED, ComponentType
from stackledger.domain.components import (
    ComponentCommand,
    DeleteComponent,
    RegisterComponent,
    RenameComponent,
    UpdateComponent,
)
from stackledger.domain.event import Event
from stackledger.domain.events import components as c
from stackledger.domain.events import stacks as s
from stackledger.domain.flavors import DeleteFlavor, FlavorCommand, RegisterFlavor
from stackledger.domain.secrets import CreateSecret, DeleteSecret, RenameSecret, SecretCommand, UpdateSecret
from stackledger.domain.stacks import (
    ActivateStack,
    AssembleStack,
    DeleteStack,
    RegisterStack,
    RenameStack,
    StackCommand,
    UpdateStack,
)

Command = ComponentCommand | StackCommand | SecretCommand | FlavorCommand
Parts = Mapping[ComponentType, tuple[str, ...]]


@dataclass
class Component:
    type: ComponentType
    name: str
    flavor: str
    configuration: Mapping[str, object]
    built_in: bool

    def references(self) -> set[tuple[str, str]]:
        return {(name.lower(), key) for name, key in re.findall(r"\{\{(\w+)\.(\w+)\}\}", str(self.configuration))}


@dataclass
class Stack:
    name: str
    parts: Parts
    built_in: bool

    def uses(self) -> list[str]:
        return [component_id for ids in self.parts.values() for component_id in ids]


@dataclass
class Secret:
    name: str
    keys: tuple[str, ...]


@dataclass
class Model:
    components: dict[str, Component] = field(default_factory=dict)
    stacks: dict[str, Stack] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    flavors: set[tuple[ComponentType, str]] = field(default_factory=set)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    active: dict[tuple[str, str], str] = field(default_factory=dict)

    def fold(self, event: Event) -> None:  # noqa: C901, PLR0912 - one arm for each event
        match event:
            case c.ComponentRegistered():
                self.components[event.component_id] = Component(
                    event.type, event.name, event.flavor, event.configuration, event.built_in
                )
            case c.ComponentUpdated():
                assert self.components[event.component_id].configuration == event.previous_configuration
                self.components[event.component_id].configuration = event.configuration
            case c.ComponentRenamed():
                assert self.components[event.component_id].name == event.previous_name
                self.components[event.component_id].name = event.name
            case c.ComponentDeleted():
                assert self.components.pop(event.component_id).name == event.name
            case c.FlavorRegistered():
                self.flavors.add((event.type, event.name.lower()))
            case c.FlavorDeleted():
                self.flavors.remove((event.type, event.name.lower()))
            case c.SecretCreated():
                self.secrets[event.secret_id] = Secret(event.name, event.keys)
            case c.SecretUpdated():
                assert self.secrets[event.secret_id].keys == event.previous_keys
                self.secrets[event.secret_id].keys = event.keys
            case c.SecretRenamed():
                assert self.secrets[event.secret_id].name == event.previous_name
                self.secrets[event.secret_id].name = event.name
            case c.SecretDeleted():
                del self.secrets[event.secret_id]
            case c.StoresPaired():
                self.pairs.append((event.artifact_store_id, event.metadata_store_id))
            case c.StoresUnpaired():
                self.pairs.remove((event.artifact_store_id, event.metadata_store_id))
            case s.StackRegistered():
                self.stacks[event.stack_id] = Stack(event.name, event.components, event.built_in)
            case s.StackUpdated():
                assert self.stacks[event.stack_id].parts == event.previous_components
                self.stacks[event.stack_id].parts = event.components
            case s.StackRenamed():
                assert set(self.stacks[event.stack_id].uses()) == set(event.uses)
                self.stacks[event.stack_id].name = event.name
            case s.StackDeleted():
                assert set(self.stacks.pop(event.stack_id).uses()) == set(event.uses)
            case s.StackActivated():
                assert event.stack_id in self.stacks
                self.active[event.scope, event.scope_id] = event.stack_id
            case _:
                pass

    def broken(self) -> Iterator[str]:
        """Yield each rule that does not hold."""
        yield from _twice("stack", (stack.name.lower() for stack in self.stacks.values()))
        yield from _twice("component", ((each.type, each.name.lower()) for each in self.components.values()))
        yield from _twice("secret", (secret.name.lower() for secret in self.secrets.values()))
        for stack in self.stacks.values():
            if not self.parts_hold(stack.parts):
                yield f"the stack {stack.name} breaks the rules for its parts"
        for component in self.components.values():
            if not self.references_hold(component.configuration):
                yield f"the component {component.name} refers to a secret or key that is not there"
            if not self.flavor_holds(component.type, component.flavor):
                yield f"the component {component.name} is of a flavor that is not there"
        yield from _twice("paired store", (store for pair in self.pairs for store in pair))
        if any(store not in self.components for pair in self.pairs for store in pair):
            yield "a pairing holds a store that is not there"
        built_in = [(each.name, list(each.parts)) for each in self.stacks.values() if each.built_in]
        if built_in != [("default", list(REQUIRED))] or sum(each.built_in for each in self.components.values()) != 2:
            yield "the default stack is not as it was"

    def allowed(self, command: Command) -> bool:  # noqa: C901, PLR0911, PLR0912 - one arm for each command
        """Say whether nothing forbids the command."""
        match command:
            case RegisterComponent():
                return (
                    self.component_name_free(command.type, command.name)
                    and self.flavor_holds(command.type, command.flavor)
                    and self.references_hold(command.configuration)
                )
            case RegisterStack():
                return (
                    self.stack_name_free(command.name)
                    and self.parts_hold(command.components)
                    and (command.decouple_stores or self.pairing_free(command.components))
                )
            case CreateSecret():
                return self.secret_name_free(command.name) and bool(command.keys)
            case RegisterFlavor():
                return (command.type, command.name.lower()) not in self.flavors and command.name.lower() != "local"
            case DeleteFlavor():
                return (command.type, command.name.lower()) in self.flavors and not any(
                    (each.type, each.flavor.lower()) == (command.type, command.name.lower())
                    for each in self.components.values()
                )
            case AssembleStack():
                there = deepcopy(self)
                for part in command.new:
                    if not there.allowed(part):
                        return False
                    there.components[part.component_id] = Component(
                        part.type, part.name, part.flavor, part.configuration, built_in=False
                    )
                return there.allowed(command.stack)
            case UpdateSecret() | RenameSecret() | DeleteSecret():
                return command.secret_id in self.secrets and self.secret_may_change(command)
            case ActivateStack():
                return command.stack_id in self.stacks
            case RenameStack() if command.stack_id in self.stacks:
                free = self.stack_name_free(command.name, besides=command.stack_id)
                return free and not self.stacks[command.stack_id].built_in
            case UpdateStack() if command.stack_id in self.stacks:
                stack = self.stacks[command.stack_id]
                same = _stores(stack.parts) == _stores(command.components)
                free = command.decouple_stores or same or self.pairing_free(command.components)
                return not stack.built_in and self.parts_hold(command.components) and free
            case DeleteStack() if command.stack_id in self.stacks:
                return not self.stacks[command.stack_id].built_in and command.stack_id not in self.active_for(command)
            case RenameComponent() if command.component_id in self.components:
                component = self.components[command.component_id]
                free = self.component_name_free(component.type, command.name, besides=command.component_id)
                return not component.built_in and component.type == command.type and free
            case UpdateComponent() if command.component_id in self.components:
                built_in = self.components[command.component_id].built_in
                return not built_in and self.references_hold(command.configuration)
            case DeleteComponent() if command.component_id in self.components:
                used = any(command.component_id in stack.uses() for stack in self.stacks.values())
                return not used and not self.components[command.component_id].built_in
            case _:
                return False

    def active_for(self, command: DeleteStack) -> set[str | None]:
        repository = self.active.get(("repository", command.repository_id or ""))
        return {command.environment_stack_id, repository, self.active.get(("user", command.user_id))}

    def stack_name_free(self, name: str, besides: str = "") -> bool:
        return not any(each.name.lower() == name.lower() for key, each in self.stacks.items() if key != besides)

    def component_name_free(self, component_type: ComponentType, name: str, besides: str = "") -> bool:
        return not any(
            (each.type, each.name.lower()) == (component_type, name.lower())
            for key, each in self.components.items()
            if key != besides
        )

    def secret_name_free(self, name: str, besides: str = "") -> bool:
        return not any(each.name.lower() == name.lower() for key, each in self.secrets.items() if key != besides)

    def secret_may_change(self, command: UpdateSecret | RenameSecret | DeleteSecret) -> bool:
        secret = self.secrets[command.secret_id]
        used = {
            key for each in self.components.values() for name, key in each.references() if name == secret.name.lower()
        }
        match command:
            case UpdateSecret():
                left = {*secret.keys, *command.put} - {*command.remove}
                known = {*command.remove} <= {*secret.keys} and not {*command.remove} & {*command.put}
                return known and bool(left) and not used & {*command.remove}
            case RenameSecret():
                free = self.secret_name_free(command.name, besides=command.secret_id)
                return free and (not used or command.name.lower() == secret.name.lower())
            case DeleteSecret():
                return not used

    def flavor_holds(self, component_type: ComponentType, flavor: str) -> bool:
        return flavor == "local" or (component_type, flavor.lower()) in self.flavors

    def references_hold(self, configuration: Mapping[str, object]) -> bool:
        known = {(secret.name.lower(), key) for secret in self.secrets.values() for key in secret.keys}
        return Component(ComponentType.ALERTER, "", "", configuration, built_in=False).references() <= known

    def parts_hold(self, parts: Parts) -> bool:
        ids = [(each, component_id) for each in parts for component_id in parts[each]]
        return (
            all(parts.get(required) for required in REQUIRED)
            and all(each in self.components and self.components[each].type == wanted for wanted, each in ids)
            and all(len(parts[each]) <= 1 or each in REPEATABLE for each in parts)
            and len(set(ids)) == len(ids)
        )

    def pairing_free(self, parts: Parts) -> bool:
        stores = _stores(parts)
        return len(stores) < 2 or stores in self.pairs or not any({*pair} & {*stores} for pair in self.pairs)


def _stores(parts: Parts) -> tuple[str, ...]:
    return (*parts.get(ComponentType.ARTIFACT_STORE, ()), *parts.get(ComponentType.METADATA_STORE, ()))


def _twice(what: str, names: Iterator[object]) -> Iterator[str]:
    yield from (f"{what} twice: {name}" for name, count in Counter(names).items() if count > 1)
