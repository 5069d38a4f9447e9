"""Events about stacks and about which one is active for whom."""

from __future__ import annotations

from typing import ClassVar, Literal

from stackledger.domain.component_types import ComponentType
from stackledger.domain.event import Event
from stackledger.domain.names import folded

Components = dict[ComponentType, tuple[str, ...]]
"""Component ids per type, the default one of a type first."""


def stack_tag(stack_id: str) -> str:
    """Return the tag on the stack's own events, and on nothing else."""
    return f"stack:{stack_id}"


def stack_name_tag(name: str) -> str:
    """Return the tag on every event that takes or gives back this name."""
    return f"stack-name:{folded(name)}"


def uses_tag(component_id: str) -> str:
    """Return the tag on the events of every stack that uses the component, before or after them."""
    return f"uses:{component_id}"


def activation_tag(scope: str, scope_id: str) -> str:
    """Return the tag on every activation for this user or repository."""
    return f"activation:{scope}/{scope_id}"


def _flat(components: Components) -> set[str]:
    return {component_id for ids in components.values() for component_id in ids}


class StackRegistered(Event):
    """A stack came to be. Its owner is the event's actor; `built_in` marks the default stack."""

    TYPE: ClassVar[str] = "stack.registered/1"

    stack_id: str
    name: str
    components: Components
    labels: dict[str, str]
    shared: bool
    built_in: bool

    def tags(self) -> tuple[str, ...]:
        """Find it by stack, name and components."""
        return (stack_tag(self.stack_id), stack_name_tag(self.name), *map(uses_tag, _flat(self.components)))


class StackUpdated(Event):
    """Components or labels changed; both are given whole, as they were and as they are."""

    TYPE: ClassVar[str] = "stack.updated/1"

    stack_id: str
    components: Components
    labels: dict[str, str]
    previous_components: Components
    previous_labels: dict[str, str]

    def tags(self) -> tuple[str, ...]:
        """Find it by stack and by the components used before or after."""
        used = _flat(self.components) | _flat(self.previous_components)
        return (stack_tag(self.stack_id), *map(uses_tag, used))


class StackRenamed(Event):
    """A stack has another name and the same id; `uses` are the ids of its components."""

    TYPE: ClassVar[str] = "stack.renamed/1"

    stack_id: str
    name: str
    previous_name: str
    uses: tuple[str, ...]

    def tags(self) -> tuple[str, ...]:
        """Find it by stack, by both names and by components."""
        return (
            stack_tag(self.stack_id),
            stack_name_tag(self.name),
            stack_name_tag(self.previous_name),
            *map(uses_tag, self.uses),
        )


class StackShared(Event):
    """A stack was marked as shared."""

    TYPE: ClassVar[str] = "stack.shared/1"

    stack_id: str

    def tags(self) -> tuple[str, ...]:
        """Find it by stack."""
        return (stack_tag(self.stack_id),)


class StackUnshared(Event):
    """A stack was marked as private."""

    TYPE: ClassVar[str] = "stack.unshared/1"

    stack_id: str

    def tags(self) -> tuple[str, ...]:
        """Find it by stack."""
        return (stack_tag(self.stack_id),)


class StackDeleted(Event):
    """A stack is gone; its name is free again. `uses` are the ids of the components it had."""

    TYPE: ClassVar[str] = "stack.deleted/1"

    stack_id: str
    name: str
    uses: tuple[str, ...]

    def tags(self) -> tuple[str, ...]:
        """Find it by stack, name and components."""
        return (stack_tag(self.stack_id), stack_name_tag(self.name), *map(uses_tag, self.uses))


class StackActivated(Event):
    """A stack became the active one for a user (by subject id) or for a repository (by its id)."""

    TYPE: ClassVar[str] = "stack.activated/1"

    stack_id: str
    scope: Literal["user", "repository"]
    scope_id: str

    def tags(self) -> tuple[str, ...]:
        """Find it by whom it is for, and by the stack it names."""
        return (activation_tag(self.scope, self.scope_id), f"activates:{self.stack_id}")
