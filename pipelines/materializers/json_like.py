"""What JSON can say, as JSON: None, bool, int, float, str, list, and dict with text as keys.

Python's dialect, in which a float may be NaN or infinite. Numbers have any size, and text is any that UTF-8 can hold.
Subclasses, tuples and all else would come back as something else, so they are left to other formats.
"""

from __future__ import annotations

import json
from itertools import chain

from stackledger.pipelines.materializers.materializer import NotExact, Resolver, type_name

_SCALARS = frozenset({type(None), bool, int, float, str})
_CONTAINERS = frozenset({list, dict})


class JsonMaterializer:
    """UTF-8 text in Python's dialect of JSON."""

    name = "json/1"
    runs_code = False

    def handles(self, value_type: type) -> bool:
        """Say whether the type is one of JSON's own."""
        return value_type in _SCALARS or value_type in _CONTAINERS

    def dump(self, value: object) -> bytes:
        """Return the value as JSON, or raise NotExact if any part of it is not JSON-like."""
        return encoded(value)

    def load(self, data: bytes, data_type: str, resolver: Resolver) -> object:  # noqa: ARG002  JSON knows its types
        """Return the value, or raise ValueError if the bytes are not JSON of that type."""
        value = json.loads(data.decode())
        if type_name(type(value)) != data_type:
            raise ValueError(f"they hold a {type(value).__name__}")
        return value


def encoded(value: object) -> bytes:
    """Return the value as JSON, or raise NotExact if any part of it is not JSON-like."""
    try:
        _check([value])
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), check_circular=False).encode()
    except (ValueError, RecursionError) as error:
        # Lone surrogates, ints of more digits than Python parses, cycles, nesting deeper than the stack.
        raise NotExact from error


def _check(values: list[object]) -> None:
    """Raise NotExact unless all the values, at any depth, are JSON-like."""
    # Level by level, each with the speed of C: there may be millions.
    level = values
    for _ in range(500):
        containers = set(map(type, level)) - _SCALARS
        if not containers:
            return
        if containers - _CONTAINERS:
            raise NotExact
        lists = [part for part in level if type(part) is list]
        dicts = [part for part in level if type(part) is dict]
        if set(map(type, chain.from_iterable(dicts))) - {str}:
            raise NotExact
        level = [*chain.from_iterable(lists), *chain.from_iterable(part.values() for part in dicts)]
    raise NotExact
