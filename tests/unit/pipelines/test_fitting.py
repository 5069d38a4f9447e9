"""What is refused before a run is what can never fit, and nothing else."""

from __future__ import annotations

import abc
import datetime as dt
import decimal
import enum
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, Protocol, TypedDict, TypeVar

import numpy as np
import pandas as pd
import pydantic
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import SVC

from stackledger.pipelines.fitting import may_be, words

T = TypeVar("T")
Bound = TypeVar("Bound", bound=int)
UserId = NewType("UserId", int)


class Sized(Protocol):
    size: int


class Options(TypedDict):
    depth: int


class Pair(NamedTuple):
    left: int


class Colour(enum.Enum):
    RED = 1


class Named(str, enum.Enum):  # noqa: UP042 - projects still write it so
    RED = "red"


class Box(Generic[T]):
    pass


class Plain:
    pass


class Other:
    pass


class Mixed(dict[str, int], Plain):
    pass


class Abstract(abc.ABC):
    @abc.abstractmethod
    def shape(self) -> int: ...


class Model(pydantic.BaseModel):
    pass


class Unwilling(type):
    def __subclasscheck__(cls, subclass: type) -> bool:
        raise RuntimeError


class Strange(metaclass=Unwilling):
    pass


MAY: list[tuple[object, object]] = [
    (int, int),
    (Any, str),
    (str, Any),
    (object, pd.DataFrame),
    (str, object),
    (bool, int),
    (int, bool),
    (int, float),
    (float, int),
    (int, complex),
    (np.float64, float),
    (np.int64, int),
    (int, decimal.Decimal),
    (int, int | None),
    (int | None, int),
    (Optional[str], str),  # noqa: UP045 - projects still write Optional
    (str | int, pd.DataFrame | int),
    (None, int | None),
    (list[int], list[str]),
    (list, typing.List[int]),  # noqa: UP006 - projects still write List
    (list[int], Sequence[int]),
    (tuple[int, ...], list[int]),
    (set, frozenset),
    (dict, Mapping[str, int]),
    (str, Iterable[str]),
    (str, Callable[[], int]),
    (bytes, bytearray),
    (Annotated[int, "a name"], Annotated[float, pydantic.Field(gt=0)]),
    (str, T),
    (T, int),
    (Bound, str),
    (str, "pd.DataFrame"),
    (UserId, str),
    (str, UserId),
    (pd.DataFrame, Sized),
    (str, Sized),
    (dict, Options),
    (Options, dict),
    (str, Options),
    (tuple, Pair),
    (Literal["a", "b"], str),
    (str, Literal["a"]),
    (enum.Enum, str),
    (str, Named),
    (Plain, dict),
    (dict, Plain),
    (Box[int], Box[str]),
    (Plain, Other),
    (ClassifierMixin, BaseEstimator),
    (ClassifierMixin, SVC),
    (str, Abstract),
    (Abstract, str),
    (str, Strange),
    (dt.datetime, dt.date),
    (type[int], type[str]),
    (pd.DataFrame, pd.Series),
]

NEVER: list[tuple[object, object]] = [
    (str, pd.DataFrame),
    (pd.DataFrame, str),
    (str, int),
    (int, str),
    (None, pd.DataFrame),
    (int | str, pd.DataFrame | None),
    (list[int], dict[str, int]),
    (np.ndarray, pd.DataFrame),
    (list, np.ndarray),
    (np.float64, np.ndarray),
    (str, Path),
    (str, bytes),
    (str, Other),
    (int, Colour),
    (dict, Model),
    (Annotated[str, "name"], pd.DataFrame),
    (Literal["a"], int),
    (dt.datetime, str),
    (SVC, str),
]


@pytest.mark.parametrize(("given", "wanted"), MAY)
def test_what_could_work_is_never_refused(given: object, wanted: object) -> None:
    assert may_be(given, wanted)


@pytest.mark.parametrize(("given", "wanted"), NEVER)
def test_what_no_value_can_be_is_refused(given: object, wanted: object) -> None:
    assert not may_be(given, wanted)


def test_annotations_are_shown_as_they_are_written() -> None:
    shown = {words(each) for each in (int, list[int], Optional[int], pd.DataFrame, Literal["a"])}  # noqa: UP045
    assert shown == {"int", "list[int]", "Optional[int]", "DataFrame", "Literal['a']"}
