"""What the program says to a person, on standard error, and what it asks them.

Results go to standard output and come from `printing`; nothing here ever writes there.
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress

from stackledger.domain.errors import StackledgerError, UsageError
from stackledger.domain.names import visible

_ENOUGH = 200
_LONG_WORD = rf"\S{{{2 * _ENOUGH},}}"


def say(text: str) -> None:
    """Write one line of talk; nothing in it can move the cursor or colour the terminal.

    Where it cannot be written it is lost: what was done is done, and its result is printed all the same.
    """
    with suppress(OSError):
        print(visible(text), file=sys.stderr)


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
        line = sys.stdin.readline()
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
