"""What `--as-of POSITION|TIME` means: parsing it, and finding the position that it names."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from stackledger.domain.errors import NotFound, UsageError
from stackledger.domain.names import quoted, visible
from stackledger.eventlog.stored import unpacked
from stackledger.projections.engine import View
from stackledger.projections.schema import MARKS

_HINT = (
    "Give a position (a whole number), a time like '2026-11-20 22:59', '2026-11-20T22:59:01Z' or '2026-11-20', or now."
)


_MOST_DIGITS = 18


class AsOf(NamedTuple):
    """A position, or a time in microseconds since 1970; the other is None. Both None mean now."""

    position: int | None = None
    time: int | None = None


_NOW = AsOf()


def parsed(text: str) -> AsOf:
    """Return what `--as-of TEXT` asks for, or raise UsageError.

    A time without a zone is local time, a date without a time the beginning of that day. Of a local time that comes
    twice, because clocks are set back, the first is meant; one that they leap over is as long after the leap.
    """
    stripped = text.strip()
    if stripped.casefold() == "now":
        return _NOW
    digits = stripped.removeprefix("-").removeprefix("+")
    if digits.isascii() and digits.isdigit():
        if stripped.startswith("-"):
            raise UsageError(f"There is no position {visible(stripped)}: positions count from 1.", hint=_HINT)
        if len(digits) > _MOST_DIGITS:
            raise UsageError(f"The position {digits[:_MOST_DIGITS]}… is too large.", hint=_HINT)
        return AsOf(position=int(digits))
    try:
        moment = dt.datetime.fromisoformat(stripped.upper() if stripped.isascii() else stripped)
        if moment.tzinfo is None:
            # `astimezone` puts a time that clocks leapt over an hour before the leap; `timestamp` does not.
            seconds = int(moment.replace(microsecond=0).timestamp())
            return AsOf(time=seconds * 1_000_000 + moment.microsecond)
        since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"{quoted(text)} is neither a position nor a time.", hint=_HINT) from error
    return AsOf(time=since // dt.timedelta(microseconds=1))


def as_of(view: View, text: str, *, now: int) -> View:
    """Return the view as of what `--as-of TEXT` asks for; position 0, before the first event, has nothing in it.

    A time names the last position whose log time (the greatest time recorded so far) is not later; a time that is
    not before `now`, in microseconds since 1970, names the newest position. Raises UsageError for what cannot be
    understood, NotFound for a position that the log has not reached, LogDamaged for what is not before the damage.
    """
    asked = parsed(text)
    if asked.position is not None:
        if asked.position > view.newest:
            if view.damage:
                raise view.damage
            raise NotFound(
                f"There is no position {asked.position} yet: the log ends at {view.newest}.",
                hint="Give a smaller one, or none for what is there now.",
            )
        return view._replace(position=asked.position)
    position = view.newest if asked.time is None or asked.time >= now else _position_at(view, asked.time)
    if view.damage and position == view.newest:
        raise view.damage  # nobody knows when the next event was
    return view._replace(position=position)


def position_before(view: View, text: str, *, now: int) -> int:
    """Return the last position before what `--since TEXT` names, which is itself included in what follows."""
    asked = parsed(text)
    if asked.position is not None:
        return max(asked.position - 1, 0)
    return _position_at(view, (now if asked.time is None else asked.time) - 1)


def _position_at(view: View, time: int) -> int:
    mark = view.connection.execute(
        f"SELECT position FROM {MARKS} WHERE log_time <= ? AND position <= ? ORDER BY position DESC LIMIT 1",
        (time, view.newest),
    ).fetchone()
    position: int = mark[0] if mark else 0
    for stored in view.reader.scan(after=position, upto=view.newest):
        # The log's time at the mark is not later: it passes `time` where the first later event stands.
        if unpacked(stored.position, stored.data)["time"] > time:
            break
        position = stored.position
    return position
