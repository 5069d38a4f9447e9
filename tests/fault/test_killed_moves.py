"""A move of a log is killed at any instant: afterwards the log goes on in one place, and nothing of it is lost."""

from __future__ import annotations

import random
import shutil
from itertools import count
from pathlib import Path

import pytest

from tests.support.deadly import killed_at
from tests.support.program import Finished, stackledger
from tests.support.soak import rounds

MOVE = ("log", "export", "log.jsonl", "--move")
IMPORT = ("log", "import", "moved.jsonl")
_NUMBERS = count()


def ok(*arguments: str) -> Finished:
    done = stackledger(*arguments)
    assert done.status == 0, (arguments, done.err)
    return done


def goes_on() -> bool:
    """Say whether the log takes a change; what refuses it is that it was moved, and nothing else."""
    done = stackledger("stack", "copy", "mine", f"another-{next(_NUMBERS)}")
    assert done.status == 0 or "was moved at" in done.err, done.err
    return done.status == 0


def some(instants: int, seed: str) -> list[int]:
    """Return all instants in a soak, else some, more of them at the end, where most can be half done."""
    if rounds(0, 1):
        return list(range(1, instants + 1))
    chance = random.Random(seed)
    return [*chance.choices(range(1, instants + 1), k=4), *range(max(1, instants - 5), instants + 1)]


def begin_again(template: Path, home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    if template.exists():
        shutil.copytree(template, home)
    for file in Path().glob("*.jsonl"):
        if file.name != IMPORT[-1]:
            file.unlink()


def test_a_log_that_is_moved_when_the_process_dies_is_here_or_can_be_written_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok("stack", "copy", "default", "mine")
    template, there = tmp_path / "template", tmp_path / "there"
    shutil.copytree(home, template)
    instants = killed_at(0, MOVE, home)
    assert instants, "the instants were counted"
    for instant in some(instants, "move"):
        begin_again(template, home)
        if killed_at(instant, MOVE, home) is None:
            goes_on()
            ok("log", "export", "again.jsonl", "--move")
            assert not goes_on()
            with monkeypatch.context() as elsewhere:
                elsewhere.setenv("STACKLEDGER_HOME", str(there))
                ok("log", "import", "again.jsonl")
                assert goes_on()
            shutil.rmtree(there)


def test_an_import_that_dies_made_no_log_or_one_that_can_be_adopted(home: Path, tmp_path: Path) -> None:
    ok("stack", "copy", "default", "mine")
    ok("log", "export", "moved.jsonl", "--move")
    nothing = tmp_path / "nothing"
    shutil.rmtree(home)
    instants = killed_at(0, IMPORT, home)
    assert instants, "the instants were counted"
    for instant in some(instants, "import"):
        begin_again(nothing, home)
        if killed_at(instant, IMPORT, home) is None:
            again = stackledger(*IMPORT)
            assert again.status == 0 or "There is a log at" in again.err, again.err
            if not goes_on():
                ok("log", "adopt", "--yes")
                assert goes_on()
            types = [event["type"] for event in ok("log", "list", "--output=json").json["items"]]
            assert types.count("log.moved") == types.count("log.adopted") == 1
