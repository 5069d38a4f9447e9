"""What a process of the fleet is told from outside, in the order in which it comes: by broker, children and log.

The threads that learn of it put it into one inbox, and the one main thread takes it out (loops.py).
"""

from __future__ import annotations

from queue import SimpleQueue
from typing import NamedTuple

from stackledger.domain.errors import BrokerError
from stackledger.domain.events.runs import Kept
from stackledger.workers.fleet.protocol.messages import Failure, Success
from stackledger.workers.fleet.protocol.ports import Arrived, Unable


class Connected(NamedTuple):
    """A session with the broker began. `missing` are the step queues that are not there."""

    session: int
    missing: tuple[str, ...] = ()


class Disconnected(NamedTuple):
    """The session ended, and everything that was under way on it."""

    error: BrokerError


class NotConnected(NamedTuple):
    """An attempt to connect came to nothing; the next one follows by itself."""

    error: BrokerError


class Delivered(NamedTuple):
    """A message came out of a queue; `slot` is that of the worker."""

    slot: int
    arrived: Arrived


class Announced(NamedTuple):
    """A message came that was sent to every worker."""

    data: bytes


class Confirmed(NamedTuple):
    """The broker has these messages for good."""

    tokens: tuple[int, ...]


class Returned(NamedTuple):
    """A message was not taken: its queue is not there, or has no room."""

    token: int
    queue: str


class ConsumerCancelled(NamedTuple):
    """Nothing more comes for a slot."""

    slot: int


class Blocked(NamedTuple):
    """The broker takes no messages for now."""

    why: str


class Unblocked(NamedTuple):
    """The broker takes messages again."""


class Unanswered(NamedTuple):
    """Something does not work as it should, and the session goes on."""

    error: BrokerError


class Ended(NamedTuple):
    """A child came to the end of an execution, or died of it; `log` is what it said."""

    slot: int
    execution: str
    result: Success | Failure | Unable
    log: Kept | None = None


class Changed(NamedTuple):
    """Something may have come into the log."""


class Stop(NamedTuple):
    """Come to an end. May be put by a signal's handler."""


class Broke(NamedTuple):
    """The thread that talks to the broker came upon something that nobody had thought of."""

    error: BaseException


Told = (
    Connected
    | Disconnected
    | NotConnected
    | Delivered
    | Announced
    | Confirmed
    | Returned
    | ConsumerCancelled
    | Blocked
    | Unblocked
    | Unanswered
    | Ended
    | Changed
    | Stop
    | Broke
)

Inbox = SimpleQueue[Told]
