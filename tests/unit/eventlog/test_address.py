from __future__ import annotations

import pytest

from stackledger.domain.errors import InvalidValue, LiteralSecret
from stackledger.eventlog.address import checked, checked_setting, passwords, redacted, refuse_password, resolved


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://host/log", "postgresql://host/log"),
        ("postgresql://ada:s3cret@host:5433/log", "postgresql://ada@host:5433/log"),
        ("postgresql://ada:p%40ss@[::1]/log?sslmode=require", "postgresql://ada@[::1]/log?sslmode=require"),
        ("postgresql:///log?host=/run/pg&user=ada&password=s3cret", "postgresql:///log?host=/run/pg&user=ada"),
        ("postgresql://ada:a@b@host/log", "postgresql://ada@host/log"),
        ("postgresql://[broken:s3cret@/log", "postgresql://…"),
    ],
)
def test_an_address_is_shown_without_passwords(address: str, shown: str) -> None:
    assert redacted(address) == shown


def test_a_password_is_known_as_it_is_written_and_as_it_is_meant() -> None:
    assert passwords("postgresql://ada:p%40ss@host/log?sslpassword=other") == ["p%40ss", "p@ss", "other"]


@pytest.mark.parametrize("address", ["mysql://host/log", "host/log", "/home/ada/log.db", "postgresql://[::", ""])
def test_what_is_no_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(InvalidValue, match="not the address of a log") as refused:
        checked(address)
    assert not address or address not in str(refused.value)


def test_a_password_is_refused_where_others_would_see_it() -> None:
    with pytest.raises(LiteralSecret, match="seen by all") as refused:
        refuse_password("postgresql://ada:s3cret@host/log", "by all")
    assert "s3cret" not in str(refused.value)
    refuse_password("postgresql://ada@host/log", "by all")


def test_a_setting_holds_an_address_without_a_password_or_names_a_variable() -> None:
    assert checked_setting("env:LOG") == "env:LOG"
    assert checked_setting("postgresql://ada@host/log") == "postgresql://ada@host/log"
    with pytest.raises(LiteralSecret):
        checked_setting("postgresql://ada@host/log?password=s3cret")
    with pytest.raises(InvalidValue):
        checked_setting("env:")


def test_a_setting_may_mean_the_value_of_a_variable() -> None:
    assert resolved("env:LOG", {"LOG": "postgresql://host/log"}) == "postgresql://host/log"
    with pytest.raises(InvalidValue, match="LOG is not set"):
        resolved("env:LOG", {})
