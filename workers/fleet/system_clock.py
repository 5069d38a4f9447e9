"""The clock of the machine."""

from __future__ import annotations

import time


class SystemClock:
    """The port `Clock`."""

    def monotonic(self) -> float:
        """Return seconds that pass evenly."""
        return time.monotonic()

    def time(self) -> int:
        """Return microseconds since 1970 UTC."""
        return time.time_ns() // 1000
