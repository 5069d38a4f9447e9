"""Putting values where references stand, at the moment of use, and keeping those values out of any text."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from urllib.parse import quote

from pydantic import JsonValue

from stackledger.domain.errors import SecretError, near_names
from stackledger.domain.names import visible
from stackledger.domain.references import SecretReference, is_reference, replaced_references

MIN_REDACTED = 4
"""Shorter values stay: hiding each `a` of a text hides the text and tells the value."""


class Redactor:
    """Knows the values that references stood for, and takes them out of text."""

    def __init__(self) -> None:
        self._forms: list[str] = []

    def learn(self, value: str) -> None:
        """Hide the value from now on, also as it looks in a URL, in a `repr` and, if it has lines, line by line."""
        lines = [line.strip() for line in value.splitlines()]
        forms = {
            form
            for text in (value, *lines)
            for form in (text, quote(text, safe="", errors="replace"), repr(text)[1:-1])
        }
        known = forms.union(self._forms)
        # The longest first: a value may be a part of another.
        self._forms = sorted((form for form in known if len(form) >= MIN_REDACTED), key=lambda form: (-len(form), form))

    def redacted(self, text: str) -> str:
        """Return the text with `***` for each known value."""
        for form in self._forms:
            text = text.replace(form, "***")
        return text


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
                f"The secret '{visible(reference.name)}' has no key '{visible(reference.key)}'.",
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
