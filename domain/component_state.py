"""What the log says about the components of a boundary: the state that `components` and `stacks` decide on."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, assert_never

from pydantic import JsonValue

from stackledger.domain.chain import Chain
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import NotFound
from stackledger.domain.event import Event
from stackledger.domain.events.components import (
    ComponentDeleted,
    ComponentRegistered,
    ComponentRenamed,
    ComponentShared,
    ComponentUnshared,
    ComponentUpdated,
)
from stackledger.domain.flavors import FlavorEvent, Flavors, evolve_flavors
from stackledger.domain.names import folded
from stackledger.domain.pairings import PairingEvent, Pairings, evolve_pairings
from stackledger.domain.persistent_map import PersistentMap
from stackledger.domain.secrets import SecretEvent, Secrets, evolve_secrets
from stackledger.domain.uses import UseEvent, Uses

Configuration: TypeAlias = Mapping[str, JsonValue]

ComponentEvent: TypeAlias = (
    ComponentRegistered | ComponentUpdated | ComponentRenamed | ComponentShared | ComponentUnshared | ComponentDeleted
)


class Component(NamedTuple):
    """A component as it is now."""

    id: str
    type: ComponentType
    name: str
    flavor: str
    custom_flavor: bool
    configuration: Configuration
    labels: Mapping[str, str]
    shared: bool
    built_in: bool
    secrets: tuple[str, ...]
    deleted: bool = False

    def __str__(self) -> str:
        """Name it in a message."""
        return f"{self.type.words} {self.name!r}"


class State(NamedTuple):
    """What of the boundary is there: components by id, who holds which name, and what components depend on."""

    components: PersistentMap[str, Component] = PersistentMap()
    holders: PersistentMap[tuple[ComponentType, str], str] = PersistentMap()
    flavors: Flavors = MappingProxyType({})
    secrets: Secrets = Secrets()
    pairings: Pairings = Pairings()
    uses: Uses = None

    def get(self, component_id: str) -> Component:
        """Return a component that is there, or raise NotFound."""
        component = self.components.get(component_id)
        if component is None:
            raise NotFound(f"There is no component with the id {component_id!r}.")
        if component.deleted:
            raise NotFound(f"The {component} was deleted.")
        return component


def evolve(state: State, event: Event) -> State:
    """Fold one event into the part of the state that it is about."""
    if isinstance(event, ComponentEvent):
        return _evolve_component(state, event)
    if isinstance(event, FlavorEvent):
        return state._replace(flavors=evolve_flavors(state.flavors, event))
    if isinstance(event, SecretEvent):
        return state._replace(secrets=evolve_secrets(state.secrets, event))
    if isinstance(event, PairingEvent):
        return state._replace(pairings=evolve_pairings(state.pairings, event))
    if isinstance(event, UseEvent):
        return state._replace(uses=Chain(event, state.uses))
    return state


def _evolve_component(state: State, event: ComponentEvent) -> State:
    components, holders = state.components, state.holders
    # A boundary with a name alone holds later events of components whose beginning it does not hold.
    known = components.get(event.component_id)
    match event:
        case ComponentRegistered():
            component = Component(
                id=event.component_id,
                type=event.type,
                name=event.name,
                flavor=event.flavor,
                custom_flavor=event.custom_flavor,
                configuration=event.configuration,
                labels=event.labels,
                shared=event.shared,
                built_in=event.built_in,
                secrets=event.secrets,
            )
            components = components.put(component.id, component)
            holders = holders.put((event.type, folded(event.name)), component.id)
        case ComponentUpdated():
            if known:
                changed = known._replace(configuration=event.configuration, labels=event.labels, secrets=event.secrets)
                components = components.put(known.id, changed)
        case ComponentRenamed():
            if known:
                components = components.put(known.id, known._replace(name=event.name))
            holders = holders.without((event.type, folded(event.previous_name)))
            holders = holders.put((event.type, folded(event.name)), event.component_id)
        case ComponentShared() | ComponentUnshared():
            if known:
                components = components.put(known.id, known._replace(shared=isinstance(event, ComponentShared)))
        case ComponentDeleted():
            if known:
                components = components.put(known.id, known._replace(deleted=True))
            holders = holders.without((event.type, folded(event.name)))
        case _:
            assert_never(event)
    return state._replace(components=components, holders=holders)
