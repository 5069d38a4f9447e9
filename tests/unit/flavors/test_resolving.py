"""References become values where they are used, and the values stay out of text."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import JsonValue

from stackledger.domain.errors import SecretError
from stackledger.flavors.resolving import Redactor, resolve

VALUES = {"db": {"user": "ada", "password": "s3cret pa/ss"}}


def test_references_are_replaced_wherever_they_stand() -> None:
    configuration: dict[str, JsonValue] = {
        "url": "pg://{{db.user}}@host",
        "deep": [{"a": "{{ db.user }}"}, "env:PORT"],
        "number": 4,
        "text": "x env:PORT",
    }
    assert resolve(configuration, VALUES.__getitem__, Redactor(), {"PORT": "80"}) == {
        "url": "pg://ada@host",
        "deep": [{"a": "ada"}, "80"],
        "number": 4,
        "text": "x env:PORT",
    }


def test_a_value_that_looks_like_a_reference_is_not_followed() -> None:
    assert resolve({"a": "{{x.y}}"}, lambda _: {"y": "{{db.user}}"}, Redactor()) == {"a": "{{db.user}}"}


@pytest.mark.parametrize(
    ("value", "message"),
    [("{{db.pasword}}", r"'db' has no key 'pasword'.*'password'"), ("env:NO_SUCH", r"variable 'NO_SUCH' is not set")],
)
def test_what_is_missing_is_named_and_no_value_is(value: str, message: str) -> None:
    with pytest.raises(SecretError, match=message) as caught:
        resolve({"a": value}, VALUES.__getitem__, Redactor(), {})
    assert "s3cret" not in str(caught.value)


def test_a_redactor_knows_every_form_of_a_value() -> None:
    redactor = Redactor()
    resolve({"a": "{{db.password}}", "b": "{{db.user}}"}, VALUES.__getitem__, redactor)
    redactor.learn("-----BEGIN-----\nline with 'quotes'\nab\n")
    assert redactor.redacted("p=s3cret pa/ss q=s3cret%20pa%2Fss") == "p=*** q=***"
    assert redactor.redacted("x line with 'quotes' y") == "x *** y"
    assert redactor.redacted("ada and ab stay, they are too short") == "ada and ab stay, they are too short"


def test_the_longest_value_is_replaced_first() -> None:
    redactor = Redactor()
    redactor.learn("abcd")
    redactor.learn("abcdef")
    assert redactor.redacted("abcdef abcd") == "*** ***"


def test_values_that_overlap_are_hidden_together() -> None:
    redactor = Redactor()
    for value in ("xabc", "abcdef", "aaaa"):
        redactor.learn(value)
    assert redactor.redacted("<xabcdef>") == "<***>"
    assert redactor.redacted("xabc abcdef") == "*** ***"
    assert redactor.redacted("baaaaaaab") == "b***b"


@given(
    values=st.lists(st.text("ab", min_size=4, max_size=9), min_size=1, max_size=3),
    pieces=st.lists(st.text("ab", max_size=12), max_size=8),
)
@example(values=["aaba", "abab"], pieces=["aab", "ab", "ab"])
def test_a_text_in_pieces_is_redacted_as_the_whole_and_little_of_it_waits(values: list[str], pieces: list[str]) -> None:
    redactor = Redactor()
    for value in values:
        redactor.learn(value)
    stream = redactor.stream()
    shown = ""
    for number, piece in enumerate(pieces, start=1):
        shown += stream.fed(piece)
        so_far = redactor.redacted("".join(pieces[:number]))
        assert so_far.startswith(shown)
        assert len(so_far) - len(shown) < max(map(len, values))
    shown += stream.rest()
    whole = "".join(pieces)
    assert shown == redactor.redacted(whole)
    assert not any(value in shown for value in values)
    assert any(value in whole for value in values) or shown == whole


def test_what_cannot_begin_a_value_does_not_wait() -> None:
    redactor = Redactor()
    redactor.learn("hunter2")
    stream = redactor.stream()
    assert stream.fed("Loading h") == "Loading "
    assert stream.fed("unters\n") == "hunters\n"
    assert stream.fed("hunt") == ""
    assert stream.rest() == "hunt"
    assert stream.rest() == ""


def test_a_value_that_is_learned_on_the_way_is_hidden_from_then_on() -> None:
    redactor = Redactor()
    stream = redactor.stream()
    assert stream.fed("hunt") == "hunt"
    redactor.learn("hunter2")
    assert stream.fed("er2 hunt") == "er2 "
    assert stream.fed("er2") == "***"
