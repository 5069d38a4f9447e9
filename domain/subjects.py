"""Subjects: the random ids under which users and hosts act.

Commands: EnrollSubject.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from stackledger.domain.decider import Decider
from stackledger.domain.event import Boundary, Event, item
from stackledger.domain.events.log import SubjectEnrolled, subject_tag


class EnrollSubject(NamedTuple):
    """Give a user or a host its id. `commitment` is as in SubjectEnrolled. Nothing to do where the id is enrolled."""

    subject_id: str
    kind: Literal["user", "host"]
    commitment: str


class State(NamedTuple):
    """Whether the subject is enrolled."""

    enrolled: bool = False


def boundary(command: EnrollSubject) -> Boundary:
    """Depend on the subject's enrolment alone."""
    return (item(subject_tag(command.subject_id), SubjectEnrolled),)


def decide(command: EnrollSubject, state: State) -> list[Event]:
    """Enroll a subject once."""
    if state.enrolled:
        return []
    return [SubjectEnrolled(subject_id=command.subject_id, kind=command.kind, commitment=command.commitment)]


def evolve(state: State, event: Event) -> State:
    """Fold one event."""
    return State(enrolled=True) if isinstance(event, SubjectEnrolled) else state


DECIDER: Decider[EnrollSubject, State] = Decider(initial=State(), boundary=boundary, decide=decide, evolve=evolve)
