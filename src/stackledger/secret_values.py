"""The values of secrets change together with the log, although they are not in it.

A value is staged in the vault before the log is appended to, and put into its place after it was. Whoever dies in
between leaves it staged; the next who comes asks the log whether the change happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stackledger.domain.events.components import secret_tag
from stackledger.eventlog.lock import FileLock
from stackledger.eventlog.stored import LogReader, unpacked
from stackledger.flavors.vault import Vault

if TYPE_CHECKING:
    from stackledger.domain.event import Context


class SecretValues:
    """The values of the secrets of one log, in its home."""

    def __init__(self, home: Path, reader: LogReader) -> None:
        self._vault = Vault(home)
        self._reader = reader
        # Held from before staging until after settling, so that nobody settles what is still under way.
        self._lock = FileLock(home / "secrets.lock")

    def read(self, secret_id: str) -> dict[str, str]:
        """Return the values of a secret by key, or raise SecretError if they are not here."""
        self.settle()
        return self._vault.read(secret_id)

    def ids(self) -> list[str]:
        """Return the ids of all secrets that have values here."""
        self.settle()
        return self._vault.ids()

    def settle(self) -> None:
        """End what those left half done who died, as the log says."""
        if self._vault.unsettled() or self._vault.has_half_made_key():
            with self._lock:
                self._settle()

    @contextmanager
    def changing(self, context: Context, secret_id: str, values: Mapping[str, str | None]) -> Iterator[None]:
        """Give keys these values, or forget them where None, if the block appends the command of `context`.

        Others who change values wait, so the block must neither read nor change any.
        """
        with self._lock:
            self._settle()
            self._vault.stage(context.command_id, secret_id, values)
            try:
                yield
            finally:
                self._settle()

    def _settle(self) -> None:
        for change, secret_id in self._vault.unsettled():
            self._vault.settle(change, happened=self._happened(change, secret_id))
        self._vault.forget_half_made_key()

    def _happened(self, change: str, secret_id: str) -> bool:
        events = self._reader.scan_back(tags=(secret_tag(secret_id),))
        return any(unpacked(stored.position, stored.data)["causation"] == change for stored in events)
