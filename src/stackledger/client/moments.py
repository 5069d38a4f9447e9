"""What a caller may give for a moment: a position of the log, or a time."""

from __future__ import annotations

from stackledger.projections.asof import parsed


def check_moment(text: str) -> None:
    """Raise UsageError for what is neither a position nor a time, before anything is read."""
    parsed(text)
