"""One event that cannot be read: what needs it is refused with a way out, and the rest can be seen."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.program import Finished, stackledger

DAMAGES = {
    "no msgpack": ("stack.renamed/1", "[]", b"\xc1"),
    "another body": ("stack.renamed/1", "[]", None),
    "tags that are none": ("stack.renamed/1", "{", b"\xc1"),
    "text for data": ("stack.renamed/1", "[]", "text"),
}


@pytest.fixture(params=DAMAGES)
def damaged(home: Path, request: pytest.FixtureRequest) -> int:
    """Return the position of an event that cannot be read; a stack was made before it and one after it."""
    ok("stack", "copy", "default", "before")
    with closing(sqlite3.connect(home / "log.db")) as connection, connection:
        ((head,),) = connection.execute("SELECT max(position) FROM events")
        ((first,),) = connection.execute("SELECT data FROM events WHERE position = 1")
        event_type, tags, data = DAMAGES[request.param]
        connection.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (head + 1, event_type, tags, data or first))
    stackledger("stack", "copy", "default", "after")
    return int(head) + 1


def ok(*arguments: str) -> Finished:
    done = stackledger(*arguments)
    assert done.status == 0, done.err
    return done


def test_what_is_there_now_is_refused_with_a_reason_and_a_way_out(damaged: int) -> None:
    refused = stackledger("stack", "list")
    assert refused.status == 1
    assert f"position {damaged}" in refused.err
    assert f"--as-of {damaged - 1}" in refused.err
    assert ": ." not in refused.err


def test_what_was_before_it_can_be_seen(damaged: int, home: Path) -> None:
    for file in home.glob("views.db*"):
        file.unlink()
    seen = ok("stack", "list", "--as-of", str(damaged - 1))
    assert "before" in seen.out
    assert f"position {damaged}" in seen.err
    for later in (damaged, damaged + 1, "now", "2999-01-01"):
        refused = stackledger("stack", "list", "--as-of", str(later))
        assert refused.status == 1
        assert f"position {damaged}" in refused.err


def test_the_rest_of_the_log_is_listed_and_counted(damaged: int) -> None:
    listed = ok("log", "list", "--output=json", "--size=100")
    positions = [event["position"] for event in listed.json["items"]]
    assert set(positions) >= set(range(1, damaged))
    assert ok("log", "stats", "--output=json").json["position"] >= damaged


def test_doctor_names_it(damaged: int) -> None:
    examined = stackledger("doctor")
    assert examined.status == 1
    assert f"position {damaged}" in examined.out
