"""Hearing at once that somebody reads or writes a file, where the system tells of it."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import sys
import time
from pathlib import Path

POLL_SECONDS = 0.01
_IN_ACCESS, _IN_MODIFY, _IN_IGNORED = 0x1, 0x2, 0x8000
_EVENT = struct.Struct("iIII")
_MOST = 64 * 1024


class FileWrites:
    """Uses of the file at `path` by anybody: bytes read from it, or written into it.

    Whoever waits for them may miss some, and has to look now and then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def wait(self, seconds: float) -> bool:
        """Return after a use, or after some seconds; say whether there was one.

        Where the system does not tell, and as long as there is no such file, return soon.
        """
        if self._descriptor is None:
            self._descriptor = _watching(self._path)
        if self._descriptor is None:
            time.sleep(min(seconds, POLL_SECONDS))
            return False
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return False
        if any(mask & _IN_IGNORED for _, mask, _, _ in _EVENT.iter_unpack(os.read(self._descriptor, _MOST))):
            self.close()  # the file was deleted: there may be another one
        return True

    def close(self) -> None:
        """Wait for nothing more; the next call begins anew."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _watching(path: Path) -> int | None:
    """Return a descriptor from which events of the file can be read, None where there are none to be had."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    descriptor: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor < 0:
        return None
    if libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_ACCESS | _IN_MODIFY) < 0:
        os.close(descriptor)
        return None
    return descriptor
