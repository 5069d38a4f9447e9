from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import Finished, stackledger

pytestmark = pytest.mark.usefixtures("home")

PIPELINE = """
from typing import Annotated

from stackledger import pipeline, step


@step
def load(size: int) -> Annotated[list[int], "numbers"]:
    print("\\x1b[31mloading", size)
    return list(range(size))


@step
def add(numbers: list[int]) -> Annotated[int, "total"]:
    print("adding")
    return sum(numbers)


@pipeline
def adding(size: int = 4) -> None:
    add(load(size))


if __name__ == "__main__":
    adding()
"""


def ok(*arguments: str) -> Finished:
    done = stackledger(*arguments)
    assert done.status == 0, done.err
    return done


def run_a_pipeline() -> None:
    Path("adding.py").write_text(PIPELINE, encoding="utf-8")
    done = subprocess.run([sys.executable, "adding.py"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_is_listed_described_and_read_back() -> None:
    run_a_pipeline()
    (run,) = ok("run", "list", "--output=json").json["items"]
    assert (run["pipeline"], run["status"], run["stack"]["name"]) == ("adding", "completed", "default")
    assert run["name"] in ok("run", "list").out
    assert ok("pipeline", "runs", "list").out == ok("run", "list").out
    described = ok("run", "describe", run["name"], "--output=json").json
    assert {"id", "name", "pipeline", "status", "stack", "started", "ended", "steps"} <= set(described)
    assert [step["name"] for step in described["steps"]] == ["load", "add"]
    assert {one["type"] for one in described["stack"]["components"]} == {"orchestrator", "artifact_store"}
    shown = ok("run", "describe", run["id"]).out
    assert "Stack, as it was then" in shown
    steps = ok("run", "steps", run["name"], "--columns=name,status", "--output=csv").out
    assert steps == "name,status\nload,completed\nadd,completed\n"


def test_logs_of_steps_are_printed_without_what_would_colour_the_terminal() -> None:
    run_a_pipeline()
    (run,) = ok("run", "list", "--output=json").json["items"]
    lines = ok("run", "logs", run["name"]).out.splitlines()
    assert "[load] \\u001b[31mloading 4" in lines
    assert "[add] adding" in lines
    assert ok("run", "logs", run["name"], "--step", "add").out == "adding\n"
    wrong = stackledger("run", "logs", run["name"], "--step", "ad")
    assert (wrong.status, "Did you mean 'add'" in wrong.err) == (1, True)


def test_artifacts_and_pipelines_know_where_they_came_from() -> None:
    run_a_pipeline()
    run_a_pipeline()
    artifacts = ok("artifact", "list", "--name=total", "--output=json").json["items"]
    assert [artifact["version"] for artifact in artifacts] == [2, 1]
    assert ok("artifact", "describe", "total", "--output=json").json == artifacts[0]
    assert ok("artifact", "describe", "total", "--version", "1", "--output=json").json == artifacts[1]
    assert artifacts[0]["digest"] in ok("artifact", "describe", artifacts[0]["id"]).out
    (found,) = ok("pipeline", "list", "--output=json").json["items"]
    assert (found["name"], found["runs"], found["last_status"]) == ("adding", 2, "completed")
    assert ok("pipeline", "describe", "adding", "--output=json").json == found
    assert ok("run", "list", "--pipeline", "adding", "--status", "failed", "--output=json").json["items"] == []


def test_a_run_keeps_what_it_ran_on() -> None:
    ok("artifact-store", "register", "mine", "-f", "local")
    ok("stack", "register", "s", "-o", "default", "-a", "mine", "--set")
    run_a_pipeline()
    (before,) = ok("run", "list", "--output=json").json["items"]
    before = ok("run", "describe", before["id"], "--output=json").json
    ok("stack", "set", "default")
    ok("stack", "delete", "s", "-y", "-r")
    assert ok("run", "describe", before["id"], "--output=json").json == before
    assert "mine" in ok("run", "describe", before["id"]).out
