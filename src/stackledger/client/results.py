"""What queries about stacks and components return: plain tuples with names, and the JSON that is printed of them.

Named tuples, not data classes: a query's whole budget beyond the interpreter is about 20 ms, and a frozen
data class takes 0.9 ms to define, a named tuple 0.14. What other queries return stands in modules of its own, which
are imported where it is made.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from typing import Any, NamedTuple

from stackledger.domain.component_types import ComponentType
from stackledger.projections.listing import Page
from stackledger.projections.registry_queries import ComponentRef

__all__ = ["Component", "Page", "Stack"]


class Stack(NamedTuple):
    """A stack. `components` are by type, the default one of a type first; `active` is for the caller.

    The default one of each type is an attribute too: `stack.orchestrator`, `stack.artifact_store`.
    """

    id: str
    name: str
    active: bool
    shared: bool
    owner: str
    labels: dict[str, str]
    components: dict[str, tuple[ComponentRef, ...]]

    def __getattr__(self, name: str) -> ComponentRef | None:
        """Return the stack's default component of the type that is named, None if it has none."""
        if name in set(ComponentType):
            return next(iter(self.components.get(name, ())), None)
        raise AttributeError(f"A stack has no {name!r}, but {', '.join((*self._fields, *ComponentType))}.")

    def to_json(self) -> dict[str, Any]:
        """Return the stack as JSON."""
        components = {kind: [one._asdict() for one in several] for kind, several in self.components.items()}
        return self._asdict() | {"components": components}


class Component(NamedTuple):
    """A component: a configured instance of a flavor. `active` says that it is part of the caller's active stack."""

    id: str
    name: str
    type: str
    flavor: str
    active: bool
    shared: bool
    owner: str
    labels: dict[str, str]
    configuration: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the component as JSON."""
        return self._asdict()
