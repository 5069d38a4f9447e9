"""Code archives on a worker's machine: fetched once, verified and read strictly, unpacked for each process anew.

What is kept is the archive, and its bytes are verified whenever they are used. So nothing that a step does to the
files it was given reaches another process, and whoever changes what is kept is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from stackledger.domain.errors import ArtifactDamaged, PipelineError
from stackledger.domain.events.runs import Kept
from stackledger.domain.ports import ArtifactStore
from stackledger.pipelines.archive import MANIFEST
from stackledger.pipelines.archive_format import (
    BLOCK,
    END,
    MAX_BYTES,
    MAX_FILES,
    Unfit,
    check_apart,
    header,
    padding,
)

# Headers and padding besides the files.
_MOST = MAX_BYTES + MAX_FILES * 2 * BLOCK + len(END)
_MAX_MANIFEST = 1024 * 1024
_ARCHIVES_KEPT = 20
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Member(NamedTuple):
    """A file of an archive."""

    name: str
    executable: bool
    data: memoryview


def unpack(data: bytes, target: Path) -> tuple[Path, ...]:
    """Make the folder `target` with the files of an archive; return where modules are found, or raise PipelineError.

    Nothing is written before the whole archive was read. Refused is whatever our own packing does not write: anything
    but regular files, names that lead out of the folder, repeat or hide each other, and more or larger files than may
    be.
    """
    try:
        members = list(_members(memoryview(data)))
        paths = _paths(members)
    except Unfit as error:
        raise PipelineError(f"The archive of the run's code is none of ours: {error}") from error
    try:
        target.mkdir(mode=0o700)
        made = {""}
        for member in members[1:]:
            folder = member.name.rpartition("/")[0]
            if folder not in made:
                (target / folder).mkdir(parents=True, exist_ok=True)
                made.add(folder)
            with open(os.open(target / member.name, _WRITING, 0o700 if member.executable else 0o600), "wb") as file:
                file.write(member.data)
    except OSError as error:
        raise PipelineError(
            f"The run's code cannot be unpacked into {target}: {error.strerror}.", hint="Is there room on the disk?"
        ) from error
    return tuple(target / path for path in paths)


class CodeCache:
    """The archives that were fetched, in a folder that any number of workers share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def archive(self, code: Kept, store: ArtifactStore) -> bytes:
        """Return the bytes of an archive, or raise ArtifactError; a damaged copy is fetched again."""
        if code.size > _MOST:
            raise PipelineError(f"The archive of the run's code has {code.size:,} bytes, more than {_MOST:,}.")
        path = self._folder / f"{code.digest}.tar"
        with contextlib.suppress(OSError):
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() == code.digest:
                os.utime(path)
                return data
        data = store.get(code.digest, code.size)
        # Stores verify what they return, but who writes a flavor may forget it.
        if hashlib.sha256(data).hexdigest() != code.digest:
            raise ArtifactDamaged(f"The artifact store returned other bytes than those of the archive {code.digest}.")
        # Without room to keep it, it is fetched again by the next.
        with contextlib.suppress(OSError):
            self._keep(path, data)
        return data

    def _keep(self, path: Path, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
        try:
            new.write_bytes(data)
            os.replace(new, path)
        finally:
            new.unlink(missing_ok=True)
        by_age = sorted(self._folder.glob("*.tar"), key=lambda each: each.stat().st_mtime)
        for old in by_age[:-_ARCHIVES_KEPT]:
            old.unlink(missing_ok=True)


def _members(data: memoryview) -> Iterator[Member]:
    """Yield the files of an archive in its order, or raise Unfit."""
    if len(data) > _MOST:
        raise Unfit(f"It has {len(data):,} bytes, more than {_MOST:,}.")
    at, last = 0, ""
    count = total = 0
    names = []
    while data[at:] != END:
        member, at = _member(data, at)
        count += 1
        total += len(member.data)
        if count > MAX_FILES + 1 or total > MAX_BYTES + _MAX_MANIFEST:
            raise Unfit(f"It holds more than {MAX_FILES:,} files, or more than {MAX_BYTES:,} bytes.")
        if count > 1:
            if member.name <= last:
                raise Unfit(f"{member.name!r} does not come after {last!r}, as in a sorted archive.")
            last = member.name
            names.append(member.name)
        yield member
    check_apart([MANIFEST, *names])


def _member(data: memoryview, at: int) -> tuple[Member, int]:
    """Return the file whose header begins at a place, and where the next one does."""
    block = bytes(data[at : at + BLOCK])
    if len(block) < BLOCK:
        raise Unfit("It is cut off.")
    try:
        prefix, last = block[345:500].rstrip(b"\0").decode(), block[:100].rstrip(b"\0").decode()
        size = int(block[124:135], 8)
    except ValueError as error:
        raise Unfit("A header is none.") from error
    name = f"{prefix}/{last}" if prefix else last
    executable = block[100:107] == b"0000755"
    # Made anew, it is the same, or it says what ours never say: a link, a device, an owner, another encoding.
    if header(name, max(size, 0), executable=executable) != block:
        raise Unfit(f"{name[:BLOCK]!r} is not a plain file, or its header is damaged.")
    begin = at + BLOCK
    end = begin + size
    after = end + padding(size)
    if after > len(data):
        raise Unfit(f"It is cut off in {name!r}.")
    if any(data[end:after]):
        raise Unfit(f"Something is hidden behind {name!r}.")
    return Member(name, executable, data[begin:end]), after


def _paths(members: list[Member]) -> list[str]:
    """Return in which folders of an archive modules are found, or raise Unfit."""
    if not members or members[0].name != MANIFEST or len(members[0].data) > _MAX_MANIFEST:
        raise Unfit(f"It does not begin with {MANIFEST}.")
    try:
        read = json.loads(bytes(members[0].data))
    except (ValueError, RecursionError) as error:
        raise Unfit(f"{MANIFEST} is not JSON.") from error
    match read:
        case {"paths": list() as paths} if len(read) == 1 and all(isinstance(each, str) for each in paths):
            pass
        case _:
            raise Unfit(f"{MANIFEST} does not say paths.")
    folders = _folders(members)
    if any(path and path not in folders for path in paths):
        raise Unfit(f"{MANIFEST} names a folder that is not there.")
    return paths


def _folders(members: list[Member]) -> set[str]:
    folders: set[str] = set()
    for member in members:
        name = member.name
        while "/" in name:
            name = name.rpartition("/")[0]
            if name in folders:
                break
            folders.add(name)
    return folders
