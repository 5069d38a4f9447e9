"""Artifact stores in object storage, through obstore: one implementation, three ways to connect.

An object is `sha256/<digest>` under the configured prefix. Up to one piece it is written by one request that creates it
or finds it there. A larger one goes in pieces to a name of its own under `writing/`, and is copied to its digest when
it is whole: requests that create never come in pieces, and in Azure two writers of the pieces of one name undo each
other. Whichever writer comes first, the bytes under a digest are equal, so a server that knows no exclusive creation
costs some traffic and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import AzureStore, GCSStore, S3Store

from stackledger.domain.errors import ArtifactDamaged, ArtifactError, ArtifactMissing, raised
from stackledger.domain.names import visible
from stackledger.domain.ports import Aside, Found, Stored
from stackledger.flavors.digests import checked, checked_name, damaged, is_digest
from stackledger.flavors.object_store_errors import says_no_bucket, told
from stackledger.flavors.object_stores import AzureConfig, GcsConfig, ObjectStoreConfig, S3Config

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, ObjectStore, RetryConfig
    from typing_extensions import Buffer  # of the standard library from 3.12 on

PIECE = 8 * 1024 * 1024
"""What one request writes at most; `AT_ONCE` requests at a time bound the memory that an upload takes."""

AT_ONCE = 4

_READ_AT_ONCE = 1024 * 1024
_OBJECTS = "sha256"
_WRITING = "writing"
_ASIDE = "aside"
_USERS = "users"
_FIRST, _LATER = b"first", b"later"
_TRIAL_SECONDS = 10.0

_PublishMode = Literal["create", "overwrite"]


Config = TypeVar("Config", bound=ObjectStoreConfig)


class ObjectArtifactStore(ABC, Generic[Config]):
    """Objects in a bucket, under a prefix. A request is repeated a few times, for a bounded time."""

    def __init__(self, config: Config, *, home: Path, component_id: str) -> None:  # noqa: ARG002  made like all others
        self._config = config
        self._path = config.path
        # The library starts its threads with the first request: until then a process may fork.
        with told(f"The artifact store {self._path}", "be opened"):
            self._store = self._connected(config.timeout, repeats=5)
            self._trial = self._connected(min(config.timeout, _TRIAL_SECONDS), repeats=1)

    @abstractmethod
    def _connected(self, seconds: float, repeats: int) -> ObjectStore:
        """Return the library's store; no request is sent yet."""

    def put(self, data: bytes) -> Stored:
        """Keep the bytes; they are durable on return."""
        if len(data) > PIECE:
            view = memoryview(data)
            return self._put_pieces(view[start : start + PIECE] for start in range(0, len(data), PIECE))
        stored = Stored(hashlib.sha256(data).hexdigest(), len(data))
        key = _key(stored.digest)
        self._publish(stored, lambda mode: obstore.put(self._store, key, data, mode=mode, use_multipart=False))
        return stored

    def put_file(self, path: Path) -> Stored:
        """Keep a file's bytes as they are while they are copied; they are durable on return."""
        with _reading(path):
            source = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below, where errors are the store's
        with source:
            pieces = _pieces(source.fileno(), path)
            start = next(pieces, b"")
            return self.put(start) if len(start) < PIECE else self._put_pieces(chain([start], pieces))

    def get(self, digest: str, size: int) -> bytes:
        """Return bytes that have the digest, or raise ArtifactMissing or ArtifactDamaged."""
        return b"".join(self._found(digest, size))

    def get_file(self, digest: str, size: int, target: Path) -> None:
        """Write bytes that have the digest to `target`, which changes only once they are verified."""
        new = target.with_name(f".{target.name}.{_token()}")
        try:
            with open(new, "xb") as file:
                file.writelines(self._found(digest, size))
            os.replace(new, target)
        except OSError as error:
            raise ArtifactError(f"Cannot write {visible(str(target))}: {error.strerror or error}.") from error
        finally:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)

    def exists(self, digest: str) -> bool:
        """Say whether there is an object under the digest; not whether its bytes are intact."""
        key = _key(digest)
        with self._told(f"look for the object {digest}"):
            try:
                obstore.head(self._store, key)
            except FileNotFoundError:
                return bool(self._places_aside(digest))
        return True

    def digests(self) -> Iterator[str]:
        """Yield the digest of every object, in no order."""
        for found in self._listed(self._store, _OBJECTS):
            name = found["path"].removeprefix(f"{_OBJECTS}/")
            if is_digest(name):
                yield name

    def delete(self, digest: str) -> None:
        """Remove the object; nothing to do where there is none."""
        self._remove(self._store, _key(digest))

    def sweep_temporary(self, older_than: float) -> int:
        """Remove what writers that died before `older_than` (seconds since 1970) left, and return how many.

        Pieces of an upload that was never finished are hidden; the bucket's own rules have to end them.
        """
        left = list(self._listed(self._store, _WRITING))
        if not left:
            return 0
        limit = older_than + self._clock_ahead()
        swept = 0
        for found in left:
            if found["last_modified"].timestamp() < limit:
                self._remove(self._store, found["path"])
                swept += 1
        return swept

    def now(self) -> float:
        """Return the time in seconds since 1970 UTC, by the clock of the store."""
        return time.time() + self._clock_ahead()

    def objects(self) -> Iterator[Found]:
        """Yield every object, in no order."""
        return (each for each in self._dated(_OBJECTS) if is_digest(each.digest))

    def unfinished(self) -> Iterator[Found]:
        """Yield what writers have uploaded and not published. Pieces that were never put together are hidden."""
        return self._dated(_WRITING)

    def set_aside(self, digest: str, collection: str) -> None:
        """Copy an object to the folder of a collection, then delete it; nothing to do where there is none."""
        key, place = _key(digest), _aside(digest, collection)
        with self._told(f"set the object {digest} aside"):
            try:
                size = obstore.head(self._store, key)["size"]
                obstore.copy(self._store, key, place, overwrite=True)
            except FileNotFoundError as error:
                if says_no_bucket(error):
                    raise
                return
            self._check_copied(place, size)
        self._remove(self._store, key)

    def aside(self) -> Iterator[Aside]:
        """Yield every object that is set aside, in no order."""
        for found in self._listed(self._store, _ASIDE):
            collection, _, digest = found["path"].removeprefix(f"{_ASIDE}/").rpartition("/")
            if is_digest(digest):
                yield Aside(digest, collection, found["last_modified"].timestamp())

    def put_back(self, digest: str, collection: str) -> bool:
        """Copy an object that was set aside to its place, where it is not there.

        The copy stays aside, too: whoever set it aside may be about to delete the object in its place.
        """
        with self._told(f"put the object {digest} back"):
            try:
                obstore.copy(self._store, _aside(digest, collection), _key(digest), overwrite=False)
            except FileNotFoundError as error:
                if says_no_bucket(error):
                    raise
                return False
            except AlreadyExistsError:
                pass
        return True

    def drop(self, digest: str, collection: str) -> None:
        """Remove an object that was set aside; nothing to do where there is none."""
        self._remove(self._store, _aside(digest, collection))

    def users(self) -> dict[str, bool]:
        """Return the logs that may refer to objects here, and of each whether it is known to have come first."""
        names = [found["path"].removeprefix(f"{_USERS}/") for found in self._listed(self._store, _USERS)]
        with self._told("see which logs use it"):
            return {name: obstore.get(self._store, f"{_USERS}/{name}").bytes() == _FIRST for name in names}

    def sign_in(self, log: str) -> None:
        """Note that a log may refer to objects here from now on; nothing to do where that is noted."""
        key = f"{_USERS}/{checked_name(log)}"
        with self._told("note which log uses it"):
            try:
                obstore.head(self._store, key)
            except FileNotFoundError as error:
                if says_no_bucket(error):
                    raise
            else:
                return
        is_used = any(next(self._listed(self._store, folder), None) for folder in (_OBJECTS, _ASIDE))
        with self._told("note which log uses it"):
            obstore.put(self._store, key, _LATER if is_used else _FIRST, use_multipart=False)

    def claim(self, log: str) -> None:
        """Note that no other log refers to objects here; another one that does will sign in again."""
        key = f"{_USERS}/{checked_name(log)}"
        for found in list(self._listed(self._store, _USERS)):
            self._remove(self._store, found["path"])
        with self._told("note which log uses it"):
            obstore.put(self._store, key, _FIRST, use_multipart=False)

    def check(self) -> None:
        """Write, read, list and delete an object, or raise ArtifactError: soon, also where nobody answers."""
        key = _temporary()
        with self._told("keep a first object"):
            obstore.put(self._trial, key, b"trial", mode="create", use_multipart=False)
        with self._told("give back a first object"):
            obstore.get(self._trial, key).bytes()
        if key not in [found["path"] for found in self._listed(self._trial, _WRITING)]:
            raise ArtifactError(
                f"The artifact store {self._path} does not list an object that was just written to it.",
                hint="An artifact store needs a server that lists what it holds: use another.",
            )
        with self._told("delete a first object"):
            obstore.delete(self._trial, key)

    def _put_pieces(self, pieces: Iterable[bytes | memoryview]) -> Stored:
        """Upload pieces to a name of their own, then publish them under the digest of what was uploaded."""
        digest, size = hashlib.sha256(), 0

        def passed() -> Iterator[bytes | memoryview]:
            nonlocal size
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                yield piece

        source = _temporary()
        try:
            with self._told("keep a large object"):
                obstore.put(
                    self._store, source, passed(), use_multipart=True, chunk_size=PIECE, max_concurrency=AT_ONCE
                )
            stored = Stored(digest.hexdigest(), size)
            key = _key(stored.digest)
            self._publish(stored, lambda mode: obstore.copy(self._store, source, key, overwrite=mode == "overwrite"))
            with self._told(f"look for the object {stored.digest}"):
                self._check_copied(key, size)
        finally:
            # A writer that could not take its own leavings away has them swept.
            with contextlib.suppress(ArtifactError):
                self._remove(self._trial, source)
        return stored

    def _check_copied(self, key: str, size: int) -> None:
        # Some copy on after they have answered.
        if obstore.head(self._store, key)["size"] != size:
            raise ArtifactError(f"The artifact store {self._path} did not copy an object to its name.")

    def _publish(self, stored: Stored, write: Callable[[_PublishMode], object]) -> None:
        with self._told(f"keep an object of {stored.size:,} bytes"):
            try:
                write("create")
            except (AlreadyExistsError, GenericError):
                # It was there before, whole or damaged; or the answer was lost, and the object may be there or not.
                if not self._holds(stored):
                    write("overwrite")

    def _holds(self, stored: Stored) -> bool:
        """Say whether the object is there and intact: damage is mended by whoever has the bytes."""
        try:
            for _ in self._verified(*stored):
                pass
        except (ArtifactDamaged, ArtifactMissing):
            return False
        return True

    def _found(self, digest: str, size: int) -> Iterator[Buffer]:
        """Yield the object's bytes as `_verified` does, also where it is set aside."""
        try:
            yield from self._verified(digest, size)
        except ArtifactMissing:
            # It may be on its way aside, or back: it is copied before it is deleted.
            for place in (*self._places_aside(digest), _key(digest)):
                with contextlib.suppress(ArtifactMissing):
                    yield from self._verified(digest, size, place)
                    return
            raise

    def _places_aside(self, digest: str) -> list[str]:
        """Return where an object may be that is set aside."""
        return [each["path"] for each in self._listed(self._store, _ASIDE) if each["path"].endswith(f"/{digest}")]

    def _dated(self, folder: str) -> Iterator[Found]:
        for found in self._listed(self._store, folder):
            name = found["path"].removeprefix(f"{folder}/")
            yield Found(name, found["size"], found["last_modified"].timestamp())

    def _verified(self, digest: str, size: int, place: str | None = None) -> Iterator[Buffer]:
        """Yield the object's bytes; raise what is wrong with them, in the end at the latest."""
        key = place or _key(digest)
        with self._told(f"read the object {digest}"):
            try:
                found = obstore.get(self._store, key)
            except FileNotFoundError as error:
                if says_no_bucket(error):
                    raise
                raise ArtifactMissing(
                    f"The artifact store {self._path} has no object {digest}.",
                    hint="Was the bucket emptied? Put its objects back, or run the pipeline again.",
                ) from error
            if found.meta["size"] != size:
                raise self._damaged(digest, f"it has {found.meta['size']:,} bytes in the place of {size:,}")
            seen = hashlib.sha256()
            for piece in found.stream(min_chunk_size=_READ_AT_ONCE):
                seen.update(piece)
                yield piece
            if seen.hexdigest() != digest:
                raise self._damaged(digest, "its bytes are not those that were kept")

    def _listed(self, store: ObjectStore, folder: str) -> Iterator[ObjectMeta]:
        with self._told("list the objects"):
            pages = obstore.list(store, folder)
        while True:
            with self._told("list the objects"):
                page = next(pages, None)
            if page is None:
                return
            yield from page

    def _remove(self, store: ObjectStore, key: str) -> None:
        with self._told(f"delete the object {key}"):
            try:
                obstore.delete(store, key)
            except FileNotFoundError as error:
                if says_no_bucket(error):
                    raise

    def _clock_ahead(self) -> float:
        """Return by how many seconds the store's clock, which dates the objects, is ahead of ours."""
        key = _temporary()
        with self._told("tell the time"):
            obstore.put(self._store, key, b"time", use_multipart=False)
            dated = obstore.head(self._store, key)["last_modified"].timestamp()
        self._remove(self._store, key)
        return dated - time.time()

    def _damaged(self, digest: str, why: str) -> ArtifactDamaged:
        return damaged(digest, self._path, why)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        _refuse_forked()
        with told(f"The artifact store {self._path}", what):
            yield


class S3ArtifactStore(ObjectArtifactStore[S3Config]):
    """Objects in S3, and in what speaks its language."""

    def _connected(self, seconds: float, repeats: int) -> ObjectStore:
        config = self._config
        return S3Store(
            config.bucket(),
            prefix=config.prefix(),
            client_options=_client_options(config, seconds),
            retry_config=_retries(seconds, repeats),
            config=_given(
                endpoint=config.endpoint_url,
                region=config.region,
                access_key_id=config.key,
                secret_access_key=config.secret,
                session_token=config.token,
                copy_if_not_exists="multipart",
                # Many servers know no deletion in bulk, and objects are deleted one by one here.
                disable_bulk_delete="true",
            ),  # type: ignore[arg-type]
        )


class GcsArtifactStore(ObjectArtifactStore[GcsConfig]):
    """Objects in Google Cloud Storage."""

    def _connected(self, seconds: float, repeats: int) -> ObjectStore:
        config = self._config
        return GCSStore(
            config.bucket(),
            prefix=config.prefix(),
            client_options=_client_options(config, seconds),
            retry_config=_retries(seconds, repeats),
            config=_given(
                base_url=config.endpoint_url,
                service_account_key=config.service_account_key,
                bearer_token=config.token,
            ),  # type: ignore[arg-type]
        )


class AzureArtifactStore(ObjectArtifactStore[AzureConfig]):
    """Objects in Azure Blob Storage."""

    def _connected(self, seconds: float, repeats: int) -> ObjectStore:
        config = self._config
        return AzureStore(
            config.bucket(),
            prefix=config.prefix(),
            client_options=_client_options(config, seconds),
            retry_config=_retries(seconds, repeats),
            config=_given(
                endpoint=config.endpoint_url,
                account_name=config.account_name,
                account_key=config.account_key,
                sas_key=config.sas_token,
                tenant_id=config.tenant_id,
                client_id=config.client_id,
                client_secret=config.client_secret,
            ),  # type: ignore[arg-type]
        )


def _given(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _client_options(config: ObjectStoreConfig, seconds: float) -> ClientConfig:
    # The limit of a whole request would end the download of a large object: each wait for more is limited.
    return {
        "allow_http": config.allow_http,
        "connect_timeout": timedelta(seconds=min(seconds, 10)),
        "read_timeout": timedelta(seconds=seconds),
        "timeout": timedelta(days=1),
    }


def _retries(seconds: float, repeats: int) -> RetryConfig:
    return {
        "max_retries": repeats,
        "retry_timeout": timedelta(seconds=seconds),
        "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5), "base": 2},
    }


_user = 0


def _refuse_forked() -> None:
    """Raise ArtifactError where the library would wait for ever: its threads do not follow a process that forks."""
    global _user  # noqa: PLW0603 - the library's threads belong to the process, too
    _user = _user or os.getpid()
    if _user != os.getpid():
        raise ArtifactError(
            "This process was forked from one that uses object storage, and cannot use it too.",
            hint="Start it anew: with multiprocessing, by the start method `spawn` or `forkserver`.",
        )


def _key(digest: str) -> str:
    return f"{_OBJECTS}/{checked(digest)}"


def _aside(digest: str, collection: str) -> str:
    return f"{_ASIDE}/{checked_name(collection)}/{checked(digest)}"


def _temporary() -> str:
    return f"{_WRITING}/{_token()}"


def _token() -> str:
    return os.urandom(12).hex()


def _pieces(source: int, path: Path) -> Iterator[bytes]:
    """Yield a file's bytes in pieces, each but the last of one size."""
    while True:
        piece = bytearray()
        with _reading(path):
            while len(piece) < PIECE and (more := os.read(source, PIECE - len(piece))):
                piece += more
        if not piece:
            return
        yield bytes(piece)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = raised(type(error).__name__, error.strerror or "")
        raise ArtifactError(f"Cannot read the file {visible(str(path))}: {why}.") from error
