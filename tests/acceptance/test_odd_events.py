"""Events of a later program, or of somebody else's, are listed and shown in every form of output."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import msgpack
import pytest
from eventsourcing.dcb.api import DCBEvent

from stackledger.eventlog.reader import SQLiteReader
from stackledger.eventlog.sqlite import SQLiteRecorder
from stackledger.eventlog.stored import unpacked
from tests.support.program import stackledger


def _nested(levels: int) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for _ in range(levels):
        body = {"in": [body]}
    return body


BODIES: dict[str, dict[Any, Any]] = {
    "bytes": {"raw": b"\xff\x00", "several": [b"x"]},
    "extension": {"code": msgpack.ExtType(5, b"\x01x"), "then": msgpack.Timestamp(5, 6)},
    "keys": {b"\xff": 1, "k\x1b": 2},
    "numbers": {"not": float("nan"), "endless": float("inf"), "large": 2**64 - 1},
    "hostile": {"text": "\x1b[31mred"},
    "deep": _nested(200),
    "empty": {},
}


@pytest.mark.parametrize("output", ["table", "json", "yaml", "csv", "tsv"])
@pytest.mark.parametrize("body", BODIES)
def test_an_event_of_an_unknown_type_is_listed_and_shown_whatever_it_holds(body: str, output: str, home: Path) -> None:
    stackledger("stack", "list")
    log = home / "log.db"
    with closing(SQLiteReader(log)) as reader:
        first = reader.at(1)
        assert first is not None
        position = reader.head() + 1
    data = msgpack.packb({**unpacked(1, first.data), "id": "later", "body": BODIES[body]})
    with closing(SQLiteRecorder(log)) as recorder:
        recorder.append([DCBEvent(type="later.thing/7", tags=["a:b"], data=data)])
    for command in (
        ("show", str(position)),
        ("list",),
        ("list", "--type=later.thing", "--columns=position,type,data"),
    ):
        done = stackledger("log", *command, "--output", output)
        assert done.status == 0, done.err
        assert "later.thing" in done.out
        assert "\x1b" not in done.out


def test_bytes_are_shown_as_text_that_says_so(home: Path) -> None:
    test_an_event_of_an_unknown_type_is_listed_and_shown_whatever_it_holds("extension", "json", home)
    shown = stackledger("log", "list", "--type=later.thing", "--output=json").json["items"][0]
    assert shown["data"] == {"code": {"code": 5, "data": "base64:AXg="}, "then": {"seconds": 5, "ns": 6}}
