"""Ids: UUID version 7 (RFC 9562, 5.7), so that what came later sorts later."""

from __future__ import annotations

import os
import time


def new_id() -> str:
    """Return a new UUIDv7 as text: 48 bits of milliseconds since 1970, then random bits."""
    milliseconds = f"{time.time_ns() // 1_000_000:012x}"
    random = os.urandom(10).hex()
    variant = "89ab"[int(random[0], 16) % 4]
    return f"{milliseconds[:8]}-{milliseconds[8:]}-7{random[1:4]}-{variant}{random[4:7]}-{random[7:19]}"
