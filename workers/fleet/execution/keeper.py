"""The keeper of a slot: a small process between a worker and the child that executes steps.

It has one thread and runs no code of any project. Whatever the child does, the keeper tells the worker what came of
an execution; whatever the child leaves behind, the keeper ends; and it ends all of it when the worker is gone.

Messages are msgpack lists over sockets that keep their boundaries::

    worker → keeper   start, execution, task    stop, execution, whether to tell how it ended
    keeper → child    execute, task             keep, store, path of a log
    child → keeper    secret, value   spans, list   ended, result, may go on   kept, log, trouble
    keeper → worker   begun    spans, list     ended, execution, result or None, log or None
"""

from __future__ import annotations

import array
import fcntl
import os
import selectors
import shutil
import signal
import socket
import sys
import termios
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgpack

from stackledger.flavors.resolving import Redactor
from stackledger.workers.fleet.execution.attempt_log import AttemptLog
from stackledger.workers.fleet.execution.processes import adopt_orphans, die_with, kill_descendants, others_than
from stackledger.workers.fleet.execution.room import trouble_with

MAX_STEPS = 1_000
"""How many steps a child executes: what each leaves behind is bounded, and hardly any waits for a new child."""
_MAX_MESSAGE = 256 * 1024
_CHUNK = 64 * 1024
_MOST_AT_ONCE = 1024 * 1024
"""Bytes of output that are read between two looks at everything else."""


class Settings(NamedTuple):
    """How slots are kept. `term_seconds` pass between asking a process to end and ending it.

    A child executes at most `max_steps` steps. `memory` is how many bytes of data a process may have, 0 for any
    number; of a log at most `log_bytes` are kept.
    """

    home: str
    scratch: str
    max_steps: int = MAX_STEPS
    memory: int = 0
    log_bytes: int = 4 * 1024 * 1024
    term_seconds: float = 2.0


def sent(through: socket.socket, *message: object) -> None:
    """Send a message; raises OSError where nobody is there to take it."""
    through.send(msgpack.packb(message, unicode_errors="surrogatepass"))


def received(through: socket.socket, flags: int = 0) -> list[Any] | None:
    """Return the next message, None if the other side is gone or makes no sense; see `recv` for flags."""
    try:
        data = through.recv(_MAX_MESSAGE, flags)
        message = msgpack.unpackb(data, unicode_errors="surrogatepass")
    except (ConnectionError, ValueError, msgpack.UnpackException):
        return None
    return message if isinstance(message, list) else None


@dataclass(frozen=True, slots=True)
class Child:
    """A process that executes steps: ours are the ends of what it talks through, and a folder for its files."""

    pid: int
    pidfd: int
    channel: socket.socket
    output: int
    folder: Path
    redactor: Redactor = field(default_factory=Redactor)


@dataclass(slots=True)
class Work:
    """An execution. `wanted` says whether the worker wants to hear of it; it is over when only its log is left."""

    execution: str
    store: object
    log: AttemptLog
    result: dict[str, Any] | None = None
    wanted: bool = True
    is_stopped: bool = False
    is_over: bool = False


Live = Callable[[socket.socket, Path, Settings], NoReturn]
"""What a child does, until its keeper ends it, with its channel and its folder."""


class Keeper:
    """Keeps one slot."""

    def __init__(self, link: socket.socket, settings: Settings, live: Live) -> None:
        self._link = link
        self._settings = settings
        self._live = live
        self._selector = selectors.DefaultSelector()
        self._selector.register(link, selectors.EVENT_READ)
        self._count = 0
        self._child = self._begun()
        self._heard: deque[list[Any] | None] = deque()
        self._pending: tuple[str, dict[str, Any]] | None = None
        self._work: Work | None = None
        self._code: tuple[object] | None = None
        self._steps = 0
        self._is_used_up = False
        self._is_out_of_touch = False
        self._kill_at: float | None = None

    def keep(self) -> None:
        """Look after the slot until the worker is gone."""
        with suppress(OSError):  # the worker is gone, and that is noticed next
            sent(self._link, "begun")
        try:
            while True:
                wait = None if self._kill_at is None else self._kill_at - time.monotonic()
                ready = {key.fd for key, _ in self._selector.select(wait)}
                if self._link.fileno() in ready and not self._hear_worker():
                    return
                if not ready.isdisjoint((self._child.output, self._child.channel.fileno())):
                    self._read_output(_MOST_AT_ONCE)
                while self._heard:
                    self._obey(self._heard.popleft())
                if self._child.pidfd in ready and self._is_dead():
                    self._bury()
                elif self._kill_at is not None and time.monotonic() >= self._kill_at:
                    self._bury(_CLOSED if self._is_out_of_touch else "")
        finally:
            self._end()
            if self._work is not None:
                self._work.log.remove()

    # The worker

    def _hear_worker(self) -> bool:
        match received(self._link):
            case None:
                return False
            case ["start", str(execution), dict(task)]:
                self._pending = execution, task
                self._go_on()
            case ["stop", str(execution), bool(wanted)]:
                self._stop(execution, wanted=wanted)
            case _:
                raise ValueError("The worker sent what it never sends.")
        return True

    def _stop(self, execution: str, *, wanted: bool) -> None:
        if self._pending is not None and self._pending[0] == execution:
            self._pending = None
            if wanted:
                self._tell(execution, None, None)
        elif self._work is not None and self._work.execution == execution:
            self._work.wanted = wanted
            self._work.is_stopped = not self._work.is_over
            self._kill_at = time.monotonic() + self._settings.term_seconds
            self._signal(signal.SIGTERM)

    def _tell(self, execution: str, result: object, kept: object) -> None:
        with suppress(OSError):  # the worker is gone, and that is noticed next
            sent(self._link, "ended", execution, result, kept)

    # Executions

    def _go_on(self) -> None:
        """Begin what is pending, if the slot is free."""
        if self._pending is None or self._work is not None or self._kill_at is not None:
            return
        (execution, task), self._pending = self._pending, None
        code = (task.get("code"),)
        if self._code is not None and self._code != code:
            self._renew()  # modules of one project must not meet those of another
        self._code = code
        log = AttemptLog(f"{self._path()}.log", self._child.redactor, self._settings.log_bytes)
        self._work = Work(execution, task.get("store"), log)
        self._say("execute", task)

    def _over(self, work: Work, result: dict[str, Any] | None) -> None:
        """An execution is over. If it said something, a child puts that into the store."""
        work.result, work.is_over = result, True
        if work.log.close() and work.wanted:
            self._say("keep", work.store, work.log.path)
        else:
            self._done(work, None)

    def _done(self, work: Work, kept: object) -> None:
        self._work = None
        work.log.remove()
        if work.wanted:
            self._tell(work.execution, work.result, kept)
        if self._is_used_up:
            self._renew()
        self._go_on()

    # The child

    def _path(self) -> str:
        self._count += 1
        return f"{self._settings.scratch}/{os.getpid()}-{self._count}"

    def _begun(self) -> Child:
        folder = Path(self._path())
        folder.mkdir(mode=0o700)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output, theirs_output = os.pipe()
        keeper = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                die_with(keeper)
                self._selector.close()
                self._link.close()
                ours.close()
                os.close(output)
                os.dup2(theirs_output, 1)
                os.dup2(theirs_output, 2)
                os.close(theirs_output)
                self._live(theirs, folder, self._settings)
            except BaseException:  # noqa: BLE001 - it must not go on as the keeper
                traceback.print_exc()
            finally:
                os._exit(1)
        theirs.close()
        os.close(theirs_output)
        os.set_blocking(output, False)
        child = Child(pid, os.pidfd_open(pid), ours, output, folder)
        for end in (child.pidfd, child.channel, child.output):
            self._selector.register(end, selectors.EVENT_READ)
        return child

    def _end(self) -> int:
        """End the child and whatever it began; return its status."""
        child = self._child
        self._signal(signal.SIGKILL)
        _, status = os.waitpid(child.pid, 0)
        kill_descendants()
        self._read_output(_there_now(child.output))
        for end in (child.pidfd, child.channel, child.output):
            with suppress(KeyError):
                self._selector.unregister(end)
        child.channel.close()
        os.close(child.pidfd)
        os.close(child.output)
        shutil.rmtree(child.folder, ignore_errors=True)
        return status

    def _renew(self) -> int:
        status = self._end()
        self._child = self._begun()
        self._heard.clear()
        self._code, self._steps, self._kill_at = None, 0, None
        self._is_used_up = self._is_out_of_touch = False
        return status

    def _bury(self, why: str = "") -> None:
        """The child is dead, or has to be: have another, and say what became of its work."""
        is_killed = self._kill_at is not None
        work = self._work
        trouble = None if work is None else self._trouble()
        status = os.waitstatus_to_exitcode(self._renew())
        if work is None:
            if not is_killed:
                time.sleep(_PAUSE)  # it died of itself, and may do so again and again
            self._go_on()
        elif work.is_over:
            self._done(work, None)  # it died of keeping the log
        else:
            self._over(work, None if work.is_stopped else trouble or _failure(status, why))

    def _trouble(self) -> dict[str, Any] | None:
        """Return what to say instead of a failure where the machine is at fault; ask before anything is tidied up."""
        why = trouble_with(self._settings.scratch)
        return None if why is None else {"kind": "unable", "why": why}

    def _signal(self, number: signal.Signals) -> None:
        # It is not reaped yet, so that nobody else has its number; the group is there with its first steps.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)
        with suppress(ProcessLookupError):
            os.kill(self._child.pid, number)

    def _is_dead(self) -> bool:
        return os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _say(self, *message: object) -> None:
        with suppress(OSError):  # it died, and that is noticed next
            sent(self._child.channel, *message)

    def _listen(self) -> None:
        """Take what the child said; from a secret on, no text passes that holds it."""
        for message in () if self._is_out_of_touch else _there(self._child.channel):
            match message:
                case ["secret", str(value)]:
                    self._child.redactor.learn(value)
                case ["spans", list(spans)]:
                    with suppress(OSError):  # the worker is gone
                        sent(self._link, "spans", spans)
                case _:
                    self._heard.append(message)

    def _obey(self, message: list[Any] | None) -> None:
        work = self._work
        match message:
            case None if not self._is_out_of_touch:
                # It died, which shows in a moment, or a step closed what is not its own.
                self._is_out_of_touch = True
                self._selector.unregister(self._child.channel)
                self._kill_at = time.monotonic() + _PAUSE
            case ["ended", dict(result), bool(may_go_on)] if work and not (work.is_over or work.is_stopped):
                self._read_output(_there_now(self._child.output))
                self._steps += 1
                # What a step left running must not go on beside the next one.
                is_alone = not others_than(self._child.pid)
                self._is_used_up = not (may_go_on and is_alone and self._steps < self._settings.max_steps)
                self._over(work, result if result.get("kind") == "success" else self._trouble() or result)
            case ["kept", kept, str(trouble)] if work and work.is_over:
                if trouble:
                    os.write(2, f"A log could not be kept: {trouble}\n".encode(errors="backslashreplace"))
                self._done(work, kept)
            case _:
                pass  # said too late, or by a step that writes into what is not its own

    def _read_output(self, most: int) -> None:
        """Read what the child printed, but not for ever, and listen."""
        self._listen()
        while most > 0:
            try:
                data = os.read(self._child.output, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                return
            most -= len(data)
            self._listen()  # a secret is told before any text that holds it, but this may have been read in between
            if self._work is not None and not self._work.is_over:
                self._work.log.fed(data)
            elif self._code is None:
                os.write(2, data)  # no step has been there yet: it is trouble of our own


_PAUSE = 1.0
_CLOSED = "It closed descriptors that its process needs to say how it ended."


def _there(through: socket.socket) -> Iterator[list[Any] | None]:
    """Yield the messages that are there; None, as the last one, if the other side is gone."""
    while True:
        try:
            message = received(through, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        yield message
        if message is None:
            return


def _there_now(descriptor: int) -> int:
    """Return how many bytes can be read now: more may come without end."""
    size = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, size)
    return size[0]


def _failure(status: int, why: str) -> dict[str, Any]:
    if not why and status >= 0:
        why = f"Its process exited with the status {status} before the step was done."
    elif not why:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = str(-status)
        why = f"Its process was ended by the signal {name}."
        if -status == signal.SIGKILL:
            why += " The system does that when memory runs out."
    return {"kind": "failure", "error": "StepCrashed", "message": why}


def keep(link: socket.socket, settings: Settings, live: Live) -> NoReturn:
    """Keep a slot in this process, and end it when the worker is gone."""
    try:
        adopt_orphans()
        Keeper(link, settings, live).keep()
    except BaseException:  # noqa: BLE001 - it must not go on as the process that forked it
        traceback.print_exc()
        sys.stderr.flush()
        time.sleep(_PAUSE)  # another takes its place, and may fare no better
    finally:
        os._exit(0)
