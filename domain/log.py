"""The log itself: created once, with all that a fresh installation has; moved, and adopted where it goes on.

Commands: CreateLog, MoveLog, AdoptLog.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never

from stackledger.domain.component_types import ComponentType
from stackledger.domain.decider import Decider
from stackledger.domain.errors import Refused
from stackledger.domain.event import Boundary, Event, Item, item
from stackledger.domain.events.components import ComponentRegistered
from stackledger.domain.events.log import LogAdopted, LogCreated, LogMoved, SubjectEnrolled, log_tag
from stackledger.domain.events.stacks import StackRegistered
from stackledger.domain.wording import listed

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


class MoveLog(NamedTuple):
    """Let the log go on somewhere else. `running` are the names of the runs that have not ended.

    `destination` says in words where to, if that is known. Nothing to do where it was moved already.
    """

    log_id: str
    destination: str | None
    running: tuple[str, ...]


class AdoptLog(NamedTuple):
    """Let a log that was moved go on here, as the incarnation of that id, which is new."""

    log_id: str
    incarnation: str


Command = CreateLog | MoveLog | AdoptLog


class State(NamedTuple):
    """Whether the log has begun, and whether it has gone on somewhere else since."""

    exists: bool = False
    moved: bool = False


def boundary(command: Command) -> Boundary:
    """Depend on what happened to the log itself; at the beginning, on the first event of any log, whatever its id."""
    if isinstance(command, CreateLog):
        return (Item(types=(LogCreated.TYPE,), tags=()),)
    return (item(log_tag(command.log_id), LogCreated, LogMoved, LogAdopted),)


def decide(command: Command, state: State) -> list[Event]:
    """Begin a log once, and have it go on in one place at a time."""
    match command:
        case CreateLog():
            return [] if state.exists else _begun(command)
        case MoveLog():
            return _moved(command, state)
        case AdoptLog():
            if not state.moved:
                raise Refused("The log was not moved, so it goes on here as it is.")
            return [LogAdopted(log_id=command.log_id, incarnation=command.incarnation)]
        case _:
            assert_never(command)


def _moved(command: MoveLog, state: State) -> list[Event]:
    if state.moved:
        return []
    if command.running:
        raise Refused(
            f"Nothing more could be recorded of runs that have not ended: {listed(command.running, {})}.",
            hint="Wait for them, or end them with `stackledger run cancel`, and move the log then.",
        )
    return [LogMoved(log_id=command.log_id, destination=command.destination)]


def _begun(command: CreateLog) -> list[Event]:
    """Return what a log begins with. The default stack is active where nothing was activated, so nothing is here."""
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
    match event:
        case LogCreated() | LogAdopted():
            return State(exists=True)
        case LogMoved():
            return State(exists=True, moved=True)
        case _:
            return state


DECIDER: Decider[Command, State] = Decider(initial=State(), boundary=boundary, decide=decide, evolve=evolve)
