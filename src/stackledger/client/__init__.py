"""What can be asked of Stackledger from Python: one class, made of parts that each know one subject."""

from __future__ import annotations

from stackledger.client.flavors import FlavorClient
from stackledger.client.health import HealthClient
from stackledger.client.history import HistoryClient
from stackledger.client.logs import LogClient
from stackledger.client.repositories import RepositoryClient
from stackledger.client.session import DryRun
from stackledger.client.transfers import TransferClient

__all__ = ["Client", "DryRun"]


class Client(TransferClient, FlavorClient, HistoryClient, LogClient, RepositoryClient, HealthClient):
    """A caller at one home: `Client().list_stacks()`.

    Queries take `as_of`, a position or time. Changes carry the `reason` and `ticket` that the client was made
    with; with `dry_run` they raise DryRun, which has the events, in place of appending them.
    """
