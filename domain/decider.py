"""The shape of every decision: read a boundary, fold it, decide. Pure functions, put together as one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from stackledger.domain.event import Boundary, Event

Command = TypeVar("Command")
State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Decider(Generic[Command, State]):
    """How commands of one kind are decided.

    `boundary(command)` names the events that the decision depends on; `evolve` folds them, in the order of the
    log, over `initial`; `decide(command, state)` returns the new events, or raises before any event exists.
    No events means that there is nothing to change.
    """

    initial: State
    boundary: Callable[[Command], Boundary]
    decide: Callable[[Command, State], Sequence[Event]]
    evolve: Callable[[State, Event], State]
