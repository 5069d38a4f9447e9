"""Values that pydantic turns into JSON and back: models, dataclasses, enumerations, tuples, sets, dates."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import functools
import json
from typing import TYPE_CHECKING, Any

from stackledger.pipelines.materializers.materializer import NotExact, Resolver, comes_from, loaded_class, type_name

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_STANDARD = frozenset(
    {
        "builtins.complex",
        "builtins.frozenset",
        "builtins.set",
        "builtins.tuple",
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "decimal.Decimal",
        "uuid.UUID",
    }
)


class RecordMaterializer:
    """JSON as pydantic writes and reads it for the value's class, which has to be there when it is loaded.

    A value is read back before it is kept in this format: what a class's own validation changes, what JSON cannot
    tell apart, what stands outside of fields is left to others. Which fields of a model were set is not kept.
    """

    name = "record/1"
    runs_code = False

    def handles(self, value_type: type) -> bool:
        """Say whether pydantic may know the type."""
        return (
            type_name(value_type) in _STANDARD
            or dataclasses.is_dataclass(value_type)
            or issubclass(value_type, enum.Enum)
            or (comes_from(value_type, "pydantic") and hasattr(value_type, "model_fields"))
        )

    def dump(self, value: Any) -> bytes:
        """Return the value as JSON, or raise NotExact if it would not come back as it is."""
        value_type: Any = type(value)
        try:
            # A class of the script that runs is found in this process alone.
            if value_type.__module__ == "__main__" or loaded_class(type_name(value_type)) is not value_type:
                raise NotExact
            adapter = _adapter(value_type)
            plain = adapter.dump_python(value, mode="json", by_alias=True, round_trip=True, warnings="error")
            if isinstance(value, set | frozenset):
                # Equal sets of text come in another order in each process, but have one digest.
                plain.sort(key=json.dumps)
            data = json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
            back = self.load(data, type_name(value_type), lambda _: value_type)
            is_exact = _spelled(value) == _spelled(back)
        except Exception as error:
            # A class's validators and serializers are anybody's code.
            raise NotExact from error
        if not is_exact:
            raise NotExact
        return data

    def load(self, data: bytes, data_type: str, resolver: Resolver) -> object:
        """Return the value as its class reads it, or raise whatever the class raises."""
        value_type = resolver(data_type)
        if not self.handles(value_type):
            raise ValueError(f"{data_type} is not a class that records are made of")
        return _adapter(value_type).validate_json(data, by_alias=True, by_name=True)


@functools.lru_cache(maxsize=256)
def _adapter(value_type: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(value_type)


def _spelled(value: Any) -> tuple[type, object]:
    """Return what is equal for two values only if they are of the same types and equal, to the last part."""
    parts: object = value
    if isinstance(value, enum.Enum):
        parts = value.name
    elif dataclasses.is_dataclass(value) or hasattr(type(value), "model_fields"):
        parts = {name: _spelled(part) for name, part in _parts(value).items()}
    elif isinstance(value, dict):
        parts = [(_spelled(key), _spelled(part)) for key, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = list(map(_spelled, value))
    elif isinstance(value, set | frozenset):
        parts = sorted(repr(_spelled(part)) for part in value)
    elif isinstance(value, _TOLD_BY_REPR):
        parts = repr(value)
    return type(value), parts


# Equal numbers and times may differ in sign, digits or time zone; and NaN is not equal to itself.
_TOLD_BY_REPR = (float, complex, decimal.Decimal, dt.datetime, dt.time)


def _parts(value: Any) -> dict[str, object]:
    names = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    beside = ("__pydantic_extra__", "__pydantic_private__")
    return {name: getattr(value, name, None) for name in (*names, *beside)} | getattr(value, "__dict__", {})
