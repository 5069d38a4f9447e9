from __future__ import annotations

from typing import Any

import pytest

from stackledger.domain.errors import InvalidName
from stackledger.workers.fleet.broker.topology import Topology, is_dead_letter
from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED

TOPOLOGY = Topology("log", "orchestrator", ("default", "gpu"))
EVERY = ("default", "gpu", OUTCOMES, PARKED)


def names(topology: Topology) -> set[str]:
    return {topology.control, *map(topology.on_broker, EVERY)}


@pytest.mark.parametrize("other", [Topology("log-2", "orchestrator", ()), Topology("log", "orchestrator-2", ())])
def test_another_log_or_another_orchestrator_has_other_names(other: Topology) -> None:
    assert len(names(TOPOLOGY)) == len(EVERY) + 1
    assert not names(TOPOLOGY) & names(other)


def test_every_queue_is_a_quorum_queue_with_a_delivery_limit_of_its_own() -> None:
    """RabbitMQ 4 gives those without one a limit of 20: outcomes would be thrown away."""
    for queue in EVERY:
        arguments = TOPOLOGY.arguments(queue)
        assert arguments["x-queue-type"] == "quorum"
        assert (arguments["x-delivery-limit"] == 20) == (queue not in (OUTCOMES, PARKED))
        assert arguments["x-delivery-limit"] >= 20


def test_a_step_queue_dead_letters_into_the_outcome_queue_without_losing_any() -> None:
    arguments = TOPOLOGY.arguments("gpu")
    assert (arguments["x-dead-letter-exchange"], arguments["x-dead-letter-routing-key"]) == (
        "",
        TOPOLOGY.on_broker(OUTCOMES),
    )
    assert (arguments["x-dead-letter-strategy"], arguments["x-overflow"]) == ("at-least-once", "reject-publish")


@pytest.mark.parametrize("queue", [OUTCOMES, PARKED, "q" * 230, "ü" * 115])
def test_a_step_queue_whose_name_cannot_be_is_refused(queue: str) -> None:
    with pytest.raises(InvalidName, match="step queue"):
        Topology("log", "orchestrator", ("default", queue)).check()


@pytest.mark.parametrize(
    ("headers", "dead"),
    [
        ({"x-death": [{"reason": "delivery_limit", "queue": "q", "count": 1}]}, True),
        ({"x-death": [{"reason": "expired"}]}, True),
        ({"x-death": []}, False),
        ({"x-death": "delivery_limit"}, False),
        ({"x-delivery-count": 3}, False),
        ({}, False),
        (None, False),
    ],
)
def test_a_dead_letter_is_known_by_its_header(headers: dict[str, Any] | None, *, dead: bool) -> None:
    assert is_dead_letter(headers) is dead
