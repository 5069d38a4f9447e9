"""An artifact store in memory, and how the conformance suite gets at what a store keeps."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore

from stackledger.domain.errors import ArtifactDamaged, ArtifactError, ArtifactMissing
from stackledger.domain.ports import Aside, CollectableStore, Found, Stored
from stackledger.flavors.catalogue import load_implementation
from stackledger.flavors.digests import checked_name
from stackledger.flavors.flavor import Flavor
from stackledger.flavors.local_artifact_store import LocalArtifactStore, LocalArtifactStoreConfig
from stackledger.flavors.object_artifact_store import ObjectArtifactStore
from stackledger.flavors.object_stores import AzureFlavor, GcsFlavor, S3Flavor
from tests.support.object_servers import ObjectServer

AnyObjectStore = ObjectArtifactStore[Any]


class MemoryArtifactStore:
    """Objects in a dictionary."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._aside: dict[tuple[str, str], tuple[bytes, float]] = {}
        self._users: dict[str, bool] = {}

    def put(self, data: bytes) -> Stored:
        digest = hashlib.sha256(data).hexdigest()
        if self._objects.get(digest, (b"",))[0] != data or digest not in self._objects:
            self.tamper(digest, data)
        return Stored(digest, len(data))

    def tamper(self, digest: str, data: bytes) -> None:
        self._objects[digest] = (data, time.time())

    def put_file(self, path: Path) -> Stored:
        try:
            return self.put(path.read_bytes())
        except OSError as error:
            raise ArtifactError(f"Cannot read {path}: {error}.") from error

    def get(self, digest: str, size: int) -> bytes:
        found = self._objects.get(_checked(digest)) or self._set_aside(digest)
        if found is None:
            raise ArtifactMissing(f"There is no object {digest}.")
        data = found[0]
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
        return _checked(digest) in self._objects or self._set_aside(digest) is not None

    def digests(self) -> Iterator[str]:
        yield from list(self._objects)

    def delete(self, digest: str) -> None:
        self._objects.pop(_checked(digest), None)

    def sweep_temporary(self, older_than: float) -> int:
        return 0

    def now(self) -> float:
        return time.time()

    def objects(self) -> Iterator[Found]:
        yield from [Found(digest, len(data), changed) for digest, (data, changed) in self._objects.items()]

    def unfinished(self) -> Iterator[Found]:
        return iter(())

    def set_aside(self, digest: str, collection: str) -> None:
        checked_name(collection)
        found = self._objects.pop(_checked(digest), None)
        if found is not None:
            self._aside[collection, digest] = (found[0], time.time())

    def aside(self) -> Iterator[Aside]:
        yield from [Aside(digest, collection, since) for (collection, digest), (_, since) in self._aside.items()]

    def put_back(self, digest: str, collection: str) -> bool:
        found = self._aside.pop((checked_name(collection), _checked(digest)), None)
        if found is not None:
            self._objects.setdefault(digest, found)
        return False

    def drop(self, digest: str, collection: str) -> None:
        self._aside.pop((checked_name(collection), _checked(digest)), None)

    def users(self) -> dict[str, bool]:
        return dict(self._users)

    def sign_in(self, log: str) -> None:
        checked_name(log)
        self._users.setdefault(log, not self._objects and not self._aside)

    def claim(self, log: str) -> None:
        self._users = {checked_name(log): True}

    def _set_aside(self, digest: str) -> tuple[bytes, float] | None:
        return next((kept for (_, each), kept in self._aside.items() if each == digest), None)


@dataclass(frozen=True)
class Opened:
    """A store, and a way to change behind its back what it keeps under a digest."""

    store: CollectableStore
    tamper: Callable[[str, bytes], None]


def opened_in_memory(_: Path) -> Opened:
    store = MemoryArtifactStore()
    return Opened(store, store.tamper)


def local_store(root: Path) -> LocalArtifactStore:
    return LocalArtifactStore(LocalArtifactStoreConfig(path=str(root)), home=root / "unused", component_id="1")


def opened_locally(root: Path) -> Opened:
    def tamper(digest: str, data: bytes) -> None:
        path = root / "sha256" / digest
        path.unlink()
        path.write_bytes(data)

    return Opened(local_store(root), tamper)


def object_store(configuration: Mapping[str, object]) -> AnyObjectStore:
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
