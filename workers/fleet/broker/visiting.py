"""A short visit to the broker, by a command: to check what it allows, to see what is there, to take it away."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, UnroutableError

from stackledger.domain.errors import BrokerRefused, TopologyMismatch, sentence
from stackledger.domain.names import visible
from stackledger.workers.fleet.broker.address import BrokerAddress
from stackledger.workers.fleet.broker.connection import tame_pika
from stackledger.workers.fleet.broker.errors import FROM_PIKA, broker_error
from stackledger.workers.fleet.broker.topology import DELIVERY_LIMIT, Topology
from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED

OLDEST = (3, 10)
"""The first RabbitMQ whose quorum queues lose no dead letter."""

_PATIENCE = 15.0
"""Seconds to wait for a broker that takes no messages for now."""
_ACCESS_REFUSED, _NOT_FOUND = 403, 404
_EXPIRES = 60_000
"""Milliseconds after which the broker removes what a visitor that died left."""

Result = TypeVar("Result")


class QueueFound(NamedTuple):
    """How many messages wait in a queue for somebody to take them, and how many consumers there are."""

    waiting: int
    consumers: int


class _Act(NamedTuple):
    """Something that a coordinator or a worker does on the broker, and which permission it takes on what."""

    permission: str
    resource: str
    do: Callable[[BlockingChannel], object]


@contextmanager
def visiting(address: BrokerAddress) -> Iterator[Visit]:
    """Be connected to the broker; all that goes wrong is a BrokerError."""
    tame_pika()
    parameters = copy.copy(address.parameters())
    parameters.blocked_connection_timeout = _PATIENCE
    try:
        connection = pika.BlockingConnection(parameters)
        try:
            yield Visit(connection, address)
        finally:
            with suppress(*FROM_PIKA):
                connection.close()
    except FROM_PIKA as error:
        raise broker_error(error, address.place) from error


class Visit:
    """What can be done on a visit."""

    def __init__(self, connection: pika.BlockingConnection, address: BrokerAddress) -> None:
        self._connection = connection
        self._address = address

    def checked(self, topology: Topology) -> str:
        """Return which broker it is, or raise BrokerRefused or TopologyMismatch where no fleet could work with it.

        What is tried is tried on names of its own, beginning like those of the queues: nothing is changed of these.
        """
        topology.check()
        version = self.version()
        self._try_everything(f"{topology.control}.check-{os.urandom(4).hex()}")
        for queue in (*topology.queues, OUTCOMES, PARKED):
            self._check_arguments(topology, queue)
        return version

    def step_queues(self, topology: Topology) -> dict[str, int]:
        """Return how many messages wait in each step queue that is there."""
        found = {queue: self.waiting(topology.on_broker(queue)) for queue in topology.queues}
        return {queue: waiting for queue, waiting in found.items() if waiting is not None}

    def channel(self) -> BlockingChannel:
        """Return a channel for what else is done on the visit. What is not acknowledged on it stays in its queue."""
        return self._connection.channel()

    def delete(self, topology: Topology) -> int:
        """Delete the queues and the exchange; return how many messages waited in the queues."""
        lost = 0
        for queue in (*topology.queues, OUTCOMES, PARKED):
            lost += self.waiting(topology.on_broker(queue)) or 0
            self._connection.channel().queue_delete(topology.on_broker(queue))
        self._connection.channel().exchange_delete(topology.control)
        return lost

    def ask(
        self,
        topology: Topology,
        question: Callable[[str], bytes],
        heard: Callable[[bytes], object],
        seconds: Callable[[], float],
    ) -> None:
        """Ask, through the outcome queue, and listen as long as there are `seconds` left.

        `question` is made for the name of the queue for answers. All that workers are told is heard, too.
        """
        channel = self._connection.channel()
        try:
            reply = channel.queue_declare("", exclusive=True).method.queue
            channel.queue_bind(reply, topology.control)
            channel.basic_consume(reply, lambda *message: heard(message[-1]), auto_ack=True)
            channel.confirm_delivery()
            # Nobody wants the answer later.
            properties = pika.BasicProperties(expiration=str(round(max(1.0, seconds()) * 1000)))
            channel.basic_publish("", topology.on_broker(OUTCOMES), question(reply), properties, mandatory=True)
        except (ChannelClosedByBroker, UnroutableError) as error:
            if isinstance(error, ChannelClosedByBroker) and error.reply_code != _NOT_FOUND:
                raise
            raise TopologyMismatch(
                f"The broker at {self._address.place} has no queues for this orchestrator yet.",
                hint="A coordinator makes them: `stackledger stack up`, or `stackledger coordinator start`.",
            ) from error
        while (left := seconds()) > 0:
            self._connection.process_data_events(time_limit=min(left, 0.1))

    def version(self) -> str:
        """Return which broker it is, or raise BrokerRefused where that is not the right kind or too old."""
        # Nothing public tells it of such a connection.
        properties = self._connection._impl.server_properties or {}  # noqa: SLF001
        product, version = (str(properties.get(key, "")) for key in ("product", "version"))
        numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
        if product != "RabbitMQ" or numbers < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            raise BrokerRefused(
                f"The broker at {self._address.place} is {product or 'unknown'} {version}: it takes RabbitMQ {wanted}"
                " or newer, whose quorum queues lose no message that they give up.",
                hint="Upgrade it, or name another one in the orchestrator's url.",
            )
        return f"{product} {version} at {self._address.place}"

    def _try_everything(self, name: str) -> None:
        """Do with a queue and an exchange of that name what a fleet does with its own, and take them away again."""
        try:
            for act in _acts(name):
                self._try(act)
        finally:
            for take_away in (BlockingChannel.queue_delete, BlockingChannel.exchange_delete):
                with suppress(*FROM_PIKA):
                    take_away(self._connection.channel(), name)

    def _try(self, act: _Act) -> None:
        try:
            act.do(self._connection.channel())
        except ChannelClosedByBroker as error:
            if error.reply_code != _ACCESS_REFUSED:
                raise
            parameters = self._address.parameters()
            user, host = getattr(parameters.credentials, "username", "USER"), parameters.virtual_host
            raise BrokerRefused(
                f"The user {user!r} has not the permission '{act.permission}' for {act.resource!r} on the broker at"
                f" {self._address.place}. It says: {sentence(visible(error.reply_text))}",
                hint=f"Who administers it can give what a fleet needs: rabbitmqctl set_permissions -p '{host}' '{user}'"
                r" '^(stackledger\.|amq\.gen)' '^(stackledger\.|amq\.(gen|default))' '^(stackledger\.|amq\.gen)'",
            ) from error

    def _check_arguments(self, topology: Topology, queue: str) -> None:
        """Raise TopologyMismatch where a queue is there, and was declared otherwise."""
        name = topology.on_broker(queue)
        if self.waiting(name) is not None:
            self._connection.channel().queue_declare(name, durable=True, arguments=dict(topology.arguments(queue)))

    def waiting(self, name: str) -> int | None:
        """Return how many messages wait in a queue that the broker calls so, None if it is not there."""
        found = self.found(name)
        return found.waiting if found is not None else None

    def found(self, name: str) -> QueueFound | None:
        """Return what is to be seen of a queue that the broker calls so, None if it is not there."""
        try:
            method = self._connection.channel().queue_declare(name, passive=True).method
            return QueueFound(int(method.message_count), int(method.consumer_count))
        except ChannelClosedByBroker as error:
            if error.reply_code != _NOT_FOUND:
                raise
            return None


def _acts(name: str) -> Iterator[_Act]:
    """Yield what is done on a broker, on a queue and an exchange of a name that is nobody's."""
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": name,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-expires": _EXPIRES,
    }
    # In this order each takes one permission more than those before it.
    yield _Act("configure", name, lambda channel: channel.exchange_declare(name, "fanout", auto_delete=True))
    yield _Act("write", name, lambda channel: _published(channel, name, ""))
    yield _Act("configure", "amq.gen-…", lambda channel: channel.queue_declare("", exclusive=True))
    yield _Act("read", name, lambda channel: _bound(channel, name))
    yield _Act("write", "amq.default", lambda channel: _published(channel, "", name))
    yield _Act("configure", name, lambda channel: channel.queue_declare(name, durable=True, arguments=arguments))
    yield _Act("write", "amq.default", lambda channel: _published(channel, "", name))
    yield _Act("read", name, lambda channel: channel.basic_get(name, auto_ack=True))


def _published(channel: BlockingChannel, exchange: str, key: str) -> None:
    channel.confirm_delivery()
    channel.basic_publish(exchange, key, b"")


def _bound(channel: BlockingChannel, exchange: str) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange)
