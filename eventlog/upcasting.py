"""How bodies of earlier versions are read: each old type name, the name that follows it, and the change.

To change a body: give the event's class the next version, add its old type name here, and leave its golden
file in `tests/compat` as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Body = dict[str, Any]
Upcasters = Mapping[str, tuple[str, Callable[[Body], Body]]]

UPCASTERS: Upcasters = {}


def upcast(type_name: str, body: Body, upcasters: Upcasters = UPCASTERS) -> tuple[str, Body]:
    """Return type name and body as of the newest version; what is not known stays as it is."""
    while type_name in upcasters:
        type_name, change = upcasters[type_name]
        body = change(body)
    return type_name, body
