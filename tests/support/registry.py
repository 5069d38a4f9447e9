"""A small registry for tests: events with short ids, and the rest as a fresh installation has it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from stackledger.domain.component_types import ComponentType
from stackledger.domain.event import Event
from stackledger.domain.events.components import ComponentDeleted, ComponentRegistered, ComponentUpdated, StoresPaired
from stackledger.domain.events.stacks import StackActivated, StackDeleted, StackRegistered, StackUpdated
from stackledger.domain.log import CreateLog, State, decide

ORCHESTRATOR = ComponentType.ORCHESTRATOR
ARTIFACT_STORE = ComponentType.ARTIFACT_STORE
METADATA_STORE = ComponentType.METADATA_STORE
ALERTER = ComponentType.ALERTER

CREATE_LOG = CreateLog(
    log_id="log",
    user_id="user",
    user_commitment="c1",
    host_id="host",
    host_commitment="c2",
    orchestrator_id="default-o",
    artifact_store_id="default-a",
    stack_id="default-s",
)
FRESH: tuple[Event, ...] = tuple(decide(CREATE_LOG, State()))
DEFAULT_PARTS = {ORCHESTRATOR: ("default-o",), ARTIFACT_STORE: ("default-a",)}


def component(
    component_id: str,
    component_type: ComponentType = ARTIFACT_STORE,
    *,
    name: str = "",
    flavor: str = "local",
    custom_flavor: bool = False,
    configuration: Mapping[str, JsonValue] | None = None,
    labels: Mapping[str, str] | None = None,
    shared: bool = False,
    secrets: tuple[str, ...] = (),
) -> ComponentRegistered:
    return ComponentRegistered(
        component_id=component_id,
        type=component_type,
        name=name or component_id,
        flavor=flavor,
        custom_flavor=custom_flavor,
        configuration=dict(configuration or {}),
        labels=dict(labels or {}),
        shared=shared,
        built_in=False,
        secrets=secrets,
    )


def updated(
    before: ComponentRegistered, configuration: Mapping[str, JsonValue], secrets: tuple[str, ...] = ()
) -> ComponentUpdated:
    return ComponentUpdated(
        component_id=before.component_id,
        configuration=dict(configuration),
        labels=before.labels,
        secrets=secrets,
        previous_configuration=before.configuration,
        previous_labels=before.labels,
        previous_secrets=before.secrets,
    )


def gone(before: ComponentRegistered, secrets: tuple[str, ...] = ()) -> ComponentDeleted:
    return ComponentDeleted(
        component_id=before.component_id,
        type=before.type,
        name=before.name,
        flavor=before.flavor,
        custom_flavor=before.custom_flavor,
        secrets=secrets or before.secrets,
    )


def stack(
    stack_id: str,
    *,
    name: str = "",
    parts: Mapping[ComponentType, tuple[str, ...]] = DEFAULT_PARTS,
    labels: Mapping[str, str] | None = None,
    shared: bool = False,
) -> StackRegistered:
    return StackRegistered(
        stack_id=stack_id,
        name=name or stack_id,
        components=dict(parts),
        labels=dict(labels or {}),
        shared=shared,
        built_in=False,
    )


def changed(before: StackRegistered, parts: Mapping[ComponentType, tuple[str, ...]]) -> StackUpdated:
    return StackUpdated(
        stack_id=before.stack_id,
        components=dict(parts),
        labels=before.labels,
        previous_components=before.components,
        previous_labels=before.labels,
    )


def stack_gone(before: StackRegistered) -> StackDeleted:
    uses = tuple(component_id for ids in before.components.values() for component_id in ids)
    return StackDeleted(stack_id=before.stack_id, name=before.name, uses=uses)


def activated(stack_id: str, *, user: str = "", repository: str = "") -> StackActivated:
    if user:
        return StackActivated(stack_id=stack_id, scope="user", scope_id=user)
    return StackActivated(stack_id=stack_id, scope="repository", scope_id=repository)


def paired(artifact_store_id: str, metadata_store_id: str) -> StoresPaired:
    return StoresPaired(artifact_store_id=artifact_store_id, metadata_store_id=metadata_store_id)
