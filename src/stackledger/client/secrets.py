"""The client's part about secrets: the log knows their names, the vault their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from stackledger.client.results import Page
from stackledger.client.session import Session
from stackledger.projections import registry_queries

if TYPE_CHECKING:
    from stackledger.client.home_results import Secret
    from stackledger.domain.event import Item
    from stackledger.domain.secrets import CreateSecret, DeleteSecret, UpdateSecret
    from stackledger.projections.engine import View
    from stackledger.projections.registry_queries import SecretRow


class SecretClient(Session):
    """Secrets: their names and keys, and their values where they are asked for."""

    def list_secrets(
        self,
        *,
        filters: Mapping[str, Any] | None = None,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
        as_of: str | int | None = None,
    ) -> Page[Secret]:
        """Return a page of the secrets, without values."""

        def query(view: View) -> Page[Secret]:
            found = registry_queries.secrets(view, self._asked(filters, sort_by, page, size))
            names = self._names()
            return Page([_secret(row, names) for row in found.items], found.total, page, size)

        return self._read(query, as_of)

    def get_secret(
        self, name: str, *, reveal: bool = False, as_of: str | int | None = None, prefix: bool = True
    ) -> Secret:
        """Return a secret by id, name or what begins one (not of a name without `prefix`).

        With `reveal` it has its values as they are now: earlier ones are not kept.
        """
        row = self._read(lambda view: registry_queries.secret(view, name, prefix=prefix), as_of)
        return _secret(row, self._names(), self._ledger.secret_values.read(row.id) if reveal else {})

    def create_secret(self, name: str, values: Mapping[str, str]) -> Secret:
        """Keep a secret: its name and keys in the log, its values on this machine."""
        from stackledger.domain import secrets
        from stackledger.eventlog.ids import new_id

        command = secrets.CreateSecret(secret_id=new_id(), name=name, keys=tuple(values))
        self._change_values(command, values)
        return self.get_secret(command.secret_id)

    def update_secret(self, name: str, values: Mapping[str, str], remove: Sequence[str] = ()) -> Secret:
        """Give keys new values, add keys, and remove keys that no configuration refers to."""
        from stackledger.domain import secrets

        row, position = self._seen_secret(name)
        command = secrets.UpdateSecret(secret_id=row.id, put=tuple(values), remove=tuple(remove))
        changed = {**values, **dict.fromkeys(remove)}
        self._change_values(command, changed, seen={secrets.secret_item(row.id): position})
        return self.get_secret(row.id)

    def rename_secret(self, name: str, new_name: str) -> Secret:
        """Give a secret that no configuration refers to another name."""
        from stackledger.domain import secrets

        row, position = self._seen_secret(name)
        command = secrets.RenameSecret(secret_id=row.id, name=new_name)
        self._change(secrets.DECIDER, command, seen={secrets.secret_item(row.id): position})
        return self.get_secret(row.id)

    def delete_secret(self, name: str) -> None:
        """Delete a secret that no configuration refers to, and its values."""
        from stackledger.domain import secrets

        row, position = self._seen_secret(name)
        command = secrets.DeleteSecret(secret_id=row.id)
        self._change_values(command, dict.fromkeys(row.keys), seen={secrets.secret_item(row.id): position})

    def _change_values(
        self,
        command: CreateSecret | UpdateSecret | DeleteSecret,
        values: Mapping[str, str | None],
        *,
        seen: Mapping[Item, int] | None = None,
    ) -> None:
        """Have a command decided, and these values kept or forgotten if it is, whatever dies in between."""
        from stackledger.domain import secrets

        context = self._context()
        kept = self._ledger.secret_values.changing(context, command.secret_id, values)
        with nullcontext() if self._dry_run else kept:
            self._change(secrets.DECIDER, command, seen=seen, context=context)

    def _seen_secret(self, name: str) -> tuple[SecretRow, int]:
        """Return a secret that is to be changed, and the position at which it was seen."""
        return self._read(lambda view: (registry_queries.secret(view, name, prefix=False), view.position))


def _secret(row: SecretRow, names: Mapping[str, str], values: Mapping[str, str] | None = None) -> Secret:
    from stackledger.client.home_results import Secret

    return Secret(
        id=row.id, name=row.name, keys=list(row.keys), owner=names.get(row.owner, row.owner), values=dict(values or {})
    )
