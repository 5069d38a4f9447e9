"""The orchestrator that runs steps in this process."""

from __future__ import annotations

from stackledger.domain.component_types import ComponentType
from stackledger.flavors.flavor import Flavor, FlavorConfig


class LocalOrchestratorFlavor(Flavor):
    """Runs the steps one after another in this process."""

    name = "local"
    type = ComponentType.ORCHESTRATOR
    implementation = "stackledger.workers.local:LocalOrchestrator"
    provisioning = (
        "The local orchestrator runs steps in the process that starts the run: there is nothing to start or stop."
    )

    @classmethod
    def is_local(cls, config: FlavorConfig) -> bool:  # noqa: ARG003  it takes no configuration
        """Say that this machine runs the steps."""
        return True
