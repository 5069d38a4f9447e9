"""The client's part about secrets: the log knows their names, the vault their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from stackledger.client import arguments
from stackledger.client.results import Page
from stackledger.client.session import Session
from stackledger.projections import registry_queries

if TYPE_CHECKING:
    from stackledger.client.home_results import Secret
    from stackledger.domain.event import Item
    from stackledger.domain.secrets import CreateSecret, DeleteSecret, UpdateSecret
    from stackledger.eventlog.handler import Handled
    from stackledger.projections.engine import View
    from stackledger.projections.registry_queries import SecretRow


class SecretClient(Session):
    """Secrets: their names and keys, and their values where they are asked for."""

    def list_secrets(
        self,
        *,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
        as_of: str | int | None = None,
        **filters: Any,
    ) -> Page[Secret]:
        """Return a page of the secrets, without values. Filters are `name` and `owner`, as for stacks."""

        def query(view: View) -> Page[Secret]:
            found = registry_queries.secrets(view, self._asked(("name", "owner"), filters, sort_by, page, size))
            names = self._names()
            return Page([_secret(row, names) for row in found.items], found.total, page, size)

        return self._read(query, as_of)

    def get_secret(
        self,
        name_id_or_prefix: str,
        *,
        allow_partial_name_match: bool = True,
        reveal: bool = True,
        as_of: str | int | None = None,
    ) -> Secret:
        """Return a secret by id, name or what begins one: `get_secret("aws").secret_values["key"]`.

        It has no values without `reveal`, or as of an earlier moment: those are not kept. Where a step asks, they are
        `***` in all that it prints from then on.
        """
        row = self._read(
            lambda view: registry_queries.secret(view, name_id_or_prefix, prefix=allow_partial_name_match), as_of
        )
        values = self._ledger.secret_values.read(row.id) if reveal and as_of is None else {}
        if values:
            from stackledger.workers.step_log import keep_secret

            keep_secret(values.values())
        return _secret(row, self._names(), values)

    def create_secret(self, name: str, values: Mapping[str, str]) -> Secret:
        """Keep a secret: its name and keys in the log, its values on this machine."""
        from stackledger.domain import secrets
        from stackledger.eventlog.ids import new_id

        arguments.text(name, "The name of a secret")
        kept = arguments.texts_by_key(values, "The values of a secret")
        command = secrets.CreateSecret(secret_id=new_id(), name=name, keys=tuple(kept))
        handled = self._change_values(command, kept)
        return self._made(handled, lambda as_of: self.get_secret(command.secret_id, reveal=False, as_of=as_of))

    def update_secret(
        self,
        name_id_or_prefix: str,
        new_name: str | None = None,
        *,
        add_or_update_values: Mapping[str, str] | None = None,
        remove_values: Sequence[str] = (),
    ) -> Secret:
        """Give keys new values, add keys, and remove keys that no configuration refers to.

        Or give a secret that no configuration refers to a `new_name`, which is a change of its own.
        """
        from stackledger.domain import secrets

        put = arguments.texts_by_key(add_or_update_values, "The values of a secret")
        remove = arguments.texts(remove_values, "What is removed from a secret")
        row, position = self._seen_secret(name_id_or_prefix)
        seen = {secrets.secret_item(row.id): position}
        if new_name is not None:
            arguments.alone(new_name, put, remove)
            rename = secrets.RenameSecret(secret_id=row.id, name=new_name)
            handled = self._change(secrets.DECIDER, rename, seen=seen)
        else:
            command = secrets.UpdateSecret(secret_id=row.id, put=tuple(put), remove=remove)
            handled = self._change_values(command, {**put, **dict.fromkeys(remove)}, seen=seen)
        return self._made(handled, lambda as_of: self.get_secret(row.id, reveal=False, as_of=as_of))

    def delete_secret(self, name_id_or_prefix: str) -> None:
        """Delete a secret that no configuration refers to, and its values."""
        from stackledger.domain import secrets

        row, position = self._seen_secret(name_id_or_prefix)
        command = secrets.DeleteSecret(secret_id=row.id)
        self._change_values(command, dict.fromkeys(row.keys), seen={secrets.secret_item(row.id): position})

    def _change_values(
        self,
        command: CreateSecret | UpdateSecret | DeleteSecret,
        values: Mapping[str, str | None],
        *,
        seen: Mapping[Item, int] | None = None,
    ) -> Handled[Any]:
        """Have a command decided, and these values kept or forgotten if it is, whatever dies in between."""
        from stackledger.domain import secrets

        context = self._context()
        kept = self._ledger.secret_values.changing(context, command.secret_id, values)
        with nullcontext() if self._dry_run else kept:
            return self._change(secrets.DECIDER, command, seen=seen, context=context)

    def _seen_secret(self, name: str) -> tuple[SecretRow, int]:
        """Return a secret that is to be changed, and the position at which it was seen."""
        return self._read(lambda view: (registry_queries.secret(view, name, prefix=False), view.position))


def _secret(row: SecretRow, names: Mapping[str, str], values: Mapping[str, str] | None = None) -> Secret:
    from stackledger.client.home_results import Secret

    return Secret(
        id=row.id,
        name=row.name,
        keys=list(row.keys),
        owner=names.get(row.owner, row.owner),
        secret_values=dict(values or {}),
    )
