"""Parameters: values given to steps and pipelines as they are, kept in the log, and therefore like JSON."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import (
    JsonValue,
    PydanticSchemaGenerationError,
    PydanticUserError,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    ValidationError,
)

from stackledger.domain.errors import LiteralSecret, PipelineError
from stackledger.domain.names import visible
from stackledger.domain.url_passwords import url_passwords
from stackledger.pipelines.fitting import fits, words

if TYPE_CHECKING:
    from collections.abc import Hashable

_DEEPEST = 100
_GREATEST = 2**63
_SECRETS = (SecretStr, SecretBytes)
_READ_IT = "Let the step itself read it, from the environment or with Client().get_secret."


def stored_parameter(value: object, annotation: object, where: str) -> JsonValue:
    """Return a parameter as the log keeps it, converted to what its annotation asks for, or raise PipelineError.

    Whatever pydantic can turn into JSON and back may be a parameter: also models, dataclasses, enumerations, paths
    and dates, if the argument is annotated as such.
    """
    adapter = _adapter(annotation)
    if adapter is None:
        if not fits(value, annotation):
            raise PipelineError(f"{where} is {shown(value)}, not {words(annotation)}.")
    else:
        try:
            valid = adapter.validate_python(value)
        except ValidationError as error:
            raise PipelineError(
                f"{where} is {shown(value)}, which is not {words(annotation)}: {_problem(error)}."
            ) from error
        if _holds_secret(valid if isinstance(valid, _SECRETS) else adapter.dump_python(valid)):
            raise PipelineError(
                f"{where} holds a secret, and parameters are kept in the log.",
                hint=_READ_IT,
            )
        try:
            value = _dumped(adapter, valid)
            _loaded(adapter, value)
        except Exception as error:
            # Serializers and validators are anybody's code.
            raise PipelineError(
                f"{where} is {shown(value)}, which cannot be kept as JSON and read back: {error}."
            ) from error
    return _json_like(value, where, 0)


def restored_parameter(stored: JsonValue, annotation: object) -> object:
    """Return what a step gets for a stored parameter; each call returns a value of its own."""
    adapter = _adapter(annotation)
    return _copied(stored) if adapter is None else _loaded(adapter, stored)


def _dumped(adapter: TypeAdapter[Any], value: object) -> object:
    return adapter.dump_python(value, mode="json", by_alias=True, round_trip=True)


def _loaded(adapter: TypeAdapter[Any], stored: object) -> object:
    return adapter.validate_python(stored, by_alias=True, by_name=True)


def _holds_secret(value: object) -> bool:
    """Say whether pydantic hides a part of the value; what came back would be its asterisks."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ()
    return isinstance(value, _SECRETS) or any(map(_holds_secret, members))


def _problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    path = "".join(f"[{part!r}]" for part in problem["loc"])
    return f"{path}: {problem['msg']}" if path else problem["msg"]


def _adapter(annotation: object) -> TypeAdapter[Any] | None:
    if annotation is Any or annotation is object:
        return None
    try:
        return _made_adapter(annotation)
    except TypeError:
        return _make_adapter(annotation)


def _make_adapter(annotation: object) -> TypeAdapter[Any] | None:
    try:
        return TypeAdapter[Any](annotation)  # type: ignore[arg-type]  # what is no type is refused
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None


@lru_cache(maxsize=256)
def _made_adapter(annotation: Hashable) -> TypeAdapter[Any] | None:
    return _make_adapter(annotation)


def _json_like(value: object, where: str, depth: int) -> JsonValue:
    if depth > _DEEPEST:
        raise PipelineError(f"{where} is nested more than {_DEEPEST} levels deep, or holds itself.")
    match value:
        case None | bool():
            return value
        case str():
            return _text(value, where)
        case int():
            if not -_GREATEST <= value < _GREATEST:
                raise PipelineError(
                    f"{where} is a whole number that does not fit into 64 bits.",
                    hint="Pass it as text, or make it inside the step.",
                )
            return int(value)
        case float():
            if not math.isfinite(value):
                raise PipelineError(
                    f"{where} is {value}, which JSON cannot say.", hint="Pass None, or make the value inside the step."
                )
            return float(value)
        case list() | tuple():
            return [_json_like(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
        case dict():
            return {
                _key(key, where): _json_like(item, f"{where}[{visible(repr(key))}]", depth + 1)
                for key, item in value.items()
            }
        case _:
            raise PipelineError(
                f"{where} is {shown(value)}, which is neither JSON nor annotated as something that can become JSON.",
                hint="Parameters are numbers, texts, lists and the like; let a step make the value and put it out.",
            )


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise PipelineError(f"{where} has the key {shown(key)}; only texts can be keys.")
    return _text(key, where)


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise PipelineError(f"{where} holds a text that is not Unicode: {error.reason}.") from error
    if any(url_passwords(value)):
        raise LiteralSecret(f"{where} holds a URL with a password, and parameters are kept in the log.", hint=_READ_IT)
    return str(value)


def _copied(value: JsonValue) -> JsonValue:
    match value:
        case list():
            return [_copied(item) for item in value]
        case dict():
            return {key: _copied(item) for key, item in value.items()}
        case _:
            return value


def shown(value: object) -> str:
    """Return a value for a message: itself if it is short and plain, its type otherwise."""
    text = visible(repr(value)) if isinstance(value, str | int | float | bool | None) else ""
    return text if 0 < len(text) <= 60 else f"a value of the type {type(value).__qualname__}"  # noqa: PLR2004 - a line
