from __future__ import annotations

import time
from collections.abc import Callable


def eventually(happened: Callable[[], object], within: float = 30.0) -> None:
    """Wait until something is so, and fail if it never is."""
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline, f"it did not happen within {within:g} seconds"
        time.sleep(0.02)
