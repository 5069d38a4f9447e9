"""The log itself: created once, with all that a fresh installation has.

Commands: CreateLog.
"""

from __future__ import annotations

from typing import NamedTuple

from stackledger.domain.component_types import ComponentType
from stackledger.domain.decider import Decider
from stackledger.domain.event import Boundary, Event, Item
from stackledger.domain.events.components import ComponentRegistered
from stackledger.domain.events.log import LogCreated, SubjectEnrolled
from stackledger.domain.events.stacks import StackRegistered

DEFAULT = "default"
"""The name of the stack, the orchestrator and the artifact store that every installation has."""


class CreateLog(NamedTuple):
    """Begin a log: its id, the user `default`, this host, and the default stack with its two components.

    All ids are new; the commitments are as in SubjectEnrolled. The context's actor and host are `user_id` and
    `host_id`. Nothing to do where the log exists: of several at once, one begins it.
    """

    log_id: str
    user_id: str
    user_commitment: str
    host_id: str
    host_commitment: str
    orchestrator_id: str
    artifact_store_id: str
    stack_id: str


class State(NamedTuple):
    """Whether the log has begun."""

    exists: bool = False


def boundary(_command: CreateLog) -> Boundary:
    """Depend on the first event of any log, whatever its id."""
    return (Item(types=(LogCreated.TYPE,), tags=()),)


def decide(command: CreateLog, state: State) -> list[Event]:
    """Begin a log once. The default stack is active where nothing was activated, so nothing is activated here."""
    if state.exists:
        return []
    orchestrator, artifact_store = ComponentType.ORCHESTRATOR, ComponentType.ARTIFACT_STORE
    return [
        LogCreated(log_id=command.log_id),
        SubjectEnrolled(subject_id=command.user_id, kind="user", commitment=command.user_commitment),
        SubjectEnrolled(subject_id=command.host_id, kind="host", commitment=command.host_commitment),
        _default_component(command.orchestrator_id, orchestrator),
        _default_component(command.artifact_store_id, artifact_store),
        StackRegistered(
            stack_id=command.stack_id,
            name=DEFAULT,
            components={orchestrator: (command.orchestrator_id,), artifact_store: (command.artifact_store_id,)},
            labels={},
            shared=False,
            built_in=True,
        ),
    ]


def _default_component(component_id: str, component_type: ComponentType) -> ComponentRegistered:
    return ComponentRegistered(
        component_id=component_id,
        type=component_type,
        name=DEFAULT,
        flavor="local",
        custom_flavor=False,
        configuration={},
        labels={},
        shared=False,
        built_in=True,
        secrets=(),
    )


def evolve(state: State, event: Event) -> State:
    """Fold one event."""
    return State(exists=True) if isinstance(event, LogCreated) else state


DECIDER: Decider[CreateLog, State] = Decider(initial=State(), boundary=boundary, decide=decide, evolve=evolve)
