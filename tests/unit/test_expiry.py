from __future__ import annotations

import pytest

from stackledger.client.keys import expiry_soon
from stackledger.projections.key_queries import TrustRow

DAY = 24 * 3600 * 1_000_000
NOW = 1_795_000_000_000_000


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (14 * DAY, ""),
        (14 * DAY - 1, "expires in 13 days"),
        (2 * DAY - 1, "expires in 1 day:"),
        (0, "expires in 0 days"),
        (-1, "has expired, so workers take no work"),
    ],
)
def test_what_is_said_of_a_list_of_coordinators_depends_on_how_long_it_is_good(left: int, told: str) -> None:
    text = expiry_soon(TrustRow("root", 1, NOW + left), NOW)
    assert told in text
    assert bool(text) == bool(told)
