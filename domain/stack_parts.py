"""What a stack may be put together from: the rules for its components, and the pairing of its stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

from stackledger.domain.component_state import Component
from stackledger.domain.component_state import State as Registry
from stackledger.domain.component_types import REPEATABLE, REQUIRED, SHORT_OPTIONS, ComponentType
from stackledger.domain.errors import InvalidValue, Refused
from stackledger.domain.event import Boundary, Event, Item, item
from stackledger.domain.events.components import ComponentDeleted, ComponentRegistered, ComponentRenamed, component_tag
from stackledger.domain.events.stacks import Components
from stackledger.domain.pairings import paired, pairing_item

Parts: TypeAlias = Mapping[ComponentType, tuple[str, ...]]
"""Component ids per type, the default one of a type first."""


def part_item(component_id: str) -> Item:
    """Return the item for a component's being there under its name, whatever its configuration."""
    return item(component_tag(component_id), ComponentRegistered, ComponentRenamed, ComponentDeleted)


def part_items(parts: Parts) -> Boundary:
    """Return the items for the being there of each component, and for the pairing of the stores if there are both."""
    return (
        *(part_item(component_id) for ids in parts.values() for component_id in ids),
        *(map(pairing_item, stores(parts)) if parts.get(ComponentType.METADATA_STORE) else ()),
    )


def stores(parts: Parts) -> tuple[str, ...]:
    """Return the ids of the artifact store and, if there is one, of the metadata store."""
    return (*parts.get(ComponentType.ARTIFACT_STORE, ()), *parts.get(ComponentType.METADATA_STORE, ()))


def checked_parts(parts: Parts, registry: Registry) -> Components:
    """Return the components in the order of their types, or raise for the first rule that they break."""
    checked = {each: tuple(parts[each]) for each in ComponentType if parts.get(each)}
    for component_type in REQUIRED:
        if component_type not in checked:
            raise Refused(
                f"The stack would have no {component_type.words}, and it cannot be without.",
                hint=f"Give one with `{SHORT_OPTIONS[component_type]} NAME`.",
            )
    for component_type, ids in checked.items():
        components = [_checked(component_type, component_id, registry) for component_id in ids]
        if len(set(ids)) < len(ids):
            twice = next(each for each in components if ids.count(each.id) > 1)
            raise Refused(f"The {twice} is named twice.", hint="Name each component once.")
        if len(ids) > 1 and component_type not in REPEATABLE:
            raise Refused(
                f"A stack has one {component_type.words}, and {len(ids)} were given.",
                hint=f"Only {', '.join(f'{each.words}s' for each in REPEATABLE)} may be several.",
            )
    return checked


def check_reach(parts: Components, registry: Registry, confined: Collection[str]) -> None:
    """Raise Refused where steps would run on other machines than the one that alone has the artifact store.

    `confined` are the ids of the components that one machine alone can use.
    """
    store, orchestrator = (
        registry.get(parts[kind][0]) for kind in (ComponentType.ARTIFACT_STORE, ComponentType.ORCHESTRATOR)
    )
    if store.id in confined and orchestrator.id not in confined:
        raise out_of_reach(str(store), str(orchestrator))


def out_of_reach(store: str, orchestrator: str) -> Refused:
    """Return what to raise for an artifact store that the steps of an orchestrator cannot use."""
    return Refused(
        f"The {store} is on one machine alone, and the {orchestrator} has steps executed on others, which could neither"
        " read nor write there.",
        hint="Give a store that all machines reach: `stackledger artifact-store register NAME --flavor=s3 …`, then"
        " `-a NAME`. Where all of it is on this machine, name the broker as localhost; a flavor of one's own says so"
        " by `is_local`.",
    )


def _checked(component_type: ComponentType, component_id: str, registry: Registry) -> Component:
    component = registry.get(component_id)
    if component.type != component_type:
        raise InvalidValue(
            f"The {component} cannot stand where a stack wants its {component_type.words}.",
            hint=f"See `stackledger {component_type.group} list`.",
        )
    return component


def pairing(parts: Components, registry: Registry, *, decouple: bool) -> list[Event]:
    """Return what pairs the stores of a stack that has both, or raise PairingConflict."""
    if ComponentType.METADATA_STORE not in parts:
        return []
    artifact_store, metadata_store = (registry.get(store_id) for store_id in stores(parts))
    return list(
        paired(
            registry.pairings,
            (artifact_store.id, artifact_store.name),
            (metadata_store.id, metadata_store.name),
            decouple=decouple,
        )
    )
