"""The process that the keepers of a worker's slots, and through them all children, are forks of.

It is a program of its own with one thread: the worker's threads would make forks of the worker unsafe. It has loaded
what every child needs, so that a child costs a fork, and shares its memory with all others; it loads no code of any
project. It ends when the worker is gone.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from contextlib import suppress

import msgpack

from stackledger.workers.fleet.execution import child
from stackledger.workers.fleet.execution.keeper import Settings, keep
from stackledger.workers.fleet.execution.processes import adopt_orphans, kill_descendants

_MAX_REQUEST = 64 * 1024

_SWEEP_SECONDS = 2.0
"""How often to look for what keepers that were killed left behind."""


def main() -> None:
    """Fork a keeper for each request that comes, with the keeper's link, through the socket that argv names."""
    control = socket.socket(fileno=int(sys.argv[1]))
    # The worker decides when to end. What reaches its whole group or unit must not reach the steps behind its back.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    child.load()
    gc.collect()
    gc.freeze()
    keepers: set[int] = set()
    # A keeper that was killed is heard of before it is gone, so who asks for another one may ask too early.
    control.settimeout(_SWEEP_SECONDS)
    while True:
        asked = None
        with suppress(TimeoutError):
            asked = socket.recv_fds(control, _MAX_REQUEST, 1)
        keepers = _living(keepers)
        # What a keeper that was killed left behind.
        kill_descendants(*keepers)
        if asked is None:
            continue
        data, descriptors, _, _ = asked
        if not data:
            return
        link = socket.socket(fileno=descriptors[0])
        pid = os.fork()
        if pid == 0:
            control.close()
            keep(link, Settings(*msgpack.unpackb(data)), child.live)
        keepers.add(pid)
        link.close()


def _living(keepers: set[int]) -> set[int]:
    dead = set()
    for pid in keepers:
        with suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                continue
        dead.add(pid)
    return keepers - dead


if __name__ == "__main__":
    main()
