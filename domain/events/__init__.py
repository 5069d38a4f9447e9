"""Every type of event, one module per subject. These bodies are what the log stores, for ever."""

from __future__ import annotations

from stackledger.domain.event import Event
from stackledger.domain.events.components import (
    ComponentDeleted,
    ComponentRegistered,
    ComponentRenamed,
    ComponentShared,
    ComponentUnshared,
    ComponentUpdated,
    FlavorDeleted,
    FlavorRegistered,
    SecretCreated,
    SecretDeleted,
    SecretRenamed,
    SecretUpdated,
    StoresPaired,
    StoresUnpaired,
)
from stackledger.domain.events.log import LogCreated, SubjectEnrolled
from stackledger.domain.events.runs import (
    RunFailed,
    RunStarted,
    RunSucceeded,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from stackledger.domain.events.stacks import (
    StackActivated,
    StackDeleted,
    StackRegistered,
    StackRenamed,
    StackShared,
    StackUnshared,
    StackUpdated,
)

EVENT_TYPES: dict[str, type[Event]] = {
    event.TYPE: event
    for event in (
        LogCreated,
        SubjectEnrolled,
        ComponentRegistered,
        ComponentUpdated,
        ComponentRenamed,
        ComponentShared,
        ComponentUnshared,
        ComponentDeleted,
        FlavorRegistered,
        FlavorDeleted,
        SecretCreated,
        SecretUpdated,
        SecretRenamed,
        SecretDeleted,
        StoresPaired,
        StoresUnpaired,
        StackRegistered,
        StackUpdated,
        StackRenamed,
        StackShared,
        StackUnshared,
        StackDeleted,
        StackActivated,
        RunStarted,
        RunSucceeded,
        RunFailed,
        StepStarted,
        StepSucceeded,
        StepFailed,
        StepSkipped,
    )
}
"""Every event of today's program by its type name."""
