"""How long a coordinator waits for workers follows from what the orchestrator is configured with."""

from __future__ import annotations

from typing import Any

from stackledger.client.fleet import _pace
from stackledger.flavors.rabbitmq_orchestrator import RabbitMQOrchestratorConfig
from stackledger.workers.fleet.protocol.coordinator import Pace


def pace(**given: Any) -> Pace:
    return _pace(RabbitMQOrchestratorConfig(url="amqp://localhost", **given))


def test_what_is_not_configured_is_as_it_was_simulated() -> None:
    assert pace() == Pace()


def test_several_heartbeats_may_get_lost() -> None:
    assert (pace(heartbeat=2).silence, pace(heartbeat=60).silence) == (9, 270)
    assert pace(heartbeat=0.5).silence == 5


def test_a_step_that_its_worker_has_not_claimed_yet_is_not_sent_again() -> None:
    assert pace(lease_after=600).probe_grace > 600
    assert pace(broker_heartbeat=600).probe_grace > 1200
