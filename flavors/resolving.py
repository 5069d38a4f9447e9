"""Putting values where references stand, at the moment of use, and keeping those values out of any text."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

from pydantic import JsonValue

from stackledger.domain.errors import SecretError, near_names
from stackledger.domain.names import quoted, visible
from stackledger.domain.references import SecretReference, is_reference, replaced_references
from stackledger.domain.url_passwords import without_url_passwords

MIN_REDACTED = 4
"""Shorter values stay: hiding each `a` of a text hides the text and tells the value."""


class Redactor:
    """Knows the values that references stood for, and takes them out of text."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()

    def learn(self, value: str) -> None:
        """Hide the value from now on, also as it looks in a URL, in a `repr` and, if it has lines, line by line."""
        lines = [line.strip() for line in value.splitlines()]
        forms = {
            form
            for text in (value, *lines)
            for form in (text, quote(text, safe="", errors="replace"), repr(text)[1:-1])
        }
        known = forms.union(self._forms)
        self._forms = tuple(form for form in known if len(form) >= MIN_REDACTED)

    def redacted(self, text: str) -> str:
        """Return the text with `***` for each known value, for several that overlap, and for passwords in URLs."""
        stream = self.stream()
        return stream.fed(text) + stream.rest()

    def stream(self) -> RedactedStream:
        """Return what takes the known values out of a text that comes in pieces."""
        return RedactedStream(self._known)

    def _known(self) -> tuple[str, ...]:
        return self._forms


class RedactedStream:
    """A text that comes in pieces, without the values in it, wherever it was cut.

    An end that may be the beginning of a value is held back until more comes: less than the longest value. The password
    of a URL that comes in one piece is hidden too.
    """

    def __init__(self, forms: Callable[[], tuple[str, ...]]) -> None:
        self._forms = forms
        self._held = ""
        self._hidden = 0  # how much of what is held belongs to a value that was passed on as *** already

    def fed(self, text: str) -> str:
        """Take the next piece; return what can be shown by now."""
        text = self._held + text
        return self._passed(text, min((_cut(text, form) for form in self._forms()), default=len(text)))

    def rest(self) -> str:
        """Return what was held back, since nothing more comes for now."""
        return self._passed(self._held, len(self._held))

    def _passed(self, text: str, end: int) -> str:
        shown: list[str] = []
        position = self._hidden
        for start, stop in heapq.merge(*(_found(text, form) for form in self._forms())):
            if start >= end:
                break
            if start >= position:
                shown += (text[position:start], "***")
            position = max(position, stop)
        shown.append(text[position:end])
        self._held, self._hidden = text[end:], max(0, position - end)
        return without_url_passwords("".join(shown))


def _found(text: str, form: str) -> Iterator[tuple[int, int]]:
    start = text.find(form)
    while start >= 0:
        yield start, start + len(form)
        start = text.find(form, start + 1)


def _cut(text: str, form: str) -> int:
    """Return where the longest end of the text begins that more text could make the form, or the text's length."""
    start = text.find(form[0], max(0, len(text) - len(form) + 1))
    while start >= 0:
        if form.startswith(text[start:]):
            return start
        start = text.find(form[0], start + 1)
    return len(text)


def resolve(
    configuration: Mapping[str, JsonValue],
    lookup: Callable[[str], Mapping[str, str]],
    redactor: Redactor,
    environment: Mapping[str, str] = os.environ,
) -> dict[str, JsonValue]:
    """Return the configuration with the value for each reference, or raise SecretError naming the reference.

    `lookup` gives the values of a secret by its name; the redactor learns each value.
    """

    def of_secret(reference: SecretReference) -> str:
        values = lookup(reference.name)
        if reference.key not in values:
            raise SecretError(
                f"The secret {quoted(reference.name)} has no key {quoted(reference.key)}.",
                near=near_names(reference.key, values),
                hint=f"`stackledger secret update {visible(reference.name)} --{visible(reference.key)}=@file` adds it.",
            )
        redactor.learn(values[reference.key])
        return values[reference.key]

    def resolved(value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            if value.startswith("env:") and is_reference(value):
                return of_environment(value.removeprefix("env:"))
            return replaced_references(value, of_secret)
        if isinstance(value, dict):
            return {key: resolved(item) for key, item in value.items()}
        if isinstance(value, list):
            return [resolved(item) for item in value]
        return value

    def of_environment(variable: str) -> str:
        if variable not in environment:
            raise SecretError(
                f"The environment variable {variable!r} is not set, but the configuration refers to it.",
                hint=f"Set it, or give another value in the place of env:{variable}.",
            )
        redactor.learn(environment[variable])
        return environment[variable]

    return {key: resolved(value) for key, value in configuration.items()}
