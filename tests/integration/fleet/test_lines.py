"""The lines to RabbitMQ themselves: what they tell of what they were asked, in good times and in bad."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TypeVar
from uuid import uuid4

import pika
import pytest

from stackledger.domain.errors import BrokerRefused, BrokerUnreachable, TopologyMismatch
from stackledger.workers.fleet.broker.address import BrokerAddress
from stackledger.workers.fleet.broker.coordinator_line import CoordinatorLine
from stackledger.workers.fleet.broker.publishing import PATIENCE, _Sent
from stackledger.workers.fleet.broker.told import (
    Confirmed,
    Connected,
    ConsumerCancelled,
    Delivered,
    Disconnected,
    Inbox,
    NotConnected,
    Returned,
    Told,
    Unanswered,
)
from stackledger.workers.fleet.broker.topology import Topology
from stackledger.workers.fleet.broker.worker_line import WorkerLine
from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED
from tests.support.eventually import eventually
from tests.support.rabbitmq import PASSWORD

pytestmark = pytest.mark.xdist_group("rabbitmq")


@pytest.fixture
def topology(amqp_url: str) -> Iterator[Topology]:
    topology = Topology(f"test-{uuid4().hex[:12]}", "o", ("default",))
    yield topology
    with channel(amqp_url) as there:
        for queue in ("default", "gpu", OUTCOMES, PARKED):
            there.queue_delete(topology.on_broker(queue))
        there.exchange_delete(topology.control)


@contextmanager
def channel(url: str) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        yield connection.channel()


T = TypeVar("T")


class Ear:
    """Takes part of a main loop: hears what is told, and keeps the session of the line."""

    def __init__(self, line: CoordinatorLine | WorkerLine, inbox: Inbox) -> None:
        self.line = line
        self.inbox = inbox
        self.heard: list[Told] = []

    def until(self, enough: Callable[[list[Told]], object]) -> list[Told]:
        """Flush, and listen until enough was heard; return it."""
        self.line.supervisor.flush()
        deadline = monotonic() + 30
        while not enough(self.heard):
            try:
                told = self.inbox.get(timeout=max(0.0, deadline - monotonic()))
            except Empty:
                pytest.fail(f"only this was heard: {self.heard}")
            if isinstance(told, Connected):
                self.line.supervisor.use(told.session)
            self.heard.append(told)
        heard, self.heard = self.heard, []
        return heard

    def first(self, kind: type[T]) -> T:
        heard = self.until(lambda heard: any(isinstance(each, kind) for each in heard))
        return next(each for each in heard if isinstance(each, kind))


@contextmanager
def listening(line: CoordinatorLine | WorkerLine, inbox: Inbox) -> Iterator[Ear]:
    line.supervisor.start()
    try:
        yield Ear(line, inbox)
    finally:
        line.supervisor.end()
        assert not line.supervisor.is_alive


@pytest.fixture
def coordinator(amqp_url: str, topology: Topology) -> Iterator[Ear]:
    inbox: Inbox = SimpleQueue()
    with listening(CoordinatorLine(BrokerAddress(amqp_url), topology, inbox, prefetch=10), inbox) as ear:
        yield ear


def worker(url: str, topology: Topology, *, queue: str = "default", slots: int = 2) -> tuple[WorkerLine, Inbox]:
    inbox: Inbox = SimpleQueue()
    return WorkerLine(BrokerAddress(url), topology, inbox, queue=queue, slots=slots), inbox


def ready(coordinator: Ear) -> CoordinatorLine:
    line = coordinator.line
    assert isinstance(line, CoordinatorLine)
    assert coordinator.first(Connected).missing in (("default",), ())
    return line


def test_each_of_many_messages_is_confirmed_or_returned_by_its_own_token(coordinator: Ear) -> None:
    line = ready(coordinator)
    line.declare(["default"])
    for token in range(1, 601):
        line.publish("default" if token % 3 else "nowhere", b"m", token)
    heard = coordinator.until(lambda heard: len(_answers(heard)) >= 600)
    answers = _answers(heard)
    assert answers == Counter({(token, "taken" if token % 3 else "nowhere"): 1 for token in range(1, 601)})


def _answers(heard: list[Told]) -> Counter[tuple[int, str]]:
    confirmed = ((token, "taken") for each in heard if isinstance(each, Confirmed) for token in each.tokens)
    returned = ((each.token, each.queue) for each in heard if isinstance(each, Returned))
    return Counter([*confirmed, *returned])


def test_what_is_published_after_declaring_finds_its_queue(coordinator: Ear) -> None:
    line = ready(coordinator)
    line.declare(["gpu", "default"])
    line.publish("gpu", b"m", 1)
    line.publish("default", b"m", 2)
    answers = _answers(coordinator.until(lambda heard: len(_answers(heard)) == 2))
    assert answers == Counter([(1, "taken"), (2, "taken")])


def test_a_tag_of_an_earlier_session_is_forgotten(coordinator: Ear) -> None:
    """An acknowledgement of a delivery that this session does not know would end it."""
    line = ready(coordinator)
    line.publish(OUTCOMES, b"m", 1)
    first = coordinator.first(Delivered).arrived
    line.close()
    coordinator.first(Connected)
    line.acknowledge(first.tag)
    heard = coordinator.until(lambda heard: any(isinstance(each, Delivered) for each in heard))
    (again,) = (each.arrived for each in heard if isinstance(each, Delivered))
    assert (again.data, again.redelivered) == (b"m", True)
    assert again.tag.session > first.tag.session
    assert len(heard) == 1, "the session went on"
    line.acknowledge(again.tag)
    line.publish(OUTCOMES, b"n", 2)
    heard = coordinator.until(lambda heard: any(isinstance(each, Delivered) for each in heard))
    assert not any(isinstance(each, Disconnected) for each in heard)


def test_work_for_a_session_that_is_over_is_forgotten(coordinator: Ear, amqp_url: str, topology: Topology) -> None:
    line = ready(coordinator)
    line.close()
    line.supervisor.flush()
    # The next session is there before the main thread has heard of it.
    eventually(lambda: line.supervisor.wire is not None and line.supervisor.wire.number > 1)
    eventually(lambda: line.supervisor._ready_at is not None)
    line.publish(OUTCOMES, b"too late", 1)
    coordinator.first(Connected)
    line.publish(OUTCOMES, b"in time", 2)
    assert coordinator.first(Delivered).arrived.data == b"in time"


def test_a_tag_that_does_not_exist_costs_the_session_and_no_more(coordinator: Ear) -> None:
    line = ready(coordinator)
    line.publish(OUTCOMES, b"m", 1)
    tag = coordinator.first(Delivered).arrived.tag
    line.acknowledge(tag)
    line.acknowledge(tag)
    error = coordinator.first(Disconnected).error
    assert isinstance(error, TopologyMismatch)
    assert "unknown delivery tag" in str(error)
    coordinator.first(Connected)


def test_a_slot_has_one_message_at_a_time_and_none_when_it_is_cancelled(
    coordinator: Ear, amqp_url: str, topology: Topology
) -> None:
    line = ready(coordinator)
    line.declare(["default"])
    for token in range(1, 6):
        line.publish("default", b"%d" % token, token)
    coordinator.until(lambda heard: len(_answers(heard)) == 5)
    mine, inbox = worker(amqp_url, topology)
    with listening(mine, inbox) as ear:
        ear.first(Connected)
        mine.consume(0)
        mine.consume(1)
        heard = ear.until(lambda heard: sum(isinstance(each, Delivered) for each in heard) == 2)
        held = {each.slot: each.arrived for each in heard if isinstance(each, Delivered)}
        assert {each.data for each in held.values()} == {b"1", b"2"}
        mine.cancel(0)
        assert ear.first(ConsumerCancelled).slot == 0
        mine.acknowledge(held[0].tag)
        mine.give_back(held[1].tag)
        again = ear.first(Delivered)
        assert (again.slot, again.arrived.data, again.arrived.redelivered) == (1, held[1].data, True)


def test_a_worker_waits_for_its_queue(coordinator: Ear, amqp_url: str, topology: Topology) -> None:
    line = ready(coordinator)
    mine, inbox = worker(amqp_url, topology)
    with listening(mine, inbox) as ear:
        assert isinstance(ear.first(NotConnected).error, TopologyMismatch)
        line.declare(["default"])
        coordinator.line.supervisor.flush()
        ear.first(Connected)
        with channel(amqp_url) as there:
            there.queue_delete(topology.on_broker("default"))
        mine.consume(0)
        assert isinstance(ear.first(Disconnected).error, TopologyMismatch)


def test_a_queue_that_does_not_confirm_is_told_of(coordinator: Ear) -> None:
    """While a connection is blocked nothing is confirmed, and no queue is to blame."""
    line = ready(coordinator)
    publisher = line.supervisor._session.publisher  # type: ignore[union-attr]
    now = monotonic()
    publisher._sent = {1: _Sent(1, "default", now - PATIENCE - 1), 2: _Sent(2, OUTCOMES, now)}
    assert publisher.overdue(now) == {"default"}
    wire = line.supervisor.wire
    assert wire is not None
    wire.blocked = True
    line.supervisor._complain(wire, frozenset())
    wire.blocked = False
    line.supervisor._complain(wire, frozenset())
    line.supervisor._complain(wire, frozenset({"default"}))
    line.supervisor.inbox.put(Confirmed((7,)))
    heard = coordinator.until(lambda heard: any(isinstance(each, Confirmed) for each in heard))
    (said,) = (each for each in heard if isinstance(each, Unanswered))
    assert "'default'" in str(said.error)


def test_a_password_shows_nowhere_even_when_it_is_wrong(
    amqp_url: str, topology: Topology, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = amqp_url.replace(PASSWORD, "N0ne0fY0urBusiness")
    caplog.set_level(logging.DEBUG)
    inbox: Inbox = SimpleQueue()
    with caplog.at_level(logging.DEBUG, logger="pika"):
        for url, kind in ((wrong, BrokerRefused), (amqp_url + "-nobody", BrokerRefused)):
            line = CoordinatorLine(BrokerAddress(url), topology, inbox)
            with listening(line, inbox) as ear:
                error = ear.first(NotConnected).error
            assert type(error) is kind
            assert "N0ne" not in repr(error) + str(error) + repr(error.__cause__) + repr(vars(line))
        unreachable = CoordinatorLine(BrokerAddress(f"amqp://me:{PASSWORD}@127.0.0.1:1/%2F"), topology, inbox)
        with listening(unreachable, inbox) as ear:
            assert type(ear.first(NotConnected).error) is BrokerUnreachable
    assert "127.0.0.1" in caplog.text
    for password in (PASSWORD, "N0ne0fY0urBusiness"):
        assert password not in caplog.text
