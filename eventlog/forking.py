"""What must not be shared with a forked child: locks, and connections to a database.

SQLite forbids using, and even closing, a connection in a child of the process that opened it; a server cannot tell
apart two processes that write into one socket; a lock of `flock` belongs to all who inherited its descriptor. A child
therefore forgets them and opens its own.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forgetful(Protocol):
    """Something that lets go of what it inherited."""

    def forget(self) -> None:
        """Begin anew, as in a process that has opened nothing yet."""


_kept: WeakSet[Forgetful] = WeakSet()
_inherited: list[object] = []


def forget_in_child(thing: Forgetful) -> None:
    """Have `thing.forget()` called in every child that is forked from now on."""
    _kept.add(thing)


def abandon(connection: object | None) -> None:
    """Keep an inherited connection from ever being closed here: its owner lives in the parent."""
    if connection is not None:
        _inherited.append(connection)


def _forget_all() -> None:
    for thing in list(_kept):
        thing.forget()


os.register_at_fork(after_in_child=_forget_all)
