"""Commands are killed at any instant, or find no room on the disk: nothing is ever half done."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import pytest

from stackledger.client import Client
from tests.support.deadly import full_at, killed_at
from tests.support.processes import ended, forked
from tests.support.program import Finished, stackledger
from tests.support.soak import rounds


class Case(NamedTuple):
    """A command, and what it may be told when it is repeated after it was killed: by then the change is made."""

    command: str
    made: str | None = None
    fresh: bool = False


CASES = {
    "begin a home": Case("stack list", fresh=True),
    "register a component": Case("artifact-store register new -f local", "named 'new' already"),
    "register a stack": Case("stack register new -o default -a mine --set", "named 'new' already"),
    "update": Case("stack update s -a other"),
    "delete": Case("stack delete s -y -r", "no stack with the name or id 's'"),
    "set": Case("stack set s"),
    "create a secret": Case("secret create new --key=value", "named 'new' already"),
    "update a secret": Case("secret update secret --a=9 --c=3 -r b", "has no key 'b'"),
    "delete a secret": Case("secret delete secret -y", "no secret with the name or id 'secret'"),
    "init": Case("init --template starter --template-with-defaults", "a Stackledger repository already"),
    "config": Case("config set user bob"),
    "clean": Case("clean"),
    "clean all": Case("clean --all -y"),
    "rebuild": Case("projection rebuild"),
}
BEGUN = (
    "artifact-store register mine -f local",
    "artifact-store register other -f local",
    "stack register s -o default -a mine",
    "secret create secret --a=1 --b=2",
    "config set user ada",
)
VALUES = ({"a": "1", "b": "2"}, {"a": "9", "c": "3"}, {"key": "value"})
FILES = re.compile(
    r"(log\.db(-wal|-shm)?|views\.db(-wal|-shm)?|subjects\.db|secrets\.db|secret\.key|config\.json"
    r"|(log|views|subjects|secrets|settings)\.lock)"
)


def ok(command: str) -> Finished:
    done = stackledger(*command.split())
    assert done.status == 0, (command, done.err)
    return done


def begin(case: Case, home: Path, template: Path) -> None:
    """Make the home that the command finds, and keep it as a template."""
    if not case.fresh:
        for command in BEGUN:
            ok(command)
        shutil.copytree(home, template)


def begin_again(case: Case, home: Path, template: Path, work: Path) -> None:
    """Put home and working directory back."""
    for folder in (home, work):
        shutil.rmtree(folder, ignore_errors=True)
    if not case.fresh:
        shutil.copytree(template, home)
    work.mkdir()
    os.chdir(work)


@pytest.mark.parametrize("name", CASES)
def test_a_command_that_is_killed_at_any_instant_leaves_nothing_half_done(
    home: Path, tmp_path: Path, name: str
) -> None:
    case = CASES[name]
    work, template = Path.cwd(), tmp_path / "template"
    begin(case, home, template)
    begin_again(case, home, template, work)
    instants = killed_at(0, case.command.split(), home)
    assert instants, "the instants were counted"
    # What a command only reads comes first: most of what can be half done is in its second half.
    chance = random.Random(name)
    chosen = [chance.randrange(1, instants // 2 + 1), *chance.choices(range(instants // 2 + 1, instants + 1), k=9)]
    for instant in range(1, instants + 1) if rounds(0, 1) else chosen:
        begin_again(case, home, template, work)
        if killed_at(instant, case.command.split(), home) is None:
            check(case, home, work)


@pytest.mark.parametrize("name", CASES)
def test_a_command_for_which_there_is_no_room_says_so_and_leaves_nothing_half_done(
    home: Path, tmp_path: Path, name: str
) -> None:
    case = CASES[name]
    work, template = Path.cwd(), tmp_path / "template"
    begin(case, home, template)
    sizes = range(4096, 200_000, 4096)
    for size in sizes if rounds(0, 1) else [*sizes[:10:2], sizes[20]]:
        begin_again(case, home, template, work)
        done = full_at(size, case.command.split(), tmp_path / "told")
        assert done.status == 0 or re.search(r"^Error: .*(full|I/O error|too large)", done.err, re.MULTILINE), done.err
        check(case, home, work)


def check(case: Case, home: Path, work: Path) -> None:
    assert ok("stack list --output=json").json["items"]
    assert all(finding["status"] == "ok" for finding in ok("doctor --output=json").json["items"])
    check_secrets()
    again = stackledger(*case.command.split())
    assert again.status == 0 or (case.made and case.made in again.err), again.err
    check_secrets()
    ok("stack get")
    assert ok("config get user").out in {"ada\n", "bob\n", "default\n"}
    for path in (home / "artifacts").rglob("*"):
        os.utime(path, (0, 0))  # what is younger than a day may be that of somebody who is at it
    ok("clean")
    left = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
    strange = [path for path in left if not FILES.fullmatch(path.name) and not path.parts[0].startswith("old-")]
    assert strange == []
    assert not [path for path in work.rglob("*") if path.name.endswith(".new")]


def check_secrets() -> None:
    for secret in ok("secret list --output=json").json["items"]:
        values = ok(f"secret get {secret['name']} --reveal --output=json").json["values"]
        assert sorted(values) == sorted(secret["keys"])
        assert values in VALUES


def test_what_a_killed_writer_added_last_outlives_the_loss_of_the_file_that_it_belongs_to(home: Path) -> None:
    ok("stack list")

    def work() -> None:
        client = Client()  # kept: one that is let go closes its log, and leaves nothing beside it
        client.create_stack_component("last", "local", "artifact_store")
        os.kill(os.getpid(), signal.SIGKILL)

    assert ended(forked(work)) == -signal.SIGKILL
    moved = (home / "log.db").rename(home.parent / "log.db")
    told = stackledger("stack", "list")
    assert (told.status, "log.db-wal beside it holds what was last added to it" in told.err) == (1, True)
    moved.rename(home / "log.db")
    assert len(ok("artifact-store list --output=json").json["items"]) == len(("default", "last"))
