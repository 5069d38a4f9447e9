"""How bodies of earlier versions are read: each old type name, the name that follows it, and the change.

To change a body: give the event's class the next version, add its old type name here, and leave its golden
file in `tests/compat` as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from stackledger.eventlog.stored import MISSHAPEN, StoredEvent, misshapen, unpacked

Body = dict[str, Any]
Upcasters = Mapping[str, tuple[str, Callable[[Body], Body]]]

UPCASTERS: Upcasters = MappingProxyType({})


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


def stored_as(types: Iterable[str], upcasters: Upcasters = UPCASTERS) -> list[str]:
    """Return under which names events of these types are in the log: their own, and all that became one of them."""
    names = list(types)
    for name in names:
        names += (old for old, (new, _) in upcasters.items() if new == name and old not in names)
    return names
