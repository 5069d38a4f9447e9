"""Reading parked messages, which may be anything at all; heavy, so imported where somebody looks at one."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import msgpack

from stackledger.client.dead_letter_results import DeadLetter
from stackledger.client.moments import iso
from stackledger.projections.key_queries import KeyRow
from stackledger.workers.fleet.broker.parked import Letter
from stackledger.workers.fleet.protocol.messages import Message, MessageRefused, Role, opened
from stackledger.workers.fleet.trust.ed25519 import verified

_LONGEST = 200
"""Characters of a text of somebody's that are shown in a list."""
_DEEPEST = 20
"""Levels of lists and maps that are shown."""
_SECOND = 1_000_000


class LogKeys:
    """The port Verifier over all keys that were ever enrolled, so that it can be said whose word something was."""

    def __init__(self, keys: Collection[KeyRow]) -> None:
        self._keys = {key.id: key for key in keys}

    def role(self, key_id: str) -> Role | None:
        """Return what a key was enrolled for."""
        return self._keys[key_id].role if key_id in self._keys else None  # type: ignore[return-value]  # as enrolled

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        """Say whether the key made the signature."""
        return verified(self._keys[key_id].public, signature, data)

    def name(self, key_id: str) -> str:
        """Return the name of a key, or the id of one that nobody knows."""
        return self._keys[key_id].name if key_id in self._keys else key_id


class About(NamedTuple):
    """What a message says that it is, whether that is true or not; None for what it does not say."""

    kind: str | None = None
    key: str | None = None
    run_id: str | None = None
    step: str | None = None
    attempt: int | None = None


class Reading:
    """Reads what was parked of the messages about one log."""

    def __init__(self, log: str, keys: LogKeys) -> None:
        self._log = log
        self._keys = keys

    def opened(self, letter: Letter) -> Message:
        """Return the message, or raise MessageRefused where it is none of this fleet's."""
        return opened(letter.data, self._keys, self._log).message

    def shown(self, letter: Letter) -> DeadLetter:
        """Return a letter for people, as far as it speaks for itself."""
        said = about(letter.data)
        return DeadLetter(
            id=letter.id,
            reason=letter.why or self._reason(letter),
            kind=said.kind,
            key=self._keys.name(said.key) if said.key is not None else None,
            came_from=letter.came_from,
            parked=iso(letter.parked * _SECOND) if letter.parked is not None else None,
            run=None,
            run_id=said.run_id,
            step=said.step,
            attempt=said.attempt,
            size=len(letter.data),
            copies=1,
        )

    def _reason(self, letter: Letter) -> str:
        try:
            self.opened(letter)
        except MessageRefused as refused:
            return str(refused)
        return "Whoever parked it did not say why."


def about(data: bytes) -> About:
    """Return what can be read of some bytes, without asking who signed them."""
    match _unpacked(data):
        case [_, str() as key, bytes() as body, _]:
            pass
        case _:
            return About()
    message = _unpacked(body)
    if not isinstance(message, dict):
        return About(key=key[:_LONGEST])
    ref = next((found for found in _refs(message) if isinstance(found, dict)), {})
    attempt = ref.get("attempt")
    return About(
        kind=_text(message.get("kind")),
        key=key[:_LONGEST],
        run_id=_text(ref.get("run_id")),
        step=_text(ref.get("step")),
        attempt=attempt if isinstance(attempt, int) and not isinstance(attempt, bool) else None,
    )


def content(data: bytes) -> Any:
    """Return the body of a message as JSON, None where there is none."""
    match _unpacked(data):
        case [_, str(), bytes() as body, _]:
            return _as_json(_unpacked(body), _DEEPEST)
        case _:
            return None


def _refs(message: dict[Any, Any]) -> list[Any]:
    """Return where messages say which attempt they are about."""
    nested = (message.get("task"), message.get("claim"))
    return [message.get("ref"), *(each.get("ref") for each in nested if isinstance(each, dict))]


def _unpacked(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException):
        return None  # what has keys that no dictionary can have among it


def _text(value: object) -> str | None:
    return value[:_LONGEST] if isinstance(value, str) else None


def _as_json(value: Any, levels: int) -> Any:  # noqa: PLR0911 - one for each kind of value
    match value:
        case dict() | list() if not levels:
            return "…"
        case dict():
            return {_key(key): _as_json(each, levels - 1) for key, each in value.items()}
        case list():
            return [_as_json(each, levels - 1) for each in value]
        case bytes():
            return value.hex()
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)  # what msgpack knows beyond JSON


def _key(key: Any) -> str:
    return key.hex() if isinstance(key, bytes) else str(key)
