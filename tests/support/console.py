"""Console sessions in documents, run as printed.

A block that opens with ```` ```console ```` shows commands after `$ `, their further lines after `> ` or a backslash,
and then what they print. `…` stands for anything within a line, a line `...` for any number of lines. In a block that
opens with ```` ```console fails ```` the last command exits with an error.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```console(?P<words>[^\n]*)\n(?P<body>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
_SECONDS = 240


@dataclass(frozen=True, slots=True)
class Example:
    """One command of a document, at the line where it stands there, and what it is said to print."""

    line: int
    command: str
    expected: str
    fails: bool = False


def examples(markdown: str) -> Iterator[Example]:
    """Yield the commands of all console blocks in order."""
    for block in _BLOCK.finditer(markdown):
        line = markdown.count("\n", 0, block.start()) + 2
        before, *chunks = re.split(r"^\$ ", block["body"], flags=re.MULTILINE)
        if before.strip() or not chunks:
            raise ValueError(f"line {line}: a console block begins with a command, `$ ...`")
        for chunk in chunks:
            lines = chunk.splitlines()
            command = [lines.pop(0)]
            while lines and (command[-1].endswith("\\") or lines[0].startswith("> ")):
                command.append(lines.pop(0).removeprefix("> "))
            fails = chunk is chunks[-1] and "fails" in block["words"].split()
            yield Example(line, "\n".join(command), "\n".join(lines), fails)
            line += chunk.count("\n")


def matches(expected: str, actual: str) -> bool:
    """Say whether `actual` is what a document shows. Blanks at the ends of lines and empty last lines do not count."""
    pattern = "".join(
        r"(?:.*\n)*" if line == "..." else ".*".join(map(re.escape, line.split("…"))) + r"\n"
        for line in _trimmed(expected)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _trimmed(actual))) is not None


def _trimmed(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


class Shell:
    """A shell session that keeps its folder and its variables from one command to the next."""

    def __init__(self, cwd: Path, environment: Mapping[str, str], state: Path) -> None:
        self._cwd = cwd
        self._environment = dict(environment)
        self._state = state

    def run(self, command: str) -> tuple[int, str]:
        """Return the exit status of `command` and what a terminal would have shown of it."""
        # An EXIT trap also runs when the command itself calls exit or fails under `set -e`.
        script = f"trap '{{ pwd; env -0; }} > \"$_STATE\"' EXIT\n{command}\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._cwd,
            env={**self._environment, "_STATE": str(self._state)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
        folder, _, variables = self._state.read_bytes().partition(b"\n")
        self._cwd = Path(os.fsdecode(folder))
        self._environment = dict(
            os.fsdecode(variable).split("=", 1) for variable in variables.split(b"\0") if b"=" in variable
        )
        return done.returncode, done.stdout.decode()


def differences(markdown: str, shell: Shell) -> Iterator[str]:
    """Run every example of a document and yield, in words, each that does not do what is printed."""
    for example in examples(markdown):
        status, output = shell.run(example.command)
        if (status != 0) is not example.fails:
            yield f"line {example.line}: `{example.command}` exited with {status} and printed\n{output}"
        elif not matches(example.expected, output):
            yield (
                f"line {example.line}: `{example.command}` is said to print\n{example.expected}\nbut printed\n{output}"
            )
