"""What a person sees of a run while it goes on: lines, and on a terminal a spinner with the running step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from stackledger.domain.errors import raised, sentence
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
    from rich.live import Live

    from stackledger.domain.event import Recorded

_SECOND = 1_000_000
_FRAMES = 12.5


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
            # Whoever watched may have gone away, or the terminal with them: the run goes on.
            with contextlib.suppress(OSError):
                self._write(visible(line))

    def make_room(self) -> None:
        """Know that a step is about to write to the same terminal; lines are in nobody's way."""

    def _line(self, recorded: Recorded) -> str | None:  # noqa: PLR0911 - one line for each event
        event, time = recorded.event, recorded.envelope.time
        match event:
            case RunStarted():
                self._run_since = time
                return f"Run {event.name} of the pipeline {event.pipeline} started on the stack {event.stack.name}."
            case StepStarted():
                self._since[event.step] = time
                again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
                return f"Step {event.step} has started{again}."
            case StepSucceeded():
                return f"Step {event.step} has finished in {self._took(event.step, time)}."
            case StepFailed():
                again = "" if event.retry_at is None else " It will be tried again."
                said = sentence(raised(event.error, event.message))
                return f"Step {event.step} has failed after {self._took(event.step, time)}: {said}{again}"
            case StepSkipped():
                return f"Step {event.step} is skipped, because of {', '.join(event.because)}."
            case RunSucceeded():
                return f"The run has finished in {_seconds(time - self._run_since)}."
            case RunFailed():
                return f"The run has failed after {_seconds(time - self._run_since)}: {event.because}."
            case _:
                return None

    def _took(self, step: str, time: int) -> str:
        return _seconds(time - self._since.get(step, time))


class LiveLines(Lines):
    """The same lines, and below them a spinner with the step that is running, until that step writes something.

    The two cannot share a terminal: a spinner that goes on would have to take over the streams of the step, and what is
    redirected to a file, drawn over by a carriage return or wider than the terminal would not arrive as it was meant.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        # This very stream: while a step runs, sys.stderr is one that also writes to the step's log.
        console = Console(file=stream, highlight=False)
        super().__init__(lambda line: console.print(line, markup=False, soft_wrap=True))
        self._console = console
        self._spinner: Live | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the spinner away."""
        self._stop()

    def happened(self, recorded: Recorded) -> None:
        """Say what happened, and show what is running now."""
        self._stop()
        super().happened(recorded)
        if isinstance(recorded.event, StepStarted):
            self._spin(f"{visible(recorded.event.step)} is running")

    def make_room(self) -> None:
        """Take the spinner away for the rest of the step."""
        self._stop()

    def _spin(self, text: str) -> None:
        from rich.live import Live
        from rich.spinner import Spinner
        from rich.text import Text

        self._spinner = Live(
            Spinner("dots", Text(text), style="green"),
            console=self._console,
            refresh_per_second=_FRAMES,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._spinner.start()

    def _stop(self) -> None:
        spinner = self._spinner
        # Whichever of the step's threads comes first takes it away; the others wait for that within `stop`.
        if spinner is not None:
            spinner.stop()
            self._spinner = None


def watcher() -> Lines:
    """Return who watches the runs of this process: on standard error, since results have standard output."""
    # A run within a step is watched by lines: the spinner's frames would all go to the log of that step.
    stream = talk()
    if stream is not None and stream.isatty() and not isinstance(stream, Tee):
        return LiveLines(stream)
    return Lines(lambda line: print(line, file=stream, flush=True))


def _seconds(microseconds: int) -> str:
    return f"{max(0, microseconds) / _SECOND:.3f}s"
