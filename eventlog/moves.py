"""What a log says of itself: which one it is, under which incarnation it goes on, and whether it has moved away.

After `log.moved` nothing comes into a log but `log.adopted`, so the last event alone says whether it has moved. Both
recorders look at that within the very append, whoever appends what on which condition.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from stackledger.domain.errors import LogMoved
from stackledger.domain.incarnations import called
from stackledger.eventlog.stored import MISSHAPEN, LogReader, StoredEvent, misshapen, unpacked

MOVED = "log.moved/1"
ADOPTED = "log.adopted/1"


class Standing(NamedTuple):
    """A log's id, the incarnation under which it goes on, empty for the first, and its move if it is away."""

    log_id: str
    incarnation: str = ""
    moved: StoredEvent | None = None

    @property
    def name(self) -> str:
        """What the log is called on fleets."""
        return called(self.log_id, self.incarnation)


def standing(reader: LogReader) -> Standing | None:
    """Return what a log says of itself, None for an empty one."""
    first = next(iter(reader.scan(upto=1)), None)
    if first is None:
        return None
    log_id = str(_of_body(first, "log_id"))
    incarnation, moved = "", None
    for stored in reader.scan(tags=(f"log:{log_id}",)):
        if stored.type == MOVED:
            moved = stored
        elif stored.type == ADOPTED:
            incarnation, moved = str(_of_body(stored, "incarnation")), None
    return Standing(log_id, incarnation, moved)


def newest_move(reader: LogReader) -> StoredEvent | None:
    """Return the move of a log that is away, None for one that goes on here."""
    last = reader.at(reader.head())
    return last if last is not None and last.type == MOVED else None


def refuse_append(last_type: str | None, types: Iterable[str], name: str) -> None:
    """Raise LogMoved where events of these types would come into a log whose last event is its move."""
    if last_type == MOVED and ADOPTED not in types:
        raise LogMoved(f"The log {name} {WAS_MOVED}.", hint=LOOK)


WAS_MOVED = "was moved: it goes on somewhere else, and nothing more comes into this one"
LOOK = "`stackledger doctor` says when, by whom and where to, as far as that is known."


def moved_away(name: str, moved: StoredEvent, names: Mapping[str, str]) -> LogMoved:
    """Return what to raise where a log is away; `names` are those behind ids of subjects."""
    return LogMoved(
        f"{told(name, moved, names)}, and nothing more comes into this one.",
        hint="Use it where it is now. If it was imported nowhere, `stackledger log export FILE` writes its file again,"
        " and `stackledger log adopt` lets it go on here.",
    )


def told(name: str, moved: StoredEvent, names: Mapping[str, str]) -> str:
    """Return in words when, by whom and where to a log was moved."""
    fields = unpacked(moved.position, moved.data)
    when = datetime.fromtimestamp(fields["time"] // 1_000_000, UTC)
    destination = _of_body(moved, "destination")
    who = names.get(fields["actor"], fields["actor"])
    why = f" ({fields['reason']})" if fields["reason"] else ""
    where = f"to {destination}" if destination else "into a file, nobody said where to"
    return f"The log {name} was moved at {when:%Y-%m-%d %H:%M:%S} UTC by {who!r} {where}{why}"


def _of_body(stored: StoredEvent, field: str) -> object:
    try:
        return unpacked(stored.position, stored.data)["body"][field]
    except MISSHAPEN as error:
        raise misshapen(stored.position, stored.type, error) from error
