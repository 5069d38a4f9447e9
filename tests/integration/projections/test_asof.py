"""Which position a time names: the last one whose running maximum of recorded times is not later."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackledger.domain.errors import NotFound
from stackledger.eventlog.stored import StoredEvent, unpacked
from stackledger.projections.asof import as_of, position_before
from stackledger.projections.engine import Views
from tests.support.histories import START, history
from tests.support.memory_log import MemoryReader

EVENTS = history(Random(3), 900)
TIMES = [unpacked(event.position, event.data)["time"] for event in EVENTS]
LATER = max(TIMES) + 3_600_000_000


def expected(moment: int) -> int:
    position, log_time = 0, 0
    for event, time in zip(EVENTS, TIMES, strict=True):
        log_time = max(log_time, time)
        if log_time <= moment:
            position = event.position
    return position


def text(moment: int) -> str:
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=moment)).isoformat()


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    views = Views(tmp_path_factory.mktemp("asof") / "views.db", MemoryReader(EVENTS), pytest.fail)
    assert views.catch_up() > 512, "some marks are needed"
    return views


@given(st.integers(START - 10**9, LATER))
def test_a_time_names_the_last_position_whose_log_time_is_not_later(views: Views, moment: int) -> None:
    assert views.read(lambda view: as_of(view, text(moment), now=LATER + 1).position) == expected(moment)


@given(st.sampled_from(TIMES), st.integers(-1, 1))
def test_the_very_time_of_an_event_includes_it(views: Views, time: int, off: int) -> None:
    assert views.read(lambda view: as_of(view, text(time + off), now=LATER + 1).position) == expected(time + off)


def test_a_time_before_the_first_event_names_position_0(views: Views) -> None:
    assert views.read(lambda view: as_of(view, "2001-01-01", now=LATER).position) == 0


def test_a_time_not_before_now_names_the_head_whatever_clocks_said(views: Views) -> None:
    head = EVENTS[-1].position
    assert views.read(lambda view: as_of(view, text(START + 5), now=START + 5).position) == head
    assert views.read(lambda view: as_of(view, "now", now=START).position) == head


def test_a_position_beyond_the_head_is_refused(views: Views) -> None:
    head = EVENTS[-1].position
    assert views.read(lambda view: as_of(view, str(head), now=LATER).position) == head
    with pytest.raises(NotFound, match=f"the log ends at {head}"):
        views.read(lambda view: as_of(view, str(head + 1), now=LATER))


def test_what_is_since_a_position_or_time_includes_it(views: Views) -> None:
    def before(since: str) -> int:
        return views.read(lambda view: position_before(view, since, now=LATER))

    assert before("7") == 6
    assert before("0") == 0
    moment = TIMES[400]
    assert before(text(moment)) == expected(moment - 1)


def test_times_are_found_in_a_log_of_one_event(tmp_path: Path) -> None:
    only: list[StoredEvent] = EVENTS[:1]
    views = Views(tmp_path / "views.db", MemoryReader(only), pytest.fail)
    assert views.read(lambda view: as_of(view, text(TIMES[0]), now=LATER).position) == 1
    assert views.read(lambda view: as_of(view, text(TIMES[0] - 1), now=LATER).position) == 0
