"""Which stacks use which components: read for deletions only, because a popular component has very many users."""

from __future__ import annotations

from typing import TypeAlias

from stackledger.domain.chain import Chain, newest_first
from stackledger.domain.event import Item, item
from stackledger.domain.events.stacks import StackDeleted, StackRegistered, StackUpdated, uses_tag

UseEvent: TypeAlias = StackRegistered | StackUpdated | StackDeleted
Uses: TypeAlias = Chain[UseEvent] | None


def uses_item(component_id: str) -> Item:
    """Return the item for all that begins or ends a stack's use of the component."""
    return item(uses_tag(component_id), StackRegistered, StackUpdated, StackDeleted)


def stacks_using(uses: Uses, component_id: str) -> set[str]:
    """Return the ids of the stacks that use a component whose item is in the boundary."""
    settled: set[str] = set()
    using: set[str] = set()
    for event in newest_first(uses):
        if event.stack_id not in settled:
            settled.add(event.stack_id)
            if not isinstance(event, StackDeleted) and any(component_id in ids for ids in event.components.values()):
                using.add(event.stack_id)
    return using
