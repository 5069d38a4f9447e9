"""A lock that processes share: `flock` on a file that is never deleted."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from stackledger.domain.errors import LogBusy, LogError
from stackledger.eventlog.forking import forget_in_child

_LONGEST_PAUSE = 0.02
_MOST_SAID = 4096


class FileLock:
    """Held by one holder at a time, of all the threads of all the processes that name the same file.

    Entering waits up to `timeout` seconds, then raises LogBusy. The descriptor stays open between holds, so a
    free lock costs a few system calls. The system frees the lock of a process that dies. Not reentrant.
    """

    def __init__(self, path: Path, *, timeout: float = 30.0) -> None:
        self.path = path
        self._name = os.fspath(path)
        self.timeout = timeout
        self._threads = threading.Lock()
        self._fd: int | None = None
        forget_in_child(self)

    def __enter__(self) -> Self:
        """Take the lock."""
        deadline = time.monotonic() + self.timeout
        if not self._threads.acquire(timeout=self.timeout):
            raise self._busy()
        try:
            self._lock(deadline)
        except BaseException:
            self._threads.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lock back."""
        try:
            if self._fd is not None:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError as failure:
            _unless_closed(failure)
        finally:
            self._threads.release()

    def ring(self) -> None:
        """Let those know who hear of uses of the file that something was done, while holding it.

        By reading it: whoever takes the lock asks the file for its times, and a write after that makes the system set
        them anew, which costs as much as half an fsync (Linux 6.13 and later). Only an empty file has to be written.
        """
        if self._fd is None:
            return
        try:
            if not os.pread(self._fd, 1, 0):
                os.pwrite(self._fd, b"\n", 0)
        except OSError:
            return  # they look now and then, too

    def is_in_place(self) -> bool:
        """Say, while holding it, whether others still meet it: nobody moved or deleted the file."""
        return self._fd is not None and self._in_place(self._fd)

    def close(self) -> None:
        """Let go of the file. Entering again opens it again."""
        with self._threads:
            self._close()

    def forget(self) -> None:
        """In a forked child: let the parent's lock go with the parent alone."""
        self._threads = threading.Lock()
        self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            try:
                os.close(fd)
            except OSError as failure:
                _unless_closed(failure)

    def _lock(self, deadline: float) -> None:
        pause = 0.0005
        while True:
            fd = self._opened()
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._busy() from None
                time.sleep(min(left, random.uniform(0, pause)))  # noqa: S311 - spreads waiters, hides nothing
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            except OSError as error:
                if error.errno == errno.EBADF:
                    self._fd = None
                    continue
                raise LogError(
                    f"The file {self.path} cannot be locked here: {error.strerror}.", hint="Keep it on a local disk."
                ) from error
            if self._in_place(fd):
                return
            # Somebody moved or deleted the file: others lock the one that has the name now.
            self._close()

    def _opened(self) -> int:
        if self._fd is None:
            try:
                self._fd = os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise LogError(
                    f"The lock file {self.path} cannot be opened: {error.strerror}.",
                    hint="Writing needs a directory in which this user may create files.",
                ) from error
        return self._fd

    def _in_place(self, fd: int) -> bool:
        # The descriptor is asked again, too: somebody may have closed it, and its number is another file's now.
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self._name))
        except FileNotFoundError:
            return False

    def _busy(self) -> LogBusy:
        return LogBusy(
            f"Another process holds {self.path} and did not let go within {self.timeout:g} seconds;"
            " nothing was changed.",
            hint="Try again.",
        )


def _unless_closed(error: OSError) -> None:
    """Raise an error, unless somebody closed the descriptor behind our back: the system freed its lock then."""
    if error.errno != errno.EBADF:
        raise error


def said_by_holder(path: Path) -> str | None:
    """Return what stands in a file that somebody keeps locked (its first 4096 bytes), None where nobody does.

    Looking takes the lock for a moment, so others have to try again before they take somebody for the holder.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LogError(f"The lock file {path} cannot be opened: {error.strerror}.") from error
    try:
        # Shared, so that several who look at once do not take each other for the holder.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(fd, _MOST_SAID).decode(errors="replace")
    finally:
        os.close(fd)
    return None
