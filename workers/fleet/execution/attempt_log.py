"""What an execution says, on its way from the descriptors of its process into a file that cannot grow too large."""

from __future__ import annotations

import codecs
import os
from collections import deque
from contextlib import suppress

from stackledger.flavors.resolving import Redactor


class AttemptLog:
    """The file of one execution: without secrets, and of what is longer than `most` bytes the beginning and the end.

    The file is there with the first text. The end of what is too long comes into it when the log is closed.
    """

    def __init__(self, path: str, redactor: Redactor, most: int) -> None:
        self.path = path
        self._stream = redactor.stream()
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._room = most // 2
        self._most_at_end = most - self._room
        self._end: deque[bytes] = deque()
        self._at_end = self._left_out = 0
        self._fd: int | None = None
        self._was_fed = self._was_begun = False
        self._is_writable = True

    def fed(self, data: bytes) -> None:
        """Add what came out of the process."""
        self._was_fed = True
        self._add(self._stream.fed(self._decoder.decode(data)))

    def close(self) -> bool:
        """Take no more; say whether there is a whole file of it."""
        if not self._was_fed:
            return False
        self._add(self._stream.fed(self._decoder.decode(b"", final=True)) + self._stream.rest())
        if self._left_out:
            self._write(f"\n[... {self._left_out:,} bytes are left out here ...]\n".encode())
        for chunk in self._end:
            self._write(chunk)
        self._end.clear()
        is_whole = self._fd is not None and self._is_writable
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        return is_whole

    def remove(self) -> None:
        """Remove the file, if there is one."""
        if self._was_begun:
            with suppress(OSError):
                os.unlink(self.path)

    def _add(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        if self._room:
            begin, data = data[: self._room], data[self._room :]
            self._room -= len(begin)
            self._write(begin)
        if not data:
            return
        self._end.append(data)
        self._at_end += len(data)
        while self._at_end > self._most_at_end:
            oldest = self._end.popleft()
            gone = min(len(oldest), self._at_end - self._most_at_end)
            if gone < len(oldest):
                self._end.appendleft(oldest[gone:])
            self._at_end -= gone
            self._left_out += gone

    def _write(self, data: bytes) -> None:
        # A log that cannot be written is no reason for a step to fail.
        if not data or not self._is_writable:
            return
        try:
            if self._fd is None:
                self._was_begun = True
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            self._is_writable = False
