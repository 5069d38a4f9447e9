"""What queries about the log return, and the JSON that is printed of it."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stackledger.client.moments import iso


class LogEvent(NamedTuple):
    """An event of the log. `type` is without its version; `actor` and `host` are names where they are known."""

    position: int | None
    id: str
    type: str
    version: int
    time: str | None
    actor: str
    host: str
    reason: str | None
    ticket: str | None
    tags: list[str]
    data: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON."""
        return self._asdict()


class Change(NamedTuple):
    """One event of a history, and what it changed: field, old and new value."""

    position: int
    time: str | None
    type: str
    actor: str
    host: str
    reason: str | None
    ticket: str | None
    changes: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return the change as JSON."""
        return self._asdict()


def log_event(  # noqa: PLR0917 - an event's parts in their order
    position: int | None,
    type_name: str,
    envelope: Mapping[str, Any],
    tags: Sequence[str],
    data: dict[str, Any],
    names: Mapping[str, str],
) -> LogEvent:
    """Return an event as it is shown; `names` are those behind the ids of subjects."""
    kind, _, version = type_name.partition("/")
    return LogEvent(
        position=position,
        id=envelope["id"],
        type=kind,
        version=int(version) if version.isdecimal() else 0,
        time=iso(envelope["time"]),
        actor=names.get(envelope["actor"], envelope["actor"]),
        host=names.get(envelope["host"], envelope["host"]),
        reason=envelope["reason"],
        ticket=envelope["ticket"],
        tags=list(tags),
        data=data,
    )
