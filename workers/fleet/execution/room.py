"""Whether the machine lets a step write: where it does not, a failure there says nothing about the step."""

from __future__ import annotations

import os
from contextlib import suppress

_LEAST = bytes(1024 * 1024)
"""What has to find room at least."""


def trouble_with(folder: str) -> str | None:
    """Return in words why nothing can be written into a folder, None where a megabyte can."""
    path = f"{folder}/.room-{os.urandom(4).hex()}"
    try:
        with open(path, "xb", buffering=0) as file:
            rest = memoryview(_LEAST)
            while rest:
                rest = rest[file.write(rest) :]
    except OSError as error:
        return f"Nothing can be written into {folder}: {error.strerror}."
    finally:
        with suppress(OSError):
            os.unlink(path)
    return None
