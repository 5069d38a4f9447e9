"""The client's part about components."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from stackledger.client import arguments
from stackledger.client.arguments import kind_of
from stackledger.client.results import Component, Page
from stackledger.client.session import Session
from stackledger.domain.component_types import REQUIRED, ComponentType
from stackledger.domain.errors import NotFound, StackledgerError, near_names
from stackledger.domain.names import quoted
from stackledger.projections import registry_queries
from stackledger.settings import working_directory

if TYPE_CHECKING:
    from stackledger.domain.components import RegisterComponent
    from stackledger.domain.event import Item
    from stackledger.flavors.catalogue import FlavorEntry
    from stackledger.flavors.flavor import Flavor
    from stackledger.projections.engine import View
    from stackledger.projections.registry_queries import ComponentRow

_FILTERS = ("name", "owner", "flavor", "label")


class ComponentClient(Session):
    """Components: what there is, and every change to them."""

    def list_stack_components(
        self,
        component_type: str,
        *,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
        as_of: str | int | None = None,
        **filters: Any,
    ) -> Page[Component]:
        """Return a page of the components of a type, oldest first unless `sort_by` says otherwise.

        Filters are `flavor` (NotFound for one that there is not), and `name`, `owner`, `label` as for stacks.
        """
        kind = kind_of(component_type)

        def query(view: View) -> Page[Component]:
            found = registry_queries.components(view, kind.value, self._asked(_FILTERS, filters, sort_by, page, size))
            active, names = self._active_components(view), self._names()
            return Page([_component(row, active, names) for row in found.items], found.total, page, size)

        found = self._read(query, as_of)
        flavor = filters.get("flavor")
        if flavor and not found.total:
            from stackledger.flavors import catalogue  # takes longer than a query

            name = catalogue.find(kind, flavor, partial(self._read, registered_flavors, as_of)).name
            if name != flavor:  # which is found ignoring case, as everywhere
                named = filters | {"flavor": name}
                return self.list_stack_components(kind, sort_by=sort_by, page=page, size=size, as_of=as_of, **named)
        return found

    def get_stack_component(
        self,
        component_type: str,
        name_id_or_prefix: str | None = None,
        *,
        allow_name_prefix_match: bool = True,
        as_of: str | int | None = None,
    ) -> Component:
        """Return a component by id, name or what begins one; the active stack's if none is named.

        Changes never take the beginning of a name.
        """

        def query(view: View) -> Component:
            row = self._component_row(view, component_type, name_id_or_prefix, prefix=allow_name_prefix_match)
            return _component(row, self._active_components(view), self._names())

        return self._read(query, as_of)

    def create_stack_component(
        self,
        name: str,
        flavor: str,
        component_type: str,
        configuration: Mapping[str, object] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Component:
        """Register a component. Its flavor checks the configuration, in which references may stand for secrets."""
        return self._create_component(
            kind_of(component_type),
            arguments.text(name, "The name of a component"),
            arguments.text(flavor, "The flavor of a component"),
            arguments.mapping(configuration, "A configuration"),
            arguments.texts_by_key(labels, "The labels"),
        )

    def update_stack_component(
        self,
        name_id_or_prefix: str | None,
        component_type: str,
        name: str | None = None,
        *,
        configuration: Mapping[str, object] | None = None,
        labels: Mapping[str, str | None] | None = None,
    ) -> Component:
        """Set these keys of a component's configuration and these labels; None takes a label off. The others stay.

        Or give it another `name`, which is a change of its own; stacks go on using it. Without a component that of the
        active stack is changed.
        """
        from stackledger.domain import components
        from stackledger.domain.labels import changed_labels

        keys = arguments.mapping(configuration, "A configuration")
        changes = arguments.texts_by_key(labels, "The labels", gone=True)
        row, position = self._seen_component(component_type, name_id_or_prefix)
        if name is not None:
            arguments.alone(name, configuration, labels)
            command = components.RenameComponent(component_id=row.id, type=kind_of(component_type), name=name)
            return self._changed_component(row, position, command)
        return self._reconfigured(row, position, {**row.configuration, **keys}, changed_labels(row.labels, changes))

    def remove_stack_component_attributes(
        self, name_id_or_prefix: str, component_type: str, keys: Sequence[str], *, labels: Sequence[str] = ()
    ) -> Component:
        """Take keys out of a component's configuration, so that the flavor's defaults hold, and labels off it."""
        row, position = self._seen_component(component_type, name_id_or_prefix)
        for wanted, there, what in ((keys, row.configuration, "attribute"), (labels, row.labels, "label")):
            for key in wanted:
                if key not in there:
                    raise NotFound(
                        f"The {kind_of(component_type).words} {row.name!r} has no {what} {quoted(key)}.",
                        near=near_names(key, there),
                    )
        return self._reconfigured(
            row,
            position,
            {key: value for key, value in row.configuration.items() if key not in keys},
            {key: value for key, value in row.labels.items() if key not in labels},
        )

    def copy_stack_component(self, name_id_or_prefix: str, component_type: str, new_name: str) -> Component:
        """Register a component with the flavor, configuration and labels of another."""
        from stackledger.domain.components import component_item

        arguments.text(new_name, "The name of a component")
        row, position = self._seen_component(component_type, name_id_or_prefix)
        return self._create_component(
            kind_of(component_type),
            new_name,
            row.flavor,
            row.configuration,
            row.labels,
            seen={component_item(row.id): position},
        )

    def share_stack_component(self, name_id_or_prefix: str, component_type: str) -> Component:
        """Mark a component as shared."""
        from stackledger.domain import components

        row, position = self._seen_component(component_type, name_id_or_prefix)
        return self._changed_component(row, position, components.ShareComponent(component_id=row.id))

    def unshare_stack_component(self, name_id_or_prefix: str, component_type: str) -> Component:
        """Mark a component as private."""
        from stackledger.domain import components

        row, position = self._seen_component(component_type, name_id_or_prefix)
        return self._changed_component(row, position, components.UnshareComponent(component_id=row.id))

    def delete_stack_component(self, name_id_or_prefix: str, component_type: str) -> None:
        """Delete a component that is part of no stack."""
        from stackledger.domain import components

        row, position = self._seen_component(component_type, name_id_or_prefix)
        command = components.DeleteComponent(component_id=row.id)
        self._change(components.DECIDER, command, seen={components.component_item(row.id): position})

    def _create_component(
        self,
        kind: ComponentType,
        name: str,
        flavor: str,
        configuration: Mapping[str, object],
        labels: Mapping[str, str],
        *,
        seen: Mapping[Item, int] | None = None,
    ) -> Component:
        from stackledger.domain import components

        command = self._register_command(kind, name, flavor, configuration, labels=labels)
        handled = self._change(components.DECIDER, command, seen=seen)
        return self._made(handled, lambda as_of: self.get_stack_component(kind, command.component_id, as_of=as_of))

    def _register_command(
        self,
        kind: ComponentType,
        name: str,
        flavor: str,
        configuration: Mapping[str, object],
        *,
        labels: Mapping[str, str],
    ) -> RegisterComponent:
        """Return the command that registers a component under a new id, its configuration checked by its flavor.

        What it needs on this machine is made and checked now, before the log says that it is there.
        """
        from stackledger.domain.components import RegisterComponent
        from stackledger.eventlog.ids import new_id
        from stackledger.flavors.validation import prepare, validated

        entry, loaded = self._flavor(kind, flavor)
        checked = validated(loaded, configuration)
        command = RegisterComponent(
            component_id=new_id(),
            type=kind,
            name=name,
            flavor=entry.name,
            custom_flavor=entry.custom,
            configuration=checked,
            labels=dict(labels),
            secret_fields=loaded.config_class.secret_fields(),
            secrets=self._secret_ids(checked),
        )
        if not self._dry_run:
            prepare(loaded, checked, self._ledger.home, command.component_id, self._secret_lookup())
        return command

    def _flavor(
        self, kind: ComponentType, name: str, *, as_of: str | int | None = None
    ) -> tuple[FlavorEntry, type[Flavor]]:
        """Return a flavor's entry and its class, a custom one imported from the working directory or repository too."""
        from stackledger.flavors import catalogue

        entry = catalogue.find(kind, name, partial(self._read, registered_flavors, as_of))
        return entry, catalogue.load(entry, self._search_path())

    def _is_local(self, kind: ComponentType, flavor: str, configuration: Mapping[str, Any], *, otherwise: bool) -> bool:
        """Say whether one machine alone can use a component: what `otherwise` says where that cannot be known here.

        Values may be there only where the component is used, and so may the class of a custom flavor.
        """
        from stackledger.flavors.validation import configured

        try:
            _, loaded = self._flavor(kind, flavor)
            return loaded.is_local(configured(loaded, configuration, self._secret_lookup()))
        except StackledgerError:
            return otherwise

    def _search_path(self) -> list[Path]:
        return [*filter(None, (working_directory(), self._ledger.repository))]

    def _secret_lookup(self) -> Callable[[str], Mapping[str, str]]:
        def lookup(name: str) -> Mapping[str, str]:
            row = self._read(lambda view: registry_queries.secret(view, name, prefix=False))
            return self._ledger.secret_values.read(row.id)

        return lookup

    def _secret_ids(self, configuration: Mapping[str, object]) -> dict[str, str]:
        """Return the ids of the secrets that the configuration names; those that are not there are left out."""
        from stackledger.domain.references import secret_references  # patterns that no query needs

        names = {reference.name for reference in secret_references(configuration)}

        def query(view: View) -> dict[str, str]:
            found = {}
            for name in names:
                try:
                    found[name] = registry_queries.secret(view, name, prefix=False).id
                except NotFound:
                    continue  # the decision refuses it, with the field that names it
            return found

        return self._read(query) if names else {}

    def _active_components(self, view: View) -> set[str]:
        stack = self._active_if_any(view)
        return {ref.id for refs in stack.components.values() for ref in refs} if stack else set()

    def _component_row(self, view: View, component_type: str, name: str | None, *, prefix: bool) -> ComponentRow:
        kind = kind_of(component_type)
        if name is not None:
            return registry_queries.component(view, kind.value, name, prefix=prefix)
        active, _ = self._active(view)
        refs = active.stack.components.get(kind.value)
        if not refs:
            raise NotFound(
                f"The active stack {active.stack.name!r} has no {kind.words}.",
                hint=f"Name one, or see `stackledger {kind.group} list`.",
            )
        return registry_queries.components_by_id(view, [refs[0].id])[refs[0].id]

    def _seen_component(self, component_type: str, name: str | None) -> tuple[ComponentRow, int]:
        """Return a component that is to be changed, and the position at which it was seen."""
        return self._read(lambda view: (self._component_row(view, component_type, name, prefix=False), view.position))

    def _reconfigured(
        self, row: ComponentRow, position: int, configuration: Mapping[str, object], labels: Mapping[str, str]
    ) -> Component:
        from stackledger.domain import components
        from stackledger.flavors.validation import validated

        kind = ComponentType(row.type)
        _, loaded = self._flavor(kind, row.flavor)
        checked = validated(loaded, configuration)
        stranded, seen = self._stranded(row, checked, position)
        command = components.UpdateComponent(
            component_id=row.id,
            configuration=checked,
            labels=dict(labels),
            secret_fields=loaded.config_class.secret_fields(),
            secrets=self._secret_ids(checked),
            stranded=stranded,
        )
        changed = self._changed_component(row, position, command, seen)
        if loaded.runs_on_fleet and changed.configuration != row.configuration:
            self._notify(
                f"Coordinators and workers of {row.name!r} that run go by its configuration as it was, until they are"
                f" started again: here by `stackledger {kind.group} down {row.name}`, then `up`; elsewhere workers with"
                " a new join file."
            )
        return changed

    def _stranded(
        self, row: ComponentRow, configuration: Mapping[str, Any], position: int
    ) -> tuple[frozenset[str], dict[Item, int]]:
        """Return the ids of the stacks whose orchestrator and artifact store could not be used together any more.

        And what that depends on. As with registrations, nothing is said against what is not known here.
        """
        kind = ComponentType(row.type)
        if kind not in REQUIRED or configuration == row.configuration:
            return frozenset(), {}
        orchestrator, store = REQUIRED
        # A store becomes local beside an orchestrator that is not; an orchestrator ceases to be beside a store that is.
        parted = kind is store
        was, will_be = (
            self._is_local(kind, row.flavor, each, otherwise=kind is orchestrator)
            for each in (row.configuration, configuration)
        )
        if was is will_be or will_be is not parted:
            return frozenset(), {}
        from stackledger.domain.uses import uses_item

        other = orchestrator if kind is store else store

        def query(view: View) -> list[tuple[str, ComponentRow]]:
            partners = {
                stack.id: stack.components[other.value][0].id for stack in registry_queries.stacks_using(view, row.id)
            }
            rows = registry_queries.components_by_id(view, partners.values())
            return [(stack_id, rows[partner]) for stack_id, partner in partners.items()]

        stranded = frozenset(
            stack_id
            for stack_id, partner in self._read(query)
            if self._is_local(other, partner.flavor, partner.configuration, otherwise=other is orchestrator)
            is not parted
        )
        return stranded, {uses_item(row.id): position}

    def _changed_component(
        self, row: ComponentRow, position: int, command: Any, seen: Mapping[Item, int] = MappingProxyType({})
    ) -> Component:
        from stackledger.domain import components

        seen = {components.component_item(row.id): position, **seen}
        handled = self._change(components.DECIDER, command, seen=seen)
        return self._made(handled, lambda as_of: self.get_stack_component(row.type, row.id, as_of=as_of))


def registered_flavors(view: View) -> list[tuple[ComponentType, str, str]]:
    """Return the flavors that users registered: type, name and source."""
    return [(ComponentType(row.type), row.name, row.source) for row in registry_queries.flavors(view)]


def _component(row: ComponentRow, active: set[str], names: Mapping[str, str]) -> Component:
    return Component(
        id=row.id,
        name=row.name,
        type=row.type,
        flavor=row.flavor,
        active=row.id in active,
        shared=row.shared,
        owner=names.get(row.owner, row.owner),
        labels=row.labels,
        configuration=row.configuration,
    )
