"""What a step prints and logs goes to its file as well as to the terminal."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

from stackledger.flavors.resolving import RedactedStream, Redactor

# A signal may come, and its handler print, while a text is being written; a step may fork then, and the child print.
_mutex = threading.RLock()
os.register_at_fork(before=_mutex.acquire, after_in_parent=_mutex.release, after_in_child=_mutex.release)


class StepLog:
    """The file of one attempt, made with the first text, and what takes secrets out of all that the attempt says.

    `path` is asked where the file is.

    A text reaches the system at once, so that a crash loses none of it, but for an end that may be the beginning of a
    secret: that waits for the next text of the same source, or for the end of the attempt, and is lost with a process
    that is killed.
    """

    def __init__(self, path: Callable[[], Path], redactor: Redactor) -> None:
        self._path = path
        self._redactor = redactor
        # Each by itself: what standard error says in between must not keep a secret in standard output apart.
        self._sources: dict[str, RedactedStream] = {}
        self._last = ""
        self._fd: int | None = None
        self._is_writable = True
        self.is_open = True

    def taken(self, text: str, source: str) -> str:
        """Add text; return what can be shown by now. A file that cannot be written is no reason for a step to fail."""
        with _mutex:
            if not self.is_open:
                return self._redactor.redacted(text)
            text = self._sources.setdefault(source, self._redactor.stream()).fed(text)
            self._add(text)
            return text

    def end_with(self, text: str) -> None:
        """Have the log end with a text, which is not shown."""
        self._last = text

    def learn(self, secret: str) -> None:
        """Take this value out too, from now on."""
        self._redactor.learn(secret)

    def close(self) -> dict[str, str]:
        """Take no more text after this; return what waited, by source, and can be shown now."""
        with _mutex:
            rests = {name: source.rest() for name, source in self._sources.items()}
            self._sources = {}
            # Together, so that two of them do not make a secret.
            self._add(self._redactor.redacted("".join(rests.values()) + self._last))
            self._end()
            self.is_open = False
            return rests

    def _add(self, text: str) -> None:
        if not text or not self._is_writable:
            return
        try:
            self._put(memoryview(text.encode("utf-8", "backslashreplace")))
        except OSError as error:
            self._end()
            if sys.__stderr__ is not None:
                print(f"The log {self._path()} cannot be written: {error.strerror}.", file=sys.__stderr__)

    def _put(self, data: memoryview) -> None:
        if self._fd is None:
            path = self._path()
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        while data:
            data = data[os.write(self._fd, data) :]

    def _end(self) -> None:
        self._is_writable = False
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


_writing: ContextVar[StepLog | None] = ContextVar("stackledger_step_log", default=None)
_installing = threading.Lock()
# CPython before 3.14 does not hold the stream that a `print` of another thread is just writing to (gh-130163): were a
# tee freed, such a thread would crash the process. So none is, for as long as that may take; they are small.
_taken_away: list[Tee] = []


class Tee:
    """A standard stream that also writes to a step's log, without secrets to either.

    Once the log is closed, only the stream is left. Where runs of several threads go on at once, tees stand in a row,
    and each step's text goes to its own log; that of threads which steps started, whose step cannot be told, to all.
    """

    __slots__ = ("_show", "log", "shown", "source")

    def __init__(self, shown: TextIO | None, log: StepLog, source: str, show: Callable[[TextIO, str], None]) -> None:
        self.shown = shown
        self.log = log
        self.source = source
        self._show = show

    def write(self, text: str) -> int:
        """Write to both."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        free = self.log.taken(text, self.source) if _writing.get() in {None, self.log} else text
        self.put(free)
        return len(text)

    def put(self, text: str) -> None:
        """Write to the stream alone."""
        if self.shown is not None and text:
            self._show(self.shown, text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all lines to both."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream; the log has all that it can have by now."""
        if self.shown is not None:
            self.shown.flush()

    def __getattr__(self, name: str) -> Any:  # what else a stream can do
        """Be the stream in everything else."""
        return getattr(self.shown, name)


@contextmanager
def captured(log: StepLog, show: Callable[[TextIO, str], None]) -> Iterator[StepLog]:
    """Copy what is printed and logged inside, in any thread, to `log`; afterwards streams are as they were.

    `show` writes a text, without secrets, to the stream that it was meant for. What does not go through `sys.stdout`
    and `sys.stderr` is neither copied nor changed: what child processes and libraries in C write, `os.write(1, …)`, and
    bytes given to `sys.stdout.buffer`. These descriptors belong to the whole process, its other threads, and children
    that outlive the step, and cannot be taken over for one of its steps.
    """
    with _installing:
        before = sys.stdout, sys.stderr
        out, err = Tee(before[0], log, "stdout", show), Tee(before[1], log, "stderr", show)
        sys.stdout, sys.stderr = out, err
        _redirect({id(before[0]): out, id(before[1]): err})
    token = _writing.set(log)
    try:
        yield log
    finally:
        _writing.reset(token)
        rests = log.close()
        for tee in (out, err):
            # Whoever watched may have gone away, or the step closed the stream.
            with suppress(OSError, ValueError):
                tee.put(rests.get(tee.source, ""))
        with _installing:
            _taken_away.extend((out, err))
            back = _open(before[0]), _open(before[1])
            _redirect({id(out): back[0], id(err): back[1]})
            # A step may have put streams of its own there, or another run its tee: what is not ours stays.
            if sys.stdout is out:
                sys.stdout = back[0]
            if sys.stderr is err:
                sys.stderr = back[1]


def keep_secret(values: Iterable[str]) -> None:
    """Have the logs of the steps that are executed here take these values out of all that comes from now on.

    Which of the steps asked for them cannot be told where it asked in a thread of its own.
    """
    for stream in (sys.stdout, sys.stderr):
        tee: Any = stream
        while isinstance(tee, Tee):
            for value in values:
                tee.log.learn(value)
            tee = tee.shown


def talk() -> TextIO | None:
    """Return where to say how a run goes: standard error, past the logs of steps that other threads execute."""
    stream: Any = sys.stderr
    while isinstance(stream, Tee) and _writing.get() is None:
        stream = stream.shown
    return stream  # type: ignore[no-any-return]


def _open(stream: Any) -> Any:
    """Return what is behind the tees of steps that have ended meanwhile: runs of several threads end in any order."""
    while isinstance(stream, Tee) and not stream.log.is_open:
        stream = stream.shown
    return stream


def _redirect(streams: dict[int, Any]) -> None:
    """Have every log handler that writes to one of the streams (by identity) write to another."""
    loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.StreamHandler) and id(handler.stream) in streams:
                handler.setStream(streams[id(handler.stream)])
