"""An artifact store in memory, and how the conformance suite gets at what a store keeps."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import obstore

from stackledger.domain.errors import ArtifactDamaged, ArtifactError, ArtifactMissing
from stackledger.domain.ports import ArtifactStore, Stored
from stackledger.flavors.catalogue import load_implementation
from stackledger.flavors.flavor import Flavor
from stackledger.flavors.local_artifact_store import LocalArtifactStore, LocalArtifactStoreConfig
from stackledger.flavors.object_artifact_store import ObjectArtifactStore
from stackledger.flavors.object_stores import AzureFlavor, GcsFlavor, S3Flavor
from tests.support.object_servers import ObjectServer


class MemoryArtifactStore:
    """Objects in a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, data: bytes) -> Stored:
        digest = hashlib.sha256(data).hexdigest()
        self.objects[digest] = data
        return Stored(digest, len(data))

    def put_file(self, path: Path) -> Stored:
        try:
            return self.put(path.read_bytes())
        except OSError as error:
            raise ArtifactError(f"Cannot read {path}: {error}.") from error

    def get(self, digest: str, size: int) -> bytes:
        data = self.objects.get(_checked(digest))
        if data is None:
            raise ArtifactMissing(f"There is no object {digest}.")
        if len(data) != size or hashlib.sha256(data).hexdigest() != digest:
            raise ArtifactDamaged(f"The object {digest} is damaged.")
        return data

    def get_file(self, digest: str, size: int, target: Path) -> None:
        data = self.get(digest, size)
        try:
            target.write_bytes(data)
        except OSError as error:
            raise ArtifactError(f"Cannot write {target}: {error}.") from error

    def exists(self, digest: str) -> bool:
        return _checked(digest) in self.objects

    def digests(self) -> Iterator[str]:
        yield from list(self.objects)

    def delete(self, digest: str) -> None:
        self.objects.pop(_checked(digest), None)

    def sweep_temporary(self, older_than: float) -> int:
        return 0


@dataclass(frozen=True)
class Opened:
    """A store, and a way to change behind its back what it keeps under a digest."""

    store: ArtifactStore
    tamper: Callable[[str, bytes], None]


def opened_in_memory(_: Path) -> Opened:
    store = MemoryArtifactStore()
    return Opened(store, store.objects.__setitem__)


def local_store(root: Path) -> LocalArtifactStore:
    return LocalArtifactStore(LocalArtifactStoreConfig(path=str(root)), home=root / "unused", component_id="1")


def opened_locally(root: Path) -> Opened:
    def tamper(digest: str, data: bytes) -> None:
        path = root / "sha256" / digest
        path.unlink()
        path.write_bytes(data)

    return Opened(local_store(root), tamper)


def object_store(configuration: Mapping[str, object]) -> ObjectArtifactStore:
    """Return a store in object storage; the scheme of its path says of which flavor."""
    scheme = str(configuration["path"]).partition("://")[0]
    flavor: type[Flavor] = {"s3": S3Flavor, "gs": GcsFlavor, "az": AzureFlavor}[scheme]
    config = flavor.config_class.model_validate(configuration)
    made = load_implementation(flavor)(config, home=Path("unused"), component_id="1")
    assert isinstance(made, ObjectArtifactStore)
    return made


def opened_in(server: ObjectServer) -> Opened:
    store = object_store(server.configuration())

    def tamper(digest: str, data: bytes) -> None:
        obstore.put(store._store, f"sha256/{digest}", data)

    return Opened(store, tamper)


def _checked(digest: str) -> str:
    if re.fullmatch(r"[0-9a-f]{64}", digest) is None:
        raise ArtifactError(f"{digest!r} is not a SHA-256 digest.")
    return digest
