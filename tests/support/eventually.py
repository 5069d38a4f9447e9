from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Something = TypeVar("Something")


def eventually(happened: Callable[[], Something | None], within: float = 60.0) -> Something:
    """Wait until something is so, and return what was found; fail if it never is.

    The time is for a machine that has much else to do.
    """
    deadline = time.monotonic() + within
    while not (found := happened()):
        assert time.monotonic() < deadline, f"it did not happen within {within:g} seconds"
        time.sleep(0.02)
    return found
