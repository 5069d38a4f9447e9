"""The artifact store that is a folder of this machine.

An object is the file `sha256/<digest>` under the root. A writer makes a file of its own in `writing/`, syncs it,
renames it to its name and syncs the folder `sha256`: two syncs for each object. All objects are in one folder: each
further level would need a sync of its own before a name in it is durable, and file systems index large folders.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import field_validator

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import ArtifactDamaged, ArtifactError, ArtifactMissing
from stackledger.domain.names import quoted, visible
from stackledger.domain.ports import Stored
from stackledger.flavors.flavor import Flavor, FlavorConfig, clear_text_field
from stackledger.flavors.local_paths import absolute

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1024 * 1024
_READ_ONLY = 0o444
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# A link or a pipe in the place of an object is refused by fstat, and opening it neither follows nor waits.
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

_WAYS_OUT = {
    errno.ENOSPC: "The disk is full: make room, and try again.",
    errno.EDQUOT: "Your quota of the disk is used up: make room, and try again.",
    errno.EFBIG: "The file is larger than a file may be here.",
    errno.EROFS: "The file system is read-only: name another folder as the store's path.",
    errno.EACCES: "Give yourself the right to read and write there, or name another folder as the store's path.",
    errno.EPERM: "Give yourself the right to read and write there, or name another folder as the store's path.",
    errno.ENOTDIR: "A file stands where a folder is wanted: name another folder as the store's path.",
    errno.EIO: "The disk fails: save what it holds, and replace it.",
}


class LocalArtifactStoreConfig(FlavorConfig):
    """Where the folder is."""

    path: str | None = clear_text_field(
        None, description="folder for the artifacts; one of its own in the home folder if not given"
    )

    @field_validator("path")
    @classmethod
    def _is_local(cls, value: str | None) -> str | None:
        return None if value is None else absolute(value, ComponentType.ARTIFACT_STORE)


class LocalArtifactStore:
    """Objects in the folder that the configuration names, or else in `<home>/artifacts/<component id>`."""

    def __init__(self, config: LocalArtifactStoreConfig, *, home: Path, component_id: str) -> None:
        self.root = Path(config.path) if config.path else home / "artifacts" / component_id
        self._objects = self.root / "sha256"
        self._writing = self.root / "writing"
        self._ready = False
        self._durable: dict[str, tuple[int, int]] = {}
        """The files whose names were synced here: a step that puts out what was put out before syncs nothing."""

    def put(self, data: bytes) -> Stored:
        """Keep the bytes; they are durable on return."""
        stored = Stored(hashlib.sha256(data).hexdigest(), len(data))
        with self._errors(f"keep an object of {stored.size:,} bytes"):
            self._make_ready()
            held = self._held(stored)
            if held is None:
                with self._new_file() as (descriptor, path):
                    _write(descriptor, data)
                    self._publish(descriptor, path, stored)
            elif held != self._durable.get(stored.digest):
                # Who wrote it may have died between renaming it and syncing the folder.
                _sync_folder(self._objects)
                self._durable[stored.digest] = held
        return stored

    def put_file(self, path: Path) -> Stored:
        """Keep a file's bytes as they are while they are copied; they are durable on return."""
        with self._errors(f"keep the file {visible(str(path))}"):
            self._make_ready()
            with open(path, "rb", buffering=0) as source, self._new_file() as (descriptor, new):
                stored = _copy(source.fileno(), descriptor)
                self._publish(descriptor, new, stored)
        return stored

    def get(self, digest: str, size: int) -> bytes:
        """Return bytes that have the digest, or raise ArtifactMissing or ArtifactDamaged."""
        with self._errors(f"read the object {visible(digest)}"), self._opened(digest, size) as descriptor:
            chunks, left = [], size
            while chunk := os.read(descriptor, left):
                chunks.append(chunk)
                left -= len(chunk)
        # Joining a single chunk copies nothing.
        data = b"".join(chunks)
        if hashlib.sha256(data).hexdigest() != digest:
            raise self._damaged(digest, "its bytes are not those that were kept")
        return data

    def get_file(self, digest: str, size: int, target: Path) -> None:
        """Write bytes that have the digest to `target`, which changes only once they are verified."""
        new = target.with_name(f".{target.name}.{_token()}")
        with self._errors(f"read the object {visible(digest)} into {visible(str(target))}"):
            try:
                with self._opened(digest, size) as source, _open(new, _WRITING, 0o666) as descriptor:
                    copied = _copy(source, descriptor)
                if copied != Stored(digest, size):
                    raise self._damaged(digest, "its bytes are not those that were kept")
                os.replace(new, target)
            finally:
                new.unlink(missing_ok=True)

    def exists(self, digest: str) -> bool:
        """Say whether there is an object under the digest; not whether its bytes are intact."""
        with self._errors(f"look for the object {visible(digest)}"):
            return self._path(digest).is_file()

    def digests(self) -> Iterator[str]:
        """Yield the digest of every object, in no order."""
        with self._errors("list the objects"):
            try:
                with os.scandir(self._objects) as found:
                    names = [entry.name for entry in found if _DIGEST.fullmatch(entry.name)]
            except FileNotFoundError:
                names = []
        yield from names

    def delete(self, digest: str) -> None:
        """Remove the object; nothing to do where there is none."""
        with self._errors(f"delete the object {visible(digest)}"):
            self._path(digest).unlink(missing_ok=True)

    def sweep_temporary(self, older_than: float) -> int:
        """Remove what writers that died before `older_than` (seconds since 1970) left, and return how many."""
        swept = 0
        with self._errors("sweep what dead writers left"), contextlib.suppress(FileNotFoundError):
            for entry in list(os.scandir(self._writing)):
                # A writer that lives may take its file away at any moment.
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < older_than:
                        os.unlink(entry.path)
                        swept += 1
        return swept

    def check(self) -> None:
        """Make the folder, or raise ArtifactError if it cannot be written to."""
        with self._errors("make the store's folder"):
            self._make_ready()
            with self._new_file() as (_, path):
                path.unlink()

    def _make_ready(self) -> None:
        if self._ready:
            return
        there = self.root.parent
        while not there.exists():
            there = there.parent
        self._objects.mkdir(parents=True, exist_ok=True)
        self._writing.mkdir(exist_ok=True)
        # Also where the folders are there: whoever made them may have died before their names were durable.
        for folder in (self.root, *self.root.parents):
            _sync_folder(folder)
            if folder == there:
                break
        self._ready = True

    def _path(self, digest: str) -> Path:
        if _DIGEST.fullmatch(digest) is None:
            raise ArtifactError(f"{quoted(digest[:100])} is not a SHA-256 digest: 64 digits of 0-9 and a-f.")
        return self._objects / digest

    def _held(self, stored: Stored) -> tuple[int, int] | None:
        """Return which file is there under the digest, if it is intact: reading costs less than writing again."""
        if not os.path.lexists(self._path(stored.digest)):
            return None  # as most often: no error has to be made and put into words
        try:
            with self._opened(stored.digest, stored.size) as descriptor:
                return _file(descriptor) if _digest(descriptor) == stored else None
        except ArtifactError:
            return None

    @contextlib.contextmanager
    def _opened(self, digest: str, size: int) -> Iterator[int]:
        try:
            descriptor = os.open(self._path(digest), _READING)
        except FileNotFoundError as error:
            raise ArtifactMissing(
                f"The artifact store {self.root} has no object {digest}.",
                hint="Was the store's folder moved or emptied? Put it back, or run the pipeline again.",
            ) from error
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise self._damaged(digest, "a link stands in its place") from error
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise self._damaged(digest, "what stands in its place is not a file")
            if found.st_size != size:
                raise self._damaged(digest, f"it has {found.st_size:,} bytes in the place of {size:,}")
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _new_file(self) -> Iterator[tuple[int, Path]]:
        path = self._writing / _token()
        try:
            with _open(path, _WRITING, _READ_ONLY) as descriptor:
                yield descriptor, path
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _publish(self, descriptor: int, path: Path, stored: Stored) -> None:
        os.fsync(descriptor)
        # Racing writers of one digest replace equal bytes by equal bytes; what was damaged is whole again.
        os.replace(path, self._objects / stored.digest)
        file = _file(descriptor)
        _sync_folder(self._objects)
        self._durable[stored.digest] = file

    def _damaged(self, digest: str, why: str) -> ArtifactDamaged:
        return ArtifactDamaged(
            f"The object {digest} in the artifact store {self.root} is damaged: {why}.",
            hint="Running the step again that made it writes it anew, if the step gives the same result.",
        )

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArtifactError(
                f"The artifact store {self.root} cannot {what}: {error.strerror or error}.",
                hint=_WAYS_OUT.get(error.errno or 0, ""),
            ) from error


class LocalArtifactStoreFlavor(Flavor):
    """Keeps artifacts in a folder of this machine."""

    name = "local"
    type = ComponentType.ARTIFACT_STORE
    config_class = LocalArtifactStoreConfig
    implementation = "stackledger.flavors.local_artifact_store:LocalArtifactStore"
    provisioning = "A folder needs no server: there is nothing to start or stop."

    @classmethod
    def prepare(cls, config: FlavorConfig, home: Path, component_id: str) -> None:
        """Make and check the folder."""
        assert isinstance(config, LocalArtifactStoreConfig)
        LocalArtifactStore(config, home=home, component_id=component_id).check()

    @classmethod
    def is_local(cls, config: FlavorConfig) -> bool:  # noqa: ARG003  wherever the folder is
        """Say that a folder is this machine's."""
        return True


def _file(descriptor: int) -> tuple[int, int]:
    """Return what tells a file from every other, also from one that stands in its place later."""
    found = os.fstat(descriptor)
    return found.st_ino, found.st_ctime_ns


def _token() -> str:
    return os.urandom(12).hex()


@contextlib.contextmanager
def _open(path: Path, flags: int, mode: int) -> Iterator[int]:
    descriptor = os.open(path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _copy(source: int, target: int) -> Stored:
    digest, size = hashlib.sha256(), 0
    while chunk := os.read(source, _CHUNK):
        _write(target, chunk)
        digest.update(chunk)
        size += len(chunk)
    return Stored(digest.hexdigest(), size)


def _digest(source: int) -> Stored:
    digest, size = hashlib.sha256(), 0
    while chunk := os.read(source, _CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return Stored(digest.hexdigest(), size)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
