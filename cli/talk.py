"""What the program says to a person, on standard error, and what it asks them.

Results go to standard output and come from `printing`; nothing here ever writes there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum

from stackledger.domain.errors import StackledgerError, UsageError
from stackledger.domain.names import visible

_LONGEST = 1024 * 1024
"""Letters of an answer that are read: some files are one line without an end."""

_ENOUGH = 200
_LONG_WORD = rf"\S{{{2 * _ENOUGH},}}"


def say(text: str) -> None:
    """Write one line of talk; nothing in it can move the cursor or colour the terminal.

    Where it cannot be written it is lost: what was done is done, and its result is printed all the same.
    """
    with suppress(OSError):
        print(visible(text), file=sys.stderr)


class LogFormat(StrEnum):
    """How a program that runs for long writes its lines."""

    TEXT = "text"
    JSON = "json"


class Log:
    """What a program that runs for long says: line by line, each with its time.

    As JSON a line is an object of `time`, `level`, `component`, `message`, and what is known of what it is about.
    """

    def __init__(self, component: str, format: LogFormat) -> None:
        self._component = component
        self._format = format

    def news(self, text: str, /, **known: str | int) -> None:
        """Say what is new."""
        self._write("info", text, known)

    def trouble(self, text: str, /, **known: str | int) -> None:
        """Say what is wrong, and may mend itself."""
        self._write("warning", text, known)

    @contextmanager
    def to_the_end(self) -> Iterator[None]:
        """Have the error that ends the program be a line like all others, where they are JSON."""
        try:
            yield
        except StackledgerError as error:
            if self._format is LogFormat.TEXT:
                raise
            self._write("error", str(error), {})
            raise SystemExit(2 if isinstance(error, UsageError) else 1) from error

    def _write(self, level: str, text: str, known: Mapping[str, str | int]) -> None:
        time = f"{datetime.now(tz=UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
        if self._format is LogFormat.TEXT:
            say(f"{time} {text}")
        else:
            import json

            say(json.dumps({"time": time, "level": level, "component": self._component, "message": text, **known}))


def complain(text: str) -> None:
    """Say what was wrong; of a very long word, as somebody pasted it, enough to know it by."""
    say(f"Error: {re.sub(_LONG_WORD, _shortened, text)}")


def _shortened(match: re.Match[str]) -> str:
    return f"{match[0][:_ENOUGH]}… ({len(match[0]):,} characters)"


def answer(question: str, *, hidden: bool = False) -> str | None:
    """Ask, and return the line answered without its end, or None when there is no more to read.

    The question goes to standard error, so that piped answers and redirected results work together.
    """
    sys.stdout.flush()
    if hidden and sys.stdin.isatty():
        from getpass import getpass  # opens the terminal itself and turns its echo off

        try:
            return getpass(f"{visible(question)}: ", stream=sys.stderr)
        except EOFError:
            return None
    print(f"{visible(question)}: ", end="", file=sys.stderr, flush=True)
    try:
        line = sys.stdin.readline(_LONGEST)
    except UnicodeDecodeError as error:
        raise UsageError("The answer is not valid UTF-8.") from error
    if not sys.stdin.isatty():
        print(file=sys.stderr)  # the end of a piped answer is not echoed, so the next question needs a line of its own
    return line.removesuffix("\n").removesuffix("\r") if line else None


def confirmed(question: str) -> None:
    """Ask for a yes; anything else ends the command with nothing changed."""
    given = answer(f"{question} [y/N]")
    if given is None or given.strip().casefold() not in {"y", "yes"}:
        raise StackledgerError("Not confirmed, so nothing was changed.", hint="Answer y, or give --yes.")
