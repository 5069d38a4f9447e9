from __future__ import annotations

import contextlib
import datetime as dt
import time

import pytest

from stackledger.domain.errors import UsageError
from stackledger.projections.asof import AsOf, parsed


def microseconds(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", AsOf(position=0)),
        ("17", AsOf(position=17)),
        (" 17 ", AsOf(position=17)),
        ("now", AsOf()),
        ("NOW", AsOf()),
        ("2026-11-20T22:59:00Z", AsOf(time=microseconds("2026-11-20T22:59:00+00:00"))),
        ("2026-11-20t22:59z", AsOf(time=microseconds("2026-11-20T22:59:00+00:00"))),
        ("2026-11-20 22:59+02:00", AsOf(time=microseconds("2026-11-20T20:59:00+00:00"))),
        ("2026-11-20T22:59:01.000002Z", AsOf(time=microseconds("2026-11-20T22:59:01+00:00") + 2)),
        ("1969-12-31T23:59:59Z", AsOf(time=-1_000_000)),
    ],
)
def test_positions_and_times_are_understood(text: str, expected: AsOf) -> None:
    assert parsed(text) == expected


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_a_time_without_a_zone_is_local(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert parsed("2026-11-20 22:59") == AsOf(time=microseconds("2026-11-20T22:59:00"))
        assert parsed("2026-11-20") == AsOf(time=microseconds("2026-11-20T00:00:00"))
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("zone", "text", "expected"),
    [
        ("Europe/Berlin", "2026-10-25 01:59:59.999999", "2026-10-24T23:59:59.999999+00:00"),
        ("Europe/Berlin", "2026-10-25 02:30", "2026-10-25T00:30:00+00:00"),
        ("Europe/Berlin", "2026-10-25 02:30+01:00", "2026-10-25T01:30:00+00:00"),
        ("Europe/Berlin", "2026-10-25 03:00", "2026-10-25T02:00:00+00:00"),
        ("Europe/Berlin", "2026-03-29 01:59:59.999999", "2026-03-29T00:59:59.999999+00:00"),
        ("Europe/Berlin", "2026-03-29 02:30:00.000001", "2026-03-29T01:30:00.000001+00:00"),
        ("Europe/Berlin", "2026-03-29 03:00", "2026-03-29T01:00:00+00:00"),
        ("Europe/Berlin", "2026-03-29 02:30+00:00", "2026-03-29T02:30:00+00:00"),
        ("America/Havana", "2026-03-08", "2026-03-08T05:00:00+00:00"),
        ("Australia/Lord_Howe", "2026-04-05 01:45", "2026-04-04T14:45:00+00:00"),
        ("Asia/Kathmandu", "2026-11-20 22:59", "2026-11-20T17:14:00+00:00"),
        ("UTC", "1969-12-31 23:59:59.999999", "1969-12-31T23:59:59.999999+00:00"),
    ],
)
def test_a_local_time_that_comes_twice_is_the_first_and_one_that_is_leapt_over_comes_after_the_leap(
    zone: str, text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        moment = parsed(text).time
        assert moment is not None
        found = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=moment)
        assert found.isoformat() == expected
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "-1",
        "yesterday",
        "2026-13-01",
        "2026-11-20T25:00",
        "1.5",
        "\u0661\u0667",
        "9" * 30,
        "0x10",
        "\x1b[31m",
        "5;6",
    ],
)
def test_anything_else_is_a_usage_error_that_shows_what_is_possible(text: str) -> None:
    with pytest.raises(UsageError, match="Give a position") as refused:
        parsed(text)
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31T23:59:59-12:00"])
def test_the_ends_of_the_calendar_are_times_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert parsed(text).position is None
