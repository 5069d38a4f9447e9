"""What is in the queue of parked messages: read without taking it away, and taken away where somebody says so.

Anybody may have put anything there: bytes are kept as they are, and of what stands beside them only what has the right
form counts.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from pika import BasicProperties
from pika.exceptions import ChannelClosedByBroker

from stackledger.domain.errors import BrokerError
from stackledger.workers.fleet.broker.topology import CAME_FROM, WHY, Topology
from stackledger.workers.fleet.broker.visiting import Visit
from stackledger.workers.fleet.protocol.ports import PARKED

_NOT_FOUND = 404
_LAST_SECOND = 253402300799
"""The end of the year 9999, the last that a date can have."""
_LONGEST = 500
"""Characters of what stands beside a message that are looked at."""
_UNREADABLE = (ValueError, OverflowError, ArithmeticError, struct.error)
"""What pika raises for properties of a message that stand for no value of Python's."""


class Letter(NamedTuple):
    """A parked message. `id` is the SHA-256 of its bytes; `parked` in seconds since 1970 UTC.

    `why` and `came_from`, a queue, are as whoever parked it said, None where nobody did.
    """

    id: str
    data: bytes
    why: str | None
    came_from: str | None
    parked: int | None
    tag: int


class Parked:
    """The parked messages as long as a visit lasts: what was looked at is nobody else's meanwhile, and stays there."""

    def __init__(self, visit: Visit, topology: Topology) -> None:
        self._visit = visit
        self._channel = visit.channel()
        self._queue = topology.on_broker(PARKED)

    def waiting(self) -> int:
        """Return how many messages there are that nobody looks at now."""
        return self._visit.waiting(self._queue) or 0

    def letters(self) -> Iterator[Letter]:
        """Yield each message that nobody else looks at now, once."""
        try:
            while True:
                method, properties, data = self._channel.basic_get(self._queue)
                if method is None:
                    return
                yield _letter(method.delivery_tag, properties, data)
        except ChannelClosedByBroker as error:
            if error.reply_code != _NOT_FOUND:
                raise
        except _UNREADABLE as error:
            raise BrokerError(
                f"A message in the queue {self._queue} has properties that cannot be read: {error}.",
                hint="Who administers the broker can empty the queue: `rabbitmqctl purge_queue`.",
            ) from error

    def remove(self, letter: Letter) -> None:
        """Take a message away that was looked at."""
        self._channel.basic_ack(letter.tag)


def _letter(tag: int, properties: BasicProperties, data: bytes) -> Letter:
    headers: dict[str, Any] = properties.headers or {}
    at = properties.timestamp
    return Letter(
        id=hashlib.sha256(data).hexdigest(),
        data=data,
        why=_text(headers.get(WHY)),
        came_from=_text(headers.get(CAME_FROM)),
        parked=at if isinstance(at, int) and 0 <= at <= _LAST_SECOND else None,
        tag=tag,
    )


def _text(value: object) -> str | None:
    return value[:_LONGEST] if isinstance(value, str) else None
