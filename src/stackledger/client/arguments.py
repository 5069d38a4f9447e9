"""What callers give from Python, checked before anything is read: what is of the wrong type is refused in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import InvalidValue, UsageError, near_names
from stackledger.domain.names import quoted


def kind_of(given: object) -> ComponentType:
    """Return a type of component, given as such or as its text, or raise UsageError with near names."""
    try:
        return ComponentType(given)  # type: ignore[arg-type]  # whatever it is
    except ValueError as error:
        known = [kind.value for kind in ComponentType]
        raise UsageError(
            f"There is no type of component {quoted(str(given))}.",
            near=near_names(str(given).replace("-", "_"), known),
            hint=f"The types are {', '.join(known)}.",
        ) from error


def text(given: object, what: str) -> str:
    """Return a text, or raise InvalidValue."""
    if not isinstance(given, str):
        raise _wrong(given, what, "a text")
    return given


def at_most(given: object, what: str, most: int) -> None:
    """Refuse a text, which may be missing, of more characters."""
    if given is not None and len(text(given, what)) > most:
        raise InvalidValue(
            f"{what} has {len(str(given)):,} characters, and may have {most:,}.",
            hint="Keep what is longer elsewhere, and say where.",
        )


def number(given: object, what: str) -> int:
    """Return a whole number, or raise InvalidValue."""
    if not isinstance(given, int) or isinstance(given, bool):
        raise _wrong(given, what, "a whole number")
    return given


def mapping(given: object, what: str) -> Mapping[str, Any]:
    """Return a mapping whose keys are texts, nothing as an empty one, or raise InvalidValue."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise _wrong(given, what, "a mapping of texts")
    return given


def texts_by_key(given: object, what: str, *, gone: bool = False) -> dict[str, Any]:
    """Return a mapping of texts to texts, with `gone` also to None, or raise InvalidValue."""
    found = mapping(given, what)
    return {
        key: None if gone and value is None else text(value, f"{what}: {quoted(key)}") for key, value in found.items()
    }


def texts(given: object, what: str) -> tuple[str, ...]:
    """Return several texts, of which one may be given alone, or raise InvalidValue."""
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Sequence | set | frozenset) or isinstance(given, bytes):
        raise _wrong(given, what, "a text or several")
    return tuple(text(each, what) for each in given)


def known(given: Mapping[str, object], filters: Sequence[str]) -> dict[str, Any]:
    """Return the filters of a list that are given, or raise UsageError for one that it does not know."""
    for name, value in given.items():
        if name not in filters:
            raise UsageError(
                f"This list has no filter {quoted(name)}.",
                near=near_names(name, filters),
                hint=f"Its filters are {', '.join(filters)}.",
            )
        if name != "label" and value is not None:
            text(value, f"The filter {name}")
    return dict(given)


def _wrong(given: object, what: str, wanted: str) -> InvalidValue:
    return InvalidValue(f"{what} is {wanted}, not {type(given).__name__}.")


def alone(name: object, *others: object) -> None:
    """Refuse a new name together with other changes: each change is one decision, and half of two is none."""
    text(name, "The new name")
    if any(others):
        raise UsageError("A new name is a change of its own.", hint="Give it in a call of its own.")
