"""Given what happened, when a command comes, then these events follow, or this error, or nothing.

The decision sees of the given events only what its boundary lets through, as the log would: a boundary that
is too small makes a test fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import pytest

from stackledger.domain.decider import Decider
from stackledger.domain.errors import StackledgerError
from stackledger.domain.event import Boundary, Event

Command = TypeVar("Command")
State = TypeVar("State")


def within(boundary: Boundary, event: Event) -> bool:
    """Say whether the log would show the event to a decision with this boundary."""
    return any(event.TYPE in item.types and set(item.tags) <= set(event.tags()) for item in boundary)


@dataclass(frozen=True)
class When(Generic[Command, State]):
    decider: Decider[Command, State]
    events: tuple[Event, ...]
    command: Command

    def decided(self) -> list[Event]:
        boundary = self.decider.boundary(self.command)
        state = self.decider.initial
        for event in self.events:
            if within(boundary, event):
                state = self.decider.evolve(state, event)
        return list(self.decider.decide(self.command, state))

    def then(self, *events: Event) -> None:
        assert self.decided() == list(events)

    def then_nothing(self) -> None:
        assert self.decided() == []

    def then_raises(self, error: type[StackledgerError], match: str | None = None) -> None:
        with pytest.raises(error, match=match) as raised:
            self.decided()
        assert raised.type is error


@dataclass(frozen=True)
class Given(Generic[Command, State]):
    decider: Decider[Command, State]
    events: tuple[Event, ...]

    def when(self, command: Command) -> When[Command, State]:
        return When(self.decider, self.events, command)


def specification(decider: Decider[Command, State]) -> Callable[..., Given[Command, State]]:
    """Return `given` for the commands of one decider."""
    return lambda *events: Given(decider, events)
