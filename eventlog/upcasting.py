"""How bodies of earlier versions are read: each old type name, the name that follows it, and the change.

To change a body: give the event's class the next version, add its old type name here, and leave its golden
file in `tests/compat` as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from stackledger.eventlog.stored import MISSHAPEN, StoredEvent, misshapen, unpacked

Body = dict[str, Any]
Upcasters = Mapping[str, tuple[str, Callable[[Body], Body]]]


def _with_places(body: Body) -> Body:
    """Before there were fleets, every step ran where its run did, and no source was sent anywhere."""
    steps = [{**step, "queue": "default", "timeout": None} for step in body["steps"]]
    return {**body, "code": {**body["code"], "archive": None}, "steps": steps}


def _without_requirements(body: Body) -> Body:
    """Before steps could say what they require, nothing was looked at, and nobody said where parameters are kept."""
    unsaid: Body = {"requirements": [], "kept_parameters": None}
    return {**body, "steps": [{**step, **unsaid} for step in body["steps"]]}


def _executed_here(body: Body) -> Body:
    return {**body, "execution": None}


UPCASTERS: Upcasters = MappingProxyType(
    {
        "run.started/1": ("run.started/2", _with_places),
        "run.started/2": ("run.started/3", _without_requirements),
        "step.succeeded/1": ("step.succeeded/2", _executed_here),
        "step.failed/1": ("step.failed/2", _executed_here),
    }
)


def opened(stored: StoredEvent, upcasters: Upcasters = UPCASTERS) -> tuple[dict[str, Any], str, Body]:
    """Return an event's envelope, and its type and body as of the newest version, or raise LogDamaged.

    What is not known stays as it is.
    """
    envelope = unpacked(stored.position, stored.data)
    type_name, body = stored.type, envelope.pop("body")
    while type_name in upcasters:
        type_name, change = upcasters[type_name]
        try:
            body = change(body)
        except MISSHAPEN as error:
            raise misshapen(stored.position, stored.type, error) from error
    return envelope, type_name, body


def newest(type_name: str, upcasters: Upcasters = UPCASTERS) -> str:
    """Return as which type events of this one are read."""
    while type_name in upcasters:
        type_name, _ = upcasters[type_name]
    return type_name
