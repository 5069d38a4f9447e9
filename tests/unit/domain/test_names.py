from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackledger.domain.errors import InvalidName
from stackledger.domain.names import MAX_NAME, folded, quoted, registry_name, title, visible

HOSTILE = [
    "",
    " ",
    "../x",
    "a/b",
    "a\\b",
    "..",
    ".hidden",
    "-leading",
    "_leading",
    "nul\x00",
    "esc\x1b[31m",
    "line\nbreak",
    "tab\tstop",
    "[red]",
    "a b",
    "a:b",
    "rtl\u202egnp",
    "zero\u200bwidth",
    "bom\ufeff",
    "half\ud800",
    "smile\U0001f600",
    "e\u0301\u0301",
    "\u0301a",
    "x" * 10_000,
    "x" * (MAX_NAME + 1),
    "{{a.b}}",
    "a'; DROP TABLE stacks; --",
    "%s",
    "$(id)",
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:30])
def test_a_hostile_name_is_refused_with_the_rule_and_shows_nothing_hostile(name: str) -> None:
    with pytest.raises(InvalidName) as raised:
        registry_name(name, "stack")
    text = str(raised.value)
    assert "1 to 128 characters" in text
    assert visible(text) == text
    assert len(text) < 1_000


@pytest.mark.parametrize("name", ["a", "A1", "my_stack", "my-stack.v2", "0", "caf\xe9", "\u6771\u4eac", "x" * MAX_NAME])
def test_an_ordinary_name_is_accepted_as_it_is(name: str) -> None:
    assert registry_name(name, "stack") == name


def test_a_name_is_kept_composed() -> None:
    assert registry_name("cafe\u0301", "stack") == "caf\xe9"


@pytest.mark.parametrize(
    ("one", "other"), [("Prod", "pROD"), ("caf\xe9", "CAFE\u0301"), ("stra\xdfe", "STRASSE"), ("\u03c3", "\u03c2")]
)
def test_names_that_differ_in_case_or_normal_form_are_the_same(one: str, other: str) -> None:
    assert folded(one) == folded(other)


def test_titles_may_hold_spaces_and_colons_but_not_at_their_ends() -> None:
    assert title("run 1: first", "run") == "run 1: first"
    for name in ("", " x", ":x", "x ", "a/b", "a\nb"):
        with pytest.raises(InvalidName):
            title(name, "run")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines", "two\nlines"),
        ("\x1b[31m", "\\u001b[31m"),
        ("a\u202eb", "a\\u202eb"),
        ("\ud800", "\\ud800"),
        ("a\xa0b", "a\\u00a0b"),
        ("caf\xe9 \u6771", "caf\xe9 \u6771"),
    ],
)
def test_what_could_move_the_cursor_is_spelled_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "'plain'"),
        ("", "''"),
        ("it's", "'it's'"),
        (r"C:\temp", r"'C:\temp'"),
        ("two\nlines", r"'two\nlines'"),
        ("a\u202eb\x00", r"'a\u202eb\u0000'"),
        ("café 🙂", "'café 🙂'"),
    ],
)
def test_what_is_quoted_in_a_message_is_visible_on_one_line_and_as_it_was_typed(text: str, shown: str) -> None:
    assert quoted(text) == shown


@given(st.text(max_size=200))
def test_every_text_is_a_name_or_a_clear_refusal(text: str) -> None:
    refusal: InvalidName | None = None
    try:
        name = registry_name(text, "stack")
    except InvalidName as error:
        refusal = error
    if refusal:
        assert visible(str(refusal)) == str(refusal)
        return
    assert registry_name(name, "stack") == name
    assert unicodedata.is_normalized("NFC", name)
    assert visible(name) == name
    assert not set(name) & set("/\\: \n\x00")
    name.encode()


@given(st.text(max_size=50))
def test_folding_again_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)


@given(st.text(max_size=50))
def test_normal_forms_of_a_text_fold_to_one(text: str) -> None:
    assert folded(unicodedata.normalize("NFD", text)) == folded(unicodedata.normalize("NFC", text))


@given(st.text(max_size=200))
def test_what_is_visible_has_no_control_characters(text: str) -> None:
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co"} or char == "\n" for char in visible(text))
