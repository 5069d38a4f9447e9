"""Steps that do to their process what no step should."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stackledger.domain.errors import RunFailed
from stackledger.domain.events.runs import StepFailed
from stackledger.pipelines.pipeline import pipeline
from stackledger.pipelines.step import step
from tests.support.local_runs import LocalHome


@pytest.fixture
def local(home: Path) -> Iterator[LocalHome]:
    made = LocalHome(home)
    yield made
    made.close()


@step
def forks(how: str) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    match how:
        case "returns":
            return 5
        case "raises":
            raise ValueError("in the child")
        case _:
            sys.exit(9)


@pytest.mark.parametrize(("how", "status"), [("returns", 0), ("raises", 1), ("exits", 9)])
def test_a_child_that_a_step_forked_ends_there_and_its_parent_alone_goes_on(
    local: LocalHome, how: str, status: int
) -> None:
    @pipeline
    def forking() -> None:
        forks(how)

    run = local.run(forking.plan())
    assert run.steps["forks"].output.load() == status
    assert local.story() == ["started", "forks 1", "forks ok", "succeeded"]


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@step
def fails(how: str) -> int:
    errors = {
        "speechless": Speechless(),
        "wordless": MemoryError(),
        "plain": ValueError("no stop"),
        "full": ValueError("A sentence."),
        "hostile": ValueError("\x1b[31mred"),
    }
    raise errors[how]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("speechless", "failed at 'fails': Speechless. See what"),
        ("wordless", "failed at 'fails': MemoryError. See what"),
        ("plain", "failed at 'fails': ValueError: no stop. See what"),
        ("full", "failed at 'fails': ValueError: A sentence. See what"),
        ("hostile", "failed at 'fails': ValueError: \\u001b[31mred. See what"),
    ],
)
def test_a_failed_run_says_in_sentences_what_its_step_raised(local: LocalHome, how: str, words: str) -> None:
    @pipeline
    def failing() -> None:
        fails(how)

    with pytest.raises(RunFailed) as caught:
        local.run(failing.plan())
    assert words in str(caught.value)


class Nameless(type):
    def __getattribute__(cls, name: str) -> object:
        if name == "__qualname__":
            raise RuntimeError
        return super().__getattribute__(name)


class Exits(BaseException):
    def __str__(self) -> str:
        raise SystemExit(3)


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError


@step
def raises(how: str) -> int:
    match how:
        case "long":
            raise type("E" * 1_000_000, (Exception,), {})("words")
        case "no Unicode":
            odd = type("Odd", (Exception,), {})
            odd.__qualname__ = "Odd\ud800\n\x1b[31m\u202e"
            raise odd("words")
        case "secret":
            raise type("hunter2", (Exception,), {})("words")
        case "nameless":
            raise Nameless("Unknown", (Exception,), {})("words")
        case "exits":
            raise Exits
        case "group":
            raise BaseExceptionGroup("several", [ValueError(1), SystemExit(2)])
        case "noted":
            error = ValueError("words")
            error.__notes__ = 5  # type: ignore[assignment]
            raise error
        case "deep":
            return raises(how)  # type: ignore[no-any-return]
        case _:
            sys.exit(Unprintable())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("long", "E" * 200, "words"),
        ("no Unicode", "Odd\\ud800\n\x1b[31m\u202e", "words"),
        ("secret", "***", "words"),
        ("nameless", "Exception", "words"),
        ("exits", "Exits", ""),
        ("group", "BaseExceptionGroup", "several (2 sub-exceptions)"),
        ("noted", "ValueError", "words"),
        ("deep", "RecursionError", None),
        ("unprintable exit", "SystemExit", ""),
    ],
)
def test_whatever_a_step_raises_is_kept_short_and_readable(
    home: Path, how: str, kind: str, message: str | None
) -> None:
    local = LocalHome(home, "hunter2")

    @pipeline
    def failing() -> None:
        raises(how)

    with pytest.raises(RunFailed) as caught:
        local.run(failing.plan())
    [failure] = [one.event for one in local.recorded() if isinstance(one.event, StepFailed)]
    assert failure.error == kind
    assert message is None or failure.message == message
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 3000
    local.close()


def test_runs_go_on_where_a_step_closed_the_streams(tmp_path: Path) -> None:
    program = """
import os, sys
from stackledger import pipeline, step
@step
def close() -> int:
    print("said")
    sys.stdout.close()
    sys.stderr.close()
    return 1
@step
def stay(number: int) -> int:
    return number + 1
@pipeline
def closing():
    stay(close())
run = closing()
with open("result", "w") as file:
    file.write(f"{run.status} {run.steps['stay'].output.load()}")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, timeout=100, check=True)
    assert (tmp_path / "result").read_text() == "completed 2"


def test_threads_that_outlive_their_step_go_on_printing(tmp_path: Path) -> None:
    program = """
import sys, threading
from pathlib import Path
from stackledger.flavors.resolving import Redactor
from stackledger.workers.step_log import StepLog, captured
sys.setswitchinterval(1e-6)
ended = False
def say():
    while not ended:
        print("said")
threading.Thread(target=say).start()
try:
    for _ in range(300):
        with captured(StepLog(Path("log").absolute, Redactor()), lambda stream, text: None):
            pass
finally:
    ended = True
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_step_that_closes_every_descriptor_ends_the_run_with_an_error_of_ours(tmp_path: Path) -> None:
    program = """
import os, sys
from stackledger import pipeline, step
from stackledger.domain.errors import LogError
@step
def close() -> None:
    os.closerange(3, 256)
@pipeline
def closing():
    close()
try:
    closing()
except LogError:
    print("told")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, timeout=100, check=True)
    assert done.stdout == b"told\n"
    assert b"Traceback" not in done.stderr


def test_runs_go_on_in_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    program = """
import os
from stackledger import pipeline, step
@step
def leave(folder: str) -> int:
    os.mkdir(folder)
    os.chdir(folder)
    os.rmdir(folder)
    return 1
@step
def stay(number: int) -> int:
    return number
@pipeline
def leaving(folder: str):
    stay(leave(folder))
leaving(os.path.abspath("first"))
@pipeline
def staying():
    stay(2)
print(staying().steps["stay"].output.load())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
