"""Between what was typed and what the log keeps: a component's configuration, checked by its flavor."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from stackledger.domain.errors import (
    FlavorError,
    InvalidConfiguration,
    NotFound,
    SecretError,
    StackledgerError,
    near_names,
    raised,
)
from stackledger.domain.names import quoted, visible
from stackledger.domain.references import refuse_literal_secrets
from stackledger.flavors.field_types import takes_structure, takes_text, type_words
from stackledger.flavors.flavor import REFERENCES, Flavor, FlavorConfig, holds_reference
from stackledger.flavors.resolving import Redactor, resolve

MAX_DEPTH = 50
"""Levels of nesting that a configuration may have: more is a mistake, or made to make readers fail."""


_LISTS = frozenset({"list_type", "tuple_type", "set_type", "frozen_set_type"})
_MAPS = frozenset({"dict_type", "mapping_type", "model_type", "dataclass_type"})
"""Pydantic's words for what was no list and no map; hers are about Python, and do not say how to write one."""


class FieldDescription(NamedTuple):
    """A field of a flavor's configuration, for help, `flavor describe` and questions."""

    name: str
    type: str
    required: bool
    default: JsonValue
    secret: bool
    description: str


def describe_fields(flavor: type[Flavor]) -> list[FieldDescription]:
    """Return what the flavor can be configured with, in the order in which it is declared."""
    secrets = flavor.config_class.secret_fields()
    defaults = flavor.config_class.model_construct().model_dump(mode="json", warnings=False)
    return [
        FieldDescription(
            name=name,
            type=type_words(field.annotation),
            required=field.is_required(),
            default=None if name in secrets else defaults.get(name),
            secret=name in secrets,
            description=field.description or "",
        )
        for name, field in flavor.config_class.model_fields.items()
    ]


def validated(flavor: type[Flavor], raw: Mapping[str, object]) -> dict[str, JsonValue]:
    """Return the configuration as the log keeps it, or raise InvalidConfiguration or LiteralSecret.

    Values may be text, as the command line has them, or what JSON can hold. The result has the given fields only, made
    uniform by the flavor, in the order in which the flavor declares them; what is not given follows the flavor's
    defaults when the component is used. References stay as they were given.
    """
    config_class = flavor.config_class
    _refuse_depth(raw)
    refuse_literal_secrets(raw, config_class.secret_fields())
    given = {name: _parsed(flavor, name, value) for name, value in raw.items()}
    _refuse_depth(given)
    for text in _texts(given):
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise InvalidConfiguration(f"{quoted(text[:100])} in the configuration is not text in UTF-8.")
    # A reference is not of the type that the model would write.
    kept = {name: value for name, value in given.items() if isinstance(value, str) and holds_reference(value)}
    try:
        config = config_class.model_validate(given, context={REFERENCES: True})
        written = config.model_dump(mode="json", exclude_unset=True, exclude=set(kept)) | kept
    except ValidationError as error:
        _refuse(flavor, error, Redactor())
    except Exception as error:
        raise _broken(flavor, error, Redactor()) from error
    return {name: written[name] for name in config_class.model_fields if name in written}


def configured(
    flavor: type[Flavor],
    configuration: Mapping[str, JsonValue],
    lookup: Callable[[str], Mapping[str, str]],
    redactor: Redactor | None = None,
    environment: Mapping[str, str] = os.environ,
) -> FlavorConfig:
    """Return the configuration for use, with the value for each reference.

    Raises SecretError for what is missing, InvalidConfiguration for a value that the flavor refuses.
    `lookup` gives the values of a secret by its name. The values are made known to the redactor; no message holds one.
    """
    known = redactor or Redactor()
    resolved = resolve(configuration, lookup, known, environment)
    try:
        return flavor.config_class.model_validate(resolved)
    except ValidationError as error:
        _refuse(flavor, error, known)
    except Exception as error:  # noqa: BLE001 - a flavor of somebody's own may raise anything
        raise _broken(flavor, error, known) from None  # its traceback could hold a secret's value


def prepare(
    flavor: type[Flavor],
    configuration: Mapping[str, JsonValue],
    home: Path,
    component_id: str,
    lookup: Callable[[str], Mapping[str, str]],
) -> None:
    """Make and check what a new component needs, with the values that its references stand for.

    Where a value cannot be had, nothing is done: a variable may be set only where the component is used, and the
    registry itself refuses a secret that is not there. `lookup` gives the values of a secret by its name.
    """
    if flavor.prepare.__func__ is Flavor.prepare.__func__:  # type: ignore[attr-defined]  # of a class method
        return  # no value has to be read for a flavor that has nothing to prepare
    redactor = Redactor()
    try:
        config = configured(flavor, configuration, lookup, redactor)
    except (NotFound, SecretError):
        return
    try:
        flavor.prepare(config, home, component_id)
    except StackledgerError as error:
        error.message, error.hint = redactor.redacted(error.message), redactor.redacted(error.hint)
        error.args = (error.message,)
        raise
    except Exception as error:  # noqa: BLE001 - a flavor of somebody's own may raise anything
        raise _broken(flavor, error, redactor, "to prepare a component") from None


def _refuse_depth(configuration: Mapping[str, object]) -> None:
    """Raise InvalidConfiguration for what is nested too deeply for those who read it later, level by level."""
    level: list[object] = [configuration]
    for _ in range(MAX_DEPTH):
        level = [part for value in level for part in _parts(value)]
        if not level:
            return
    raise InvalidConfiguration(f"The configuration is nested more than {MAX_DEPTH} levels deep.")


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for item in value.items() for part in item for text in _texts(part))
    elif isinstance(value, list | tuple):
        yield from (text for part in value for text in _texts(part))


def _parsed(flavor: type[Flavor], name: str, value: object) -> object:
    field = flavor.config_class.model_fields.get(name)
    if (
        field is None
        or not isinstance(value, str)
        or not value.lstrip().startswith(("{", "["))
        or not takes_structure(field.annotation)
        or holds_reference(value)
    ):
        return value
    try:
        return json.loads(value, parse_constant=_no_constant, object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError) as error:
        if takes_text(field.annotation):
            return value
        detail = str(error) or "it is nested too deeply"
        raise InvalidConfiguration(f"The value of {quoted(name)} is not JSON: {detail}.") from error


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number of JSON")


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands in it twice")
    return found


def _refuse(flavor: type[Flavor], error: ValidationError, redactor: Redactor) -> NoReturn:
    """Raise InvalidConfiguration for all that is wrong. The validation's own exception could hold a secret's value."""
    fields = list(flavor.config_class.model_fields)
    details = error.errors(include_url=False, include_input=False)
    unknown = [str(detail["loc"][0]) for detail in details if detail["type"] == "extra_forbidden"]
    near = [name for key in unknown for name in near_names(key, fields)]
    wrong = "; ".join(dict.fromkeys(_sentence(detail) for detail in details))
    raise InvalidConfiguration(
        redactor.redacted(f"The {flavor.type.words} flavor {flavor.name!r} refuses this configuration: {wrong}."),
        near=near,
        hint=f"`stackledger {flavor.type.group} flavor describe {flavor.name}` lists what it takes.",
    ) from None


def _broken(
    flavor: type[Flavor], error: Exception, redactor: Redactor, to_do: str = "to check this configuration"
) -> FlavorError:
    """Return what is said of a flavor of somebody's own that fails where it should refuse."""
    words = raised(type(error).__name__, visible(str(error)).removesuffix("."))
    return FlavorError(
        redactor.redacted(f"The {flavor.type.words} flavor {flavor.name!r} failed {to_do}: {words}."),
        hint="What it does not take it refuses with a ValueError; all else is for whoever wrote it to mend.",
    )


def _sentence(detail: ErrorDetails) -> str:
    name = quoted(".".join(map(str, detail["loc"]))) if detail["loc"] else "the whole"
    if detail["type"] == "extra_forbidden":
        return f"{name} is not known"
    if detail["type"] == "missing":
        return f"{name} is required"
    if detail["type"] in _LISTS:
        return f'{name} is a list, as in \'["a", "b"]\''
    if detail["type"] in _MAPS:
        return f'{name} is a map, as in \'{{"key": "value"}}\''
    cause = detail.get("ctx", {}).get("error")
    message = str(cause) if cause else detail["msg"]
    return f"{name}: {visible(message).removesuffix('.')}"
