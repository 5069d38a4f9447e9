"""What the annotation of a configuration's field says: can it be typed as text, is it a structure, in what words."""

from __future__ import annotations

import enum
import types
from collections.abc import Iterator
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue, SecretStr

_WORDS: dict[type, str] = {
    str: "text",
    SecretStr: "text",
    PurePath: "path",
    bool: "true or false",
    int: "whole number",
    float: "number",
    list: "list",
    tuple: "list",
    set: "list",
    frozenset: "list",
    dict: "map",
    BaseModel: "map",
}
_TEXTS = (str, SecretStr, PurePath)
_STRUCTURES = (list, tuple, set, frozenset, dict, BaseModel)


def takes_text(annotation: Any) -> bool:
    """Say whether any text of one's own choice can be a value of the field."""
    return any(
        leaf is Any or leaf is JsonValue or (isinstance(leaf, type) and _is_text(leaf) and not _choices(leaf))
        for leaf in _leaves(annotation)
    )


def takes_secret(annotation: Any) -> bool:
    """Say whether a value of the field is hidden by pydantic itself."""
    return any(leaf is SecretStr for leaf in _leaves(annotation))


def takes_structure(annotation: Any) -> bool:
    """Say whether a list or a map can be a value of the field."""
    return any(
        leaf is Any
        or leaf is JsonValue
        or (isinstance(origin := get_origin(leaf) or leaf, type) and issubclass(origin, _STRUCTURES))
        for leaf in _leaves(annotation)
    )


def type_words(annotation: Any) -> str:
    """Return the type of the field in words: `text`, `whole number or list of text`, `one of fast, slow`."""
    return " or ".join(dict.fromkeys(_words(leaf) for leaf in _leaves(annotation) if leaf is not type(None)))


def _leaves(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in {Union, types.UnionType}:
        for member in get_args(annotation):
            yield from _leaves(member)
    elif get_origin(annotation) is Annotated:
        yield from _leaves(get_args(annotation)[0])
    elif hasattr(annotation, "__value__") and annotation is not JsonValue:
        yield from _leaves(annotation.__value__)
    else:
        yield annotation


def _is_url(kind: type) -> bool:
    # By the name of its module: importing the URLs of pydantic would cost every registration 5 % of its time.
    return any(base.__module__ == "pydantic.networks" for base in kind.__mro__)


def _is_text(kind: type) -> bool:
    return issubclass(kind, _TEXTS) or _is_url(kind)


def _choices(leaf: Any) -> tuple[object, ...]:
    if get_origin(leaf) is Literal:
        return get_args(leaf)
    if isinstance(leaf, type) and issubclass(leaf, enum.Enum):
        return tuple(member.value for member in leaf)
    return ()


def _words(leaf: Any) -> str:
    if choices := _choices(leaf):
        return f"one of {', '.join(map(str, choices))}"
    if leaf is Any or leaf is JsonValue:
        return "JSON"
    kind = get_origin(leaf) or leaf
    if not isinstance(kind, type):
        return str(leaf)
    other = "URL" if _is_url(kind) else kind.__name__
    words = next((words for known, words in _WORDS.items() if issubclass(kind, known)), other)
    members = [member for member in get_args(leaf) if member is not Ellipsis]
    return f"{words} of {type_words(members[-1])}" if members else words
