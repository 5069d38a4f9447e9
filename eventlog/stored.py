"""The stored form of an event, read without pydantic: plain rows and plain maps.

The data of an event are one msgpack map: the fields of the envelope in their order, then `body`. Its bytes
are what proofs are over; they are never decoded and encoded again.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import msgpack

from stackledger.domain.errors import LogDamaged


class StoredEvent(NamedTuple):
    """A row of the log as it is stored. `tags` are in stored order."""

    position: int
    type: str
    tags: tuple[str, ...]
    data: bytes


class LogReader(Protocol):
    """Reading a log in order, without deciding anything."""

    def head(self) -> int:
        """Return the greatest position, 0 for an empty log."""

    def at(self, position: int) -> StoredEvent | None:
        """Return the event at this very position."""

    def scan(self, *, after: int = 0, upto: int | None = None, tags: tuple[str, ...] = ()) -> Iterator[StoredEvent]:
        """Yield the events with all these tags and `after < position <= upto`, in order."""

    def scan_back(self, *, before: int | None = None, tags: tuple[str, ...] = ()) -> Iterator[StoredEvent]:
        """Yield the events with all these tags and a position below `before`, newest first."""

    def close(self) -> None:
        """Let go of the log."""


ENVELOPE = ("id", "time", "actor", "host", "reason", "ticket", "correlation", "causation")


def unpacked(position: int, data: bytes) -> dict[str, Any]:
    """Return the map of envelope fields and `body` in an event's data, or raise LogDamaged."""
    try:
        stored: dict[str, Any] = msgpack.unpackb(data)
        if not stored.keys() >= {*ENVELOPE, "body"}:
            raise ValueError("a field of the envelope is missing")
    except Exception as error:  # msgpack raises a family of ValueErrors, TypeErrors and its own
        raise LogDamaged(f"The data of the event at position {position} cannot be read: {error}.") from error
    return stored
