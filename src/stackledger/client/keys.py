"""The client's part about the fleet's keys: private halves stay in a home, the log says which public ones count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stackledger.client import arguments
from stackledger.client.moments import iso
from stackledger.client.results import Page
from stackledger.client.session import Session
from stackledger.domain.errors import InvalidValue, Refused
from stackledger.domain.wording import counted
from stackledger.settings import make_home
from stackledger.workers.fleet.trust.folder import key_file

if TYPE_CHECKING:
    from stackledger.client.key_results import Key, Trust
    from stackledger.domain.event import Context
    from stackledger.domain.keys import Publishing
    from stackledger.projections.engine import View
    from stackledger.projections.key_queries import KeyRow, TrustRow
    from stackledger.workers.fleet.trust.keys import PublicKey

DEFAULT_QUEUE = "default"
EXPIRES_IN = 90
"""For how many days a list of coordinators is good, if nobody says otherwise."""
MOST_DAYS = 3650
_SOON = 14
"""Days before a list expires from which on that is said."""
_DAY = 24 * 3600 * 1_000_000


class KeyClient(Session):
    """Keys of coordinators, workers and submitters, and the root key that says which coordinators there are."""

    def list_keys(
        self,
        *,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
        as_of: str | int | None = None,
        **filters: Any,
    ) -> Page[Key]:
        """Return a page of the keys that were ever enrolled. Filters are `name`, `role`, `status` and `owner`."""
        from stackledger.projections import key_queries

        def query(view: View) -> tuple[Page[Key], TrustRow | None]:
            known = ("name", "role", "status", "owner")
            found = key_queries.keys(view, self._asked(known, filters, sort_by, page, size))
            names = self._names()
            return Page([self._key(row, names) for row in found.items], found.total, page, size), key_queries.trust(
                view
            )

        found, trust = self._read(query, as_of)
        if as_of is None and trust is not None:
            self._tell_of_expiry(trust)
        return found

    def get_key(
        self, name_id_or_prefix: str, *, allow_partial_name_match: bool = True, as_of: str | int | None = None
    ) -> Key:
        """Return a key that was enrolled, by id, name or what begins one; a revoked one by its id."""
        from stackledger.projections import key_queries

        row = self._read(lambda view: key_queries.key(view, name_id_or_prefix, prefix=allow_partial_name_match), as_of)
        return self._key(row, self._names())

    def create_key(self, name: str, role: str) -> Key:
        """Make a key, whose private half stays in this home. It counts for nothing before it is enrolled.

        The role is `coordinator`, `worker`, `submitter` or, once in a home, `root`, which is never enrolled.
        """
        from stackledger.client.key_results import Key
        from stackledger.workers.fleet.trust.keys import create_key, role_of

        arguments.text(name, "The name of a key")
        make_home(self._ledger.home)
        shown = create_key(self._ledger.home, name, role_of(arguments.text(role, "The role of a key"))).shown
        return Key(shown.key_id, shown.name, shown.role, shown.public, [], "created", None, None, here=True)

    def enroll_key(
        self,
        key: str,
        *,
        role: str | None = None,
        queues: Sequence[str] = (),
        expires_in: int = EXPIRES_IN,
    ) -> Key:
        """Let a key count: one of this home by name or id, or the `line` of a key of another home.

        With a `role`, a key that was made for another one is refused. A worker's key is good for the `queues`, or for
        `default`. A coordinator's is enrolled where the root key is, which signs a new list of coordinators with that,
        good for `expires_in` days.
        """
        from stackledger.domain import keys

        shown = self._given(arguments.text(key, "What is enrolled"))
        if shown.role == "root":
            raise Refused(
                f"The key {shown.name!r} is a root key, and those are not enrolled.",
                hint="The first list of coordinators that it signs makes it the log's: enroll a coordinator's key.",
            )
        if role is not None and role != shown.role:
            raise Refused(f"The key {shown.name!r} was made for a {shown.role}, not for a {role}.")
        served = arguments.texts(queues, "The queues of a worker") or (DEFAULT_QUEUE,) * (shown.role == "worker")
        context = self._context()
        publishing = self._publishing(context, expires_in) if shown.role == "coordinator" else None
        command = keys.EnrollKey(shown.key_id, shown.role, shown.name, shown.public, tuple(served), publishing)
        self._change(keys.DECIDER, command, context=context)
        return self.get_key(shown.key_id)

    def revoke_key(self, name_or_id: str, *, expires_in: int = EXPIRES_IN) -> Key:
        """Let a key count for nothing from now on, and never again; a coordinator's where the root key is."""
        from stackledger.domain import keys
        from stackledger.projections import key_queries

        row, position = self._read(lambda view: (key_queries.key(view, name_or_id), view.position))
        context = self._context()
        publishing = self._publishing(context, expires_in) if row.role == "coordinator" else None
        command = keys.RevokeKey(row.id, publishing)
        self._change(keys.DECIDER, command, context=context, seen={keys.key_item(row.id): position})
        return self.get_key(row.id)

    def renew_trust(self, *, expires_in: int = EXPIRES_IN) -> Trust:
        """Sign the list of coordinators anew with the root key of this home, good for `expires_in` days from now."""
        from stackledger.domain import keys
        from stackledger.workers.fleet.trust.keys import no_root_key

        context = self._context()
        publishing = self._publishing(context, expires_in)
        if publishing is None:
            raise no_root_key(self._ledger.home)
        self._change(keys.DECIDER, keys.RenewTrust(publishing), context=context)
        trust = self.get_trust()
        assert trust is not None  # just published
        return trust

    def get_trust(self, *, as_of: str | int | None = None) -> Trust | None:
        """Return the newest list of coordinators, None before the first."""
        from stackledger.client.key_results import Trust
        from stackledger.projections import key_queries

        row = self._read(key_queries.trust, as_of)
        return Trust(row.root, row.number, iso(row.expires)) if row is not None else None

    def root_public(self) -> str | None:
        """Return the public root key that the log goes by, in hexadecimal; None before the first list."""
        trust = self.get_trust()
        return trust.root if trust is not None else None

    def _given(self, key: str) -> PublicKey:
        from stackledger.workers.fleet.trust.keys import key_of, public_key

        return public_key(key) if ":" in key else key_of(self._ledger.home, key)

    def _publishing(self, context: Context, expires_in: int) -> Publishing | None:
        """Return with what the next list is published, None where this home has no root key."""
        from stackledger.domain.keys import Publishing
        from stackledger.workers.fleet.trust.keys import DrySigner, ListSigner, keys_in, read_key

        if not 1 <= arguments.number(expires_in, "For how many days a list is good") <= MOST_DAYS:
            raise InvalidValue(f"A list of coordinators is good for 1 to {MOST_DAYS:,} days, not for {expires_in:,}.")
        home = self._ledger.home
        root = next((key for key in keys_in(home) if key.role == "root"), None)
        if root is None:
            return None
        signer = read_key(key_file(home, root.key_id))
        sealing = DrySigner(root) if self._dry_run else ListSigner(signer, self._ledger.log_id)
        return Publishing(sealing, context.time, context.time + expires_in * _DAY)

    def _key(self, row: KeyRow, names: Mapping[str, str]) -> Key:
        from stackledger.client.key_results import Key

        return Key(
            id=row.id,
            name=row.name,
            role=row.role,
            public=row.public,
            queues=list(row.queues),
            status=row.status,
            enrolled=iso(row.created),
            owner=names.get(row.owner, row.owner),
            here=key_file(self._ledger.home, row.id).exists(),
        )

    def _tell_of_expiry(self, trust: TrustRow) -> None:
        soon = expiry_soon(trust, self._ledger.now())
        if soon:
            self._notify(soon)


def expiry_soon(trust: TrustRow, now: int) -> str:
    """Return what is to be said of a list of coordinators that expires soon, or did; nothing of any other."""
    days = (trust.expires - now) // _DAY
    if days >= _SOON:
        return ""
    when = f"expires in {counted(days, 'day')}" if days >= 0 else "has expired, so workers take no work"
    return f"The list of coordinators {when}: `stackledger key renew` where the root key is."
