"""What is said of a run that did not come to its end, and of its steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.program import stackledger
from tests.support.services import interruptible

pytestmark = pytest.mark.usefixtures("home")

PIPELINE = """
import time

from stackledger import pipeline, step


@step
def first() -> int:
    return 1


@step
def second(number: int) -> int:
    open("begun", "w").close()
    time.sleep(600)
    return number


@step
def third(number: int) -> int:
    return number


@pipeline
def slow() -> None:
    third(second(first()))


slow()
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_no_step_of_a_run_that_ended_is_said_to_go_on_or_to_come(ending: signal.Signals) -> None:
    Path("slow.py").write_text(PIPELINE, encoding="utf-8")
    begun = Path("begun")
    running = subprocess.Popen(
        [sys.executable, "slow.py"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=interruptible,  # noqa: PLW1509 - it makes a few system calls
    )
    try:
        eventually(begun.exists)
        os.kill(running.pid, ending)
        running.wait(100)
    finally:
        running.kill()
        running.wait(100)
    # A change ends what died.
    assert stackledger("stack", "copy", "default", "other").status == 0
    run = stackledger("run", "describe", "slow", "--output=json").json
    assert run["status"] == "failed"
    assert [step["status"] for step in run["steps"]] == ["completed", "failed", "stopped"]
    earlier = stackledger("run", "steps", "slow", "--output=json", f"--as-of={_last_position('step.started')}")
    assert [step["status"] for step in earlier.json["items"]] == ["completed", "running", "initializing"]
    unknown = stackledger("pipeline", "describe", "slow", "--as-of=6")
    assert (unknown.status, "No pipeline named 'slow' ran as of position 6." in unknown.err) == (1, True)


def _last_position(kind: str) -> int:
    (newest, *_) = stackledger("log", "list", f"--type={kind}", "--output=json").json["items"]
    return int(newest["position"])
