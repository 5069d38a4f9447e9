"""Labels: short texts that people hang on stacks and components, `key=value`."""

from __future__ import annotations

from collections.abc import Mapping

from stackledger.domain.errors import InvalidValue
from stackledger.domain.names import quoted, visible

MAX_KEY = 128
MAX_VALUE = 1_024


def checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels, or raise InvalidValue for the first one that no list could show."""
    for key, value in labels.items():
        if not key or len(key) > MAX_KEY or "=" in key or visible(key) != key:
            raise InvalidValue(
                f"The label key {quoted(key[:MAX_KEY])} cannot be used.",
                hint=f"Keys have 1 to {MAX_KEY} visible characters and no '='.",
            )
        if len(value) > MAX_VALUE or visible(value) != value:
            raise InvalidValue(
                f"The value of the label {key!r} cannot be used.",
                hint=f"Values have at most {MAX_VALUE:,} visible characters.",
            )
    return dict(labels)
