"""Stacks: combinations of components, an orchestrator and an artifact store at least.

Commands: RegisterStack, UpdateStack, RenameStack, ShareStack, UnshareStack, DeleteStack, ActivateStack, AssembleStack.
`Scope`, for whom a stack is active, is in `stack_state`; a copy is a RegisterStack with the parts of another.
Give `seen={stack_item(id): position}` with those that change a stack, so that of two people one is told.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, assert_never

from stackledger.domain import component_state, components
from stackledger.domain.component_types import REQUIRED
from stackledger.domain.components import RegisterComponent
from stackledger.domain.decider import Decider
from stackledger.domain.errors import AlreadyExists, BuiltIn, Refused
from stackledger.domain.event import Boundary, Event
from stackledger.domain.events.stacks import (
    StackActivated,
    StackDeleted,
    StackRegistered,
    StackRenamed,
    StackShared,
    StackUnshared,
    StackUpdated,
)
from stackledger.domain.labels import checked_labels
from stackledger.domain.names import folded, registry_name
from stackledger.domain.stack_parts import Parts, check_reach, checked_parts, pairing, part_items, stores
from stackledger.domain.stack_state import (
    Scope,
    Stack,
    State,
    activation_item,
    evolve,
    name_item,
    named_stack_item,
    stack_item,
)
from stackledger.domain.uses import stacks_using


class RegisterStack(NamedTuple):
    """Register a stack under a new id.

    `components` are the ids per type, the default one of a type first. `decouple_stores` ends the pairings that
    stand in the way; `activate` says for whom it becomes the active one. `confined` are the ids of those components
    that, as far as is known, one machine alone can use.
    """

    stack_id: str
    name: str
    components: Parts
    labels: Mapping[str, str] = MappingProxyType({})
    shared: bool = False
    decouple_stores: bool = False
    activate: tuple[Scope, ...] = ()
    confined: Collection[str] = ()


class UpdateStack(NamedTuple):
    """Give a stack these whole components and these whole labels. The rest is as in RegisterStack."""

    stack_id: str
    components: Parts
    labels: Mapping[str, str]
    decouple_stores: bool = False
    confined: Collection[str] = ()


class RenameStack(NamedTuple):
    """Give a stack another name. It stays active where it is."""

    stack_id: str
    name: str


class ShareStack(NamedTuple):
    """Mark a stack as shared."""

    stack_id: str


class UnshareStack(NamedTuple):
    """Mark a stack as private."""

    stack_id: str


class DeleteStack(NamedTuple):
    """Take a stack away, unless it is active for the caller: here, or wherever nothing else is chosen.

    Who calls: `user_id`, the repository they stand in, and the stack that their environment names, by id.
    `take_along` are ids of components to delete too; one that is not part of the stack or that another stack uses
    stays, and so do the built-in ones, which the default stack always uses. All users of each are read, so leave
    out those that other stacks are known to use.
    """

    stack_id: str
    user_id: str
    repository_id: str | None = None
    environment_stack_id: str | None = None
    take_along: tuple[str, ...] = ()


class ActivateStack(NamedTuple):
    """Make a stack the active one for a user or a repository."""

    stack_id: str
    scope: Scope


class AssembleStack(NamedTuple):
    """Register components and put a stack together with them, all or nothing: `stack restore` and `stack import`.

    `stack` names the ids of the new components beside those that are there already.
    """

    new: tuple[RegisterComponent, ...]
    stack: RegisterStack | UpdateStack


StackCommand: TypeAlias = (
    RegisterStack | UpdateStack | RenameStack | ShareStack | UnshareStack | DeleteStack | ActivateStack | AssembleStack
)


def boundary(command: StackCommand) -> Boundary:  # noqa: PLR0911 - one for each command
    """Depend on the stack, the name it takes, and the being there of its components."""
    match command:
        case RegisterStack():
            return (name_item(command.name), *part_items(command.components))
        case UpdateStack():
            return (stack_item(command.stack_id), *part_items(command.components))
        case RenameStack():
            return (stack_item(command.stack_id), name_item(command.name))
        case ShareStack() | UnshareStack():
            return (stack_item(command.stack_id),)
        case DeleteStack():
            along = (each for component_id in command.take_along for each in components.deletion_items(component_id))
            return (stack_item(command.stack_id), *map(activation_item, _scopes(command)), *along)
        case ActivateStack():
            return (named_stack_item(command.stack_id), activation_item(command.scope))
        case AssembleStack():
            new = (each for part in command.new for each in components.boundary(part))
            return (*boundary(command.stack), *new)
        case _:
            assert_never(command)


def _scopes(command: DeleteStack) -> tuple[Scope, ...]:
    """Return for whom the caller may have activated a stack. All of it counts: outside the repository they work too."""
    user = Scope("user", command.user_id)
    return (user,) if command.repository_id is None else (Scope("repository", command.repository_id), user)


def decide(command: StackCommand, state: State) -> list[Event]:
    """Decide a command about a stack."""
    match command:
        case RegisterStack():
            return _register(command, state)
        case ActivateStack():
            return _activate(command, state)
        case AssembleStack():
            return _assemble(command, state)
        case _:
            return _change(command, state)


def _change(command: UpdateStack | RenameStack | ShareStack | UnshareStack | DeleteStack, state: State) -> list[Event]:
    stack = state.get(command.stack_id)
    if stack.built_in:
        raise BuiltIn(
            f"The stack {stack.name!r} belongs to every installation and stays as it is.",
            hint="Make one of your own with `stackledger stack copy` or `stackledger stack register`.",
        )
    match command:
        case UpdateStack():
            return _update(command, stack, state)
        case RenameStack():
            return _rename(command, stack, state)
        case ShareStack():
            return [] if stack.shared else [StackShared(stack_id=stack.id)]
        case UnshareStack():
            return [StackUnshared(stack_id=stack.id)] if stack.shared else []
        case DeleteStack():
            return _delete(command, stack, state)
        case _:
            assert_never(command)


def _register(command: RegisterStack, state: State) -> list[Event]:
    name = registry_name(command.name, "stack")
    _refuse_taken(state, name, command.stack_id)
    parts = checked_parts(command.components, state.registry)
    check_reach(parts, state.registry, command.confined)
    return [
        *pairing(parts, state.registry, decouple=command.decouple_stores),
        StackRegistered(
            stack_id=command.stack_id,
            name=name,
            components=parts,
            labels=checked_labels(command.labels),
            shared=command.shared,
            built_in=False,
        ),
        *(StackActivated(stack_id=command.stack_id, scope=scope.kind, scope_id=scope.id) for scope in command.activate),
    ]


def _update(command: UpdateStack, stack: Stack, state: State) -> list[Event]:
    parts = checked_parts(command.components, state.registry)
    labels = checked_labels(command.labels)
    if any(parts[kind] != stack.components[kind] for kind in REQUIRED):
        check_reach(parts, state.registry, command.confined)
    # Who leaves the stores alone is not asked about a pairing that somebody else has changed since.
    repair = command.decouple_stores or stores(parts) != stores(stack.components)
    events = pairing(parts, state.registry, decouple=command.decouple_stores) if repair else []
    if parts != stack.components or labels != stack.labels:
        events.append(
            StackUpdated(
                stack_id=stack.id,
                components=parts,
                labels=labels,
                previous_components=dict(stack.components),
                previous_labels=dict(stack.labels),
            )
        )
    return events


def _rename(command: RenameStack, stack: Stack, state: State) -> list[Event]:
    name = registry_name(command.name, "stack")
    if name == stack.name:
        return []
    _refuse_taken(state, name, stack.id)
    return [StackRenamed(stack_id=stack.id, name=name, previous_name=stack.name, uses=stack.uses)]


def _delete(command: DeleteStack, stack: Stack, state: State) -> list[Event]:
    if stack.id == command.environment_stack_id:
        raise Refused(
            f"The stack {stack.name!r} is your active stack, so it cannot be deleted.",
            hint="Name another one in STACKLEDGER_ACTIVE_STACK, or unset it.",
        )
    for scope in _scopes(command):
        if stack.id == state.activations.get(scope):
            ours = scope.kind == "user"
            option = " --global" if ours and command.repository_id else ""
            raise Refused(
                f"The stack {stack.name!r} is {'your active stack' if ours else 'active in this repository'},"
                " so it cannot be deleted.",
                hint=f"Activate another one first with `stackledger stack set NAME{option}`.",
            )
    events: list[Event] = [StackDeleted(stack_id=stack.id, name=stack.name, uses=stack.uses)]
    registry = state.registry
    for component_id in dict.fromkeys(command.take_along):
        component = registry.components.get(component_id)
        if component is None or component.deleted or component_id not in stack.uses:
            continue
        if not stacks_using(registry.uses, component_id) - {stack.id}:
            ended = components.deletion(registry, component)
            events.extend(ended)
            for event in ended:
                registry = component_state.evolve(registry, event)
    return events


def _activate(command: ActivateStack, state: State) -> list[Event]:
    stack = state.get(command.stack_id)
    active = state.activations.get(command.scope)
    # The default stack is what holds for a user who has activated nothing.
    if stack.id == active or (active is None and stack.built_in and command.scope.kind == "user"):
        return []
    return [StackActivated(stack_id=stack.id, scope=command.scope.kind, scope_id=command.scope.id)]


def _assemble(command: AssembleStack, state: State) -> list[Event]:
    events: list[Event] = []
    for part in (*command.new, command.stack):
        new = components.decide(part, state.registry) if isinstance(part, RegisterComponent) else decide(part, state)
        for event in new:
            state = evolve(state, event)
        events.extend(new)
    return events


def _refuse_taken(state: State, name: str, stack_id: str) -> None:
    holder = state.holders.get(folded(name), stack_id)
    if holder != stack_id:
        raise AlreadyExists(
            f"There is a stack named {name!r} already (id {holder}).",
            hint=f"Choose another name, or change that one with `stackledger stack update {name}`.",
        )


DECIDER: Decider[StackCommand, State] = Decider(initial=State(), boundary=boundary, decide=decide, evolve=evolve)
