"""Labels: short texts that people hang on stacks and components, `key=value`."""

from __future__ import annotations

from collections.abc import Mapping

from stackledger.domain.errors import InvalidValue, NotFound, near_names
from stackledger.domain.names import quoted, visible

MAX_KEY = 128
MAX_VALUE = 1_024


def checked_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels, or raise InvalidValue for the first one that no list could show."""
    for key, value in labels.items():
        if not key or len(key) > MAX_KEY or "=" in key or not _on_one_line(key):
            raise InvalidValue(
                f"The label key {quoted(key[:MAX_KEY])} cannot be used.",
                hint=f"Keys have 1 to {MAX_KEY} visible characters and no '='.",
            )
        if len(value) > MAX_VALUE or not _on_one_line(value):
            raise InvalidValue(
                f"The value of the label {key!r} cannot be used.",
                hint=f"Values have at most {MAX_VALUE:,} visible characters.",
            )
    return dict(labels)


def changed_labels(labels: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the labels with these set, and those with None taken off; NotFound if such a one is not there."""
    for key, value in changes.items():
        if value is None and key not in labels:
            raise NotFound(f"There is no label {quoted(key)} to take off.", near=near_names(key, labels))
    return {key: value for key, value in {**labels, **changes}.items() if value is not None}


def _on_one_line(text: str) -> bool:
    return visible(text) == text and "\n" not in text
