"""Every type of event, one module per subject. These bodies are what the log stores, for ever."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from stackledger.domain.event import Event

_CLASSES = {
    "log.created/1": "log.LogCreated",
    "log.moved/1": "log.LogMoved",
    "log.adopted/1": "log.LogAdopted",
    "subject.enrolled/1": "log.SubjectEnrolled",
    "component.registered/1": "components.ComponentRegistered",
    "component.updated/1": "components.ComponentUpdated",
    "component.renamed/1": "components.ComponentRenamed",
    "component.shared/1": "components.ComponentShared",
    "component.unshared/1": "components.ComponentUnshared",
    "component.deleted/1": "components.ComponentDeleted",
    "flavor.registered/1": "components.FlavorRegistered",
    "flavor.deleted/1": "components.FlavorDeleted",
    "secret.created/1": "components.SecretCreated",
    "secret.updated/1": "components.SecretUpdated",
    "secret.renamed/1": "components.SecretRenamed",
    "secret.deleted/1": "components.SecretDeleted",
    "stores.paired/1": "components.StoresPaired",
    "stores.unpaired/1": "components.StoresUnpaired",
    "stack.registered/1": "stacks.StackRegistered",
    "stack.updated/1": "stacks.StackUpdated",
    "stack.renamed/1": "stacks.StackRenamed",
    "stack.shared/1": "stacks.StackShared",
    "stack.unshared/1": "stacks.StackUnshared",
    "stack.deleted/1": "stacks.StackDeleted",
    "stack.activated/1": "stacks.StackActivated",
    "artifact.condemned/1": "artifacts.ArtifactsCondemned",
    "artifact.collected/1": "artifacts.ArtifactsCollected",
    "run.started/3": "runs.RunStarted",
    "run.succeeded/1": "runs.RunSucceeded",
    "run.failed/1": "runs.RunFailed",
    "step.started/1": "runs.StepStarted",
    "step.succeeded/2": "runs.StepSucceeded",
    "step.failed/2": "runs.StepFailed",
    "step.skipped/1": "runs.StepSkipped",
    "run.cancelled/1": "fleet.RunCancelled",
    "step.queued/1": "fleet.StepQueued",
    "step.claimed/1": "fleet.StepClaimed",
    "step.lost/1": "fleet.StepLost",
    "dispatch.confirmed/1": "fleet.DispatchConfirmed",
    "topology.renewed/1": "fleet.TopologyRenewed",
    "key.enrolled/1": "fleet.KeyEnrolled",
    "key.revoked/1": "fleet.KeyRevoked",
    "trust.published/1": "fleet.TrustPublished",
}


class _EventTypes(Mapping[str, type[Event]]):
    """The classes by type name. A module comes in with the first of its events: most commands need one or two."""

    def __getitem__(self, type_name: str) -> type[Event]:
        return _loaded(type_name)

    def __contains__(self, type_name: object) -> bool:
        return type_name in _CLASSES

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


@cache
def _loaded(type_name: str) -> type[Event]:
    module, _, name = _CLASSES[type_name].partition(".")
    event_type: type[Event] = getattr(import_module(f"{__name__}.{module}"), name)
    return event_type


EVENT_TYPES: Mapping[str, type[Event]] = _EventTypes()
"""Every event of today's program by its type name."""
