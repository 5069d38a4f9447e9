"""References to secrets: `{{name.key}}` and `env:VARIABLE`. Only these may stand where a secret is wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from stackledger.domain.errors import LiteralSecret
from stackledger.domain.names import quoted

_SECRET = re.compile(r"\{\{\s*([^{}.\s][^{}\s]*)\.([^{}.\s]+)\s*\}\}")
_ENVIRONMENT = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")
# user:password@ or :password@ behind the scheme of any URL, at any place of a text.
_URL_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/@\s:]*:([^/@\s]+)@")


class SecretReference(NamedTuple):
    """The value of one key of one secret, by name."""

    name: str
    key: str


def is_reference(text: str) -> bool:
    """Say whether `text` is one reference and nothing else."""
    return _SECRET.fullmatch(text) is not None or _ENVIRONMENT.fullmatch(text) is not None


def secret_references(value: object) -> Iterator[SecretReference]:
    """Yield every `{{name.key}}` in a JSON-like value, in order of appearance."""
    if isinstance(value, str):
        for match in _SECRET.finditer(value):
            yield SecretReference(match[1], match[2])
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from secret_references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secret_references(item)


def replaced_references(text: str, replacement: Callable[[SecretReference], str]) -> str:
    """Return `text` with something else in the place of every `{{name.key}}`."""
    return _SECRET.sub(lambda match: replacement(SecretReference(match[1], match[2])), text)


def refuse_literal_secrets(configuration: Mapping[str, object], secret_fields: frozenset[str]) -> None:
    """Raise LiteralSecret where a secret field holds anything but a reference, or a URL holds a password."""
    for field, value in configuration.items():
        if field in secret_fields and value is not None and not (isinstance(value, str) and is_reference(value)):
            raise LiteralSecret(
                f"The field {quoted(field)} holds a secret, so its value cannot stand in the configuration.",
                hint=(
                    "Keep the value with `stackledger secret create NAME --key=@file` and give {{NAME.key}},"
                    " or give env:VARIABLE."
                ),
            )
        _refuse_url_passwords(field, value)


def _refuse_url_passwords(field: str, value: object) -> None:
    if isinstance(value, str):
        for match in _URL_PASSWORD.finditer(value):
            if not is_reference(match[1]):
                raise LiteralSecret(
                    f"The URL in the field {quoted(field)} holds a password.",
                    hint="Put a reference {{NAME.key}} in its place, or make the whole value env:VARIABLE.",
                )
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_url_passwords(f"{field}.{key}", item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_url_passwords(field, item)
