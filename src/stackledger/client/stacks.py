"""The client's part about stacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stackledger.client.results import Page, Stack
from stackledger.client.session import ACTIVE_STACK, Session
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import NotFound
from stackledger.domain.names import quoted
from stackledger.projections import registry_queries

if TYPE_CHECKING:
    from stackledger.domain.event import Item
    from stackledger.domain.stack_state import Scope
    from stackledger.projections.engine import View
    from stackledger.projections.registry_queries import StackRow

Parts = dict[ComponentType, tuple[str, ...]]
Named = Mapping[str, Sequence[str]]
"""Components by type: their names or ids, the default one first."""


class StackClient(Session):
    """Stacks: what there is, which one is active, and every change to them."""

    def list_stacks(
        self,
        *,
        filters: Mapping[str, Any] | None = None,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
        as_of: str | int | None = None,
    ) -> Page[Stack]:
        """Return a page of the stacks, oldest first unless `sort_by` says otherwise."""

        def query(view: View) -> Page[Stack]:
            found = registry_queries.stacks(view, self._asked(filters, sort_by, page, size))
            active, names = self._active_id(view), self._names()
            return Page([_stack(row, active, names) for row in found.items], found.total, page, size)

        return self._read(query, as_of)

    def get_stack(
        self, name_id_or_prefix: str | None = None, *, as_of: str | int | None = None, prefix: bool = True
    ) -> Stack:
        """Return a stack by id, name or what begins one; the active one if none is named.

        Without `prefix` no beginning of a name is taken, as changes do.
        """

        def query(view: View) -> Stack:
            if name_id_or_prefix is None:
                row = self._active(view)[0].stack
            else:
                row = registry_queries.stack(view, name_id_or_prefix, prefix=prefix)
            return _stack(row, self._active_id(view), self._names())

        return self._read(query, as_of)

    def active_stack(self, *, as_of: str | int | None = None) -> tuple[Stack, str]:
        """Return the active stack and for whom it is: `environment`, `repository` or `global`."""

        def query(view: View) -> tuple[Stack, str]:
            active, scope = self._active(view)
            return _stack(active.stack, active.stack.id, self._names()), scope

        return self._read(query, as_of)

    def create_stack(
        self,
        name: str,
        components: Named,
        *,
        labels: Mapping[str, str] | None = None,
        activate: bool = False,
        decouple_stores: bool = False,
    ) -> Stack:
        """Register a stack of these components, and make it the active one with `activate`."""
        parts, seen = self._seen_parts(components)
        return self._create_stack(name, parts, labels or {}, seen, activate=activate, decouple_stores=decouple_stores)

    def update_stack(
        self,
        name: str | None,
        components: Named,
        *,
        labels: Mapping[str, str | None] | None = None,
        decouple_stores: bool = False,
    ) -> Stack:
        """Put these components in place of those of the same types, and set these labels; None takes one off."""
        from stackledger.domain.labels import changed_labels

        row, position = self._seen(name)
        parts, seen = self._seen_parts(components)
        return self._update(
            row,
            position,
            _parts(row) | parts,
            changed_labels(row.labels, labels or {}),
            seen=seen,
            decouple_stores=decouple_stores,
        )

    def remove_stack_components(self, name: str | None, components: Named) -> Stack:
        """Take components out of a stack: those named of a type, or all of it where no name is given."""
        row, position = self._seen(name)
        parts = _parts(row)
        for kind, names in components.items():
            there = parts.pop(ComponentType(kind), ())
            if not there:
                raise NotFound(f"The stack {row.name!r} has no {ComponentType(kind).words}.")
            if names:
                gone = self._seen_parts({kind: names})[0][ComponentType(kind)]
                for component_id, each in zip(gone, names, strict=True):
                    if component_id not in there:
                        raise NotFound(
                            f"The {ComponentType(kind).words} {quoted(each)} is not part of the stack {row.name!r}.",
                            near=[ref.name for ref in row.components[kind]],
                        )
                left = tuple(component_id for component_id in there if component_id not in gone)
                if left:
                    parts[ComponentType(kind)] = left
        return self._update(row, position, parts, row.labels)

    def rename_stack(self, name: str, new_name: str) -> Stack:
        """Give a stack another name."""
        from stackledger.domain import stacks

        row, position = self._seen(name)
        return self._changed(row, position, stacks.RenameStack(stack_id=row.id, name=new_name))

    def copy_stack(self, name: str, new_name: str, *, decouple_stores: bool = False) -> Stack:
        """Register a stack with the components and labels of another."""
        from stackledger.domain.stack_state import stack_item

        row, position = self._seen(name)
        seen = {stack_item(row.id): position}
        return self._create_stack(new_name, _parts(row), row.labels, seen, decouple_stores=decouple_stores)

    def share_stack(self, name: str) -> Stack:
        """Mark a stack as shared."""
        from stackledger.domain import stacks

        row, position = self._seen(name)
        return self._changed(row, position, stacks.ShareStack(stack_id=row.id))

    def unshare_stack(self, name: str) -> Stack:
        """Mark a stack as private."""
        from stackledger.domain import stacks

        row, position = self._seen(name)
        return self._changed(row, position, stacks.UnshareStack(stack_id=row.id))

    def delete_stack(self, name: str, *, recursive: bool = False) -> None:
        """Delete a stack that is not active; with `recursive` the components too that no other stack uses."""
        from stackledger.domain import stacks
        from stackledger.domain.stack_state import stack_item

        context = self._context()

        def query(view: View) -> tuple[StackRow, tuple[str, ...], int]:
            row = registry_queries.stack(view, name, prefix=False)
            alone = [
                ref.id
                for refs in (row.components.values() if recursive else ())
                for ref in refs
                if len(registry_queries.stacks_using(view, ref.id)) == 1
            ]
            return row, tuple(alone), view.position

        row, take_along, position = self._read(query)
        command = stacks.DeleteStack(
            stack_id=row.id,
            user_id=context.actor,
            repository_id=self._ledger.repository_id,
            environment_stack_id=self._environment_stack_id(),
            take_along=take_along,
        )
        self._change(stacks.DECIDER, command, seen={stack_item(row.id): position}, context=context)

    def activate_stack(self, name: str, *, everywhere: bool = False) -> Stack:
        """Make a stack the active one for the repository around, or for the user with `everywhere` or without one."""
        from stackledger.domain import stacks
        from stackledger.domain.stack_state import named_stack_item

        context = self._context()
        row, position = self._seen(name)
        command = stacks.ActivateStack(stack_id=row.id, scope=self._scope(context.actor, everywhere=everywhere))
        seen = {named_stack_item(row.id): position}
        self._change(stacks.DECIDER, command, seen=seen, context=context)
        if self._ledger.environment.get(ACTIVE_STACK):
            self._notify(f"{ACTIVE_STACK} is set, so its stack stays the active one in this environment.")
        return self.get_stack(row.id)

    def activation_scope(self, *, everywhere: bool = False) -> str:
        """Return for whom `activate_stack` activates here: `repository`, or `global`, always so with `everywhere`."""
        return "global" if everywhere or self._ledger.repository_id is None else "repository"

    def _seen_parts(self, components: Named) -> tuple[Parts, dict[Item, int]]:
        """Return the ids of components, and at which position each was seen under its name."""
        from stackledger.domain.stack_parts import part_item

        def query(view: View) -> tuple[Parts, int]:
            parts = {
                ComponentType(kind): tuple(
                    registry_queries.component(view, ComponentType(kind).value, name, prefix=False).id for name in names
                )
                for kind, names in components.items()
            }
            return parts, view.position

        parts, position = self._read(query)
        return parts, {part_item(component_id): position for ids in parts.values() for component_id in ids}

    def _create_stack(
        self,
        name: str,
        parts: Parts,
        labels: Mapping[str, str],
        seen: Mapping[Item, int],
        *,
        activate: bool = False,
        decouple_stores: bool = False,
    ) -> Stack:
        from stackledger.domain import stacks
        from stackledger.eventlog.ids import new_id

        context = self._context()
        command = stacks.RegisterStack(
            stack_id=new_id(),
            name=name,
            components=parts,
            labels=dict(labels),
            decouple_stores=decouple_stores,
            activate=(self._scope(context.actor),) if activate else (),
        )
        self._change(stacks.DECIDER, command, seen=seen, context=context)
        return self.get_stack(command.stack_id)

    def _active_id(self, view: View) -> str | None:
        stack = self._active_if_any(view)
        return stack.id if stack else None

    def _environment_stack_id(self) -> str | None:
        named = self._ledger.environment.get(ACTIVE_STACK)
        return self._read(lambda view: registry_queries.stack(view, named, prefix=False).id) if named else None

    def _scope(self, user_id: str, *, everywhere: bool = False) -> Scope:
        from stackledger.domain.stack_state import Scope

        repository_id = self._ledger.repository_id
        return Scope("user", user_id) if everywhere or repository_id is None else Scope("repository", repository_id)

    def _seen(self, name: str | None) -> tuple[StackRow, int]:
        """Return a stack that is to be changed, and the position at which it was seen."""

        def query(view: View) -> tuple[StackRow, int]:
            if name is None:
                return self._active(view)[0].stack, view.position
            return registry_queries.stack(view, name, prefix=False), view.position

        return self._read(query)

    def _update(
        self,
        row: StackRow,
        position: int,
        parts: Parts,
        labels: Mapping[str, str],
        *,
        seen: Mapping[Item, int] | None = None,
        decouple_stores: bool = False,
    ) -> Stack:
        from stackledger.domain import stacks

        command = stacks.UpdateStack(
            stack_id=row.id, components=parts, labels=dict(labels), decouple_stores=decouple_stores
        )
        return self._changed(row, position, command, seen)

    def _changed(self, row: StackRow, position: int, command: Any, seen: Mapping[Item, int] | None = None) -> Stack:
        from stackledger.domain import stacks
        from stackledger.domain.stack_state import stack_item

        self._change(stacks.DECIDER, command, seen={**(seen or {}), stack_item(row.id): position})
        return self.get_stack(row.id)


def _stack(row: StackRow, active_id: str | None, names: Mapping[str, str]) -> Stack:
    return Stack(
        id=row.id,
        name=row.name,
        active=row.id == active_id,
        shared=row.shared,
        owner=names.get(row.owner, row.owner),
        labels=row.labels,
        components=row.components,
    )


def _parts(row: StackRow) -> Parts:
    return {ComponentType(kind): tuple(ref.id for ref in refs) for kind, refs in row.components.items()}
