"""Processes of a fleet in the background of this machine: begun, found again, and ended in order.

Each has a file that it keeps locked while it lives, because it inherits the descriptor of whoever began it. So nobody
takes a process that happens to have the same number for it, whoever died when.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from stackledger.eventlog.lock import said_by_holder

_LAST_LINES = 5
_LONGEST_LINE = 500
_PAUSE = 0.01
_DYING = 10.0
"""How many seconds a process may take to die that was killed."""


class Background(NamedTuple):
    """A process in the background: its name in its folder, its number, and the file to which it writes.

    `note` is what whoever began it wanted to know of it later.
    """

    name: str
    pid: int
    log: Path
    note: str = ""

    def has_ended(self) -> bool:
        """Say whether it is gone."""
        found = _found(self.log.with_suffix(".pid"))
        return found is None or found.pid != self.pid

    def last_words(self) -> str:
        """Return the last lines that it wrote."""
        with suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LAST_LINES * _LONGEST_LINE))
            lines = file.read().decode(errors="replace").splitlines()
            return "\n".join(line[:_LONGEST_LINE] for line in lines[-_LAST_LINES:])
        return ""


def folder_of(home: Path, orchestrator_id: str) -> Path:
    """Return the folder of an orchestrator's processes in a home."""
    return home / "fleet" / orchestrator_id


def note_of(configuration: Mapping[str, Any]) -> str:
    """Return the note of a process that goes by an orchestrator's configuration."""
    return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()[:16]


def outdated(folder: Path, configuration: Mapping[str, Any]) -> list[Background]:
    """Return the processes of a folder that go by another configuration of their orchestrator than this one."""
    note = note_of(configuration)
    return [process for process in running(folder) if process.note != note]


def all_running(home: Path) -> dict[str, list[Background]]:
    """Return the processes of a home that live, by the id of their orchestrator."""
    found = {folder.name: running(folder) for folder in (home / "fleet").glob("*/")}
    return {orchestrator_id: processes for orchestrator_id, processes in found.items() if processes}


def running(folder: Path) -> list[Background]:
    """Return the processes of a folder that live, by name."""
    return [found for path in sorted(folder.glob("*.pid")) if (found := _found(path)) is not None]


def begin(
    folder: Path, name: str, command: Sequence[str], environment: Mapping[str, str], *, note: str = ""
) -> Background:
    """Begin a process of that name, in a session of its own; return the one that lives, if one does."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path, log = folder / f"{name}.pid", folder / f"{name}.log"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return Background(name, _begun(descriptor, log, command, environment, note), log, note)
        except BlockingIOError:
            found = _found(path)
            if found is not None:
                return found
            time.sleep(_PAUSE)  # it ended just now, is just being begun, or somebody looked
        finally:
            os.close(descriptor)


def _begun(descriptor: int, log: Path, command: Sequence[str], environment: Mapping[str, str], note: str) -> int:
    """Begin a process that inherits a locked descriptor, and return its number, which stands in that file then."""
    os.ftruncate(descriptor, 0)
    with suppress(FileNotFoundError):
        log.replace(log.with_suffix(".log.old"))
    with open(log, "xb", opener=_private) as output:
        process = subprocess.Popen(  # noqa: S603 - a program of ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=log.parent,
            start_new_session=True,
            pass_fds=[descriptor],
            # It makes one system call. The number is there before the process is, if this one dies now.
            preexec_fn=lambda: os.pwrite(descriptor, f"{os.getpid()}\n{note}\n".encode(), 0),  # noqa: PLW1509
        )
    _children.append(process)
    return process.pid


def end(processes: Collection[Background], seconds: float) -> list[Background]:
    """Ask processes to end, wait for that, and kill those that are still there after `seconds`; return these."""
    open_ones = {each: fd for each in processes if (fd := _descriptor(each)) is not None}
    try:
        for descriptor in open_ones.values():
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        left = _wait(open_ones, seconds)
        for each in left:
            signal.pidfd_send_signal(open_ones[each], signal.SIGKILL)
        _wait({each: open_ones[each] for each in left}, _DYING)
        return left
    finally:
        for descriptor in open_ones.values():
            os.close(descriptor)
        _children[:] = [process for process in _children if process.poll() is None]


_children: list[subprocess.Popen[bytes]] = []
"""Children of this very process: kept so that those that ended do not stay in the system's table."""


def _wait(processes: Mapping[Background, int], seconds: float) -> list[Background]:
    """Wait for the end of processes, each given with its descriptor; return those that are still there."""
    poll, waiting = select.poll(), {descriptor: each for each, descriptor in processes.items()}
    for descriptor in waiting:
        poll.register(descriptor, select.POLLIN)
    deadline = time.monotonic() + seconds
    while waiting and (rest := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(rest * 1000):
            poll.unregister(descriptor)
            del waiting[descriptor]
    return list(waiting.values())


def _descriptor(process: Background) -> int | None:
    """Return what stands for the process itself, whoever gets its number later; None if it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if process.has_ended():
        os.close(descriptor)
        return None
    return descriptor


def _found(path: Path) -> Background | None:
    """Return the process that keeps a file locked."""
    pid, _, note = (said_by_holder(path) or "").partition("\n")
    return Background(path.stem, int(pid), path.with_suffix(".log"), note.strip()) if pid.isdigit() else None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
