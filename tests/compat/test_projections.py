"""A change of tables or handled events takes a new version: an older program may share the file of views."""

from __future__ import annotations

import json
from pathlib import Path

from stackledger.projections.folding import PROJECTIONS
from stackledger.projections.schema import BOOKKEEPING

GOLDEN = Path(__file__).with_name("projections.json")


def test_a_projection_of_the_same_version_has_the_same_tables_and_handles_the_same_events() -> None:
    known = json.loads(GOLDEN.read_text())
    for projection in PROJECTIONS:
        now = {
            "tables": [statement for table in projection.tables for statement in table.ddl()],
            "events": sorted(projection.handlers),
        }
        assert known.get(projection.name) == now, (
            f"{projection.name} has changed: give it the next version in projections/schema.py, and add it here"
        )


def test_the_bookkeeping_of_the_same_format_has_the_same_tables() -> None:
    assert json.loads(GOLDEN.read_text())["bookkeeping"] == list(BOOKKEEPING)
