"""What the domain asks of the world outside, in the domain's words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol


class Stored(NamedTuple):
    """An object of an artifact store: the SHA-256 of its bytes in hexadecimal, and how many they are."""

    digest: str
    size: int


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
