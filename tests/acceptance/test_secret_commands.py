from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.own_flavor import write_alerter_flavor
from tests.support.program import Finished, process, stackledger

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.both_logs]

CANARY = "c4n4ry-s3cret-value"


def ok(*arguments: str, answers: str = "") -> Finished:
    done = stackledger(*arguments, answers=answers)
    assert done.status == 0, done.err
    return done


def test_values_come_from_files_standard_input_and_answers(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    ok("secret", "create", "a", f"--my-key=@{tmp_path}/key", "--other_key=-", answers="from-stdin\n")
    values = ok("secret", "get", "a", "--reveal", "--output=json").json["values"]
    assert values == {"my-key": "from-file", "other_key": "from-stdin"}
    ok("secret", "create", "b", "-i", answers="k1\nv1\nk2\nv2\n\n")
    assert ok("secret", "get", "b", "--reveal", "--output=json").json["values"] == {"k1": "v1", "k2": "v2"}


def test_a_value_as_an_argument_works_and_warns() -> None:
    done = ok("secret", "create", "a", "--key=value")
    assert "Warning: others" in done.err
    assert ok("secret", "get", "a", "--reveal", "--output=json").json["values"] == {"key": "value"}


@pytest.mark.parametrize(
    ("given", "meant"), [("--resaon", "--reason"), ("--tiket", "--ticket"), ("--dry_runs", "--dry-run")]
)
def test_what_looks_like_an_option_is_no_key(given: str, meant: str) -> None:
    done = stackledger("secret", "create", "a", f"{given}=x", "--key=value")
    assert (done.status, f"Did you mean '{meant}'?" in done.err) == (2, True)
    assert ok("secret", "list", "--output=json").json["items"] == []


@pytest.mark.parametrize("key", ["region", "token", "output_bucket", "name", "secret"])
def test_what_hardly_looks_like_an_option_is_a_key(key: str) -> None:
    ok("secret", "create", "a", f"--{key}=x")
    assert ok("secret", "get", "a", "--output=json").json["keys"] == [key]


def test_what_is_empty_is_no_value_unless_written_so(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for given in ("-", f"@{tmp_path}/empty"):
        done = stackledger("secret", "create", "a", f"--key={given}")
        assert (done.status, "key 'key' is empty" in done.err) == (2, True)
    assert stackledger("secret", "create", "a", "-i", answers="key\n\n").status == 2
    ok("secret", "create", "a", "--key=")


def test_values_are_masked_unless_revealed() -> None:
    ok("secret", "create", "a", "--key=-", answers=CANARY)
    for output in ("table", "json", "yaml", "csv"):
        assert CANARY not in ok("secret", "get", "a", "--output", output).out
    assert CANARY in ok("secret", "get", "a", "--reveal").out


def test_a_planted_value_shows_up_nowhere(home: Path) -> None:
    ok("secret", "create", "a", "--key=-", answers=CANARY)
    ok("secret", "update", "a", "--key=-", answers=f"{CANARY}-2")
    for arguments in (["secret", "list"], ["log", "list", "--columns=data"], ["doctor"], ["status"], ["log", "tail"]):
        done = stackledger(*arguments)
        assert CANARY not in done.out + done.err
    for file in home.rglob("*"):
        assert not file.is_file() or CANARY.encode() not in file.read_bytes(), file


def test_what_a_step_asks_for_is_hidden_where_it_is_printed(home: Path, tmp_path: Path) -> None:
    ok("secret", "create", "a", "--key=-", answers=CANARY)
    program = tmp_path / "asks.py"
    program.write_text(
        """
import threading
from stackledger import Client, pipeline, step

@step
def asks() -> None:
    print("asking")
    value = Client().get_secret("a").secret_values["key"]
    print("it is", value)
    threading.Thread(target=lambda: print(Client().get_secret("a"))).start()
    raise ValueError(value)

@pipeline
def asking() -> None:
    asks()

asking()
""",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert "it is ***\n" in done.stdout
    logged = [file.read_text() for file in (home / "runs").rglob("*.log")]
    assert "it is ***\n" in logged[0]
    steps = stackledger("run", "list", "--output=json").out + stackledger("log", "list", "--columns=data").out
    assert not any(CANARY in text for text in (done.stdout, done.stderr, *logged, steps))


@pytest.mark.parametrize(
    "arguments",
    [
        ["label", "--label", f"u=https://u:{CANARY}@h"],
        ["reason", f"--reason=https://u:{CANARY}/q@h"],
        ["ticket", f"--ticket=https://u:{CANARY}@h"],
        [f"https://u:{CANARY}@h"],
        ["flavor", f"--flavor=https://u:{CANARY}@h"],
        ["path", f"--path=https://u:{CANARY}/q@h"],
    ],
)
def test_a_password_in_a_url_is_refused_wherever_it_is_given_and_never_repeated(
    home: Path, arguments: list[str]
) -> None:
    ok("artifact-store", "list")
    flavor = [] if any(argument.startswith("--flavor") for argument in arguments) else ["--flavor=local"]
    for dry_run in ([], ["--dry-run"]):
        refused = stackledger("artifact-store", "register", *arguments, *flavor, *dry_run)
        assert refused.status == 1
        assert CANARY not in refused.out + refused.err
        assert "Error" in refused.err
    assert len(ok("artifact-store", "list", "--output=json").json["items"]) == 1
    for file in home.rglob("*"):
        assert not file.is_file() or CANARY.encode() not in file.read_bytes(), file


def test_keys_are_changed_added_and_removed() -> None:
    ok("secret", "create", "a", "--x=1", "--y=2")
    ok("secret", "update", "a", "--x=9", "--z=3", "-r", "y")
    assert ok("secret", "get", "a", "--reveal", "--output=json").json["values"] == {"x": "9", "z": "3"}
    ok("secret", "rename", "a", "b")
    assert [one["name"] for one in ok("secret", "list", "--output=json").json["items"]] == ["b"]
    ok("secret", "delete", "b", "-y")
    assert stackledger("secret", "get", "b").status == 1


def test_a_secret_that_is_referred_to_is_kept() -> None:
    ok("alerter", "flavor", "register", write_alerter_flavor(Path.cwd(), "flavors_with_secrets"))
    ok("secret", "create", "a", "--token=-", answers=CANARY)
    ok("alerter", "register", "r", "-f", "mine", "--url=x", "--token={{a.token}}")
    for change in (["delete", "a", "-y"], ["update", "a", "-r", "token", "--other=1"], ["rename", "a", "b"]):
        done = stackledger("secret", *change)
        assert (done.status, "'r'" in done.err) == (1, True)
    missing = stackledger("alerter", "register", "q", "-f", "mine", "--url=x", "--token={{nowhere.token}}")
    assert (missing.status, "nowhere" in missing.err) == (1, True)
    literal = stackledger("alerter", "register", "q", "-f", "mine", "--url=x", f"--token={CANARY}")
    assert (literal.status, CANARY in literal.err) == (1, False)


def test_a_secret_in_a_process_argument_never_comes_back() -> None:
    done = process("secret", "create", "a", f"--key={CANARY}")
    assert done.status == 0
    assert CANARY not in done.out + done.err
