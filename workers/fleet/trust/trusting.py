"""Whose word counts: for coordinators all keys in the log, for workers what the root key signed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stackledger.workers.fleet.protocol.messages import MessageRefused, Role, TrustList, opened
from stackledger.workers.fleet.trust.ed25519 import id_of, verified

if TYPE_CHECKING:
    from stackledger.workers.fleet.protocol.known import Known

Verify = Callable[[str, bytes, bytes], bool]
"""Says whether a public key made a signature over some bytes."""


class EnrolledKeys:
    """The keys that a coordinator goes by: those that the log knows.

    Revoked ones are among them, because what is said with them is judged where the attempt is known that it is about.
    """

    def __init__(self, known: Known, verify: Verify = verified) -> None:
        self._known = known
        self._verify = verify

    def role(self, key_id: str) -> Role | None:
        """Return what a key was enrolled for."""
        key = self._known.keys.get(key_id)
        return key.role if key is not None else None

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        """Say whether an enrolled key made the signature over the bytes."""
        key = self._known.keys.get(key_id)
        return key is not None and self._verify(key.public, signature, data)


class Trusted:
    """The keys that a worker goes by: the root key of the log `log_id`, and the coordinators that it last listed.

    `root` is the raw public key in hexadecimal. The list is kept in the file `kept`, this worker's alone, if one is
    named: so nobody can pass off an older list on a worker that was started anew.
    """

    def __init__(self, log_id: str, root: str, *, kept: Path | None = None, verify: Verify = verified) -> None:
        self._root = root
        self._root_id = id_of(root)
        self._verify = verify
        self._kept = kept
        self.newest = TrustList(number=0, expires=0, coordinators={})
        """The list that counts, an empty and expired one before the first."""
        if kept is not None:
            with suppress(OSError, MessageRefused):
                self._go_by(opened(kept.read_bytes(), self, log_id).message)

    def role(self, key_id: str) -> Role | None:
        """Return `root` for the root key, `coordinator` for one on the list, expired or not."""
        if key_id == self._root_id:
            return "root"
        return "coordinator" if key_id in self.newest.coordinators else None

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        """Say whether the root key, or a coordinator's on the list, made the signature over the bytes."""
        public = self._root if key_id == self._root_id else self.newest.coordinators.get(key_id)
        return public is not None and self._verify(public, signature, data)

    def take(self, offered: TrustList, data: bytes) -> bool:
        """Go by a list that the root key signed, or raise MessageRefused for an older one; `data` is its message.

        Say whether it is another one than before.
        """
        if offered.number < self.newest.number:
            raise MessageRefused(f"The trust list {offered.number} is older than {self.newest.number}.")
        if offered.number == self.newest.number:
            return False
        self.newest = offered
        if self._kept is not None:
            new = self._kept.with_name(f"{self._kept.name}.new")
            with suppress(OSError):  # the list counts while this process lives, even on a full disk
                new.write_bytes(data)
                os.replace(new, self._kept)
        return True

    def holds(self, now: int) -> bool:
        """Say whether there is a list that has not expired; `now` is in microseconds since 1970 UTC."""
        return now < self.newest.expires

    def _go_by(self, message: object) -> None:
        if isinstance(message, TrustList):
            self.newest = message
