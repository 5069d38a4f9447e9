"""`artifact prune` as people use it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import Finished, stackledger

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.both_logs]

PIPELINE = """
from stackledger import pipeline, step

@step
def answer() -> int:
    return 42

@pipeline
def asking() -> None:
    answer()

asking()
"""
GARBAGE = b"of an execution that was killed"
DIGEST = hashlib.sha256(GARBAGE).hexdigest()


def ok(*arguments: str) -> Finished:
    done = stackledger(*arguments)
    assert done.status == 0, done.err
    return done


def run_a_pipeline() -> None:
    Path("asking.py").write_text(PIPELINE, encoding="utf-8")
    done = subprocess.run([sys.executable, "asking.py"], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


def litter(home: Path) -> Path:
    """Leave garbage in the store of the default stack, and return where it is."""
    (objects,) = (home / "artifacts").glob("*/sha256")
    path = objects / DIGEST
    path.write_bytes(GARBAGE)
    os.utime(path, (1, 1))
    return path


def actions(done: Finished) -> list[tuple[str, str]]:
    return [(item["digest"], item["action"]) for item in done.json["items"]]


def test_garbage_is_listed_condemned_and_deleted_and_nothing_else(home: Path) -> None:
    assert "No garbage found." in ok("artifact", "prune", "--dry-run").err
    run_a_pipeline()
    path = litter(home)
    listed = ok("artifact", "prune", "--dry-run", "--output=json")
    assert actions(listed) == [(DIGEST, "condemn")]
    assert listed.json["items"][0]["size"] == len(GARBAGE)
    assert DIGEST[:20] in ok("artifact", "prune", "--dry-run").out.replace("\n", "")
    assert "1 condemned" in ok("artifact", "prune", "--yes", "--grace=0", "--reason=full disk").err
    assert path.exists()
    assert actions(ok("artifact", "prune", "--dry-run", "--output=json")) == [(DIGEST, "collect")]
    assert "1 deleted" in ok("artifact", "prune", "--yes", "--artifact-store=default").err
    assert not path.exists()
    assert "There is no garbage." in ok("artifact", "prune", "--grace=0").err
    (collected,) = ok("log", "list", "--type=artifact.collected", "--output=json").json["items"]
    assert [each["digest"] for each in collected["data"]["objects"]] == [DIGEST]
    (condemned,) = ok("log", "list", "--type=artifact.condemned", "--output=json").json["items"]
    assert condemned["reason"] == "full disk"
    run_a_pipeline()


def test_whoever_does_not_say_yes_changes_nothing(home: Path) -> None:
    run_a_pipeline()
    path = litter(home)
    refused = stackledger("artifact", "prune", answers="n\n")
    assert refused.status == 1
    assert "Garbage to condemn: 1, to delete: 0" in refused.out + refused.err
    assert path.exists()
    assert ok("log", "list", "--type=artifact.condemned", "--output=json").json["items"] == []


def test_a_store_that_may_be_anothers_is_left_alone(home: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "sha256").mkdir(parents=True)
    (shared / "sha256" / DIGEST).write_bytes(GARBAGE)
    ok("artifact-store", "register", "shared", "--flavor=local", f"--path={shared}")
    ok("stack", "register", "other", "-o", "default", "-a", "shared")
    ok("stack", "set", "other")
    run_a_pipeline()
    assert "without --not-shared" in ok("artifact", "prune", "--dry-run").err
    refused = stackledger("artifact", "prune", "--yes", "--grace=0")
    assert refused.status == 1
    assert "before this log used it" in refused.err
    assert "--not-shared" in refused.err
    assert (shared / "sha256" / DIGEST).exists()
    for _ in range(2):
        ok("artifact", "prune", "--yes", "--grace=0", "--not-shared")
    assert not (shared / "sha256" / DIGEST).exists()
    assert home.exists()


def test_a_store_that_is_away_is_said(home: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    ok("artifact-store", "register", "away", "--flavor=local", f"--path={store}")
    (store / "sha256").rmdir()
    (store / "sha256").write_text("in its place", encoding="utf-8")
    refused = stackledger("artifact", "prune", "-a", "away")
    assert refused.status == 1
    assert "cannot list the objects" in refused.err
    assert home.exists()
