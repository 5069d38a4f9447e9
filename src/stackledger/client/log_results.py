"""What queries about the log return, and the JSON that is printed of it."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stackledger.client.moments import iso

MAX_DEPTH = 260
"""Levels of an event's data that are shown: more than a configuration may have."""


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
        data=_plain(data, MAX_DEPTH),
    )


def _plain(value: Any, depth: int) -> Any:
    """Return a value of an event's data as JSON holds it: other programs, and later ones, may store what it cannot."""
    if isinstance(value, dict | list) and not depth:
        return "…"
    if isinstance(value, dict):
        return {str(_plain(key, depth - 1)): _plain(each, depth - 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, depth - 1) for each in value]
    if isinstance(value, bytes):
        from base64 import b64encode  # no event of ours holds bytes

        return f"base64:{b64encode(value).decode()}"
    if value is None or isinstance(value, str | int | float):
        return value
    # One of msgpack's own types.
    fields = value._asdict() if hasattr(value, "_asdict") else {"seconds": value.seconds, "ns": value.nanoseconds}
    return {name: _plain(each, depth) for name, each in fields.items()}
