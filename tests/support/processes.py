"""Children by fork: for what only a real process can show, such as dying without a word."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable


def forked(work: Callable[[], None]) -> int:
    """Start a child that does the work and exits with 0, or with 1 if it raises; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001  a child of a test must never go on as the test itself
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(status)


def ended(pid: int) -> int:
    """Wait for the child and return its exit status, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
