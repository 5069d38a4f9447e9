"""What was ever stored is read today, and what is stored today has the bytes that it always had.

A file of `golden/` stays as it is for ever. When a type gets a new version, its old file keeps its data, and
`reads_as` says what today's program makes of them. Files for new types: `python -m tests.support.write_goldens`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stackledger.domain.event import Envelope
from stackledger.domain.events import EVENT_TYPES
from stackledger.eventlog.codec import decode, encode, stored_tags
from stackledger.eventlog.stored import StoredEvent
from stackledger.eventlog.upcasting import UPCASTERS
from tests.support.write_goldens import GOLDEN, golden_name

FILES = sorted(GOLDEN.glob("*.json"))


def cases(file: Path) -> list[tuple[str, dict[str, Any]]]:
    golden = json.loads(file.read_text(encoding="utf-8"))
    assert file.name == golden_name(golden["type"])
    assert golden["cases"]
    return [(golden["type"], case) for case in golden["cases"]]


def test_every_type_and_version_has_a_golden_file() -> None:
    assert {file.name for file in FILES} == {golden_name(name) for name in (*EVENT_TYPES, *UPCASTERS)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_was_stored_is_read_today(file: Path) -> None:
    for type_name, case in cases(file):
        recorded = decode(StoredEvent(3, type_name, tuple(case["tags"]), bytes.fromhex(case["data"])))
        read = {"type": recorded.event.TYPE, "body": recorded.event.model_dump(mode="json")}
        assert read == case["reads_as"]
        assert recorded.envelope == Envelope(**case["envelope"])
        assert recorded.tags == tuple(case["tags"])


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_what_is_stored_today_has_the_bytes_and_tags_that_it_always_had(name: str) -> None:
    for type_name, case in cases(GOLDEN / golden_name(name)):
        event = EVENT_TYPES[type_name].model_validate(case["reads_as"]["body"])
        envelope = Envelope(**case["envelope"])
        assert encode(event, envelope).hex() == case["data"]
        assert list(stored_tags(event, envelope)) == case["tags"]
