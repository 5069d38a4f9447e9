"""Publishing with confirms, many under way: each message is confirmed, returned, or gone with its session."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time
from typing import Any, NamedTuple

from pika import BasicProperties, DeliveryMode, spec
from pika.channel import Channel
from pika.frame import Method

from stackledger.workers.fleet.broker.topology import CAME_FROM, WHY, Topology
from stackledger.workers.fleet.protocol.ports import PARKED

_UNNUMBERED = 0

PATIENCE = 30.0
"""After how many seconds without a confirmation a queue is taken for one that does not work."""


class _Sent(NamedTuple):
    token: int
    queue: str
    at: float


class Publisher:
    """A channel in confirm mode.

    `confirmed` is called with the tokens of messages that the broker has for good, `returned` with that of one whose
    queue is not there, `refused` with that of one that its queue did not take.
    """

    def __init__(
        self,
        channel: Channel,
        topology: Topology,
        *,
        confirmed: Callable[[tuple[int, ...]], None],
        returned: Callable[[int, str], None],
        refused: Callable[[int, str], None],
    ) -> None:
        self._channel = channel
        self._topology = topology
        self._confirmed = confirmed
        self._told_returned = returned
        self._refused = refused
        self._tag = 0
        self._sent: dict[int, _Sent] = {}
        self._returned: set[int] = set()
        channel.add_on_return_callback(self._came_back)

    def confirming(self, callback: Callable[..., None]) -> None:
        """Ask the broker to confirm, and call back when it will."""
        self._channel.confirm_delivery(self._answered, callback=callback)

    def publish(self, queue: str, data: bytes, token: int, **more: Any) -> None:
        """Send a message that survives the broker's restart, and that comes back if there is no such queue."""
        self._tag += 1
        self._sent[self._tag] = _Sent(token, queue, monotonic())
        properties = BasicProperties(delivery_mode=DeliveryMode.Persistent, message_id=str(self._tag), **more)
        self._channel.basic_publish("", self._topology.on_broker(queue), data, properties, mandatory=True)

    def park(self, data: bytes, why: str, came_from: str, token: int) -> None:
        """Send a message to where people find it, and with it why, out of which queue it came, and when that was."""
        self.publish(PARKED, data, token, headers={WHY: why, CAME_FROM: came_from}, timestamp=int(time()))

    def broadcast(self, data: bytes) -> None:
        """Send to every worker that listens now."""
        self._tag += 1
        self._sent[self._tag] = _Sent(_UNNUMBERED, "", monotonic())
        self._channel.basic_publish(self._topology.control, "", data)

    def answer(self, reply: str, data: bytes) -> None:
        """Send to a queue of somebody else's, if it is still there."""
        self._tag += 1
        self._sent[self._tag] = _Sent(_UNNUMBERED, "", monotonic())
        self._channel.basic_publish("", reply, data)

    def overdue(self, now: float) -> set[str]:
        """Return the queues that have not confirmed a message for too long."""
        queues = set()
        for _, queue, at in self._sent.values():
            if now - at <= PATIENCE:
                break
            queues.add(queue)
        return queues - {""}

    def _came_back(self, _channel: Channel, _method: spec.Basic.Return, properties: BasicProperties, _: bytes) -> None:
        # The broker confirms it after this: it answers for it, as for every message.
        self._returned.add(int(properties.message_id or 0))

    def _answered(self, frame: Method[Any]) -> None:
        """Tell what the broker says about a message, or about all up to one."""
        tag = frame.method.delivery_tag
        taken = isinstance(frame.method, spec.Basic.Ack)
        confirmed: list[int] = []
        for each in self._up_to(tag) if frame.method.multiple else (tag,):
            token, queue, _ = self._sent.pop(each)
            if each in self._returned:
                self._returned.discard(each)
                self._told_returned(token, queue)
            elif token == _UNNUMBERED:
                continue
            elif taken:
                confirmed.append(token)
            else:
                self._refused(token, queue)
        if confirmed:
            self._confirmed(tuple(confirmed))

    def _up_to(self, last: int) -> list[int]:
        tags: list[int] = []
        for tag in self._sent:  # in the order of sending
            if tag > last:
                break
            tags.append(tag)
        return tags
