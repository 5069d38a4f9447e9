"""Where the broker is, and how to get in, without ever showing with what password."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from stackledger.domain.errors import InvalidValue

if TYPE_CHECKING:
    import pika

# Bringing a connection up, from the first packet to the end of AMQP's handshake.
_BRING_UP = 15.0


class BrokerAddress:
    """An AMQP URL that was read. `heartbeat` and `blocked_timeout` are in seconds.

    While an alarm of the broker's lasts a connection is blocked; one that is given up meanwhile is blocked again as
    soon as it publishes, and costs each message that it held one of its deliveries. So that is for the longest alarms.
    """

    def __init__(
        self,
        url: str,
        *,
        context: ssl.SSLContext | None = None,
        heartbeat: int = 20,
        blocked_timeout: float = 600.0,
    ) -> None:
        import pika

        try:
            parameters = pika.URLParameters(url)
        except Exception:  # noqa: BLE001 - whatever it is, what it says may repeat a part of the password
            raise InvalidValue(
                "The broker's URL cannot be read.", hint="It looks like amqps://user:password@host:5671/virtual-host"
            ) from None
        if not url.startswith(("amqp://", "amqps://")):
            raise InvalidValue("The broker's URL begins neither with amqp:// nor with amqps://.")
        if context is not None:
            parameters.ssl_options = pika.SSLOptions(context, parameters.host)
        parameters.heartbeat = heartbeat
        parameters.blocked_connection_timeout = blocked_timeout
        parameters.connection_attempts = 1
        parameters.socket_timeout = parameters.stack_timeout = _BRING_UP
        parameters.client_properties = {"product": "Stackledger"}
        self._parameters = parameters
        self.place = f"{parameters.host}:{parameters.port}, virtual host {parameters.virtual_host!r}"

    def parameters(self) -> pika.URLParameters:
        """Return what pika needs to connect."""
        return self._parameters

    def __repr__(self) -> str:
        """Say where it is."""
        return f"BrokerAddress({self.place})"
