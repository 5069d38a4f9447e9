"""Reading headers of messages whatever stands in them: anybody who may write into a queue chooses those.

pika raises for a time that Python has no date for, and for tables in tables in tables. That ends the connection, or
the process, of whoever the message is delivered to, again and again. Here such a value is None.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from pika import data

_TIME, _NESTED = b"T", (b"F", b"A")
"""The kinds of value: eight bytes of seconds, and a table or list after its length in bytes."""

_decode: Callable[[bytes, int], tuple[Any, int]] = data.decode_value


def read_any_header() -> None:
    """Have pika read headers so, in this process; once is enough."""
    data.decode_value = _decoded


def _decoded(encoded: bytes, offset: int) -> tuple[Any, int]:
    try:
        return _decode(encoded, offset)
    except (OSError, OverflowError, ValueError, RecursionError):
        kind = encoded[offset : offset + 1]
        if kind == _TIME:
            return None, offset + 1 + 8
        if kind in _NESTED:
            (length,) = struct.unpack_from(">I", encoded, offset + 1)
            return None, offset + 1 + 4 + length
        raise
