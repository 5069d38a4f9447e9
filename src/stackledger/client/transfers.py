"""The client's part about stacks as a whole: exporting, importing and restoring them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stackledger.client.components import ComponentClient
from stackledger.client.results import Stack
from stackledger.client.stacks import Parts, StackClient
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import AlreadyExists, InvalidValue, NotFound
from stackledger.domain.names import quoted
from stackledger.projections import registry_queries

if TYPE_CHECKING:
    from stackledger.domain.components import RegisterComponent
    from stackledger.domain.stacks import RegisterStack, UpdateStack
    from stackledger.projections.engine import View
    from stackledger.projections.registry_queries import ComponentRow, StackRow

_FORMAT = 1


class TransferClient(StackClient, ComponentClient):
    """Stacks as a whole."""

    def export_stack(self, name: str | None = None, *, as_of: str | int | None = None) -> dict[str, Any]:
        """Return a stack and its components as `import_stack` takes them; references to secrets stay references."""

        def query(view: View) -> dict[str, Any]:
            row = self._active(view)[0].stack if name is None else registry_queries.stack(view, name)
            parts = registry_queries.components_by_id(
                view, [ref.id for refs in row.components.values() for ref in refs]
            )
            return {
                "stackledger_stack": _FORMAT,
                "name": row.name,
                "labels": row.labels,
                "components": {
                    kind: [_exported(parts[ref.id]) for ref in refs] for kind, refs in row.components.items()
                },
            }

        return self._read(query, as_of)

    def import_stack(self, name: str | None, exported: Mapping[str, Any], *, decouple_stores: bool = False) -> Stack:
        """Register an exported stack, under another name if one is given, and those of its components that are missing.

        A component that is there under its name, with the same flavor and configuration, is used as it is; one that
        differs is in the way, and nothing is changed.
        """
        from stackledger.domain import stacks
        from stackledger.domain.components import component_item
        from stackledger.eventlog.ids import new_id

        stack_name, labels, wanted = _checked_export(exported)

        def query(view: View) -> tuple[dict[ComponentType, list[str | None]], int]:
            same = {kind: [self._same(view, kind, each) for each in several] for kind, several in wanted.items()}
            return same, view.position

        there, position = self._read(query)
        new: list[RegisterComponent] = []
        parts: Parts = {}
        for kind, components in wanted.items():
            ids = []
            for component, known in zip(components, there[kind], strict=True):
                if known is None:
                    new.append(self._registration(kind, component))
                ids.append(known or new[-1].component_id)
            parts[kind] = tuple(ids)
        register = stacks.RegisterStack(
            stack_id=new_id(),
            name=name or stack_name,
            components=parts,
            labels=labels,
            decouple_stores=decouple_stores,
            confined=self._confined(parts, new),
        )
        used = [component_id for several in there.values() for component_id in several if component_id is not None]
        seen = {component_item(component_id): position for component_id in used}
        command = stacks.AssembleStack(new=tuple(new), stack=register)
        handled = self._change(stacks.DECIDER, command, seen=seen)
        return self._made(handled, lambda as_of: self.get_stack(register.stack_id, as_of=as_of))

    def restore_stack(self, name: str, as_of: str | int, *, decouple_stores: bool = False) -> Stack:
        """Make a stack what it was at an earlier moment, by new events.

        `name` is the stack's name then or now, or its id. A stack that was deleted since is registered anew, unless
        `name` is that of another one now, which then takes its place. So are deleted components, unless there is one
        with the same name, flavor and configuration; a name that is taken otherwise is refused. Components that are
        still there stay as they are now, since other stacks may use them, and so does the name of the stack.
        """
        from stackledger.domain import stacks
        from stackledger.domain.components import component_item
        from stackledger.domain.stack_state import stack_item

        def then(view: View) -> tuple[StackRow, dict[str, ComponentRow]]:
            row = _stack_then(view, name)
            ids = [ref.id for refs in row.components.values() for ref in refs]
            return row, registry_queries.components_by_id(view, ids)

        old, components = self._read(then, as_of)

        def now(view: View) -> tuple[dict[str, ComponentRow], dict[str, str | None], StackRow | None, int]:
            there = registry_queries.components_by_id(view, components)
            same = {
                each.id: self._same(view, ComponentType(each.type), _exported(each))
                for each in components.values()
                if each.id not in there
            }
            exists = registry_queries.stack_by_id(view, old.id) or registry_queries.stack_named(view, name)
            return there, same, exists, view.position

        there, same, exists, position = self._read(now)
        self._tell_what_stays(there, components)
        again = {
            gone: self._registration(ComponentType(components[gone].type), _exported(components[gone]))._replace(
                shared=components[gone].shared
            )
            for gone, known in same.items()
            if known is None
        }
        ids = {**same, **{gone: command.component_id for gone, command in again.items()}}
        parts = {
            ComponentType(kind): tuple(ids.get(ref.id) or ref.id for ref in refs)
            for kind, refs in old.components.items()
        }
        stack = _restoring(old, exists, parts, decouple_stores=decouple_stores)
        stack = stack._replace(confined=self._confined(parts, tuple(again.values())))
        command = stacks.AssembleStack(new=tuple(again.values()), stack=stack)
        looked = [stack_item(stack.stack_id), *(component_item(each) for each in same.values() if each)]
        handled = self._change(stacks.DECIDER, command, seen=dict.fromkeys(looked, position))
        return self._made(handled, lambda as_of: self.get_stack(stack.stack_id, as_of=as_of))

    def _tell_what_stays(self, now: Mapping[str, ComponentRow], then: Mapping[str, ComponentRow]) -> None:
        """Tell of the components that have another configuration than they had."""
        for each in now.values():
            if each.configuration != then[each.id].configuration:
                self._notify(
                    f"The {ComponentType(each.type).words} {each.name!r} has another configuration than then;"
                    " it stays as it is now, since other stacks may use it."
                )

    def stack_requirements(self, name: str | None = None, *, as_of: str | int | None = None) -> list[str]:
        """Return the packages that the flavors of a stack's components need, one requirement each."""
        needed: set[str] = set()
        for kind, refs in self.get_stack(name, as_of=as_of).components.items():
            for ref in refs:
                needed.update(self._flavor(ComponentType(kind), ref.flavor, as_of=as_of)[1].requirements)
        return sorted(needed)

    def _same(self, view: View, kind: ComponentType, wanted: Mapping[str, Any]) -> str | None:
        """Return the id of the same component, None where the name is free, or raise AlreadyExists."""
        # By this very name: the beginning of somebody's id may be a name as well.
        asked = self._asked(("name",), {"name": f"equals:{wanted['name']}"}, None, 1, 1)
        found = registry_queries.components(view, kind.value, asked).items
        if not found:
            return None
        row = found[0]
        if (row.flavor, row.configuration) != (wanted["flavor"], wanted["configuration"]):
            raise AlreadyExists(
                f"There is another {kind.words} named {row.name!r}, with another flavor or configuration,"
                " so nothing was changed.",
                hint="That one stays as it is: give the other one another name in the file."
                if row.built_in
                else f"Give it another name first: `stackledger {kind.group} rename {row.name} NEW_NAME`.",
            )
        return row.id

    def _registration(self, kind: ComponentType, wanted: Mapping[str, Any]) -> RegisterComponent:
        return self._register_command(
            kind, wanted["name"], wanted["flavor"], wanted["configuration"], labels=wanted["labels"]
        )


def _stack_then(view: View, name: str) -> StackRow:
    """Return a stack as of the view, found by the name it had then or, if that fails, by the one it has now."""
    try:
        return registry_queries.stack(view, name, prefix=False)
    except NotFound:
        try:
            stack_id = registry_queries.stack(view._replace(position=view.newest), name, prefix=False).id
            return registry_queries.stack(view, stack_id, prefix=False)
        except NotFound:
            pass  # what was said about then says more
        raise


def _restoring(
    old: StackRow, exists: StackRow | None, parts: Parts, *, decouple_stores: bool
) -> RegisterStack | UpdateStack:
    """Return the command that makes a stack of what it was: of the one that is there, or anew."""
    from stackledger.domain import stacks
    from stackledger.eventlog.ids import new_id

    if exists:
        return stacks.UpdateStack(
            stack_id=exists.id, components=parts, labels=old.labels, decouple_stores=decouple_stores
        )
    return stacks.RegisterStack(
        stack_id=new_id(),
        name=old.name,
        components=parts,
        labels=old.labels,
        shared=old.shared,
        decouple_stores=decouple_stores,
    )


def _exported(row: ComponentRow) -> dict[str, Any]:
    return {"name": row.name, "flavor": row.flavor, "labels": row.labels, "configuration": row.configuration}


def _checked_export(
    exported: Mapping[str, Any],
) -> tuple[str, dict[str, str], dict[ComponentType, list[dict[str, Any]]]]:
    """Return name, labels and components of an exported stack, or raise InvalidValue: files are anybody's text."""
    if exported.get("stackledger_stack") != _FORMAT:
        raise InvalidValue(
            "This is not a stack that `stackledger stack export` wrote.",
            hint=f"It begins with `stackledger_stack: {_FORMAT}`.",
        )
    unknown = exported.keys() - {"stackledger_stack", "name", "labels", "components"}
    if unknown:
        raise InvalidValue(f"The exported stack has an unknown key {quoted(str(min(unknown)))}.")
    name, components = exported.get("name"), exported.get("components")
    if not isinstance(name, str) or not isinstance(components, dict):
        raise InvalidValue("The exported stack has no name, or no components.")
    checked: dict[ComponentType, list[dict[str, Any]]] = {}
    for kind, several in components.items():
        if kind not in set(ComponentType) or not isinstance(several, list):
            raise InvalidValue(f"The exported stack has {quoted(str(kind))} among the types of its components.")
        checked[ComponentType(kind)] = [_checked_component(kind, each) for each in several]
    return name, _texts(exported.get("labels", {}), "labels of the stack"), checked


def _checked_component(kind: str, given: object) -> dict[str, Any]:
    if (
        not isinstance(given, dict)
        or not isinstance(given.get("name"), str)
        or not isinstance(given.get("flavor"), str)
        or not isinstance(given.get("configuration", {}), dict)
    ):
        raise InvalidValue(f"A component of the type {kind} in the file has no name, flavor or configuration.")
    unknown = given.keys() - {"name", "flavor", "labels", "configuration"}
    if unknown:
        raise InvalidValue(f"The {kind} {given['name']!r} in the file has an unknown key {quoted(str(min(unknown)))}.")
    return {
        "name": given["name"],
        "flavor": given["flavor"],
        "labels": _texts(given.get("labels", {}), f"labels of the {kind}"),
        "configuration": given.get("configuration", {}),
    }


def _texts(given: object, what: str) -> dict[str, str]:
    if not isinstance(given, dict) or not all(isinstance(text, str) for pair in given.items() for text in pair):
        raise InvalidValue(f"The {what} are not texts by their keys.")
    return given
