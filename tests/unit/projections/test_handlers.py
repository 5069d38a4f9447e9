from __future__ import annotations

from stackledger.domain.events import EVENT_TYPES
from stackledger.projections.folding import PROJECTIONS, UNFOLDED
from stackledger.projections.schema import VIEWS


def test_every_type_of_event_is_folded_somewhere_or_left_out_on_purpose() -> None:
    folded = {name for projection in PROJECTIONS for name in projection.handlers}
    assert set(EVENT_TYPES) - folded == UNFOLDED
    assert folded <= set(EVENT_TYPES)


def test_the_views_that_are_read_are_those_that_are_folded() -> None:
    assert tuple(projection.name for projection in PROJECTIONS) == VIEWS


def test_tables_carry_the_name_and_version_of_their_projection() -> None:
    for projection in PROJECTIONS:
        assert all(table.name.startswith(f"{projection.name}_") for table in projection.tables)
