"""Values given on the command line: `key=value`, `@file`, `-` for standard input, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stackledger.domain.errors import UsageError
from stackledger.domain.names import quoted

MAX_FILE = 1 << 20
"""Bytes that a value may have: more is a wrong file, not a configuration or a secret."""


def pairs(given: Iterable[str] | None, option: str) -> dict[str, str]:
    """Return the `key=value` texts that a repeated option got as a mapping."""
    found: dict[str, str] = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise UsageError(f"{option} takes KEY=VALUE, not {quoted(text)}.")
        if key in found:
            raise UsageError(f"{option} got the key {quoted(key)} twice.")
        found[key] = value
    return found


def label_changes(given: Iterable[str] | None) -> dict[str, str | None]:
    """Return the labels that `--label` got, to be set or, those without a value, to be taken off: None."""
    several = list(given or ())
    off = [text for text in several if text and "=" not in text]
    found: dict[str, str | None] = {**pairs([text for text in several if text not in off], "--label")}
    for key in off:
        if key in found:
            raise UsageError(f"--label got the key {quoted(key)} twice.")
        found[key] = None
    return found


def file_text(path: str) -> str:
    """Return a file's text, less one newline at its end."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"The file {quoted(path)} cannot be read: {_why(error)}.") from error
    return _decoded(content, f"The file {quoted(path)}")


def standard_input() -> str:
    """Return all of standard input, less one newline at its end."""
    return _decoded(sys.stdin.buffer.read(MAX_FILE + 1), "Standard input")


def with_files(given: Mapping[str, str], *, stdin: bool = False) -> dict[str, str]:
    """Return the values with each `@file` replaced by the file's text, and `-` by standard input if it may be."""
    found: dict[str, str] = {}
    for key, value in given.items():
        if value.startswith("@"):
            found[key] = file_text(value[1:])
        elif stdin and value == "-":
            if list(given.values()).count("-") > 1:
                raise UsageError("Only one value can come from standard input.")
            found[key] = standard_input()
        else:
            found[key] = value
    return found


def typed(value: Any) -> str:
    """Return a value of a configuration as somebody types it: texts as they are, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _decoded(content: bytes, what: str) -> str:
    if len(content) > MAX_FILE:
        raise UsageError(f"{what} is larger than {MAX_FILE:,} bytes.")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} is not text in UTF-8.") from error
    return text.removesuffix("\n").removesuffix("\r")


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
