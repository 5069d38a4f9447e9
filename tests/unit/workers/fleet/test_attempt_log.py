from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackledger.flavors.resolving import Redactor
from stackledger.workers.fleet.execution.attempt_log import AttemptLog


def _kept(path: Path, chunks: list[bytes], most: int, *secrets: str) -> str:
    redactor = Redactor()
    for secret in secrets:
        redactor.learn(secret)
    log = AttemptLog(str(path), redactor, most)
    for chunk in chunks:
        log.fed(chunk)
    return path.read_text("utf-8", "replace") if log.close() else ""


@given(st.lists(st.binary(max_size=30)))
def test_what_is_short_is_kept_as_it_is(tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    assert _kept(path, chunks, 10_000) == b"".join(chunks).decode("utf-8", "backslashreplace").replace(
        "\r\n", "\n"
    ).replace("\r", "\n")


@given(st.lists(st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=30)), st.integers(2, 60))
def test_of_what_is_long_the_ends_are_kept_and_the_rest_is_counted(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[str], most: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    kept = _kept(path, [chunk.encode() for chunk in chunks], most)
    whole = "".join(chunks)
    if len(whole) <= most:
        assert kept == whole
    else:
        begin, end = whole[: most // 2], whole[-(most - most // 2) :]
        assert kept == f"{begin}\n[... {len(whole) - most:,} bytes are left out here ...]\n{end}"


@given(st.lists(st.sampled_from([b"hunter", b"22", b"hunter22", b"x", b"hun", b"ter22\n"])), st.integers(2, 60))
def test_no_secret_comes_through_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], most: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    assert "hunter22" not in _kept(path, chunks, most, "hunter22")
    assert "hunter22" not in _kept(path, chunks, 10_000, "hunter22")


def test_there_is_no_file_without_a_text(tmp_path: Path) -> None:
    assert _kept(tmp_path / "log", [b""], 100) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_no_whole_log(tmp_path: Path) -> None:
    log = AttemptLog(str(tmp_path / "missing/log"), Redactor(), 100)
    log.fed(b"text")
    assert not log.close()
