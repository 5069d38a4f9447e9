"""The coordinator's line to RabbitMQ: it declares the topology, reads the outcome queue, publishes into all others."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

from pika import BasicProperties, spec
from pika.channel import Channel

from stackledger.domain.errors import BrokerError
from stackledger.workers.fleet.broker.address import BrokerAddress
from stackledger.workers.fleet.broker.connection import Supervisor
from stackledger.workers.fleet.broker.publishing import Publisher
from stackledger.workers.fleet.broker.told import Confirmed, Connected, Delivered, Inbox, Returned
from stackledger.workers.fleet.broker.topology import Topology, is_dead_letter
from stackledger.workers.fleet.broker.wire import Ask, Wire
from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED, Arrived, Tag

PREFETCH = 500
"""How many outcomes come at once: as many as a batch may be."""


class CoordinatorLine:
    """The port `Broker`. What comes of it is put into the inbox."""

    def __init__(self, address: BrokerAddress, topology: Topology, inbox: Inbox, *, prefetch: int = PREFETCH) -> None:
        topology.check()
        make: Callable[[Wire], _Session] = partial(_Session, topology=topology, prefetch=prefetch)
        self.supervisor = Supervisor(address, inbox, make, name="stackledger-broker")

    def publish(self, queue: str, data: bytes, token: int) -> None:
        """Send a persistent message."""
        self.supervisor.do(lambda session: session.publisher.publish(queue, data, token))

    def park(self, data: bytes, why: str, token: int) -> None:
        """Send a message to where people find it, with why."""
        self.supervisor.do(lambda session: session.publisher.park(data, why, OUTCOMES, token))

    def broadcast(self, data: bytes) -> None:
        """Send to every worker that is there."""
        self.supervisor.do(lambda session: session.publisher.broadcast(data))

    def acknowledge(self, tag: Tag) -> None:
        """Let the broker forget a delivery, unless it was of an earlier session."""
        self.supervisor.do(lambda session: session.acknowledge(tag))

    def answer(self, reply: str, data: bytes) -> None:
        """Send to the queue of somebody who asked."""
        self.supervisor.do(lambda session: session.publisher.answer(reply, data))

    def declare(self, queues: Sequence[str]) -> None:
        """Make the queues that are missing; what is published from now on finds them."""
        self.supervisor.do(lambda session: session.declare(queues))

    def close(self) -> None:
        """Leave the connection, and make another one."""
        error = BrokerError("The coordinator left the broker, so that others get what it cannot deal with now.")
        self.supervisor.do(lambda session: session.wire.lose(error))


class _Session:
    publisher: Publisher
    _publishing: Channel
    _consuming: Channel

    def __init__(self, wire: Wire, *, topology: Topology, prefetch: int) -> None:
        self.wire = wire
        self._topology = topology
        self._prefetch = prefetch

    def set_up(self) -> Generator[Ask, Any, None]:
        """Declare all but the step queues, in the order in which one needs the other."""
        wire, topology = self.wire, self._topology
        self._publishing = channel = yield wire.channel()
        self.publisher = Publisher(
            channel,
            topology,
            confirmed=lambda tokens: wire.tell(Confirmed(tokens)),
            returned=lambda token, queue: wire.tell(Returned(token, queue)),
            refused=self._refused,
        )
        yield self.publisher.confirming
        yield lambda then: channel.exchange_declare(topology.control, "fanout", durable=True, callback=then)
        for queue in (OUTCOMES, PARKED):
            yield partial(self._declare, channel, queue)
        missing = yield wire.missing(tuple(map(topology.on_broker, topology.queues)))
        self._consuming = channel = yield wire.channel()
        yield lambda then: channel.basic_qos(prefetch_count=self._prefetch, callback=then)
        wire.ready(
            Connected(wire.number, tuple(each for each in topology.queues if topology.on_broker(each) in missing))
        )
        channel.basic_consume(topology.on_broker(OUTCOMES), self._delivered)

    def declare(self, queues: Sequence[str]) -> None:
        for queue in queues:
            # Without an answer to wait for: it would stand behind what is published next.
            self._declare(self._publishing, queue, None)

    def acknowledge(self, tag: Tag) -> None:
        if tag.session == self.wire.number:
            self._consuming.basic_ack(tag.number)

    def _declare(self, channel: Channel, queue: str, then: Callable[..., None] | None) -> None:
        name, arguments = self._topology.on_broker(queue), dict(self._topology.arguments(queue))
        channel.queue_declare(name, durable=True, arguments=arguments, callback=then)

    def _delivered(
        self, _channel: Channel, method: spec.Basic.Deliver, properties: BasicProperties, data: bytes
    ) -> None:
        tag = Tag(self.wire.number, method.delivery_tag or 0)
        dead = is_dead_letter(properties.headers)
        self.wire.tell(Delivered(0, Arrived(tag, data, bool(method.redelivered), dead)))

    def _refused(self, _token: int, queue: str) -> None:
        # It may be in the queue nevertheless. Coming back sends all that is in doubt as copies, which wait for a grant.
        self.wire.lose(BrokerError(f"The broker did not take a message for the queue '{queue}'."))
