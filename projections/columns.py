"""What the columns of rows may hold: plain values, and JSON of known shapes.

A log can be edited by hand. What has another shape than the type of its event says is refused by the fold, where its
position is known, and not by whoever reads the rows one day.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
import json
from collections.abc import Iterable
from typing import Any, NamedTuple


class MapOf(NamedTuple):
    """The shape of a map, whatever its keys, with values of one shape."""

    values: Any


TEXTS = [str]
"""A list in a shape says what all items are, a map which keys there are at least, a type is itself."""

_PLAIN = {str, int, float, bool, type(None)}

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def check_plain(values: Iterable[Any]) -> None:
    """Raise TypeError unless a column can hold each of the values as it is."""
    if not _PLAIN.issuperset(map(type, values)):
        raise TypeError("a list, a map or bytes in place of a plain value")


def encoded(value: Any, shape: Any = dict) -> str:
    """Return a value as JSON for a column, or raise TypeError or KeyError if it has another shape."""
    if type(value) is not shape:
        _check(value, shape)
    return _encode(value)


def _check(value: Any, shape: Any) -> None:
    kind: Any = shape if isinstance(shape, type) else list if isinstance(shape, list) else dict
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} in place of {kind.__name__}")
    if kind is list:
        pairs = [(each, shape[0]) for each in value]
    elif isinstance(shape, MapOf):
        pairs = [(each, shape.values) for each in value.values()]
    else:
        pairs = [(value[key], inner) for key, inner in shape.items()]
    for each, inner in pairs:
        if type(each) is not inner:  # most are plain, and need no call of their own
            _check(each, inner)
