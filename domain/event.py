"""What an event is: a frozen body with a stable type name, the tags it is found by, its envelope in the log.

The bytes of an event are for ever. A type name is a literal, never derived from a class or a module;
a changed body gets a new version, and an upcaster for the old one (`eventlog/upcasting.py`).
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from typing import ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A frozen record inside an event's body; unknown fields are refused."""

    # A command makes events of two or three types: the other validators are never built.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class Event(Part):
    """A fact in the past tense. Fields are what the log stores, in this order, under these names."""

    TYPE: ClassVar[str]
    """Type name and version: `stack.registered/1`."""

    def tags(self) -> tuple[str, ...]:
        """Return the event's own tags, each `role:value`; the log adds who and where."""
        raise NotImplementedError


class Envelope(NamedTuple):
    """Who did it, where, when and why; stored in one map with the body.

    `id` is a UUIDv7, fixed before the first try to append. `time` is when the command was given, in
    microseconds since 1970 UTC; it may step back from one event to the next. `actor` and `host` are subject ids.
    `correlation` is shared by all that one command or run brought about, `causation` is the id of the
    command, or of the event, that this event follows from; of `run.started`, where somebody began the run within a
    trace, it is the W3C `traceparent` of the span that it was begun in.
    """

    id: str
    time: int
    actor: str
    host: str
    reason: str | None
    ticket: str | None
    correlation: str
    causation: str | None


class Recorded(NamedTuple):
    """An event as the log holds it. Positions count from 1 and strictly increase; gaps may occur."""

    position: int
    envelope: Envelope
    tags: tuple[str, ...]
    event: Event


class Item(NamedTuple):
    """Events of any of these types that carry all of these tags (sorted, distinct, at least one)."""

    types: tuple[str, ...]
    tags: tuple[str, ...]


Boundary = tuple[Item, ...]
"""The events that a decision depends on: those that match any item."""


def item(tag: str, *events: type[Event]) -> Item:
    """Return the item of a boundary for events of the given types under one tag."""
    return Item(types=tuple(event.TYPE for event in events), tags=(tag,))


class Context(NamedTuple):
    """Around a command: who gives it, where, when and why. `time` is in microseconds since 1970 UTC."""

    command_id: str
    time: int
    actor: str
    host: str
    reason: str | None = None
    ticket: str | None = None
    correlation: str | None = None
    causation: str | None = None
