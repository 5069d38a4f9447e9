"""What a person sees of a run on a terminal, and what arrives in files and pipes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.program import process

pytestmark = pytest.mark.usefixtures("home")

RUN = """
import logging, subprocess, sys, warnings
from stackledger import pipeline, step

logging.basicConfig(level=logging.INFO)

@step
def quiet() -> int:
    return 1

@step
def loud(number: int) -> int:
    print("a wide row " + "x" * 100)
    logging.getLogger("project").info("logged")
    for done in range(3):
        sys.stderr.write(f"\\r{done} of 2")
    sys.stderr.write("\\n")
    warnings.warn("beware")
    subprocess.run(["echo", "from a child"])
    return number

@pipeline
def talking():
    loud(quiet())

print("result", talking(), file=sys.stdout)
"""


NESTED = """
from stackledger import pipeline, step

@step
def inside() -> int:
    return 1

@pipeline
def inner():
    inside()

@step
def outside() -> int:
    return inner().steps["inside"].output.load()

@pipeline
def outer():
    outside()

outer()
"""


def on_a_terminal(project: str = RUN, *, stdout: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run the project with a terminal for its errors, and for its output unless a file is given; return its text."""
    Path("run.py").write_text(project, encoding="utf-8")
    mine, theirs = pty.openpty()
    with open(stdout or os.devnull, "wb") as file:
        child = subprocess.Popen(
            [sys.executable, "run.py"],
            stdin=subprocess.DEVNULL,
            stdout=file if stdout else theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", **(env or {})},
        )
    os.close(theirs)
    text = b""
    while True:
        try:
            chunk = os.read(mine, 65536)
        except OSError:  # Linux says so when the last writer has gone
            chunk = b""
        if not chunk:
            break
        text += chunk
    os.close(mine)
    assert child.wait(60) == 0, text.decode()
    return text.decode()


def shown(text: str) -> str:
    """Return what is left on the screen of what was written, as far as lines were not drawn over."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r\n", "\n")


def test_a_terminal_shows_a_spinner_and_what_a_step_prints_as_it_was_printed() -> None:
    text = on_a_terminal(env={"COLUMNS": "40"})
    assert "quiet is running" in text
    assert "a wide row " + "x" * 100 + "\n" in shown(text)
    assert "\r0 of 2\r1 of 2\r2 of 2\r\n" in text
    assert "\nINFO:project:logged\n" in shown(text)
    assert "\nfrom a child\n" in shown(text)
    assert "\nThe run has finished in " in shown(text)
    assert "\x1b[?25l" not in text, "a run that is killed leaves the cursor as it was"
    assert text.count("\x1b[?7l") == text.count("\x1b[?7h"), "lines are broken as before"


UNFINISHED = """
import sys
from stackledger import pipeline, step

@step
def half():
    sys.stdout.write("half a line")

@pipeline
def p():
    half()

p()
"""


def test_a_line_that_a_step_left_unfinished_is_ended_before_the_next() -> None:
    assert "half a line\nStep half has finished" in shown(on_a_terminal(UNFINISHED))


TOGETHER = """
import threading
from concurrent.futures import ThreadPoolExecutor
from stackledger import pipeline, step

both = threading.Barrier(2)

@step
def silent(number: int) -> int:
    both.wait(60)
    both.wait(60)
    return number

@step
def talks(number: int) -> int:
    both.wait(60)
    for row in range(300):
        print(f"row {row} of {number}")
    both.wait(60)
    return number

@pipeline
def mixed(number: int):
    if number % 2:
        talks(silent(talks(number)))
    else:
        silent(talks(silent(number)))

with ThreadPoolExecutor(2) as pool:
    for run in pool.map(mixed, range(2)):
        assert run.status == "completed"
"""


def test_two_runs_at_once_share_the_terminal_line_by_line() -> None:
    text = on_a_terminal(TOGETHER)
    lines = [line for line in screen(text).splitlines() if line]
    odd = [line for line in lines if not re.fullmatch(r"(row \d+ of \d|(Run|Step|The run) .+\.)", line)]
    assert odd == []
    assert sum(line.startswith("row ") for line in lines) == 3 * 300
    assert "silent is running, talks is running" in text or "talks is running, silent is running" in text


def screen(text: str) -> str:
    """Return what is left on the screen after whole lines were taken away."""
    return shown(re.sub(r"\x1b\[\?7l.*?\x1b\[\?7h", "", text).replace("\r\x1b[2K", ""))


def test_what_steps_print_goes_where_standard_output_goes_although_a_spinner_is_on_the_terminal() -> None:
    text = on_a_terminal(stdout=Path("out.txt"))
    out = Path("out.txt").read_text(encoding="utf-8")
    assert "a wide row" in out
    assert "a wide row" not in text
    assert out.splitlines()[-1].startswith("result ")
    assert "Step loud has started." in text


def test_the_log_of_a_step_has_what_it_printed_and_logged_on_a_terminal() -> None:
    on_a_terminal()
    (row,) = process("run", "list", "--output=json", check=True).json["items"]
    log = process("run", "logs", row["name"], check=True).out
    assert "a wide row" in log
    assert "INFO:project:logged" in log
    assert "UserWarning: beware" in log


def test_the_log_of_a_step_that_runs_a_pipeline_has_no_spinner() -> None:
    assert "outside is running" in on_a_terminal(NESTED)
    outer = process("run", "list", "--name=startswith:outer", "--output=json", check=True).json["items"][0]
    log = process("run", "logs", outer["name"], check=True).out
    assert "Step inside has started." in log
    assert "is running" not in log


THREADS = """
from concurrent.futures import ThreadPoolExecutor
from stackledger import Client, pipeline, step

@step
def work(number: int) -> int:
    print(f"working at {number}")
    return number

@pipeline
def p(number: int):
    work(work(number))

with ThreadPoolExecutor(4) as pool:
    runs = list(pool.map(p, range(8)))
for run in runs:
    number = run.steps["work_2"].output.load()
    for name in run.steps:
        assert Client().step_logs(run.id, name) == [f"working at {number}"]
"""


def test_runs_of_several_threads_say_nothing_in_the_logs_of_each_others_steps() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("The run has finished") == 8
    assert "Traceback" not in done.stderr


def test_colour_is_left_out_where_it_is_not_wanted() -> None:
    assert "\x1b[32m" in on_a_terminal()
    assert "\x1b[32m" not in on_a_terminal(env={"NO_COLOR": "1"})


def test_a_pipe_gets_plain_lines() -> None:
    Path("run.py").write_text(RUN, encoding="utf-8")
    done = subprocess.run([sys.executable, "run.py"], capture_output=True, text=True, timeout=100, check=True)
    assert "\x1b" not in done.stderr
    assert re.search(r"^Step quiet has started\.\nStep quiet has finished in \d+\.\d{3}s\.$", done.stderr, re.MULTILINE)
