"""What can be asked of Stackledger from Python: one class, made of parts that each know one subject."""

from __future__ import annotations

from stackledger.client.dead_letters import DeadLetterClient
from stackledger.client.flavors import FlavorClient
from stackledger.client.fleet_status import FleetStatusClient
from stackledger.client.history import HistoryClient
from stackledger.client.logs import LogClient
from stackledger.client.provisioning import ProvisioningClient
from stackledger.client.repositories import RepositoryClient
from stackledger.client.run_changes import RunChangeClient
from stackledger.client.session import DryRun
from stackledger.client.traces import TraceClient
from stackledger.client.transfers import TransferClient

__all__ = ["Client", "DryRun"]


class Client(
    TransferClient,
    FlavorClient,
    HistoryClient,
    LogClient,
    RepositoryClient,
    FleetStatusClient,
    RunChangeClient,
    TraceClient,
    ProvisioningClient,
    DeadLetterClient,
):
    """A caller at one home: `Client().list_stacks()`.

    Queries take `as_of`, a position or time. Changes carry the `reason` and `ticket` that the client was made
    with; with `dry_run` they raise DryRun, which has the events, in place of appending them.
    """
