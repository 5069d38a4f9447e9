"""Visits to a real broker: what a command finds out there, and leaves behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from uuid import uuid4

import pika
import pytest

from stackledger.domain.errors import BrokerRefused, BrokerUnreachable, TopologyMismatch
from stackledger.workers.fleet.broker import visiting as module
from stackledger.workers.fleet.broker.address import BrokerAddress
from stackledger.workers.fleet.broker.topology import Topology
from stackledger.workers.fleet.broker.visiting import visiting
from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED
from tests.support.rabbitmq import PASSWORD, PrivateNode

pytestmark = pytest.mark.xdist_group("rabbitmq")

ALL = r"^(stackledger\.|amq\.(gen|default))"


@pytest.fixture
def topology(amqp_url: str) -> Iterator[Topology]:
    topology = Topology(f"test-{uuid4().hex[:12]}", "o", ("default", "gpu"))
    yield topology
    with visiting(BrokerAddress(amqp_url)) as visit:
        visit.delete(topology)


@contextmanager
def channel(url: str) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        yield connection.channel()


def declare(url: str, topology: Topology, *queues: str) -> None:
    with channel(url) as there:
        there.exchange_declare(topology.control, "fanout", durable=True)
        for queue in queues:
            there.queue_declare(topology.on_broker(queue), durable=True, arguments=dict(topology.arguments(queue)))


def test_a_broker_that_will_do_is_told_with_its_version_and_stays_as_it_was(
    rabbitmq_node: PrivateNode, amqp_url: str, topology: Topology
) -> None:
    declare(amqp_url, topology, "default", OUTCOMES)
    before = rabbitmq_node.control("list_queues", "name"), rabbitmq_node.control("list_exchanges", "name")
    with visiting(BrokerAddress(amqp_url)) as visit:
        assert visit.checked(topology).startswith("RabbitMQ ")
        assert visit.step_queues(topology) == {"default": 0}
    after = rabbitmq_node.control("list_queues", "name"), rabbitmq_node.control("list_exchanges", "name")
    assert [sorted(each.split()) for each in after] == [sorted(each.split()) for each in before]


@pytest.mark.parametrize(
    ("granted", "permission", "resource"),
    [
        (("^none$", ALL, ALL), "configure", "stackledger."),
        ((r"^stackledger\.", ALL, ALL), "configure", "amq.gen"),
        ((ALL, r"^(amq\.)", ALL), "write", "stackledger."),
        ((ALL, r"^(stackledger\.|amq\.gen)", ALL), "write", "amq.default"),
        ((ALL, ALL, r"^amq\.gen"), "read", "stackledger."),
    ],
)
def test_a_permission_that_is_missing_is_named(
    rabbitmq_node: PrivateNode, topology: Topology, granted: tuple[str, str, str], permission: str, resource: str
) -> None:
    user = f"u{uuid4().hex[:8]}"
    rabbitmq_node.control("add_user", user, PASSWORD)
    rabbitmq_node.control("set_permissions", "-p", "/", user, *granted)
    address = BrokerAddress(f"amqp://{user}:{PASSWORD}@127.0.0.1:{rabbitmq_node.port}/%2F")
    with visiting(address) as visit, pytest.raises(BrokerRefused) as refused:
        visit.checked(topology)
    assert f"the user {user!r} has not the permission '{permission}' for '{resource}" in refused.value.message.lower()
    assert PASSWORD not in str(refused.value)
    given = refused.value.hint.partition("set_permissions ")[2].replace("'", "").split(" ")
    rabbitmq_node.control("set_permissions", *given)
    with visiting(address) as visit:
        visit.checked(topology)


def test_an_old_broker_and_another_one_are_refused(
    amqp_url: str, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OLDEST", (99, 1))
    with (
        visiting(BrokerAddress(amqp_url)) as visit,
        pytest.raises(BrokerRefused, match=r"takes RabbitMQ 99\.1 or newer"),
    ):
        visit.checked(topology)


@pytest.mark.parametrize("queue", ["default", OUTCOMES, PARKED])
def test_a_queue_that_was_declared_otherwise_is_told(amqp_url: str, topology: Topology, queue: str) -> None:
    with channel(amqp_url) as there:
        there.queue_declare(topology.on_broker(queue), durable=True)
    with (
        pytest.raises(TopologyMismatch, match=r"inequivalent arg 'x-\S+' for queue"),
        visiting(BrokerAddress(amqp_url)) as visit,
    ):
        visit.checked(topology)


def test_nobody_there_and_nobody_let_in_are_told() -> None:
    with pytest.raises(BrokerUnreachable), visiting(BrokerAddress("amqp://me:secret@127.0.0.1:1/%2F")):
        pytest.fail("it was there")


def test_all_is_deleted_and_what_was_lost_with_it_is_counted(
    rabbitmq_node: PrivateNode, amqp_url: str, topology: Topology
) -> None:
    declare(amqp_url, topology, "default", OUTCOMES)
    with channel(amqp_url) as there:
        there.confirm_delivery()
        for _ in range(3):
            there.basic_publish("", topology.on_broker("default"), b"m")
    with visiting(BrokerAddress(amqp_url)) as visit:
        assert visit.delete(topology) == 3
        assert visit.delete(topology) == 0
    assert topology.log not in rabbitmq_node.control("list_queues", "name")
    assert topology.log not in rabbitmq_node.control("list_exchanges", "name")


def within(seconds: float) -> Callable[[], float]:
    deadline = time.monotonic() + seconds
    return lambda: deadline - time.monotonic()


def test_who_asks_hears_what_all_are_told_and_what_is_answered(amqp_url: str, topology: Topology) -> None:
    declare(amqp_url, topology, OUTCOMES)
    heard: list[bytes] = []
    replies: list[str] = []

    def question(reply: str) -> bytes:
        replies.append(reply)
        with channel(amqp_url) as there:
            there.basic_publish(topology.control, "", b"told")
            there.basic_publish("", reply, b"answered")
        return b"asked"

    def left() -> float:
        return 0.0 if len(heard) == 2 else 30.0

    with visiting(BrokerAddress(amqp_url)) as visit:
        visit.ask(topology, question, heard.append, left)
    assert sorted(heard) == [b"answered", b"told"]
    assert replies[0].startswith("amq.gen-")
    with channel(amqp_url) as there:
        method, properties, body = there.basic_get(topology.on_broker(OUTCOMES))
        assert (method is not None, body) == (True, b"asked")
        assert int(properties.expiration) == 30_000


def test_where_there_are_no_queues_nobody_can_be_asked(amqp_url: str, topology: Topology) -> None:
    for made in ((), (PARKED,)):
        if made:
            declare(amqp_url, topology, *made)
        with visiting(BrokerAddress(amqp_url)) as visit, pytest.raises(TopologyMismatch, match="no queues"):
            visit.ask(topology, lambda _: b"", lambda _: None, within(1.0))
