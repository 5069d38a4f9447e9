"""A file by which others see that a process goes on: whoever looks knows by its age."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stackledger.domain.errors import Refused
from stackledger.domain.names import visible

_EVERY = 1.0


class LifeSign:
    """Touches a file, if there is one, at most every second."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._touched: float | None = None

    def show(self) -> None:
        """Say that all is well; a file that cannot be touched grows old."""
        now = time.monotonic()
        if self._path is not None and (self._touched is None or now - self._touched >= _EVERY):
            self._touched = now
            with suppress(OSError):
                self._path.touch()


@contextmanager
def life_sign(path: Path | None) -> Iterator[LifeSign]:
    """Show that a process goes on, and take the file away in the end.

    Raises Refused where the file cannot be made: whoever looks at it would end the process, and nobody knew why.
    """
    if path is not None:
        try:
            path.touch()
            path.unlink()
        except OSError as error:
            raise Refused(
                f"The liveness file {visible(str(path))} cannot be written: {error.strerror}.",
                hint="Name one in a folder that is there, and that this process may write to.",
            ) from error
    try:
        yield LifeSign(path)
    finally:
        if path is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)
