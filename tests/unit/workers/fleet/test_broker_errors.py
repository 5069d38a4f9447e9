from __future__ import annotations

import inspect
import socket
import ssl
import traceback

import pika
import pytest
from pika import exceptions
from pika.adapters.utils import connection_workflow as workflow

from stackledger.domain.errors import BrokerError, BrokerRefused, BrokerUnreachable, InvalidValue, TopologyMismatch
from stackledger.workers.fleet.broker.address import BrokerAddress
from stackledger.workers.fleet.broker.errors import FROM_PIKA, KINDS, broker_error

OF_PIKA = sorted(
    {
        each
        for module in (exceptions, workflow)
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, BaseException) and each.__module__ == module.__name__
    },
    key=lambda each: each.__name__,
)


@pytest.mark.parametrize("error", OF_PIKA)
def test_every_exception_of_pika_is_one_of_ours(error: type[BaseException]) -> None:
    assert error in KINDS
    assert issubclass(error, FROM_PIKA)


def refused() -> workflow.AMQPConnectionWorkflowFailed:
    return workflow.AMQPConnectionWorkflowFailed(
        [workflow.AMQPConnectorSocketConnectError(ConnectionRefusedError(111))]
    )


@pytest.mark.parametrize(
    ("error", "kind", "word"),
    [
        (exceptions.ConnectionClosedByBroker(403, "ACCESS_REFUSED"), BrokerRefused, "ACCESS_REFUSED"),
        (exceptions.ConnectionClosedByBroker(530, "vhost x not found"), BrokerRefused, "vhost x"),
        (exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED"), BrokerUnreachable, "CONNECTION_FORCED"),
        (exceptions.ChannelClosedByBroker(406, "inequivalent arg"), TopologyMismatch, "inequivalent arg"),
        (exceptions.ChannelClosedByBroker(404, "no queue 'q'"), TopologyMismatch, "no queue 'q'"),
        (refused(), BrokerUnreachable, "ConnectionRefusedError"),
        (exceptions.AMQPConnectionError(refused()), BrokerUnreachable, "ConnectionRefusedError"),
        (socket.gaierror(-2, "Name or service not known"), BrokerUnreachable, "not known"),
    ],
)
def test_an_error_says_where_what_and_what_to_do(error: BaseException, kind: type[BrokerError], word: str) -> None:
    ours = broker_error(error, "mq.example:5671")
    assert type(ours) is kind
    assert "mq.example:5671" in str(ours)
    assert word in str(ours)
    assert ours.hint
    assert ours.__cause__ is error


@pytest.mark.parametrize(
    "url",
    [
        "amqp://me:Tr0ub4dor@mq:notaport/%2F",
        "amqp://me:Tr0ub4dor@mq/%2F?heartbeat=Tr0ub4dor",
        "amqp://me:Tr0ub4dor@[mq/",
        "http://me:Tr0ub4dor@mq/",
        "Tr0ub4dor",
        "",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        BrokerAddress(url)
    assert "Tr0ub4dor" not in str(caught.value)
    assert "Tr0ub4dor" not in "".join(traceback.format_exception(caught.value))


def test_an_address_shows_no_password() -> None:
    address = BrokerAddress("amqps://me:Tr0ub4dor@mq.example/work")
    assert "mq.example:5671" in repr(address)
    assert "Tr0ub4dor" not in repr(address) + repr(address.parameters()) + str(vars(address))


def test_with_amqps_the_broker_has_to_prove_who_it_is() -> None:
    options = BrokerAddress("amqps://me:secret@mq.example/work").parameters().ssl_options
    assert isinstance(options, pika.SSLOptions)
    assert options.context.check_hostname
    assert options.context.verify_mode is ssl.CERT_REQUIRED
