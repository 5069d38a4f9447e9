"""The broker's configuration and users in deploy/: RabbitMQ takes them, and each user can do its work and no more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import uuid4

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

import tests.support.rabbitmq as support
from stackledger.workers.fleet.broker.address import BrokerAddress
from stackledger.workers.fleet.broker.topology import Topology
from stackledger.workers.fleet.broker.visiting import visiting
from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED
from tests.support.compose import DEPLOY, script
from tests.support.rabbitmq import PrivateNode, private_node

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.timeout(240)]

TOPOLOGY = Topology(uuid4().hex, uuid4().hex, ("default", "gpu"))
STEPS, CONTROL = TOPOLOGY.on_broker("default"), TOPOLOGY.control

_ACCESS_REFUSED = 403

Act = Callable[[BlockingChannel], object]
"""What is tried."""


class Broker:
    """A node, and its users, each with a connection; `secrets` is the folder with their passwords."""

    def __init__(self, node: PrivateNode, secrets: Path, stack: ExitStack) -> None:
        self.node = node
        self._secrets = secrets
        self._stack = stack
        self._connections: dict[str, pika.BlockingConnection] = {}

    def url(self, user: str) -> str:
        """Return the way in for a user, as it was made."""
        return (self._secrets / f"amqp-url-{user}").read_text().replace("broker:5672", f"127.0.0.1:{self.node.port}")

    def channel(self, user: str) -> BlockingChannel:
        """Return a new channel of a user."""
        if user not in self._connections:
            connection = pika.BlockingConnection(pika.URLParameters(self.url(user)))
            self._connections[user] = self._stack.enter_context(closing(connection))
        return self._connections[user].channel()

    def allows(self, user: str, act: Act) -> bool:
        """Say whether a user may do something."""
        try:
            act(self.channel(user))
        except ChannelClosedByBroker as error:
            if error.reply_code != _ACCESS_REFUSED:
                raise
            return False
        return True


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker with the configuration of deploy/, and the queues of a fleet made by its coordinator."""
    secrets = tmp_path_factory.mktemp("deploy") / "secrets"
    script("make_secrets").make(secrets, "broker:5672")
    settings = (DEPLOY / "rabbitmq/rabbitmq.conf").read_text(encoding="utf-8")
    definitions = secrets / "broker-definitions.json"
    with pytest.MonkeyPatch.context() as patch:
        ours = settings.replace("/etc/rabbitmq/definitions.json", str(definitions))
        # The test's own user comes with definitions that are loaded, where nobody makes a first one.
        patch.setattr(support, "_SETTINGS", support._SETTINGS + ours)
        found = json.loads(definitions.read_text(encoding="utf-8"))
        found["users"].append(
            {
                "name": support.USER,
                "tags": ["administrator"],
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "password_hash": script("make_secrets").password_hash(support.PASSWORD),
            }
        )
        found["vhosts"].append({"name": "/"})
        found["permissions"].append(
            {"user": support.USER, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        )
        definitions.chmod(0o600)
        definitions.write_text(json.dumps(found), encoding="utf-8")
        with private_node() as node, ExitStack() as stack:
            broker = Broker(node, secrets, stack)
            channel = broker.channel("coordinator")
            channel.exchange_declare(CONTROL, "fanout", durable=True)
            for queue in (*TOPOLOGY.queues, OUTCOMES, PARKED):
                name = TOPOLOGY.on_broker(queue)
                channel.queue_declare(name, durable=True, arguments=dict(TOPOLOGY.arguments(queue)))
            yield broker


def says(queue: str, exchange: str = "") -> Act:
    def act(channel: BlockingChannel) -> None:
        channel.confirm_delivery()
        channel.basic_publish(exchange, queue, b"", mandatory=False)

    return act


def reads(queue: str) -> Act:
    return lambda channel: channel.basic_get(queue, auto_ack=True)


def looks_at(queue: str) -> Act:
    return lambda channel: channel.queue_declare(queue, passive=True)


def makes(queue: str) -> Act:
    return lambda channel: channel.queue_declare(queue, durable=True)


def hears(channel: BlockingChannel) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, CONTROL)
    channel.basic_consume(queue, lambda *_: None, auto_ack=True)


ACTS: dict[str, tuple[Act, set[str]]] = {
    "make a queue": (makes("stackledger.new"), {"coordinator"}),
    "make somebody else's queue": (makes("payroll"), set()),
    "delete a queue": (lambda channel: channel.queue_delete("stackledger.nothing"), {"coordinator"}),
    "speak to all workers": (says("", CONTROL), {"coordinator"}),
    "hear what all workers are told": (hears, {"coordinator", "worker", "submitter"}),
    "send an outcome": (says(TOPOLOGY.on_broker(OUTCOMES)), {"coordinator", "worker", "submitter"}),
    "take a step": (reads(STEPS), {"coordinator", "worker"}),
    "read outcomes": (reads(TOPOLOGY.on_broker(OUTCOMES)), {"coordinator"}),
    "read what is parked": (reads(TOPOLOGY.on_broker(PARKED)), {"coordinator"}),
    "look how long a queue is": (looks_at(STEPS), {"coordinator", "worker", "submitter", "observer"}),
}


@pytest.mark.parametrize("what", ACTS)
def test_each_user_of_the_broker_can_do_its_work_and_no_more(broker: Broker, what: str) -> None:
    act, wanted = ACTS[what]
    users = ("coordinator", "worker", "submitter", "observer")
    assert {user for user in users if broker.allows(user, act)} == wanted


def test_what_stack_up_checks_is_what_the_coordinators_user_may(broker: Broker) -> None:
    with visiting(BrokerAddress(broker.url("coordinator"))) as visit:
        assert "RabbitMQ" in visit.checked(TOPOLOGY)


def test_what_is_parked_is_bounded_and_no_other_queue(broker: Broker) -> None:
    rows = broker.node.control("list_queues", "-p", "stackledger", "name", "policy", "--no-table-headers").splitlines()
    policies = dict(line.split("\t") for line in rows)
    assert {name for name, policy in policies.items() if policy} == {TOPOLOGY.on_broker(PARKED)}
