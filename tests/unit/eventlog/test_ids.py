from __future__ import annotations

import time
import uuid

from stackledger.eventlog.ids import new_id


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_front() -> None:
    before = time.time_ns() // 1_000_000
    ids = [uuid.UUID(new_id()) for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert {(each.version, each.variant) for each in ids} == {(7, uuid.RFC_4122)}
    assert all(before <= each.int >> 80 <= after for each in ids)
    assert len(set(ids)) == 1000


def test_an_id_is_written_as_everybody_writes_it() -> None:
    text = new_id()
    assert str(uuid.UUID(text)) == text
