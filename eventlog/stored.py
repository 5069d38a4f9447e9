"""The stored form of an event, read without pydantic: plain rows and plain maps.

The data of an event are one msgpack map: the fields of the envelope in their order, then `body`. Its bytes
are what proofs are over; they are never decoded and encoded again.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from collections.abc import Iterator
from types import NoneType
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
    """Reading a log in order, without deciding anything. `name` says to people where it is."""

    name: str

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


_FIELDS: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "time": int,
    "actor": str,
    "host": str,
    "reason": (str, NoneType),
    "ticket": (str, NoneType),
    "correlation": str,
    "causation": (str, NoneType),
    "body": dict,
}
TIMES = range(-62_135_596_800_000_000, 253_402_300_800_000_000)
"""The years 1 to 9999: all that a time can be written as."""

ENVELOPE = tuple(field for field in _FIELDS if field != "body")

MISSHAPEN = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What using a body raises that is not as its type says. No program of ours wrote it."""


def check_fields(stored: dict[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError unless envelope and body are of the types that they should be."""
    for field, types in _FIELDS.items():
        if not isinstance(stored[field], types):
            raise TypeError(f"its {field} is of the type {type(stored[field]).__name__}")
    if stored["time"] not in TIMES:
        raise ValueError("its time is in no year of the calendar")


def unpacked(position: int, data: bytes) -> dict[str, Any]:
    """Return the map of envelope fields and `body` in an event's data, or raise LogDamaged.

    The fields have the types that they should have; what the body holds is for those to check who know its type.
    """
    try:
        stored: dict[str, Any] = msgpack.unpackb(data)
        check_fields(stored)
    except KeyError as error:
        raise unreadable(position, f"it has no {error.args[0]}") from error
    except Exception as error:  # msgpack raises a family of ValueErrors, TypeErrors and its own, some without a word
        raise unreadable(position, str(error) or "its data are not in the form of msgpack") from error
    return stored


def unreadable(position: int, why: str) -> LogDamaged:
    """Return what to raise for an event that cannot be read."""
    return _damaged(position, f"The event at position {position} cannot be read: {why}.")


def misshapen(position: int, type_name: str, error: Exception) -> LogDamaged:
    """Return what one of MISSHAPEN means for the event at a position."""
    return _damaged(position, f"The body of {type_name} at position {position} is not as it should be: {error!r}.")


def _damaged(position: int, message: str) -> LogDamaged:
    before = f" What was before it is still there: `--as-of {position - 1}`." if position > 1 else ""
    return LogDamaged(
        message,
        hint=f"Restore the log from a copy: no command of Stackledger writes such an event.{before}",
        position=position,
    )
