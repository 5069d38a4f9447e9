"""What the log says about the stacks of a boundary: the state that `stacks` decides on."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias, assert_never, get_args

from stackledger.domain import component_state
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import NotFound
from stackledger.domain.event import Event, Item, item
from stackledger.domain.events.stacks import (
    StackActivated,
    StackDeleted,
    StackRegistered,
    StackRenamed,
    StackShared,
    StackUnshared,
    StackUpdated,
    activation_tag,
    stack_name_tag,
    stack_tag,
)
from stackledger.domain.names import folded, registry_name
from stackledger.domain.persistent_map import PersistentMap

StackEvent: TypeAlias = StackRegistered | StackUpdated | StackRenamed | StackShared | StackUnshared | StackDeleted


class Scope(NamedTuple):
    """For whom a stack is active: a user by subject id, or a repository by its id."""

    kind: Literal["user", "repository"]
    id: str


class Stack(NamedTuple):
    """A stack as it is now."""

    id: str
    name: str
    components: Mapping[ComponentType, tuple[str, ...]]
    labels: Mapping[str, str]
    shared: bool
    built_in: bool
    deleted: bool = False

    @property
    def uses(self) -> tuple[str, ...]:
        """The ids of all its components."""
        return tuple(component_id for ids in self.components.values() for component_id in ids)


class State(NamedTuple):
    """What of the boundary is there: stacks by id, who holds which name (folded), what was activated last for whom.

    `registry` is what the components' own decisions look at.
    """

    stacks: PersistentMap[str, Stack] = PersistentMap()
    holders: PersistentMap[str, str] = PersistentMap()
    activations: Mapping[Scope, str] = MappingProxyType({})
    registry: component_state.State = component_state.State()

    def get(self, stack_id: str) -> Stack:
        """Return a stack that is there, or raise NotFound."""
        stack = self.stacks.get(stack_id)
        if stack is None:
            raise NotFound(f"There is no stack with the id {stack_id!r}.")
        if stack.deleted:
            raise NotFound(f"The stack {stack.name!r} was deleted.", hint="See `stackledger stack list`.")
        return stack


def stack_item(stack_id: str) -> Item:
    """Return the item for a stack's own events."""
    return item(stack_tag(stack_id), *get_args(StackEvent))


def named_stack_item(stack_id: str) -> Item:
    """Return the item for a stack's being there under its name, whatever is in it."""
    return item(stack_tag(stack_id), StackRegistered, StackRenamed, StackDeleted)


def name_item(name: str) -> Item:
    """Return the item for who takes or gives back the name of a stack, or raise InvalidName."""
    return item(stack_name_tag(registry_name(name, "stack")), StackRegistered, StackRenamed, StackDeleted)


def activation_item(scope: Scope) -> Item:
    """Return the item for what was activated for a user or a repository."""
    return item(activation_tag(scope.kind, scope.id), StackActivated)


def evolve(state: State, event: Event) -> State:
    """Fold one event into the part of the state that it is about."""
    state = state._replace(registry=component_state.evolve(state.registry, event))
    if isinstance(event, StackActivated):
        scope = Scope(event.scope, event.scope_id)
        return state._replace(activations={**state.activations, scope: event.stack_id})
    return _evolve_stack(state, event) if isinstance(event, StackEvent) else state


def _evolve_stack(state: State, event: StackEvent) -> State:
    stacks, holders = state.stacks, state.holders
    # A boundary with a name alone holds later events of stacks whose beginning it does not hold.
    known = stacks.get(event.stack_id)
    match event:
        case StackRegistered():
            stack = Stack(
                id=event.stack_id,
                name=event.name,
                components=event.components,
                labels=event.labels,
                shared=event.shared,
                built_in=event.built_in,
            )
            stacks = stacks.put(stack.id, stack)
            holders = holders.put(folded(event.name), stack.id)
        case StackUpdated():
            if known:
                stacks = stacks.put(known.id, known._replace(components=event.components, labels=event.labels))
        case StackRenamed():
            if known:
                stacks = stacks.put(known.id, known._replace(name=event.name))
            holders = holders.without(folded(event.previous_name)).put(folded(event.name), event.stack_id)
        case StackShared() | StackUnshared():
            if known:
                stacks = stacks.put(known.id, known._replace(shared=isinstance(event, StackShared)))
        case StackDeleted():
            if known:
                stacks = stacks.put(known.id, known._replace(deleted=True))
            holders = holders.without(folded(event.name))
        case _:
            assert_never(event)
    return state._replace(stacks=stacks, holders=holders)
