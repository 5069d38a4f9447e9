"""What Linux offers to those who look after processes, and Python does not."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from functools import cache

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = 4096


def adopt_orphans() -> None:
    """Become the parent of whatever the children of this process leave behind."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Be killed as soon as the parent, given by its id, is gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def kill_descendants(*but: int) -> None:
    """Kill every process that this one is the parent of, and what they leave behind, until there is none."""
    while others := others_than(*but):
        for pid in others:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in others:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def has_children() -> bool:
    """Say whether this process is the parent of any other, also of one that died unnoticed."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def others_than(*known: int) -> list[int]:
    """Return the ids of the processes that this one, which has a single thread, is the parent of, without those."""
    # Without a stream on top of it, because this is asked after every step.
    file = os.open("/proc/thread-self/children", os.O_RDONLY)
    try:
        found = b"".join(iter(lambda: os.read(file, _PAGE), b""))
    finally:
        os.close(file)
    return [pid for pid in map(int, found.split()) if pid not in known]


def flush_c_streams() -> None:
    """Have libraries in C write what they hold back."""
    _libc().fflush(None)


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        raise OSError("Workers run on Linux.")
    if _libc().prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl failed")


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
