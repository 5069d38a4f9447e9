"""What a person sees of a run while it goes on: lines, and on a terminal a spinner with the running step."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from stackledger.domain.errors import raised, sentence
from stackledger.domain.events.fleet import Because, RunCancelled, StepClaimed, StepLost, StepQueued
from stackledger.domain.events.runs import (
    RunFailed,
    RunStarted,
    RunSucceeded,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from stackledger.domain.names import visible
from stackledger.workers.step_log import Tee, talk

if TYPE_CHECKING:
    from stackledger.domain.event import Event, Recorded

_SECOND = 1_000_000
_LOST: dict[Because, str] = {
    "lease ran out": "its worker says nothing any more",
    "delivered too often": "it was given back too often",
    "worker gave it back": "its worker gave it back",
    "worker's key was revoked": "its worker's key was revoked",
    "its message was parked": "its message was parked",
}
_FRAME_SECONDS = 0.08
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_FRAMES = "-\\|/"


class Lines:
    """Says each event of a run in one line, to `write`."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._since: dict[str, int] = {}
        self._run_since = 0

    def __enter__(self) -> Self:
        """Begin to watch."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End watching."""

    def happened(self, recorded: Recorded) -> None:
        """Say what happened, if it is of interest while a run goes on."""
        line = self._line(recorded)
        if line is not None:
            self.say(line)

    def say(self, line: str) -> None:
        """Say what else is of interest."""
        # Whoever watched may have gone away, the terminal with them, or a step closed the stream: the run goes on.
        with contextlib.suppress(OSError, ValueError):
            self._write(visible(line))

    def show(self, stream: TextIO, text: str) -> None:
        """Write what a step printed to the stream that it printed it to; lines are in nobody's way."""
        stream.write(text)

    def _line(self, recorded: Recorded) -> str | None:
        event, time = recorded.event, recorded.envelope.time
        return self._about_step(event, time) or self._about_run(event, time)

    def _about_run(self, event: Event, time: int) -> str | None:
        match event:
            case RunStarted():
                self._run_since = time
                return f"Run {event.name} of the pipeline {event.pipeline} started on the stack {event.stack.name}."
            case RunSucceeded():
                return f"The run has finished in {_seconds(time - self._run_since)}."
            case RunFailed():
                return f"The run has failed after {_seconds(time - self._run_since)}: {event.because}."
            case RunCancelled():
                return f"The run was cancelled after {_seconds(time - self._run_since)}."
            case _:
                return None

    def _about_step(self, event: Event, time: int) -> str | None:  # noqa: PLR0911 - one line for each event
        match event:
            case StepStarted():
                self._since[event.step] = time
                return f"Step {event.step} has started{_again(event.attempt)}."
            case StepQueued():
                self._since[event.step] = time
                return f"Step {event.step} waits for a worker{_again(event.attempt)}."
            case StepClaimed():
                return f"Step {event.step} was claimed by a worker."
            case StepLost():
                return f"Step {event.step} got lost, since {_LOST[event.because]}. It will be tried again."
            case StepSucceeded():
                return f"Step {event.step} has finished in {self._took(event, time)}."
            case StepFailed():
                again = "" if event.retry_at is None else " It will be tried again."
                said = sentence(raised(event.error, event.message))
                return f"Step {event.step} has failed after {self._took(event, time)}: {said}{again}"
            case StepSkipped():
                return f"Step {event.step} is skipped, because of {', '.join(event.because)}."
            case _:
                return None

    def _took(self, event: StepSucceeded | StepFailed, time: int) -> str:
        by = event.execution
        return _seconds(time - self._since.get(event.step, time) if by is None else by.ended - by.began)


class Screen:
    """A terminal that all runs of this process share: their lines, and below them a spinner with the running steps.

    A spinner cannot share a terminal with what steps write: it would have to take over their streams, and what is
    redirected to a file, drawn over by a carriage return or wider than the terminal would not arrive as it was meant.
    So it goes as soon as a step writes something, and comes back with the next line, without that step. It leaves the
    cursor alone: a process that is killed takes nothing with it that the terminal needs.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._lock = threading.RLock()  # a signal may come, and its handler print, while something is being written
        self._running: dict[Lines, str] = {}
        self._is_drawn = False
        self._unfinished: TextIO | None = None
        self._watchers = 0
        self._over = threading.Event()
        self._frames = _FRAMES if _can_write(stream, _FRAMES) else _PLAIN_FRAMES
        self._frame = 0
        self._form = "{} {}" if os.environ.get("NO_COLOR") else "\x1b[32m{}\x1b[0m {}"
        # A step may fork, and the child print.
        os.register_at_fork(
            before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._lock.release
        )

    def enter(self) -> None:
        """Begin to be watched by one more."""
        with self._lock:
            self._watchers += 1
            if self._watchers == 1:
                self._over = threading.Event()
                threading.Thread(target=self._turn, args=(self._over,), daemon=True).start()

    def leave(self, watcher: Lines) -> None:
        """Be watched by one less."""
        with self._lock:
            self._watchers -= 1
            if not self._watchers:
                self._over.set()
            with contextlib.suppress(OSError, ValueError):
                self.now_running(watcher, None)

    def say(self, line: str) -> None:
        """Write a line of its own."""
        with self._lock:
            self._clear()
            if self._unfinished is not None:
                self._unfinished.flush()
                self._unfinished = None
                line = f"\n{line}"
            self.stream.write(f"{line}\n")
            self.stream.flush()

    def now_running(self, watcher: Lines, text: str | None) -> None:
        """Show which step somebody watches now, None for none, beside those that others watch."""
        with self._lock:
            self._clear()
            self._running.pop(watcher, None)
            if text is not None:
                self._running[watcher] = text
            self._draw()

    def show(self, watcher: Lines, stream: TextIO, text: str) -> None:
        """Write what the step printed that somebody watches, and nothing beside it until the next line."""
        with self._lock:
            self._clear()
            self._running.pop(watcher, None)
            stream.write(text)
            if text:
                self._unfinished = None if text.endswith("\n") else stream

    def _turn(self, over: threading.Event) -> None:
        while not over.wait(_FRAME_SECONDS):
            with self._lock, contextlib.suppress(OSError, ValueError):
                if self._is_drawn:
                    self._frame += 1
                    self._draw()

    def _draw(self) -> None:
        if self._running and self._unfinished is None:
            shown = self._form.format(self._frames[self._frame % len(self._frames)], ", ".join(self._running.values()))
            # What is wider than the terminal is cut off there: a second line could not be taken away again.
            self.stream.write(f"\r\x1b[2K\x1b[?7l{shown}\x1b[?7h")
            self.stream.flush()
            self._is_drawn = True

    def _clear(self) -> None:
        if self._is_drawn:
            self._is_drawn = False
            self.stream.write("\r\x1b[2K")
            self.stream.flush()


class LiveLines(Lines):
    """The same lines on a terminal, with a spinner."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen.say)
        self._screen = screen
        self._open: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._screen.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End watching, and take the spinner away."""
        self._screen.leave(self)

    def happened(self, recorded: Recorded) -> None:
        """Say what happened, and show what is running now."""
        super().happened(recorded)
        self._note(recorded.event)
        with contextlib.suppress(OSError, ValueError):
            self._screen.now_running(self, self._going_on())

    def _note(self, event: Event) -> None:
        match event:
            case StepStarted() | StepClaimed():
                self._open[event.step] = "running"
            case StepQueued():
                self._open[event.step] = "queued"
            case StepSucceeded() | StepFailed() | StepLost():
                self._open.pop(event.step, None)
            case RunSucceeded() | RunFailed() | RunCancelled():
                self._open.clear()
            case _:
                pass

    def _going_on(self) -> str | None:
        """Return what goes on now in a few words."""
        if len(self._open) > 1:
            counted = Counter(self._open.values())
            how_many = (f"{counted[how]} {how}" for how in ("running", "queued") if counted[how])
            return f"{len(self._open)} steps: {', '.join(how_many)}"
        return next((f"{step} is {how}" for step, how in self._open.items()), None)

    def show(self, stream: TextIO, text: str) -> None:
        """Write what a step printed, where nothing is in its way."""
        if _is_terminal(stream):
            self._screen.show(self, stream, text)
        else:
            stream.write(text)


_screen: Screen | None = None
_finding = threading.Lock()


def watcher() -> Lines:
    """Return who watches the runs of this process: on standard error, since results have standard output."""
    # A run within a step is watched by lines: the spinner's frames would all go to the log of that step.
    stream = talk()
    if stream is None or isinstance(stream, Tee) or not _is_terminal(stream):
        return Lines(lambda line: print(line, file=stream, flush=True))
    global _screen  # noqa: PLW0603 - there is one terminal, whoever runs something on it
    with _finding:
        if _screen is None or _screen.stream is not stream:
            _screen = Screen(stream)
    return LiveLines(_screen)


def _is_terminal(stream: TextIO) -> bool:
    """Say whether a stream, which may be anybody's object, is a terminal that knows more than to write lines."""
    try:
        return stream.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", "unknown", ""}
    except (AttributeError, OSError, ValueError):
        return False


def _can_write(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def _again(attempt: int) -> str:
    return f" (attempt {attempt})" if attempt > 1 else ""


def _seconds(microseconds: int) -> str:
    return f"{max(0, microseconds) / _SECOND:.3f}s"
