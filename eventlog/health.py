"""What can be wrong with a log, as `doctor` looks for it: everything is read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from stackledger.domain.errors import LogDamaged
from stackledger.eventlog.schema import SCHEMA, connect, translated
from stackledger.eventlog.stored import LogReader, unpacked

_MOST = 3

_TAGS = "json_each(CASE WHEN json_valid(events.tags) THEN events.tags ELSE '[]' END)"
_NOT_FOUND = f"""
SELECT events.position, tag.value FROM events, {_TAGS} AS tag WHERE NOT EXISTS (
    SELECT 1 FROM event_tags AS found
    WHERE found.tag = tag.value AND found.position = events.position
) LIMIT {_MOST}
"""
_COUNTS = f"""
SELECT (SELECT count(*) FROM event_tags),
    (SELECT total((SELECT count(DISTINCT value) FROM {_TAGS})) FROM events)
"""
_NOT_CARRIED = f"""
SELECT found.position, found.tag FROM event_tags AS found LEFT JOIN events USING (position)
WHERE events.position IS NULL OR found.tag NOT IN (SELECT value FROM {_TAGS}) LIMIT {_MOST}
"""


def unreadable_events(reader: LogReader) -> list[str]:
    """Return what is wrong with the first few events that cannot be read."""
    found: list[str] = []
    after = 0
    while len(found) < _MOST:
        try:
            for stored in reader.scan(after=after):
                unpacked(stored.position, stored.data)
        except LogDamaged as damaged:
            if damaged.position is None:
                raise
            found.append(damaged.message)
            after = damaged.position
        else:
            break
    return found


def wrong(path: Path) -> list[str]:
    """Return what is wrong with the file of a log, beside events that cannot be read."""
    with translated(path), closing(connect(path, "mode=ro", 5.0)) as connection:
        damage = [row[0] for row in connection.execute(f"PRAGMA quick_check({_MOST})") if row[0] != "ok"]
        if damage:
            return [f"{path} is damaged: {line}" for line in damage]
        return [*_schema(connection), *_tags(connection)]


def _schema(connection: sqlite3.Connection) -> Iterator[str]:
    found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    expected = {statement.split()[2]: statement for statement in SCHEMA if statement.startswith("CREATE")}
    for name, statement in expected.items():
        kind = statement.split()[1].lower()
        what = "that refuses changes of events " if kind == "trigger" else ""
        if name not in found:
            yield f"The {kind} {name} {what}is gone."
        elif found[name] != statement:
            yield f"The {kind} {name} {what}was changed."
    for name in sorted(found.keys() - expected.keys()):
        yield f"The log has {name}, which is not of Stackledger."


def _tags(connection: sqlite3.Connection) -> Iterator[str]:
    for position, tag in connection.execute(_NOT_FOUND):
        yield f"The event at position {position} carries the tag {tag!r}, and is not found by it."
    indexed, carried = connection.execute(_COUNTS).fetchone()
    if indexed != carried:
        for position, tag in connection.execute(_NOT_CARRIED):
            yield f"At position {position} something is found by the tag {tag!r} that no event there carries."
