"""The client's part about secrets: the log knows their names, the vault their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stackledger.client.results import Page, Secret
from stackledger.client.session import Session
from stackledger.projections import registry_queries

if TYPE_CHECKING:
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
            found = registry_queries.secrets(
                view, filters=self._filters(filters), sort_by=sort_by, page=page, size=size
            )
            names = self._names()
            return Page([_secret(row, names) for row in found.items], found.total, page, size)

        return self._read(query, as_of)

    def get_secret(self, name: str, *, reveal: bool = False) -> Secret:
        """Return a secret by id, name or what begins one; its values with `reveal`."""
        row = self._read(lambda view: registry_queries.secret(view, name))
        return _secret(row, self._names(), self._ledger.vault.read(row.id) if reveal else {})

    def create_secret(self, name: str, values: Mapping[str, str]) -> Secret:
        """Keep a secret. The values are written first: a name in the log without values would promise too much."""
        from stackledger.domain import secrets
        from stackledger.eventlog.ids import new_id

        command = secrets.CreateSecret(secret_id=new_id(), name=name, keys=tuple(values))
        if not self._dry_run:
            self._ledger.vault.write(command.secret_id, values)
        try:
            self._change(secrets.DECIDER, command)
        except Exception:
            if not self._dry_run:
                self._ledger.vault.delete(command.secret_id)
            raise
        return self.get_secret(command.secret_id)

    def update_secret(self, name: str, values: Mapping[str, str], remove: Sequence[str] = ()) -> Secret:
        """Give keys new values, add keys, and remove keys that no configuration refers to."""
        from stackledger.domain import secrets
        from stackledger.domain.events.components import secret_tag

        row, users, position = self._seen_secret(name)
        command = secrets.UpdateSecret(secret_id=row.id, put=tuple(values), remove=tuple(remove), names=users)
        vault = self._ledger.vault
        # Another machine may have the values: those that are given here are kept here then.
        before = vault.read(row.id) if not self._dry_run and row.id in vault.ids() else {}
        # What the log calls changed has to be there when it says so; keys go after it has agreed.
        if values and not self._dry_run:
            vault.replace(row.id, {**before, **values})
        try:
            self._change(secrets.DECIDER, command, seen={secret_tag(row.id): position})
        except Exception:
            if values and not self._dry_run:
                vault.replace(row.id, before)
            raise
        if remove:
            vault.replace(row.id, {key: text for key, text in {**before, **values}.items() if key not in remove})
        return self.get_secret(row.id)

    def rename_secret(self, name: str, new_name: str) -> Secret:
        """Give a secret that no configuration refers to another name."""
        from stackledger.domain import secrets
        from stackledger.domain.events.components import secret_tag

        row, users, position = self._seen_secret(name)
        command = secrets.RenameSecret(secret_id=row.id, name=new_name, names=users)
        self._change(secrets.DECIDER, command, seen={secret_tag(row.id): position})
        return self.get_secret(row.id)

    def delete_secret(self, name: str) -> None:
        """Delete a secret that no configuration refers to, and its values."""
        from stackledger.domain import secrets
        from stackledger.domain.events.components import secret_tag

        row, users, position = self._seen_secret(name)
        command = secrets.DeleteSecret(secret_id=row.id, names=users)
        self._change(secrets.DECIDER, command, seen={secret_tag(row.id): position})
        self._ledger.vault.delete(row.id)

    def _seen_secret(self, name: str) -> tuple[SecretRow, dict[str, str], int]:
        """Return a secret that is to be changed, what to call the components there are, and the position seen."""

        def query(view: View) -> tuple[SecretRow, dict[str, str], int]:
            row = registry_queries.secret(view, name, prefix=False)
            return row, registry_queries.components_referring(view, row.name), view.position

        return self._read(query)


def _secret(row: SecretRow, names: Mapping[str, str], values: Mapping[str, str] | None = None) -> Secret:
    return Secret(
        id=row.id, name=row.name, keys=list(row.keys), owner=names.get(row.owner, row.owner), values=dict(values or {})
    )
