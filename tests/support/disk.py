"""A disk that forgets what was not synced: the files that a recorded program would find after a loss of power.

`recorded` runs a program under strace and returns what it did to the files in one directory. A `Disk` is fed
with these operations one by one. What was synced is there for ever. What was not may be there or not, each write
for itself, torn at any sector; a name is there for certain only once its directory was synced.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.services import missing

SECTOR = 512
_CALLS = "openat,mkdir,write,pwrite64,ftruncate,fsync,fdatasync,unlink,rename,renameat,renameat2,truncate,creat"
_LINE = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FD = re.compile(r"^(\d+)<((?:\\x[0-9a-f]{2}|[^\\>])*)>")


@dataclass(frozen=True, slots=True)
class Made:
    """A name came to be: a file, or a directory."""

    path: str
    directory: bool


@dataclass(frozen=True, slots=True)
class Written:
    path: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    path: str


@dataclass(frozen=True, slots=True)
class Removed:
    path: str


@dataclass(frozen=True, slots=True)
class Renamed:
    path: str
    to: str


@dataclass(frozen=True, slots=True)
class Said:
    """The program wrote to its standard output."""

    text: str


Operation = Made | Written | Cut | Synced | Removed | Renamed | Said


def recorded(command: Sequence[str], root: Path, scratch: Path) -> list[Operation]:
    """Run the command under strace and return what it did below `root`, and what it said, in order."""
    if shutil.which("strace") is None:
        missing("strace", "the power-loss tests record system calls with it (Debian, Ubuntu: apt install strace)")
    trace = scratch / "trace"
    options = ["-f", "-y", "-xx", "-s", "100000000", "-o", str(trace), "-e", f"trace={_CALLS}", "-e", "signal=none"]
    done = subprocess.run(["strace", *options, "--", *command], capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr and not trace.stat().st_size:
        missing("strace", done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return _parsed(trace.read_text(), str(root))


def _parsed(trace: str, root: str) -> list[Operation]:
    operations: list[Operation] = []
    known = {root}
    for line in trace.splitlines():
        assert "unfinished" not in line, "the recorded program must do one thing at a time"
        match = _LINE.match(line)
        if match is None or int(match[3]) < 0:
            continue
        operation = _operation(match[1], match[2], root)
        match operation:
            case Made(path) if path in known:
                continue
            case Made(path):
                known.add(path)
            case Removed(path):
                known.remove(path)
            case Renamed(path, to):
                known = {*known, to} - {path}
            case None:
                continue
            case _:
                pass
        operations.append(operation)
    return operations


def _operation(call: str, arguments: str, root: str) -> Operation | None:  # noqa: PLR0911 - one for each call
    """Return what a system call did below `root`. An opening that may make a file is taken to make it."""
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
    fd = _FD.match(arguments)
    if fd is not None and fd[1] == "1" and call == "write":
        return Said(texts[0].decode())
    by_name = call in {"openat", "mkdir", "unlink", "rename"}
    path = texts[0].decode(errors="replace") if by_name else _unescaped(fd[2]) if fd else ""
    if path != root and not path.startswith(f"{root}/"):
        return None
    last = arguments.rsplit(",", 1)[-1]
    match call:
        case "openat":
            assert "O_TRUNC" not in arguments
            return Made(path, directory=False) if "O_CREAT" in arguments else None
        case "mkdir":
            return Made(path, directory=True)
        case "pwrite64":
            return Written(path, int(last), texts[0])
        case "ftruncate":
            return Cut(path, int(last))
        case "fsync" | "fdatasync":
            return Synced(path)
        case "unlink":
            return Removed(path)
        case "rename":
            return Renamed(path, texts[1].decode())
        case _:
            raise AssertionError(f"what a loss of power does to {call} is not known: {arguments[:200]}")


def _unescaped(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode() if text.startswith("\\x") else text


@dataclass
class _File:
    """The bytes that were synced, and the writes and cuts since."""

    directory: bool
    synced: bytes = b""
    since: list[Written | Cut] = field(default_factory=list)


class Disk:
    """What of the operations so far is on the disk for certain, and what may be."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self._names: dict[str, _File] = {}  # as programs see them
        self._synced_names: dict[str, _File] = {}
        self._since: dict[str, list[dict[str, _File | None]]] = {}  # by directory: names that came or went at once

    def do(self, operation: Operation) -> None:
        match operation:
            case Made(path, directory):
                self._names[path] = _File(directory)
                self._changed(path, {path: self._names[path]})
            case Removed(path):
                del self._names[path]
                self._changed(path, {path: None})
            case Renamed(path, to):
                self._names[to] = self._names.pop(path)
                self._changed(path, {path: None, to: self._names[to]})
            case Written(path) | Cut(path):
                self._names[path].since.append(operation)
            case Synced(path) if path == self.root or self._names[path].directory:
                for change in self._since.pop(path, []):
                    _change(self._synced_names, change)
            case Synced(path):
                file = self._names[path]
                file.synced = _content(file.synced, file.since)
                file.since = []
            case Said():
                pass

    def _changed(self, path: str, change: dict[str, _File | None]) -> None:
        self._since.setdefault(os.path.dirname(path), []).append(change)

    def after_power_loss(self, into: Path, chance: random.Random) -> None:
        """Write into a directory what may be found: all that was synced, and by chance some of the rest."""
        kept = chance.choice([0.0, 0.5, 0.9, 1.0])
        names = dict(self._synced_names)
        for changes in self._since.values():
            for change in changes:
                if chance.random() < kept:
                    _change(names, change)
        for name in sorted(names):
            target = into / os.path.relpath(name, self.root)
            if not target.parent.is_dir():
                continue  # the name is there, in a directory whose own name is not
            if names[name].directory:
                target.mkdir()
            elif name.endswith("-shm"):
                # Shared memory is written without system calls; whatever is there must not matter.
                target.write_bytes(chance.choice([b"", bytes(32768), chance.randbytes(32768)]))
            else:
                file = names[name]
                target.write_bytes(_content(file.synced, _survivors(file.since, kept, chance)))


def _change(names: dict[str, _File], change: dict[str, _File | None]) -> None:
    for name, file in change.items():
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file


def _survivors(since: Sequence[Written | Cut], kept: float, chance: random.Random) -> list[Written | Cut]:
    survivors: list[Written | Cut] = []
    for operation in since:
        if chance.random() >= kept:
            continue
        if isinstance(operation, Cut) or len(operation.data) <= SECTOR or chance.random() < 0.8:
            survivors.append(operation)
            continue
        start = 0
        while start < len(operation.data):
            end = start + SECTOR - (operation.offset + start) % SECTOR
            if chance.random() < kept:
                survivors.append(Written(operation.path, operation.offset + start, operation.data[start:end]))
            start = end
    return survivors


def _content(content: bytes, operations: Sequence[Written | Cut]) -> bytes:
    changed = bytearray(content)
    for operation in operations:
        if isinstance(operation, Cut):
            end = operation.size
            changed = changed[:end]
        else:
            end = operation.offset + len(operation.data)
        changed.extend(bytes(max(0, end - len(changed))))
        if isinstance(operation, Written):
            changed[operation.offset : end] = operation.data
    return bytes(changed)
