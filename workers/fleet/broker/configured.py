"""What a configured orchestrator has on its broker: the way there, and the names of the queues."""

from __future__ import annotations

import ssl

from stackledger.domain.errors import InvalidConfiguration
from stackledger.domain.names import visible
from stackledger.flavors.rabbitmq_orchestrator import RabbitMQOrchestratorConfig
from stackledger.workers.fleet.broker.address import BrokerAddress
from stackledger.workers.fleet.broker.topology import Topology


def broker_address(config: RabbitMQOrchestratorConfig) -> BrokerAddress:
    """Return the way to the broker, or raise InvalidConfiguration where a certificate cannot be used."""
    return BrokerAddress(config.url, context=_tls(config), heartbeat=config.broker_heartbeat)


def topology(config: RabbitMQOrchestratorConfig, log: str, orchestrator_id: str) -> Topology:
    """Return what the queues are called; `log` is what the log is called on fleets."""
    return Topology(log, orchestrator_id, config.queue_names)


def _tls(config: RabbitMQOrchestratorConfig) -> ssl.SSLContext | None:
    if not config.url.startswith("amqps:"):
        return None
    try:
        context = ssl.create_default_context(cafile=config.ca_certificate)
        if config.client_certificate is not None:
            # Without a password: nobody is there to be asked for one.
            context.load_cert_chain(config.client_certificate, config.client_key, password="")
    except (OSError, ValueError) as error:
        files = (config.ca_certificate, config.client_certificate, config.client_key)
        named = ", ".join(visible(file) for file in files if file)
        raise InvalidConfiguration(
            f"The certificates for the broker cannot be used ({named}): {visible(str(error))}.",
            hint="They are PEM files on this machine, and a key has no password.",
        ) from error
    return context
