"""What coordinators and workers need from around them, in the words of the protocol.

Nothing here waits: what comes of a call is told later, by a call of the coordinator's or the worker's methods. So
the very classes that run in production run in a simulator that drops, delays, doubles and reorders what it tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from stackledger.domain.event import Boundary, Event, Recorded
from stackledger.workers.fleet.protocol.messages import Failure, Task


class Tag(NamedTuple):
    """A delivery that waits to be acknowledged: its number counts on its own session of the connection only."""

    session: int
    number: int


class Arrived(NamedTuple):
    """A message from a queue. `dead` says that a step queue gave it up after too many deliveries."""

    tag: Tag
    data: bytes
    redelivered: bool = False
    dead: bool = False


OUTCOMES = "outcomes"
PARKED = "parked"


class Broker(Protocol):
    """The broker, as the coordinator uses it. A tag of an earlier session is forgotten, never sent."""

    def publish(self, queue: str, data: bytes, token: int) -> None:
        """Send a persistent message; later `confirmed` or `returned` is called with the token, or `disconnected`."""

    def park(self, data: bytes, why: str, token: int) -> None:
        """Send what nobody can do anything with where people find it, and why; then as for `publish`."""

    def broadcast(self, data: bytes) -> None:
        """Send to every worker that is there; it may get lost."""

    def acknowledge(self, tag: Tag) -> None:
        """Let the broker forget a delivery."""

    def answer(self, reply: str, data: bytes) -> None:
        """Send to the queue of somebody who asked; where it is gone, so is the answer."""

    def declare(self, queues: Sequence[str]) -> None:
        """Make the queues that are missing."""

    def close(self) -> None:
        """Leave the connection; `disconnected` is called, and `connected` once there is another."""


class Conflict(Exception):
    """Somebody appended what the decision depends on: nothing was appended, look again."""


class NotActive(Exception):
    """The lock where the log lives is lost: nothing was appended, and nothing more may be."""


class Dismissed(NotActive):
    """The coordinator's own key does not count, and it never will again: nobody listens to what it says."""


class LogAway(Exception):
    """The log cannot be reached now. An append may have been made."""


class Unrecordable(Exception):
    """The log cannot hold these events, whenever that is tried: nothing was appended. The text says why."""


class Seen(NamedTuple):
    """Events in the order of the log, and the position of the last one looked at."""

    events: Sequence[Recorded]
    position: int


class FleetLog(Protocol):
    """The log, as the active coordinator uses it. Every method may raise NotActive or LogAway."""

    def begin(self) -> Seen:
        """Return the events of all keys, of this orchestrator, and of its runs that have not ended."""

    def follow(self, after: int) -> Seen:
        """Return what came after a position. Who is not active learns it here, before it acknowledges anything."""

    def append(self, events: Sequence[Event], boundary: Boundary, after: int) -> None:
        """Append if nothing in the boundary came after a position; raise Conflict, or Unrecordable."""

    def now(self) -> int:
        """Return the log's idea of the time, in microseconds since 1970 UTC."""


class WorkerBroker(Protocol):
    """The broker, as a worker uses it: a channel with a consumer of its own for each slot."""

    def consume(self, slot: int) -> None:
        """Take one message at a time for a slot; they come by `arrived`."""

    def cancel(self, slot: int) -> None:
        """Take no more; what still comes may be given back until `consumer_cancelled` is called."""

    def publish(self, queue: str, data: bytes, token: int) -> None:
        """Send a persistent message; later `confirmed` is called with the token, or `disconnected`."""

    def park(self, data: bytes, why: str, token: int) -> None:
        """Send what nobody can do anything with where people find it, and why; then as for `publish`."""

    def acknowledge(self, tag: Tag) -> None:
        """Let the broker forget a delivery."""

    def give_back(self, tag: Tag) -> None:
        """Let the broker deliver it to somebody else."""

    def answer(self, reply: str, data: bytes) -> None:
        """Send to the queue of somebody who asked; where it is gone, so is the answer."""


class Unable(NamedTuple):
    """What an execution came to that this machine is at fault for, not the step: `why` in words."""

    why: str


class Children(Protocol):
    """The processes that execute steps, one for each slot."""

    def unable(self) -> str | None:
        """Return why no step can be executed on this machine now, None if one can; takes milliseconds at most."""

    def start(self, slot: int, execution: str, task: Task) -> None:
        """Begin an execution; `ended` is called when it is over."""

    def stop(self, slot: int, execution: str) -> None:
        """End an execution by force; `ended` is not called for it any more."""

    def fail(self, slot: int, execution: str, failure: Failure) -> None:
        """End an execution by force; `ended` is called with the failure, or with what it came to meanwhile.

        Nothing to do where it is being ended already.
        """


class Clock(Protocol):
    """What time it is."""

    def monotonic(self) -> float:
        """Return seconds that pass evenly, from anywhere."""

    def time(self) -> int:
        """Return what the machine's clock says, in microseconds since 1970 UTC."""
