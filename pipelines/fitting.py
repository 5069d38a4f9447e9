"""Whether values fit annotations, as far as classes can tell."""

from __future__ import annotations

import inspect
import numbers
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

_NUMBERS: dict[object, type] = {int: numbers.Integral, float: numbers.Real, complex: numbers.Complex}

_ALIKE: tuple[tuple[type, ...], ...] = (
    (numbers.Number,),
    (list, tuple, set, frozenset),
    (bytes, bytearray, memoryview),
)
"""Classes whose values are often used in each other's place, whatever the annotation says."""

_MADE_IN_PYTHON = 1 << 9  # Py_TPFLAGS_HEAPTYPE


def fits(value: object, annotation: object) -> bool:
    """Say whether a value is what an annotation promises, as far as its class can tell.

    Numbers of other libraries fit where they behave as the built-in ones; parameters of generic types, and
    annotations that are no classes, are not looked into.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        return fits(value, get_args(annotation)[0])
    if origin in {typing.Union, types.UnionType}:
        return any(fits(value, member) for member in get_args(annotation))
    if origin is typing.Literal:
        return value in get_args(annotation)
    if annotation is None:
        return value is None
    wanted = origin or annotation
    if wanted is Any or not isinstance(wanted, type) or getattr(wanted, "_is_protocol", False):
        return True
    return isinstance(value, _NUMBERS.get(wanted, wanted))


def may_be(given: object, wanted: object) -> bool:
    """Say whether a value announced as `given` may be what `wanted` asks for; so it may where that cannot be told.

    It cannot only where both are concrete classes, at least one of them compiled as `str`, `dict` and arrays are, and
    no class is both: two classes made in Python may always have a subclass in common, which nobody has imported yet.
    """
    return any(not _apart(one, other) for one in _classes(given) for other in _classes(wanted))


def words(annotation: object) -> str:
    """Return an annotation as it would be written, or nearly so."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")


def _classes(annotation: object) -> Iterator[object]:
    """Yield the classes that the values of an annotation are of; what is no class says nothing."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _classes(get_args(annotation)[0])
    elif origin in {typing.Union, types.UnionType}:
        for member in get_args(annotation):
            yield from _classes(member)
    elif origin is typing.Literal:
        yield from map(type, get_args(annotation))
    else:
        yield types.NoneType if annotation is None else origin or annotation


def _apart(one: object, other: object) -> bool:
    """Say whether nothing can be of both classes."""
    if not isinstance(one, type) or not isinstance(other, type) or _is_about_shape(one) or _is_about_shape(other):
        return False
    if _is_subclass(one, other) or _is_subclass(other, one):
        return False
    if any(_is_subclass(one, alike) and _is_subclass(other, alike) for alike in _ALIKE):
        return False
    if one.__flags__ & other.__flags__ & _MADE_IN_PYTHON:
        return False
    return not any(other in each.__mro__ for each in _subclasses(one))


def _is_about_shape(cls: type) -> bool:
    """Say whether values need not be of the class to be meant by it; typing.Any is a class since Python 3.11."""
    return cls is Any or getattr(cls, "_is_protocol", False) or typing.is_typeddict(cls) or inspect.isabstract(cls)


def _is_subclass(cls: type, of: type | tuple[type, ...]) -> bool:
    try:
        return issubclass(cls, of)
    except Exception:  # noqa: BLE001 - a metaclass is anybody's code, and may refuse to say
        return True


def _subclasses(cls: type) -> Iterator[type]:
    waiting: list[type] = [cls]
    seen = {cls}
    while waiting:
        subclasses: list[type] = type.__subclasses__(waiting.pop())
        for found in subclasses:
            if found not in seen:
                seen.add(found)
                waiting.append(found)
                yield found
