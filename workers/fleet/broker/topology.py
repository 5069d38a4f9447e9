"""The queues and the exchange of one orchestrator over one log, as the broker has them.

Every name holds what the log is called and the orchestrator's id, so that two logs on one broker never meet, nor two
incarnations of a log. The coordinator alone declares; everybody
else only looks whether something is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from stackledger.domain.errors import InvalidName
from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED

DELIVERY_LIMIT = 20
"""After how many deliveries that came to nothing a step queue gives a message up."""

_NEVER = 1_000_000_000
# From RabbitMQ 4.0 a queue without a limit of its own has one of 20, and before it none can be asked for as none.

WHY, CAME_FROM = "stackledger-why", "stackledger-from"
"""The headers of a parked message: why nobody could do anything with it, and out of which queue it came."""

_LONGEST = 255
# A short string of AMQP, in bytes.


class Topology(NamedTuple):
    """What the queues are called. `queues` are the names of the step queues, as steps and workers say them.

    `log` is what the log is called on fleets.
    """

    log: str
    orchestrator_id: str
    queues: tuple[str, ...]

    @property
    def control(self) -> str:
        """The exchange from which every worker hears."""
        return f"{self._own}.control"

    def on_broker(self, queue: str) -> str:
        """Return what the broker calls a queue."""
        return f"{self._own}.{queue}" if queue in (OUTCOMES, PARKED) else f"{self._own}.steps.{queue}"

    def arguments(self, queue: str) -> Mapping[str, Any]:
        """Return with what a queue is declared."""
        if queue in (OUTCOMES, PARKED):
            return {"x-queue-type": "quorum", "x-delivery-limit": _NEVER}
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.on_broker(OUTCOMES),
            # Without both of these a dead letter may get lost on its way.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }

    def check(self) -> None:
        """Raise InvalidName for a step queue that cannot be one."""
        for queue in self.queues:
            if queue in (OUTCOMES, PARKED):
                raise InvalidName(f"No step queue can be called '{queue}'.", hint="Choose another name for it.")
            if len(self.on_broker(queue).encode()) > _LONGEST:
                raise InvalidName(
                    f"The step queue '{queue}' has too long a name: with the ids of log and orchestrator it has "
                    f"{len(self.on_broker(queue).encode())} bytes, and RabbitMQ takes {_LONGEST}.",
                    hint="Choose a shorter one.",
                )

    @property
    def _own(self) -> str:
        return f"stackledger.{self.log}.{self.orchestrator_id}"


def is_dead_letter(headers: Mapping[str, Any] | None) -> bool:
    """Say whether a queue gave the message with these headers up. Anybody may have written them."""
    deaths = (headers or {}).get("x-death")
    return isinstance(deaths, list) and bool(deaths)
