"""Hypothesis strategies for every type of event, made from the fields of its class."""

from __future__ import annotations

from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from stackledger.domain.event import Envelope, Event
from stackledger.domain.events import EVENT_TYPES
from stackledger.eventlog.stored import TIMES

_INTEGERS = st.integers(-(2**63), 2**64 - 1)  # what msgpack holds
_FLOATS = st.floats(allow_nan=False)  # one NaN does not equal another; a test of its own says that it is kept
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    int: _INTEGERS,
    float: _FLOATS,
    bool: st.booleans(),
    NoneType: st.none(),
    JsonValue: st.recursive(
        st.none() | st.booleans() | _INTEGERS | _FLOATS | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
}


def values(annotation: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one for each kind
    """Return a strategy for the values that a field with this annotation may have."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return values(arguments[0])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in {Union, UnionType}:
        return st.one_of(*map(values, arguments))
    if origin is tuple:
        assert arguments[1:] == (...,), f"only tuples of any length are expected, not {annotation}"
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return models(annotation)
    raise AssertionError(f"no strategy for {annotation}")


def models(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Return a strategy for instances of a model, each field on its own."""
    return st.builds(model, **{name: values(field.annotation) for name, field in model.model_fields.items()})


def events() -> st.SearchStrategy[Event]:
    """Return a strategy for events of every type."""
    return st.one_of(*map(models, EVENT_TYPES.values()))


ENVELOPES = st.builds(
    Envelope,
    id=st.uuids(version=4).map(str),
    time=st.integers(TIMES.start, TIMES.stop - 1),
    actor=st.text(max_size=10),
    host=st.text(max_size=10),
    reason=st.none() | st.text(max_size=20),
    ticket=st.none() | st.text(max_size=10),
    correlation=st.text(max_size=10),
    causation=st.none() | st.text(max_size=10),
)
