"""A worker's line to RabbitMQ: a channel for each slot, one for what the worker says, one for what all are told."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from pika import BasicProperties, spec
from pika.channel import Channel

from stackledger.domain.errors import TopologyMismatch
from stackledger.workers.fleet.broker.address import BrokerAddress
from stackledger.workers.fleet.broker.connection import Supervisor
from stackledger.workers.fleet.broker.publishing import Publisher
from stackledger.workers.fleet.broker.told import (
    Announced,
    Confirmed,
    Connected,
    ConsumerCancelled,
    Delivered,
    Inbox,
    Returned,
)
from stackledger.workers.fleet.broker.topology import Topology
from stackledger.workers.fleet.broker.wire import Ask, Wire
from stackledger.workers.fleet.protocol.ports import Arrived, Tag


class WorkerLine:
    """The port `WorkerBroker`, for one step queue. What comes of it is put into the inbox."""

    def __init__(self, address: BrokerAddress, topology: Topology, inbox: Inbox, *, queue: str, slots: int) -> None:
        topology.check()
        make: Callable[[Wire], _Session] = partial(_Session, topology=topology, queue=queue, slots=slots)
        self.supervisor = Supervisor(address, inbox, make, name="stackledger-broker")

    def consume(self, slot: int) -> None:
        """Take one message at a time for a slot."""
        self.supervisor.do(lambda session: session.consume(slot))

    def cancel(self, slot: int) -> None:
        """Take no more for a slot."""
        self.supervisor.do(lambda session: session.cancel(slot))

    def publish(self, queue: str, data: bytes, token: int) -> None:
        """Send a persistent message."""
        self.supervisor.do(lambda session: session.publisher.publish(queue, data, token))

    def park(self, data: bytes, why: str, token: int) -> None:
        """Send a message to where people find it, with why."""
        self.supervisor.do(lambda session: session.park(data, why, token))

    def acknowledge(self, tag: Tag) -> None:
        """Let the broker forget a delivery, unless it was of an earlier session."""
        self.supervisor.do(lambda session: session.settle(tag, back=False))

    def give_back(self, tag: Tag) -> None:
        """Let the broker deliver it to somebody else."""
        self.supervisor.do(lambda session: session.settle(tag, back=True))

    def answer(self, reply: str, data: bytes) -> None:
        """Send to the queue of somebody who asked."""
        self.supervisor.do(lambda session: session.publisher.answer(reply, data))


class _Session:
    publisher: Publisher

    def __init__(self, wire: Wire, *, topology: Topology, queue: str, slots: int) -> None:
        self._wire = wire
        self._topology = topology
        self._queue = queue
        self._slots = slots
        self._channels: list[Channel] = []
        self._consumers: dict[int, str] = {}

    def set_up(self) -> Generator[Ask, Any, None]:
        """Look whether there is a queue, then open everything; consumers follow when somebody asks for them."""
        wire, topology = self._wire, self._topology
        if (yield wire.missing((topology.on_broker(self._queue),))):
            wire.lose(
                TopologyMismatch(
                    f"The queue of the steps for '{self._queue}' is not there yet.",
                    hint="The coordinator makes it, if the orchestrator has such a queue: see that one runs.",
                )
            )
            return
        channel = yield wire.channel()
        self.publisher = Publisher(
            channel,
            topology,
            confirmed=lambda tokens: wire.tell(Confirmed(tokens)),
            returned=lambda token, queue: wire.tell(Returned(token, queue)),
            # What a worker says may be said twice.
            refused=lambda token, queue: wire.tell(Returned(token, queue)),
        )
        yield self.publisher.confirming
        yield from self._listen()
        for _ in range(self._slots):
            channel = yield wire.channel()
            yield partial(_one_at_a_time, channel)
            self._channels.append(channel)
        wire.ready(Connected(wire.number))

    def consume(self, slot: int) -> None:
        self._consumers[slot] = self._channels[slot].basic_consume(
            self._topology.on_broker(self._queue), partial(self._delivered, slot)
        )

    def cancel(self, slot: int) -> None:
        # pika itself gives back, by basic.reject, what comes before the answer.
        self._channels[slot].basic_cancel(
            self._consumers.pop(slot), callback=lambda _frame: self._wire.tell(ConsumerCancelled(slot))
        )

    def park(self, data: bytes, why: str, token: int) -> None:
        self.publisher.park(data, why, self._queue, token)

    def settle(self, tag: Tag, *, back: bool) -> None:
        if tag.session != self._wire.number:
            return
        number, slot = divmod(tag.number, self._slots)
        if back:
            self._channels[slot].basic_nack(number, requeue=True)
        else:
            self._channels[slot].basic_ack(number)

    def _listen(self) -> Generator[Ask, Any, None]:
        """Hear what all workers are told, in a queue that goes with the connection."""
        channel = yield self._wire.channel()
        declared = yield lambda then: channel.queue_declare("", exclusive=True, callback=then)
        name = declared.method.queue
        yield lambda then: channel.queue_bind(name, self._topology.control, callback=then)
        channel.basic_consume(name, self._told, auto_ack=True)

    def _delivered(
        self, slot: int, _channel: Channel, method: spec.Basic.Deliver, _properties: BasicProperties, data: bytes
    ) -> None:
        # Deliveries count on each channel anew; a tag is unique on the session.
        tag = Tag(self._wire.number, (method.delivery_tag or 0) * self._slots + slot)
        self._wire.tell(Delivered(slot, Arrived(tag, data, bool(method.redelivered))))

    def _told(self, _channel: Channel, _method: spec.Basic.Deliver, _properties: BasicProperties, data: bytes) -> None:
        self._wire.tell(Announced(data))


def _one_at_a_time(channel: Channel, then: Callable[..., None]) -> None:
    channel.basic_qos(prefetch_count=1, callback=then)
