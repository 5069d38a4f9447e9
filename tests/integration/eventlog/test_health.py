"""What `doctor` finds wrong with the file of a log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from eventsourcing.dcb.api import DCBEvent

from stackledger.eventlog.health import unreadable_events, wrong
from stackledger.eventlog.reader import SQLiteReader
from stackledger.eventlog.schema import SCHEMA
from stackledger.eventlog.sqlite import SQLiteRecorder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    with closing(SQLiteRecorder(path)) as recorder:
        for tags in (["a"], ["ä", 'b"\\', "c\x1f"], []):
            recorder.append([DCBEvent("happened/1", b"data", tags)])
    return path


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_nothing_is_wrong_with_a_log_that_was_only_written_to(path: Path) -> None:
    assert wrong(path) == []


@pytest.mark.parametrize("name", [each.split()[2] for each in SCHEMA if each.startswith("CREATE TRIGGER")])
def test_a_trigger_that_is_gone_or_does_something_else_is_named(name: str, path: Path) -> None:
    change(path, f"DROP TRIGGER {name}")
    assert wrong(path) == [f"The trigger {name} that refuses changes of events is gone."]
    change(path, f"CREATE TRIGGER {name} BEFORE UPDATE ON events BEGIN SELECT 1; END")
    assert wrong(path) == [f"The trigger {name} that refuses changes of events was changed."]


def test_a_trigger_of_somebody_else_is_named(path: Path) -> None:
    change(path, "CREATE TRIGGER mine AFTER INSERT ON events BEGIN SELECT 1; END")
    assert wrong(path) == ["The log has mine, which is not of Stackledger."]


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM event_tags WHERE tag = 'a'", "position 1 carries the tag 'a', and is not found by it"),
        (
            "UPDATE event_tags SET position = 3 WHERE tag = 'a'",
            "position 1 carries the tag 'a', and is not found by it",
        ),
        ("INSERT INTO event_tags VALUES ('b', 1)", "position 1 something is found by the tag 'b'"),
        ("INSERT INTO event_tags VALUES ('b', 9)", "position 9 something is found by the tag 'b'"),
    ],
)
def test_what_events_are_found_by_is_compared_with_what_they_carry(statement: str, says: str, path: Path) -> None:
    triggers = [each for each in SCHEMA if each.startswith("CREATE TRIGGER event_tags")]
    change(path, *(f"DROP TRIGGER {each.split()[2]}" for each in triggers), statement, *triggers)
    (found,) = wrong(path)
    assert says in found


def test_events_that_cannot_be_read_are_named_wherever_they_are(path: Path) -> None:
    change(path, "INSERT INTO events VALUES (4, 'x/1', '{', x'')")
    with closing(SQLiteReader(path)) as reader:
        found = unreadable_events(reader)
    assert [text.partition(" cannot")[0] for text in found] == [f"The event at position {each}" for each in (1, 2, 3)]
