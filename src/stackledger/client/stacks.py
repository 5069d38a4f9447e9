"""The client's part about stacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from stackledger.client import arguments
from stackledger.client.arguments import kind_of
from stackledger.client.components import ComponentClient, registered_flavors
from stackledger.client.results import Page, Stack
from stackledger.client.session import ACTIVE_STACK
from stackledger.domain.component_types import REQUIRED, ComponentType
from stackledger.domain.errors import NotFound
from stackledger.domain.names import quoted
from stackledger.projections import registry_queries

if TYPE_CHECKING:
    from stackledger.domain.components import RegisterComponent
    from stackledger.domain.event import Item
    from stackledger.domain.stack_state import Scope
    from stackledger.projections.engine import View
    from stackledger.projections.registry_queries import StackRow

_FILTERS = ("name", "owner", "flavor", "label")
Parts = dict[ComponentType, tuple[str, ...]]
Named = Mapping[str, str | Sequence[str]]
"""Components by type (ComponentType or its text): a name or id, or several, the default one first."""


class StackClient(ComponentClient):
    """Stacks: what there is, which one is active, and every change to them."""

    def list_stacks(
        self,
        *,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
        as_of: str | int | None = None,
        **filters: Any,
    ) -> Page[Stack]:
        """Return a page of the stacks, oldest first unless `sort_by` says otherwise.

        Filters are `name` (also `contains:x`, `startswith:x`, `endswith:x`), `owner`, `flavor` (of any component;
        NotFound for one that there is not), and `label`, one or several (`key` or `key=value`).
        """

        def query(view: View) -> Page[Stack]:
            found = registry_queries.stacks(view, self._asked(_FILTERS, filters, sort_by, page, size))
            active, names = self._active_id(view), self._names()
            return Page([_stack(row, active, names) for row in found.items], found.total, page, size)

        found = self._read(query, as_of)
        flavor = filters.get("flavor")
        if flavor and not found.total:
            from stackledger.flavors import catalogue  # takes longer than a query

            name = catalogue.find(None, flavor, partial(self._read, registered_flavors, as_of)).name
            if name != flavor:  # which is found ignoring case, as everywhere
                named = filters | {"flavor": name}
                return self.list_stacks(sort_by=sort_by, page=page, size=size, as_of=as_of, **named)
        return found

    def get_stack(
        self,
        name_id_or_prefix: str | None = None,
        *,
        allow_name_prefix_match: bool = True,
        as_of: str | int | None = None,
    ) -> Stack:
        """Return a stack by id, name or what begins one; the active one if none is named.

        Changes never take the beginning of a name.
        """

        def query(view: View) -> Stack:
            if name_id_or_prefix is None:
                row = self._active(view)[0].stack
            else:
                row = registry_queries.stack(view, name_id_or_prefix, prefix=allow_name_prefix_match)
            return _stack(row, self._active_id(view), self._names())

        return self._read(query, as_of)

    @property
    def active_stack(self) -> Stack:
        """The stack that is active for the caller now."""
        return self.get_stack()

    @property
    def active_stack_model(self) -> Stack:
        """The same: here a stack is not more than what is known of it."""
        return self.active_stack

    def active_stack_and_scope(self, *, as_of: str | int | None = None) -> tuple[Stack, str]:
        """Return the active stack and for whom it is: `environment`, `repository` or `global`."""

        def query(view: View) -> tuple[Stack, str]:
            active, scope = self._active(view)
            return _stack(active.stack, active.stack.id, self._names()), scope

        return self._read(query, as_of)

    def create_stack(
        self,
        name: str,
        components: Named,
        labels: Mapping[str, str] | None = None,
        *,
        activate: bool = False,
        decouple_stores: bool = False,
    ) -> Stack:
        """Register a stack of these components, and make it the active one with `activate`."""
        arguments.text(name, "The name of a stack")
        checked = arguments.texts_by_key(labels, "The labels")
        parts, seen = self._seen_parts(components)
        return self._create_stack(name, parts, checked, seen, activate=activate, decouple_stores=decouple_stores)

    def update_stack(
        self,
        name_id_or_prefix: str | None = None,
        name: str | None = None,
        *,
        labels: Mapping[str, str | None] | None = None,
        component_updates: Named | None = None,
        decouple_stores: bool = False,
    ) -> Stack:
        """Put these components in place of those of the same types, and set these labels; None takes one off.

        Or give it another `name`, which is a change of its own. Without a stack the active one is changed.
        """
        from stackledger.domain import stacks
        from stackledger.domain.labels import changed_labels

        changes = arguments.texts_by_key(labels, "The labels", gone=True)
        row, position = self._seen(name_id_or_prefix)
        if name is not None:
            arguments.alone(name, labels, component_updates)
            return self._changed(row, position, stacks.RenameStack(stack_id=row.id, name=name))
        parts, seen = self._seen_parts(component_updates or {})
        return self._update(
            row,
            position,
            _parts(row) | parts,
            changed_labels(row.labels, changes),
            seen=seen,
            decouple_stores=decouple_stores,
        )

    def remove_stack_components(self, name_id_or_prefix: str | None, components: Named) -> Stack:
        """Take components out of a stack: those named of a type, or all of it where no name is given."""
        row, position = self._seen(name_id_or_prefix)
        parts = _parts(row)
        for kind, names in _named(components).items():
            there = parts.pop(kind, ())
            if not there:
                raise NotFound(f"The stack {row.name!r} has no {kind.words}.")
            if names:
                gone = self._seen_parts({kind: names})[0][kind]
                for component_id, each in zip(gone, names, strict=True):
                    if component_id not in there:
                        raise NotFound(
                            f"The {kind.words} {quoted(each)} is not part of the stack {row.name!r}.",
                            near=[ref.name for ref in row.components[kind]],
                        )
                left = tuple(component_id for component_id in there if component_id not in gone)
                if left:
                    parts[kind] = left
        return self._update(row, position, parts, row.labels)

    def copy_stack(self, name_id_or_prefix: str, new_name: str, *, decouple_stores: bool = False) -> Stack:
        """Register a stack with the components and labels of another."""
        from stackledger.domain.stack_state import stack_item

        arguments.text(new_name, "The name of a stack")
        row, position = self._seen(name_id_or_prefix)
        seen = {stack_item(row.id): position}
        return self._create_stack(new_name, _parts(row), row.labels, seen, decouple_stores=decouple_stores)

    def share_stack(self, name_id_or_prefix: str) -> Stack:
        """Mark a stack as shared."""
        from stackledger.domain import stacks

        row, position = self._seen(name_id_or_prefix)
        return self._changed(row, position, stacks.ShareStack(stack_id=row.id))

    def unshare_stack(self, name_id_or_prefix: str) -> Stack:
        """Mark a stack as private."""
        from stackledger.domain import stacks

        row, position = self._seen(name_id_or_prefix)
        return self._changed(row, position, stacks.UnshareStack(stack_id=row.id))

    def delete_stack(self, name_id_or_prefix: str, *, recursive: bool = False) -> list[tuple[str, str]]:
        """Delete a stack that is not active; with `recursive` the components too that no other stack uses.

        Return the type and name of each component that went with it.
        """
        from stackledger.domain import stacks
        from stackledger.domain.events.components import ComponentDeleted
        from stackledger.domain.stack_state import stack_item

        context = self._context()

        def query(view: View) -> tuple[StackRow, tuple[str, ...], int]:
            row = registry_queries.stack(view, name_id_or_prefix, prefix=False)
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
        handled = self._change(stacks.DECIDER, command, seen={stack_item(row.id): position}, context=context)
        return [
            (each.event.type.value, each.event.name)
            for each in handled.events
            if isinstance(each.event, ComponentDeleted)
        ]

    def activate_stack(self, stack_name_id_or_prefix: str, *, everywhere: bool = False) -> Stack:
        """Make a stack the active one for the repository around, or for the user with `everywhere` or without one."""
        from stackledger.domain import stacks
        from stackledger.domain.stack_state import named_stack_item

        context = self._context()
        row, position = self._seen(stack_name_id_or_prefix)
        command = stacks.ActivateStack(stack_id=row.id, scope=self._scope(context.actor, everywhere=everywhere))
        seen = {named_stack_item(row.id): position}
        handled = self._change(stacks.DECIDER, command, seen=seen, context=context)
        if self._ledger.environment.get(ACTIVE_STACK):
            self._notify(f"{ACTIVE_STACK} is set, so its stack stays the active one in this environment.")
        return self._made(handled, lambda as_of: self.get_stack(row.id, as_of=as_of))

    def activation_scope(self, *, everywhere: bool = False) -> str:
        """Return for whom `activate_stack` activates here: `repository`, or `global`, always so with `everywhere`."""
        return "global" if everywhere or self._ledger.repository_id is None else "repository"

    def _seen_parts(self, components: Named) -> tuple[Parts, dict[Item, int]]:
        """Return the ids of components, and at which position each was seen under its name."""
        from stackledger.domain.stack_parts import part_item

        named = _named(components)

        def query(view: View) -> tuple[Parts, int]:
            parts = {
                kind: tuple(registry_queries.component(view, kind.value, name, prefix=False).id for name in names)
                for kind, names in named.items()
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
            confined=self._confined(parts),
        )
        handled = self._change(stacks.DECIDER, command, seen=seen, context=context)
        return self._made(handled, lambda as_of: self.get_stack(command.stack_id, as_of=as_of))

    def _confined(self, parts: Parts, new: Sequence[RegisterComponent] = ()) -> frozenset[str]:
        """Return which of a stack's orchestrator and artifact store one machine alone can use, as far as is known.

        `new` are components that are registered with the stack. Where it is not known nothing is said against a stack:
        who runs a pipeline on it finds out.
        """
        ids = {kind: parts[kind][0] for kind in REQUIRED if parts.get(kind)}
        rows = self._read(lambda view: registry_queries.components_by_id(view, ids.values()))
        if any(row.built_in and row.type == ComponentType.ORCHESTRATOR for row in rows.values()):
            return frozenset(rows)  # it executes steps here; loading flavors would take an eighth of a registration
        found = {each.component_id: (each.flavor, each.configuration) for each in new}
        found |= {row.id: (row.flavor, row.configuration) for row in rows.values()}

        def is_local(kind: ComponentType, *, otherwise: bool) -> bool:
            known = found.get(ids.get(kind, ""))
            return otherwise if known is None else self._is_local(kind, *known, otherwise=otherwise)

        orchestrator, store = REQUIRED
        if is_local(orchestrator, otherwise=True):
            return frozenset(ids.values())
        return frozenset({ids[store]}) if is_local(store, otherwise=False) else frozenset()

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
            stack_id=row.id,
            components=parts,
            labels=dict(labels),
            decouple_stores=decouple_stores,
            confined=self._confined(parts),
        )
        return self._changed(row, position, command, seen)

    def _changed(self, row: StackRow, position: int, command: Any, seen: Mapping[Item, int] | None = None) -> Stack:
        from stackledger.domain import stacks
        from stackledger.domain.stack_state import stack_item

        handled = self._change(stacks.DECIDER, command, seen={**(seen or {}), stack_item(row.id): position})
        return self._made(handled, lambda as_of: self.get_stack(row.id, as_of=as_of))


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


def _named(components: Named) -> Parts:
    """Return the names or ids of components by type, or raise UsageError or InvalidValue."""
    given = arguments.mapping(components, "What a stack is made of")
    return {kind_of(kind): arguments.texts(names, f"What a stack has as {kind}") for kind, names in given.items()}


def _parts(row: StackRow) -> Parts:
    return {ComponentType(kind): tuple(ref.id for ref in refs) for kind, refs in row.components.items()}
