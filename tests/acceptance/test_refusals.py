"""What a user can get wrong: one clear message with a way out, no traceback, nothing half done."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import process, stackledger
from tests.support.services import interruptible

pytestmark = pytest.mark.usefixtures("home")

HOSTILE_NAMES = [
    "../etc",
    "a/b",
    "\x1b[31mred",
    "a\u202eb",
    "x" * 10_000,
    "[red]",
    "a b",
    "",
    ".hidden",
    "a\nb",
    "🙂",
    "a'; DROP TABLE stacks; --",
    "{{secret.key}}",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: ascii(name)[:20])
def test_hostile_names_are_refused_everywhere(name: str) -> None:
    for arguments in (
        ["artifact-store", "register", "--flavor=local", "--", name],
        ["stack", "register", "-o", "default", "-a", "default", "--", name],
        ["stack", "copy", "--", "default", name],
        ["secret", "create", "--key=value", "--", name],
    ):
        done = stackledger(*arguments)
        assert done.status == 1, (arguments, done)
        assert done.out == ""
        assert "name" in done.err
        assert not {"\x1b", "\u202e", "\0"} & set(done.err)
        assert len(done.err) < 2_000
    assert stackledger("stack", "list", "--output=json").json["pagination"]["total"] == 1


@pytest.mark.parametrize(
    "name", [*HOSTILE_NAMES, "-x", "--", "nowhere", "%", "_", "*"], ids=lambda name: ascii(name)[:20]
)
def test_looking_for_a_hostile_name_finds_nothing(name: str) -> None:
    for arguments in (
        ["stack", "describe", "--", name],
        ["artifact-store", "describe", "--", name],
        ["run", "describe", "--", name],
        ["artifact", "describe", "--", name],
        ["secret", "get", "--", name],
        ["artifact-store", "flavor", "describe", "--", name],
        ["pipeline", "describe", "--", name],
        ["stack", "set", "--", name],
    ):
        done = stackledger(*arguments)
        assert done.status == 1, (arguments, done)
        assert not {"\x1b", "\u202e", "\0"} & set(done.err)


@pytest.mark.parametrize("twin", ["GRÖSSE-ö", "gro\u0308sse-o\u0308"], ids=ascii)
def test_a_twin_of_a_name_is_the_same_name(twin: str) -> None:
    assert stackledger("stack", "copy", "default", "grösse-ö").status == 0
    done = stackledger("stack", "copy", "default", twin)
    assert (done.status, "grösse-ö" in done.err.casefold()) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "near", "status"),
    [
        ("stack describe defualt", "default", 1),
        ("orchestrator describe defalut", "default", 1),
        ("run list --status faild", "failed", 2),
        ("run list --status ded", "dead", 2),
        ("log list --type stack.registred", "stack.registered", 1),
        ("log list --type stack.registred/1", "stack.registered/1", 1),
        ("log list --actor defualt", "default", 1),
        ("flavor list --type artefact-store", "artifact-store", 2),
        ("artifact-store list --flavor locl", "local", 1),
        ("artifact-store flavor describe locl", "local", 1),
        ("projection rebuild registy", "registry", 1),
        ("config get usr", "user", 1),
        ("init --template startr", "starter", 1),
        ("integration requirements sklern", "sklearn", 1),
        ("stack list --columns nme", "name", 2),
        ("stack list --sort-by nme", "name", 2),
        ("stack lst", "list", 2),
    ],
)
def test_near_names_are_offered(arguments: str, near: str, status: int) -> None:
    done = stackledger(*arguments.split())
    assert (done.status, done.out) == (status, "")
    assert f"Did you mean '{near}'" in done.err


@pytest.mark.parametrize(
    "arguments", ["run list --status nowhere", "log list --type nowhere", "flavor list --type nowhere"]
)
def test_a_word_that_an_option_does_not_know_is_refused_with_those_that_it_knows(arguments: str) -> None:
    done = stackledger(*arguments.split(), "--output=json")
    assert (done.status in {1, 2}, done.out) == (True, "")
    assert re.search(r"A run is running, |`stackledger log stats` lists|The types are orchestrator, ", done.err)


def test_what_could_be_there_and_is_not_makes_an_empty_list() -> None:
    for arguments in ("run list --status dead", "log list --type run.failed/1", "alerter list --name=nowhere"):
        assert stackledger(*arguments.split(), "--output=json").json["items"] == []


def test_a_missing_component_leaves_nothing_behind() -> None:
    done = stackledger("stack", "register", "x", "-o", "nowhere", "-a", "default", "--set")
    assert done.status == 1
    assert "nowhere" in done.err
    assert stackledger("stack", "get").out == "The global active stack is: 'default'\n"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--nonsense=1"], "nonsense"),
        (["--path=s3://bucket"], "path"),
        (["--flavor=nowhere"], "nowhere"),
    ],
)
def test_a_wrong_configuration_is_refused_at_registration(options: list[str], word: str) -> None:
    done = stackledger("artifact-store", "register", "x", "--flavor=local", *options)
    assert done.status == 1
    assert word in done.err
    assert stackledger("artifact-store", "describe", "x").status == 1


@pytest.mark.parametrize("position", ["0", "99999999", "99999999999999999999999", "9999-12-31"])
def test_positions_off_the_log_end_well(position: str) -> None:
    done = stackledger("stack", "list", "--as-of", position)
    assert done.status in {0, 1, 2}
    assert stackledger("log", "show", position if position.isdecimal() else "7777").status in {1, 2}


def test_the_built_in_stack_stays_as_it_is() -> None:
    for arguments in (
        ["stack", "rename", "default", "x"],
        ["stack", "delete", "default", "-y"],
        ["stack", "update", "default", "-a", "default", "--label", "a=b"],
        ["orchestrator", "delete", "default", "-y"],
        ["artifact-store", "update", "default", "--label", "a=b"],
    ):
        assert stackledger(*arguments).status == 1, arguments


def test_an_argument_that_is_no_text_is_refused() -> None:
    done = process("stack", "describe", b"\xff\xfe")
    assert done.status == 2
    assert "Traceback" not in done.err


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc").exists(), reason="needs a folder nobody can write to")
@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/null/x"])
def test_a_home_that_cannot_be_made_is_explained(home: str) -> None:
    done = process("stack", "list", env={"STACKLEDGER_HOME": home})
    assert done.status == 1
    assert "Traceback" not in done.err
    assert home in done.err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("log.db", "log.db is a folder, where the log should be a file. Move it away"),
        ("views.db", "move that folder away, and try again"),
    ],
)
def test_a_folder_in_the_place_of_a_file_is_told_as_such(name: str, words: str, home: Path) -> None:
    (home / name).mkdir(parents=True)
    for command in ("stack list", "stack copy default x"):
        done = stackledger(*command.split())
        assert done.status == 1
        assert words in done.err
        assert not {"disk", "make room"} & set(re.findall("disk|make room", done.err))


def test_a_reader_that_goes_away_ends_the_program_quietly() -> None:
    command = f"{shlex.quote(sys.executable)} -m stackledger log list --output json | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=100, check=False)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_a_full_disk_is_said() -> None:
    command = f"{shlex.quote(sys.executable)} -m stackledger --help > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (1, "Error: The output cannot be written: No space left on device.\n")


def _in_bash(command: str) -> subprocess.CompletedProcess[str]:
    program = f"{shlex.quote(sys.executable)} -m stackledger"
    script = command.replace("stackledger", program)
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_keeps_nobody_from_a_change_and_reaches_no_file(closed: str) -> None:
    done = _in_bash(f"stackledger stack copy default other {closed}")
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (0, "", False)
    assert "other" in stackledger("stack", "list").out
    assert stackledger("doctor").status == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_talk_that_cannot_be_written_keeps_nobody_from_the_result() -> None:
    done = _in_bash("stackledger stack copy default other --output=json 2>/dev/full")
    assert (done.returncode, '"name": "other"' in done.stdout) == (0, True)
    assert _in_bash("stackledger stack describe nowhere 2>/dev/full").returncode == 1


def test_a_terminal_of_another_encoding_gets_a_table() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stackledger", "stack", "list"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"default" in done.stdout


def test_a_home_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    done = stackledger("stack", "list", env={"STACKLEDGER_HOME": str(tmp_path / "file")})
    assert done.status == 1
    assert f"{tmp_path}/file/log.db cannot be reached: Not a directory." in done.err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("!!python/object/apply:os.system [exit]", "apply:os.system' in line 1."),
        ("a: [1\nb", "in line 2."),
        ("a: &x [1]\nb: *x\n", "aliases are not accepted."),
        ("a: 1\na: 2\n", "a key occurs twice in one mapping."),
    ],
)
def test_hostile_yaml_is_refused_in_one_line(text: str, why: str) -> None:
    Path("stack.yaml").write_text(text, encoding="utf-8")
    done = stackledger("stack", "import", "-f", "stack.yaml")
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines()[-1].startswith("Error: The file 'stack.yaml' is not plain YAML: ")
    assert done.err.splitlines()[-1].endswith(why)


@pytest.mark.parametrize("option", ["reason", "ticket"])
def test_what_every_event_repeats_is_short(option: str) -> None:
    done = stackledger("stack", "copy", "default", "other", f"--{option}={'x' * 2_001}")
    assert (done.status, done.out) == (1, "")
    assert f"The {option} has 2,001 characters" in done.err
    assert stackledger("stack", "list", "--output=json").json["pagination"]["total"] == 1


def test_an_interrupt_while_the_program_is_loaded_exits_with_130_too(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    done = process("stack", "list", env={"PYTHONPATH": str(tmp_path)})
    assert (done.status, done.out, done.err) == (130, "", "")


def test_an_interrupt_exits_with_130() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "stackledger", "log", "tail", "--follow"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=interruptible,  # noqa: PLW1509 - it makes a few system calls
    ) as program:
        assert program.stdout
        assert program.stderr
        program.stdout.readline()  # it is running, and has printed an event
        program.send_signal(signal.SIGINT)
        assert program.wait(timeout=100) == 130
        assert b"Traceback" not in program.stderr.read()
