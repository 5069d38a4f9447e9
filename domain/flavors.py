"""Flavors that users register: a class of their own for one type of component.

Commands: RegisterFlavor, DeleteFlavor. The flavors that come with the program are not in the log.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, assert_never, get_args

from stackledger.domain.chain import Chain, newest_first
from stackledger.domain.component_types import ComponentType
from stackledger.domain.decider import Decider
from stackledger.domain.errors import AlreadyExists, InUse, InvalidValue, NotFound
from stackledger.domain.event import Boundary, Event, Item, item
from stackledger.domain.events.components import (
    ComponentDeleted,
    ComponentRegistered,
    FlavorDeleted,
    FlavorRegistered,
    flavor_tag,
    flavored_tag,
)
from stackledger.domain.names import folded, quoted, registry_name
from stackledger.domain.wording import counted

_SOURCE = re.compile(r"(?:[^\W\d]\w*\.)+[^\W\d]\w*")


class RegisterFlavor(NamedTuple):
    """Add a flavor of one's own: `source` is the dotted path of its class. `catalogue` says whose the others are."""

    type: ComponentType
    name: str
    source: str
    catalogue: Mapping[str, str]


class DeleteFlavor(NamedTuple):
    """Take a registered flavor away that no component is of."""

    type: ComponentType
    name: str


FlavorCommand: TypeAlias = RegisterFlavor | DeleteFlavor
FlavorEvent: TypeAlias = FlavorRegistered | FlavorDeleted
FlavoredEvent: TypeAlias = ComponentRegistered | ComponentDeleted
Flavors: TypeAlias = Mapping[tuple[ComponentType, str], str]
"""The names of registered flavors in the boundary, by type and folded name."""


class State(NamedTuple):
    """The registered flavors in the boundary, and the beginnings and ends of their components."""

    flavors: Flavors = MappingProxyType({})
    flavored: Chain[FlavoredEvent] | None = None

    def components(self) -> set[str]:
        """Return the ids of the components that are of the flavor in the boundary."""
        gone: set[str] = set()
        there: set[str] = set()
        for event in newest_first(self.flavored):
            (gone if isinstance(event, ComponentDeleted) else there).add(event.component_id)
        return there - gone


def flavor_item(component_type: ComponentType, name: str) -> Item:
    """Return the item for the own events of a registered flavor."""
    return item(flavor_tag(component_type, registry_name(name, "flavor")), *get_args(FlavorEvent))


def registered(flavors: Flavors, component_type: ComponentType, name: str) -> str:
    """Return the name of a registered flavor as it was registered, or raise NotFound."""
    flavor = flavors.get((component_type, folded(name)))
    if flavor is None:
        raise NotFound(
            f"No flavor {quoted(name)} of {component_type.words} is registered.",
            hint=f"See `stackledger {component_type.group} flavor list`.",
        )
    return flavor


def boundary(command: FlavorCommand) -> Boundary:
    """Depend on the flavor, and for deleting it on its components."""
    own = flavor_item(command.type, command.name)
    match command:
        case RegisterFlavor():
            return (own,)
        case DeleteFlavor():
            return (own, item(flavored_tag(command.type, command.name), *get_args(FlavoredEvent)))
        case _:
            assert_never(command)


def decide(command: FlavorCommand, state: State) -> list[Event]:
    """Decide a command about a registered flavor."""
    match command:
        case RegisterFlavor():
            return _register(command, state)
        case DeleteFlavor():
            return _delete(command, state)
        case _:
            assert_never(command)


def _register(command: RegisterFlavor, state: State) -> list[Event]:
    name = registry_name(command.name, "flavor")
    origin = next((whose for known, whose in command.catalogue.items() if folded(known) == folded(name)), None)
    if origin or (command.type, folded(name)) in state.flavors:
        raise AlreadyExists(
            f"There is a flavor {name!r} of {command.type.words} already"
            + (f", and it comes with {origin}." if origin else "."),
            hint="Give the class another name."
            if origin
            else f"Delete it first with `stackledger {command.type.group} flavor delete {name}`.",
        )
    if not _SOURCE.fullmatch(command.source):
        raise InvalidValue(
            f"{quoted(command.source[:200])} is not the dotted path of a class.", hint="Give it as module.Class."
        )
    return [FlavorRegistered(type=command.type, name=name, source=command.source)]


def _delete(command: DeleteFlavor, state: State) -> list[Event]:
    name = registered(state.flavors, command.type, command.name)
    components = state.components()
    if components:
        raise InUse(
            f"The flavor {name!r} of {command.type.words} cannot be deleted, because"
            f" {counted(len(components), 'component')} {'is' if len(components) == 1 else 'are'} of it:",
            others=components,
            hint="Delete the components first.",
        )
    return [FlavorDeleted(type=command.type, name=name)]


def evolve_flavors(flavors: Flavors, event: FlavorEvent) -> Flavors:
    """Fold one event about a registered flavor."""
    key = (event.type, folded(event.name))
    match event:
        case FlavorRegistered():
            return {**flavors, key: event.name}
        case FlavorDeleted():
            return {each: name for each, name in flavors.items() if each != key}
        case _:
            assert_never(event)


def evolve(state: State, event: Event) -> State:
    """Fold one event."""
    if isinstance(event, FlavorEvent):
        return state._replace(flavors=evolve_flavors(state.flavors, event))
    if isinstance(event, FlavoredEvent):
        return state._replace(flavored=Chain(event, state.flavored))
    return state


DECIDER: Decider[FlavorCommand, State] = Decider(initial=State(), boundary=boundary, decide=decide, evolve=evolve)
