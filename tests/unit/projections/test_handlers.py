from __future__ import annotations

import pytest

from stackledger.domain.events import EVENT_TYPES
from stackledger.projections.folding import PROJECTIONS
from stackledger.projections.rows import Projection
from stackledger.projections.schema import VIEWS


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda projection: projection.name)
def test_every_type_of_event_is_handled_or_ignored_on_purpose(projection: Projection) -> None:
    assert set(projection.handlers) | projection.ignored == set(EVENT_TYPES)
    assert not set(projection.handlers) & projection.ignored


COORDINATORS_ALONE = {"dispatch.confirmed/1", "topology.renewed/1", "key.enrolled/1", "key.revoked/1"}
"""What a coordinator folds as it follows the log, and no view shows."""


def test_every_type_of_event_but_the_first_is_folded_somewhere() -> None:
    folded = {name for projection in PROJECTIONS for name in projection.handlers}
    assert set(EVENT_TYPES) - folded == {"log.created/1", *COORDINATORS_ALONE}


def test_the_views_that_are_read_are_those_that_are_folded() -> None:
    assert tuple(projection.name for projection in PROJECTIONS) == VIEWS


def test_tables_carry_the_name_and_version_of_their_projection() -> None:
    for projection in PROJECTIONS:
        assert all(table.name.startswith(f"{projection.name}_") for table in projection.tables)
