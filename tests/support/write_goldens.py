"""Write the golden files that are missing: `python -m tests.support.write_goldens` in the root of the checkout.

A golden file holds an event type's data as they were stored when it was new, and stays as it is for ever. So
none is ever written anew; each type and version has two cases, one with every field filled and one with the least.
"""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue

from stackledger.domain.event import Envelope, Event
from stackledger.domain.events import EVENT_TYPES
from stackledger.eventlog.codec import encode, stored_tags

GOLDEN = Path(__file__).parents[1] / "compat" / "golden"

_FULL: dict[Any, Any] = {
    int: 1_763_683_200_123_456,
    float: 1.5,
    bool: True,
    JsonValue: {"text": "grün 🦆", "numbers": [0, -1, 2**63, 0.1], "flags": [True, False, None], "map": {"in": {}}},
}
_LEAST: dict[Any, Any] = {str: "", int: 0, float: 0.0, bool: False, JsonValue: None}

_ENVELOPES = {
    "full": Envelope(
        id="019aa3c0-7b40-7000-8000-00000000000a",
        time=1_763_683_200_123_456,
        actor="019aa3c0-7b40-7000-8000-00000000000b",
        host="019aa3c0-7b40-7000-8000-00000000000c",
        reason="weil es grün ist 🦆",
        ticket="ML-42",
        correlation="019aa3c0-7b40-7000-8000-00000000000d",
        causation="019aa3c0-7b40-7000-8000-00000000000e",
    ),
    "least": Envelope("", 0, "", "", None, None, "", None),
}


def golden_name(type_name: str) -> str:
    """Return the name of a type's golden file: `stack.registered.1.json`."""
    return f"{type_name.replace('/', '.')}.json"


def _value(annotation: Any, name: str, *, full: bool, place: int = 0) -> Any:  # noqa: PLR0911 - one for each kind
    if full and annotation is str:
        return f"{name} ü"
    plain = _FULL if full else _LEAST
    if annotation in plain:
        return plain[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _value(arguments[0], name, full=full, place=place)
    if origin is Literal:
        return arguments[-1 if full else 0]
    if origin in {Union, UnionType}:
        if NoneType in arguments:
            return _value(arguments[0], name, full=True) if full else None
        return _value(arguments[place % len(arguments)], name, full=full)
    if origin is tuple:
        return tuple(_value(arguments[0], f"{name} {place}", full=True) for place in (2, 1)) if full else ()
    if origin is dict:
        kinds = list(arguments[0]) if isinstance(arguments[0], type) and issubclass(arguments[0], Enum) else ["b", "a"]
        full_map = {
            kind: _value(arguments[1], f"{name} {kind}", full=True, place=place) for place, kind in enumerate(kinds[:2])
        }
        return full_map if full else {}
    if issubclass(annotation, Enum):
        return list(annotation)[1 if full else 0]
    return _model(annotation, full=full)


def _model(model: type[BaseModel], *, full: bool) -> Any:
    values = {name: _value(field.annotation, name, full=full) for name, field in model.model_fields.items()}
    return model(**values)


def _case(event: Event, envelope: Envelope) -> dict[str, Any]:
    return {
        "envelope": envelope._asdict(),
        "tags": list(stored_tags(event, envelope)),
        "reads_as": {"type": event.TYPE, "body": event.model_dump(mode="json")},
        "data": encode(event, envelope).hex(),
    }


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, event_type in EVENT_TYPES.items():
        file = GOLDEN / golden_name(name)
        if not file.exists():
            cases = [_case(_model(event_type, full=kind == "full"), _ENVELOPES[kind]) for kind in ("full", "least")]
            text = json.dumps({"type": name, "cases": cases}, ensure_ascii=False, indent=1)
            file.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
