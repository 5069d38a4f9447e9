"""Moments as callers give them, a position of the log or a time, and as they are told them."""

from __future__ import annotations

from datetime import UTC, datetime


def check_moment(text: str) -> None:
    """Raise UsageError for what is neither a position nor a time, before anything is read."""
    from stackledger.projections.asof import parsed  # most queries are about now

    parsed(text)


def iso(microseconds: int | None) -> str | None:
    """Return microseconds since 1970 as ISO 8601 in UTC."""
    if microseconds is None:
        return None
    moment = datetime.fromtimestamp(microseconds // 1_000_000, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{microseconds % 1_000_000:06d}Z"
