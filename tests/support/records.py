"""Classes whose values tests hand from step to step; they live in a module, as a class has to that is found again."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, field_validator


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: float
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Slotted:
    number: float


@dataclass
class Loose:
    anything: Any


@dataclass
class Computed:
    start: InitVar[int]
    total: int = field(init=False)

    def __post_init__(self, start: int) -> None:
        self.total = start * 2


class Model(BaseModel):
    name: str
    score: float = 0.0
    point: Point | None = None
    colour: Colour = Colour.RED
    day: dt.date | None = None
    price: Decimal | None = None
    members: set[int] = Field(default_factory=set)
    anything: Any = None


class Open(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    pairs: tuple[int, int] = (0, 0)
    _note: str = PrivateAttr(default="")


class Hidden(BaseModel):
    token: SecretStr


class Changing(BaseModel):
    word: str

    @field_validator("word")
    @classmethod
    def _longer(cls, value: str) -> str:
        return value + "!"


class Gadget:
    """Pickled, it is a program: loading it calls what it says."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.path, "w")
