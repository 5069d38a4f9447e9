from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from stackledger.cli.files import write_new
from stackledger.cli.values import MAX_FILE, file_text, label_changes, pairs, with_files
from stackledger.domain.errors import UsageError


def test_pairs_split_at_the_first_equals_sign() -> None:
    assert pairs(["a=b=c", "d="], "--label") == {"a": "b=c", "d": ""}


@pytest.mark.parametrize("text", ["a", "=b", ""])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--label takes KEY=VALUE"):
        pairs([text], "--label")


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="'a' twice"):
        pairs(["a=1", "a=2"], "--label")


def test_labels_without_a_value_are_to_be_taken_off() -> None:
    assert label_changes(["a=1", "b", "c="]) == {"a": "1", "b": None, "c": ""}
    assert label_changes(None) == {}


@pytest.mark.parametrize("given", [["a", "a"], ["a=1", "a"], ["a=1", "a=2"]])
def test_a_label_is_changed_once(given: list[str]) -> None:
    with pytest.raises(UsageError, match="'a' twice"):
        label_changes(given)


@pytest.mark.parametrize("text", ["=b", ""])
def test_a_label_without_a_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--label takes KEY=VALUE"):
        label_changes([text])


def test_a_file_stands_for_its_content_less_one_newline(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("two\nlines\n\n")
    assert with_files({"a": f"@{file}", "b": "plain", "c": "-"}) == {"a": "two\nlines\n", "b": "plain", "c": "-"}


@pytest.mark.parametrize("path", ["missing", ".", "nul\0", "x" * 5000])
def test_a_file_that_cannot_be_read_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        file_text(path)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not text in UTF-8"):
        file_text(str(tmp_path / "f"))


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs an endless file")
def test_an_endless_file_is_refused() -> None:
    with pytest.raises(UsageError, match="larger than"):
        file_text("/dev/zero")
    assert MAX_FILE < 10_000_000


def test_one_value_comes_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"s3cret\n")))
    assert with_files({"a": "-"}, stdin=True) == {"a": "s3cret"}
    with pytest.raises(UsageError, match="Only one"):
        with_files({"a": "-", "b": "-"}, stdin=True)


def test_a_file_that_cannot_be_written_whole_is_not_left_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write_new(tmp_path / "new", "half \ud800")
    assert not (tmp_path / "new").exists()
