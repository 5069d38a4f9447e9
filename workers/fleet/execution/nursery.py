"""The process that the keepers of a worker's slots, and through them all children, are forks of.

It has one thread: the worker's threads would make forks of the worker unsafe. It has loaded what every child needs, so
that a child costs a fork, and shares its memory with all others; it loads no code of any project. It ends when the
worker is gone.

The first one is a fork of the worker itself, so that the two share what both have loaded: it is made before the worker
has any thread, and before it knows anything that steps must not. One that has to take its place, because somebody
killed it, is a program of its own.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple, NoReturn

import msgpack

from stackledger.workers.fleet.execution import child
from stackledger.workers.fleet.execution.keeper import Settings, keep
from stackledger.workers.fleet.execution.processes import adopt_orphans, kill_descendants

_MAX_REQUEST = 64 * 1024

_SWEEP_SECONDS = 2.0
"""How often to look for what keepers that were killed left behind."""


class Nursery(NamedTuple):
    """A nursery as its worker sees it: its id, what it is asked for keepers through, and how to wait for its end."""

    pid: int
    control: socket.socket
    wait: Callable[[], object]

    def ask(self, link: socket.socket, settings: Settings) -> None:
        """Have a keeper forked, with its end of a link; OSError where somebody killed the nursery."""
        socket.send_fds(self.control, [msgpack.packb(settings)], [link.fileno()])

    def close(self) -> None:
        """Let it end, which it does once all below it have ended, and wait for that."""
        self.control.close()
        self.wait()


def forked() -> Nursery:
    """Return a nursery that is a fork of this process.

    That must have a single thread. Whatever it has in its memory or its environment, every step can read.
    """
    _load()
    ours, theirs = _control()
    pid = os.fork()
    if pid == 0:
        try:
            _be_left_alone()
            _leave(theirs.fileno())
            _serve(theirs)
        except BaseException:  # noqa: BLE001 - it must not go on as the worker
            traceback.print_exc()
        finally:
            os._exit(1)
    theirs.close()
    return Nursery(pid, ours, partial(os.waitpid, pid, 0))


def begun(environment: Mapping[str, str]) -> Nursery:
    """Return a nursery that is a program of its own."""
    ours, theirs = _control()
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - ourselves; -P keeps modules of the working directory out
            [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=sys.__stderr__,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    return Nursery(process.pid, ours, process.wait)


def _control() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _load() -> None:
    child.load()
    gc.collect()
    gc.freeze()


def _leave(control: int) -> None:
    """Keep nothing of the worker's but a descriptor, and standard error: as a program that it begins would."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor != control:  # noqa: PLR2004 - the standard streams
            with suppress(OSError):  # it was that of the folder itself
                os.close(descriptor)
    os.chdir("/")


def _be_left_alone() -> None:
    """The worker decides when to end: what reaches its whole group or unit must not reach the steps behind its back."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _serve(control: socket.socket) -> NoReturn:
    """Fork a keeper for each request that comes, with the keeper's link, until the worker is gone."""
    adopt_orphans()
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
            # A keeper's link is closed a moment before it is gone, and who waits for this end waits for theirs.
            for pid in keepers:
                os.waitpid(pid, 0)
            os._exit(0)
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
    _be_left_alone()
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
