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
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import field_validator

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import ArtifactDamaged, ArtifactError, ArtifactMissing
from stackledger.domain.names import visible
from stackledger.domain.ports import Aside, Found, Stored
from stackledger.flavors.digests import checked, checked_name, damaged, is_digest
from stackledger.flavors.flavor import Flavor, FlavorConfig, clear_text_field
from stackledger.flavors.local_paths import absolute

_CHUNK = 1024 * 1024
_FIRST, _LATER = b"first", b"later"
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
        self.root = Path(config.path) if config.path else _own_folder(home, component_id)
        self._objects = self.root / "sha256"
        self._writing = self.root / "writing"
        self._aside = self.root / "aside"
        self._users = self.root / "users"
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
        with self._errors(f"read the object {visible(digest)}"), self._found(digest, size) as descriptor:
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
                with self._found(digest, size) as source, _open(new, _WRITING, 0o666) as descriptor:
                    copied = _copy(source, descriptor)
                if copied != Stored(digest, size):
                    raise self._damaged(digest, "its bytes are not those that were kept")
                os.replace(new, target)
            finally:
                new.unlink(missing_ok=True)

    def exists(self, digest: str) -> bool:
        """Say whether there is an object under the digest; not whether its bytes are intact."""
        with self._errors(f"look for the object {visible(digest)}"):
            return os.path.isfile(self._path(digest)) or any(map(os.path.isfile, self._places_aside(digest)))

    def digests(self) -> Iterator[str]:
        """Yield the digest of every object, in no order."""
        with self._errors("list the objects"):
            names = [entry.name for entry in _listed(self._objects) if is_digest(entry.name)]
        yield from names

    def delete(self, digest: str) -> None:
        """Remove the object; nothing to do where there is none."""
        with self._errors(f"delete the object {visible(digest)}"), contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(digest))

    def sweep_temporary(self, older_than: float) -> int:
        """Remove what writers that died before `older_than` (seconds since 1970) left, and return how many."""
        swept = 0
        with self._errors("sweep what dead writers left"):
            for entry in _listed(self._writing):
                # A writer that lives may take its file away at any moment.
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < older_than:
                        os.unlink(entry.path)
                        swept += 1
        return swept

    def now(self) -> float:
        """Return the time by which files are dated here: that of this machine."""
        return time.time()

    def objects(self) -> Iterator[Found]:
        """Yield every object, in no order."""
        with self._errors("list the objects"):
            found = [each for each in _dated(self._objects) if is_digest(each.digest)]
        yield from found

    def unfinished(self) -> Iterator[Found]:
        """Yield the files of writers that have not published them."""
        with self._errors("list what writers have begun"):
            found = list(_dated(self._writing))
        yield from found

    def set_aside(self, digest: str, collection: str) -> None:
        """Move an object out of its place into the folder of a collection; nothing to do where there is none."""
        folder = self._aside / checked_name(collection)
        with self._errors(f"set the object {visible(digest)} aside"), contextlib.suppress(FileNotFoundError):
            source = self._path(digest)
            os.stat(source, follow_symlinks=False)
            folder.mkdir(parents=True, exist_ok=True)
            os.rename(source, folder / digest)

    def aside(self) -> Iterator[Aside]:
        """Yield every object that is set aside, in no order."""
        with self._errors("list what is set aside"):
            found = [
                Aside(entry.name, folder.name, entry.stat(follow_symlinks=False).st_ctime)
                for folder in _listed(self._aside)
                if folder.is_dir(follow_symlinks=False)
                for entry in _listed(Path(folder.path))
                if is_digest(entry.name)
            ]
        yield from found

    def put_back(self, digest: str, collection: str) -> bool:
        """Move an object that was set aside back into its place; then it is there alone."""
        place = self._aside / checked_name(collection) / checked(digest)
        with self._errors(f"put the object {digest} back"), contextlib.suppress(FileNotFoundError):
            # What was put there meanwhile stays: this one may be damaged.
            with contextlib.suppress(FileExistsError):
                os.link(place, self._path(digest), follow_symlinks=False)
            _sync_folder(self._objects)
            os.unlink(place)
        self._forget_folder(collection)
        return False

    def drop(self, digest: str, collection: str) -> None:
        """Remove an object that was set aside; nothing to do where there is none."""
        with self._errors(f"delete the object {visible(digest)}"), contextlib.suppress(FileNotFoundError):
            os.unlink(self._aside / checked_name(collection) / checked(digest))
        self._forget_folder(collection)

    def users(self) -> dict[str, bool]:
        """Return the logs that may refer to objects here, and of each whether it is known to have come first."""
        with self._errors("see which logs use it"):
            return {entry.name: Path(entry.path).read_bytes() == _FIRST for entry in _listed(self._users)}

    def sign_in(self, log: str) -> None:
        """Note that a log may refer to objects here from now on; nothing to do where that is noted."""
        place = self._users / checked_name(log)
        if place.exists():
            return
        with self._errors("note which log uses it"):
            self._make_ready()
            self._sign(place, _LATER if any(map(_listed, (self._objects, self._aside))) else _FIRST)

    def claim(self, log: str) -> None:
        """Note that no other log refers to objects here; another one that does will sign in again."""
        place = self._users / checked_name(log)
        with self._errors("note which log uses it"):
            self._make_ready()
            for entry in _listed(self._users):
                Path(entry.path).unlink(missing_ok=True)
            self._sign(place, _FIRST)

    def _sign(self, place: Path, word: bytes) -> None:
        self._users.mkdir(exist_ok=True)
        _sync_folder(self.root)
        with self._new_file() as (descriptor, path):
            _write(descriptor, word)
            os.fsync(descriptor)
            os.replace(path, place)
            _sync_folder(self._users)

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

    def _path(self, digest: str) -> str:
        return f"{self._objects}/{checked(digest)}"

    def _places_aside(self, digest: str) -> list[str]:
        """Return where an object may be that is set aside."""
        return [f"{folder.path}/{checked(digest)}" for folder in _listed(self._aside)]

    def _forget_folder(self, collection: str) -> None:
        # Not empty, or gone: somebody else is at it.
        with contextlib.suppress(OSError):
            os.rmdir(self._aside / collection)

    @contextlib.contextmanager
    def _found(self, digest: str, size: int) -> Iterator[int]:
        """Open an object for reading, also where it is set aside."""
        with contextlib.ExitStack() as opened:
            try:
                descriptor = opened.enter_context(self._opened(digest, size))
            except ArtifactMissing:
                # It may be on its way aside, or back.
                for place in (*self._places_aside(digest), self._path(digest)):
                    with contextlib.suppress(ArtifactMissing):
                        descriptor = opened.enter_context(self._opened(digest, size, place))
                        break
                else:
                    raise
            yield descriptor

    def _held(self, stored: Stored) -> tuple[int, int] | None:
        """Return which file is there under the digest, if it is intact: reading costs less than writing again."""
        if stored.digest not in self._durable and not os.path.lexists(self._path(stored.digest)):
            return None  # as most often: no error has to be made and put into words
        try:
            with self._opened(stored.digest, stored.size) as descriptor:
                return _file(descriptor) if _digest(descriptor) == stored else None
        except ArtifactError:
            return None

    @contextlib.contextmanager
    def _opened(self, digest: str, size: int, place: str | None = None) -> Iterator[int]:
        try:
            descriptor = os.open(place or self._path(digest), _READING)
        except FileNotFoundError as error:
            if not self.root.is_dir():
                raise ArtifactMissing(
                    f"The artifact store {self.root} is not here: there is no such folder on this machine.",
                    hint="Was it moved? Put it back. Where the run was begun on another machine, it takes a store that"
                    " both reach: `stackledger artifact-store register NAME --flavor=s3 …`.",
                ) from error
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
        return damaged(digest, str(self.root), why)

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
    def located(cls, configuration: Mapping[str, Any], home: Path, component_id: str) -> Mapping[str, Any]:
        """Name the folder, also where the component has none of its own."""
        path = configuration.get("path") or os.path.abspath(_own_folder(home, component_id))
        return {**configuration, "path": path}

    @classmethod
    def is_local(cls, config: FlavorConfig) -> bool:  # noqa: ARG003  wherever the folder is
        """Say that a folder is this machine's."""
        return True


def _own_folder(home: Path, component_id: str) -> Path:
    return home / "artifacts" / component_id


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder, nothing where there is none."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except FileNotFoundError:
        return []


def _dated(folder: Path) -> Iterator[Found]:
    for entry in _listed(folder):
        # A writer, or somebody who collects, may take it away at any moment.
        with contextlib.suppress(FileNotFoundError):
            state = entry.stat(follow_symlinks=False)
            yield Found(entry.name, state.st_size, state.st_mtime)


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
