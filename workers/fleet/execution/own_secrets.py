"""The secrets of a worker: it has no vault, and finds their values in its environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from stackledger.domain.errors import SecretError
from stackledger.domain.names import quoted

_BEGINNING = "STACKLEDGER_SECRET_"


def variable_of(name: str, key: str) -> str:
    """Return the variable in which a worker finds the value of one key of a secret."""
    return f"{_BEGINNING}{_spelled(name)}_{_spelled(key)}"


def own_secret(name: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the values of a secret by key, or raise SecretError."""
    start = variable_of(name, "")
    values = _BySpelling(
        (key.removeprefix(start), value) for key, value in environment.items() if key.startswith(start)
    )
    if not values:
        raise SecretError(
            f"The secret {quoted(name)} is not known to this worker.",
            hint=f"Set {start}KEY in the worker's environment, with the name of the key in the place of KEY.",
        )
    return values


class _BySpelling(dict[str, str]):
    """Finds keys as the names of environment variables spell them."""

    def __contains__(self, key: object) -> bool:
        return super().__contains__(_spelled(key))

    def __getitem__(self, key: str) -> str:
        return super().__getitem__(_spelled(key))


def _spelled(key: object) -> str:
    return re.sub(r"[^0-9A-Za-z]", "_", str(key)).upper()
