"""What the domain asks of the world outside, in the domain's words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable


class Stored(NamedTuple):
    """An object of an artifact store: the SHA-256 of its bytes in hexadecimal, and how many they are."""

    digest: str
    size: int


class Found(NamedTuple):
    """An object as a store lists it. `changed` is in seconds since 1970 UTC, by the store's own clock."""

    digest: str
    size: int
    changed: float


class Aside(NamedTuple):
    """An object that was set aside to be collected; `since` is in seconds since 1970 UTC, by the store's own clock."""

    digest: str
    collection: str
    since: float


class ArtifactStore(Protocol):
    """Objects under the SHA-256 of their content: written once, never changed, verified whenever they are read.

    An object is there whole or not at all, whoever writes it and however the writer dies. Every method raises
    ArtifactError for what the store cannot do, and for a digest that is none.
    """

    def put(self, data: bytes) -> Stored:
        """Keep the bytes; they are durable on return. Bytes that are there already stay as they are."""

    def put_file(self, path: Path) -> Stored:
        """Keep a file's bytes as they are while they are copied; they are durable on return."""

    def get(self, digest: str, size: int) -> bytes:
        """Return bytes that have the digest, or raise ArtifactMissing or ArtifactDamaged."""

    def get_file(self, digest: str, size: int, target: Path) -> None:
        """Write bytes that have the digest to `target`, which changes only once they are verified."""

    def exists(self, digest: str) -> bool:
        """Say whether there is an object under the digest; not whether its bytes are intact."""

    def digests(self) -> Iterator[str]:
        """Yield the digest of every object, in no order."""

    def delete(self, digest: str) -> None:
        """Remove the object; nothing to do where there is none."""

    def sweep_temporary(self, older_than: float) -> int:
        """Remove what writers that died before `older_than` (seconds since 1970) left, and return how many."""


@runtime_checkable
class CollectableStore(ArtifactStore, Protocol):
    """A store out of which garbage can be collected (docs/adr/0017-collecting-garbage.md).

    Who reads an object that is set aside gets it; who puts it writes it anew.
    """

    def now(self) -> float:
        """Return the time in seconds since 1970 UTC, by the clock that dates the objects."""

    def objects(self) -> Iterator[Found]:
        """Yield every object, in no order."""

    def unfinished(self) -> Iterator[Found]:
        """Yield what writers have begun, each under a name of its own in the place of a digest."""

    def set_aside(self, digest: str, collection: str) -> None:
        """Take an object out of its place and keep it as part of a collection; nothing to do where there is none."""

    def aside(self) -> Iterator[Aside]:
        """Yield every object that is set aside, in no order."""

    def put_back(self, digest: str, collection: str) -> bool:
        """Have an object that was set aside in its place again; say whether it is still aside, too."""

    def drop(self, digest: str, collection: str) -> None:
        """Remove an object that was set aside; nothing to do where there is none."""

    def users(self) -> dict[str, bool]:
        """Return the logs that may refer to objects here, and of each whether it is known to have come first."""

    def sign_in(self, log: str) -> None:
        """Note that a log may refer to objects here from now on; nothing to do where that is noted."""

    def claim(self, log: str) -> None:
        """Note that no other log refers to objects here; another one that does will sign in again."""
