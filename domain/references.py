"""References to secrets: `{{name.key}}` and `env:VARIABLE`. Only these may stand where a secret is wanted."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from stackledger.domain.errors import LiteralSecret
from stackledger.domain.names import quoted
from stackledger.domain.url_passwords import REFERENCE, VARIABLE, place_of_url_password

_SECRET = re.compile(REFERENCE)
_ENVIRONMENT = re.compile(VARIABLE)


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
        refuse_url_passwords(field, value)


def refuse_url_passwords(field: str, value: object) -> None:
    """Raise LiteralSecret where a URL in a JSON-like value holds a password; `field` says where the value stands."""
    place = place_of_url_password(value, field)
    if place is not None:
        raise LiteralSecret(
            f"The URL in the field {quoted(place)} holds a password, which the log would keep for ever.",
            hint=(
                "Take it out: in a configuration a reference {{NAME.key}} can stand in its place, or env:VARIABLE in"
                " that of the whole value, and a step can read it itself. An @ that ends no password is written %40."
            ),
        )
