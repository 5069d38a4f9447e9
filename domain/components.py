"""Components: configured instances of a flavor.

Commands: RegisterComponent, UpdateComponent, RenameComponent, ShareComponent, UnshareComponent, DeleteComponent.
Give `seen={component_item(id): position}` with those that change a component, so that of two people one is told.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, assert_never, get_args

from stackledger.domain.component_state import Component, ComponentEvent, Configuration, State, evolve
from stackledger.domain.component_types import ComponentType
from stackledger.domain.decider import Decider
from stackledger.domain.errors import AlreadyExists, BuiltIn, InUse, InvalidValue
from stackledger.domain.event import Boundary, Event, Item, item
from stackledger.domain.events.components import (
    ComponentDeleted,
    ComponentRegistered,
    ComponentRenamed,
    ComponentShared,
    ComponentUnshared,
    ComponentUpdated,
    component_name_tag,
    component_tag,
)
from stackledger.domain.flavors import flavor_item, registered
from stackledger.domain.labels import checked_labels
from stackledger.domain.names import folded, registry_name
from stackledger.domain.pairings import pairing_item, unpaired
from stackledger.domain.references import refuse_literal_secrets
from stackledger.domain.secrets import secret_item
from stackledger.domain.uses import stacks_using, uses_item
from stackledger.domain.wording import counted


class RegisterComponent(NamedTuple):
    """Register a component under a new id; its flavor has accepted the configuration.

    `custom_flavor` says that users registered the flavor, `secret_fields` are the fields in which it wants
    secrets, `secrets` the ids that the caller found for the names of secrets in the configuration.
    """

    component_id: str
    type: ComponentType
    name: str
    flavor: str
    custom_flavor: bool = False
    configuration: Configuration = MappingProxyType({})
    labels: Mapping[str, str] = MappingProxyType({})
    shared: bool = False
    secret_fields: frozenset[str] = frozenset()
    secrets: Mapping[str, str] = MappingProxyType({})


class UpdateComponent(NamedTuple):
    """Give a component this whole configuration and these whole labels. The rest is as in RegisterComponent.

    `stranded` are the ids of the stacks whose steps would be executed on other machines than the one that alone has
    their artifact store: as a stack is not registered so, a component of one is not changed so.
    """

    component_id: str
    configuration: Configuration
    labels: Mapping[str, str]
    secret_fields: frozenset[str] = frozenset()
    secrets: Mapping[str, str] = MappingProxyType({})
    stranded: frozenset[str] = frozenset()


class RenameComponent(NamedTuple):
    """Give a component another name; `type` is the component's."""

    component_id: str
    type: ComponentType
    name: str


class ShareComponent(NamedTuple):
    """Mark a component as shared."""

    component_id: str


class UnshareComponent(NamedTuple):
    """Mark a component as private."""

    component_id: str


class DeleteComponent(NamedTuple):
    """Take a component away that no stack uses."""

    component_id: str


ComponentCommand: TypeAlias = (
    RegisterComponent | UpdateComponent | RenameComponent | ShareComponent | UnshareComponent | DeleteComponent
)


def component_item(component_id: str) -> Item:
    """Return the item for a component's own events."""
    return item(component_tag(component_id), *get_args(ComponentEvent))


def _name_item(component_type: ComponentType, name: str) -> Item:
    tag = component_name_tag(component_type, registry_name(name, component_type.words))
    return item(tag, ComponentRegistered, ComponentRenamed, ComponentDeleted)


def deletion_items(component_id: str) -> Boundary:
    """Return the items that deleting a component depends on: only deletions look at a component's users."""
    return (component_item(component_id), uses_item(component_id), pairing_item(component_id))


def boundary(command: ComponentCommand) -> Boundary:
    """Depend on the component, and on the name, flavor and secrets that it takes."""
    match command:
        case RegisterComponent():
            flavor = (flavor_item(command.type, command.flavor),) if command.custom_flavor else ()
            return (_name_item(command.type, command.name), *flavor, *map(secret_item, command.secrets.values()))
        case UpdateComponent():
            return (component_item(command.component_id), *map(secret_item, command.secrets.values()))
        case RenameComponent():
            return (component_item(command.component_id), _name_item(command.type, command.name))
        case ShareComponent() | UnshareComponent():
            return (component_item(command.component_id),)
        case DeleteComponent():
            return deletion_items(command.component_id)
        case _:
            assert_never(command)


def decide(command: ComponentCommand, state: State) -> list[Event]:
    """Decide a command about a component."""
    if isinstance(command, RegisterComponent):
        return _register(command, state)
    component = state.get(command.component_id)
    if component.built_in:
        raise BuiltIn(
            f"The {component} belongs to every installation and stays as it is.",
            hint=f"Register another one with `stackledger {component.type.group} register NAME --flavor F`.",
        )
    match command:
        case UpdateComponent():
            return _update(command, component, state)
        case RenameComponent():
            return _rename(command, component, state)
        case ShareComponent():
            return [] if component.shared else [ComponentShared(component_id=component.id)]
        case UnshareComponent():
            return [ComponentUnshared(component_id=component.id)] if component.shared else []
        case DeleteComponent():
            _refuse_while_used(state, component)
            return deletion(state, component)
        case _:
            assert_never(command)


def _register(command: RegisterComponent, state: State) -> list[Event]:
    name = registry_name(command.name, command.type.words)
    _refuse_taken(state, command.type, name, command.component_id)
    flavor = registered(state.flavors, command.type, command.flavor) if command.custom_flavor else command.flavor
    refuse_literal_secrets(command.configuration, command.secret_fields)
    return [
        ComponentRegistered(
            component_id=command.component_id,
            type=command.type,
            name=name,
            flavor=flavor,
            custom_flavor=command.custom_flavor,
            configuration=dict(command.configuration),
            labels=checked_labels(command.labels),
            shared=command.shared,
            built_in=False,
            secrets=state.secrets.resolved(command.configuration, command.secrets),
        )
    ]


def _update(command: UpdateComponent, component: Component, state: State) -> list[Event]:
    if command.stranded:
        raise InUse(
            f"With this change to the {component} steps would be executed on other machines than the one that alone has"
            " their artifact store, in the stacks",
            hint="Give these another orchestrator or artifact store first (`stackledger stack update`), or register"
            f" another {component.type.words}: `stackledger {component.type.group} copy`.",
            others=command.stranded,
        )
    refuse_literal_secrets(command.configuration, command.secret_fields)
    secrets = state.secrets.resolved(command.configuration, command.secrets)
    labels = checked_labels(command.labels)
    if _same(command.configuration, component.configuration) and labels == component.labels:
        return []
    return [
        ComponentUpdated(
            component_id=component.id,
            configuration=dict(command.configuration),
            labels=labels,
            secrets=secrets,
            previous_configuration=dict(component.configuration),
            previous_labels=dict(component.labels),
            previous_secrets=component.secrets,
        )
    ]


def _same(one: Configuration, other: Configuration) -> bool:
    # Python holds 1, 1.0 and True for equal; a configuration does not.
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _rename(command: RenameComponent, component: Component, state: State) -> list[Event]:
    if command.type != component.type:
        raise InvalidValue(f"The {component} is not of the type {command.type.words}.")
    name = registry_name(command.name, component.type.words)
    if name == component.name:
        return []
    _refuse_taken(state, component.type, name, component.id)
    return [ComponentRenamed(component_id=component.id, type=component.type, name=name, previous_name=component.name)]


def deletion(state: State, component: Component) -> list[Event]:
    """Return the end of a component and of its pairing."""
    return [
        *unpaired(state.pairings, component.id, "deleted"),
        ComponentDeleted(
            component_id=component.id,
            type=component.type,
            name=component.name,
            flavor=component.flavor,
            custom_flavor=component.custom_flavor,
            secrets=component.secrets,
        ),
    ]


def _refuse_taken(state: State, component_type: ComponentType, name: str, component_id: str) -> None:
    holder = state.holders.get((component_type, folded(name)), component_id)
    if holder != component_id:
        raise AlreadyExists(
            f"There is a component of the type {component_type.words} named {name!r} already (id {holder}).",
            hint=f"Choose another name, or change that one with `stackledger {component_type.group} update {name}`.",
        )


def _refuse_while_used(state: State, component: Component) -> None:
    stacks = stacks_using(state.uses, component.id)
    if stacks:
        raise InUse(
            f"The {component} cannot be deleted, because {counted(len(stacks), 'stack')}"
            f" {'uses' if len(stacks) == 1 else 'use'} it:",
            others=stacks,
            hint="Update or delete them first with `stackledger stack update NAME` or `stackledger stack delete NAME`.",
        )


DECIDER: Decider[ComponentCommand, State] = Decider(initial=State(), boundary=boundary, decide=decide, evolve=evolve)
