from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import NoReturn

import pytest


def missing(service: str, why: str) -> NoReturn:
    """Skip on a laptop, fail in CI: there a test that cannot run is not a test that passed."""
    message = f"{service} is not there: {why}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20).returncode == 0
    except subprocess.TimeoutExpired:
        return False


_PORTS = range(15_000, 32_000)
_CHANCE = random.SystemRandom()


def free_port(together: int = 1) -> int:
    """Return a port, the first of some, that nobody gets by chance, now or while its server is away.

    None for outgoing connections: whoever asks for one of these while nobody listens there may reach itself, and keep
    the server from coming back. Another process that looks for a port at the same time gets another one.
    """
    while True:
        port = _CHANCE.choice(_PORTS)
        with suppress(OSError):
            for each in range(port, port + together):
                _reserve(each)
            return port


def _reserve(port: int) -> None:
    """Keep a name as long as this process lives, or raise OSError if another one has it, or the port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))
    if sys.platform == "linux":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(f"\0stackledger-test-port-{port}")
            sock.detach()


def interruptible() -> None:
    """Have this process end by signals that whoever was begun in the background of a shell, or by nohup, ignores."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have this process killed when the one that started it ends, however that ends."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
