"""Many people give commands in one home at the same instant."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import chdir, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from stackledger.client import Client
from stackledger.domain.errors import ChangedMeanwhile
from tests.support.at_once import at_once
from tests.support.processes import ended, forked
from tests.support.program import Finished, stackledger
from tests.support.soak import rounds
from tests.support.waiting_run import waiting_run


def ok(*arguments: str) -> Finished:
    done = stackledger(*arguments)
    assert done.status == 0, done.err
    return done


def test_a_fresh_home_is_begun_once_however_many_begin_it(home: Path) -> None:
    users = [{"STACKLEDGER_USER": name} for name in ("ada", "bob", "cyd", "default")]
    commands = [
        command
        for number in range(rounds(4, 40))
        for command in (
            ("stack", "list"),
            ("artifact-store", "register", f"store-{number}", "-f", "local"),
            ("stack", "register", f"stack-{number}", "-o", "default", "-a", "default"),
            ("secret", "create", f"secret-{number}", "--key=value"),
            ("config", "set", "user", "ada"),
        )
    ]
    for finished in at_once(commands, users):
        assert finished.status == 0, finished.err
    types = Counter(event["type"] for event in ok("log", "list", "--size=1000", "--output=json").json["items"])
    each = len(commands) // 5
    assert types == {
        "log.created": 1,
        "subject.enrolled": len(users) + 1,
        "component.registered": 2 + each,
        "stack.registered": 1 + each,
        "secret.created": each,
    }
    with closing(sqlite3.connect(home / "subjects.db")) as names:
        rows = names.execute("SELECT kind, name, enrolled FROM subjects").fetchall()
    assert Counter((kind, name) for kind, name, _ in rows if kind == "user") == {
        ("user", user["STACKLEDGER_USER"]): 1 for user in users
    }
    assert len(rows) == len(users) + 1
    assert all(enrolled for *_, enrolled in rows)


@pytest.mark.both_logs
@pytest.mark.usefixtures("home")
def test_of_equal_names_one_wins_and_of_different_names_all() -> None:
    names = [f"name-{number % 3}" for number in range(rounds(12, 120))]
    different = [("stack", "register", f"own-{number}", "-o", "default", "-a", "default") for number in range(4)]
    equal = [("stack", "register", name, "-o", "default", "-a", "default") for name in names]
    lists = [("stack", "list", "--size=1000", "--output=json")] * rounds(4, 40)
    finished = at_once([*different, *equal, *lists])
    assert [one.err for one in finished[:4] if one.status] == [], "nobody meets on the components they share"
    registered = finished[4 : 4 + len(equal)]
    for name in set(names):
        won = [one.status == 0 for one, wanted in zip(registered, names, strict=True) if wanted == name]
        assert won.count(True) == 1, f"{name} has one winner"
    for one in registered:
        assert one.status == 0 or "There is a stack named 'name-" in one.err, one.err
    for one in finished[4 + len(equal) :]:
        assert one.status == 0, one.err
        seen = [item["name"] for item in one.json["items"]]
        assert len(seen) == len(set(seen)) == one.json["pagination"]["total"]
        assert all(item["components"].keys() == {"orchestrator", "artifact_store"} for item in one.json["items"])
    expected = {"default", *set(names), *(arguments[2] for arguments in different)}
    before = ok("stack", "list", "--size=1000", "--output=json").json
    assert {item["name"] for item in before["items"]} == expected
    assert before["pagination"]["total"] == len(expected)
    ok("projection", "rebuild")
    assert ok("stack", "list", "--size=1000", "--output=json").json == before


class Second(Client):
    """A client that is overtaken: between looking and changing, somebody else makes a change."""

    def __init__(self, user: str, meanwhile: Callable[[], object]) -> None:
        super().__init__(environment={**os.environ, "STACKLEDGER_USER": user})
        self._meanwhile = meanwhile

    def _change(self, *arguments: Any, **options: Any) -> Any:
        self._meanwhile()
        return super()._change(*arguments, **options)

    def _change_values(self, *arguments: Any, **options: Any) -> Any:
        first, self._meanwhile = self._meanwhile, lambda: None
        first()
        return super()._change_values(*arguments, **options)


CHANGES: dict[str, Callable[[Client], object]] = {
    "updated": lambda client: client.update_stack(
        "s", component_updates={"artifact_store": "other"}, labels={"team": "x"}
    ),
    "renamed": lambda client: client.update_stack("s", "t"),
    "shared": lambda client: client.share_stack("s"),
    "deleted": lambda client: client.delete_stack("s"),
}
FIELDS = {"updated": ": artifact_store is now 'other', labels.team is now 'x'", "renamed": ": name is now 't'"}


@pytest.mark.both_logs
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("second", CHANGES)
@pytest.mark.parametrize("first", CHANGES)
def test_who_changes_a_stack_second_is_told_who_did_what_and_when(first: str, second: str) -> None:
    bob = Client(environment={**os.environ, "STACKLEDGER_USER": "bob"})
    bob.create_stack_component("other", "local", "artifact_store")
    stack = bob.create_stack("s", {"orchestrator": ["default"], "artifact_store": ["default"]})
    ada = Second("ada", lambda: CHANGES[first](bob))
    with pytest.raises(ChangedMeanwhile) as caught:
        CHANGES[second](ada)
    fields = re.escape(FIELDS.get(first, ""))
    what = "stack 's'" if first in {"renamed", "deleted"} else "stack"
    assert re.fullmatch(
        rf"Somebody else was first, and nothing was changed: {what} {first} by 'bob' at [-0-9]{{10}} [:0-9]{{8}} UTC"
        rf"{fields} \(position \d+\)\.",
        caught.value.message,
    )
    changes = [event.type for event in bob.log_events(tags=[f"stack:{stack.id}"]).items]
    assert changes == [f"stack.{first}", "stack.registered"]
    for client in (ada, bob):
        client.close()


@pytest.mark.usefixtures("home")
def test_who_uses_a_stack_or_component_that_was_just_deleted_is_told_its_name() -> None:
    bob = Client(environment={**os.environ, "STACKLEDGER_USER": "bob"})
    bob.create_stack_component("gone", "local", "artifact_store")
    ada = Second("ada", lambda: bob.delete_stack_component("gone", "artifact_store"))
    with pytest.raises(ChangedMeanwhile, match="component 'gone' deleted by 'bob'"):
        ada.create_stack("s", {"orchestrator": ["default"], "artifact_store": ["gone"]})
    bob.create_stack("s", {"orchestrator": ["default"], "artifact_store": ["default"]})
    ada = Second("ada", lambda: bob.delete_stack("s"))
    with pytest.raises(ChangedMeanwhile, match="stack 's' deleted by 'bob'"):
        ada.activate_stack("s")


@pytest.mark.both_logs
@pytest.mark.usefixtures("home")
def test_who_updates_a_secret_second_takes_nothing_from_the_first() -> None:
    bob = Client(environment={**os.environ, "STACKLEDGER_USER": "bob"})
    bob.create_secret("s", {"key": "old", "other": "old"})
    ada = Second("ada", lambda: bob.update_secret("s", add_or_update_values={"key": "bob's"}))
    with pytest.raises(ChangedMeanwhile, match=r"secret updated by 'bob'"):
        ada.update_secret("s", add_or_update_values={"key": "ada's", "new": "ada's"}, remove_values=["other"])
    assert bob.get_secret("s", reveal=True).secret_values == {"key": "bob's", "other": "old"}
    ada = Second("ada", lambda: bob.update_secret("s", add_or_update_values={"key": "newer"}))
    with pytest.raises(ChangedMeanwhile):
        ada.delete_secret("s")
    assert bob.get_secret("s", reveal=True).secret_values == {"key": "newer", "other": "old"}


@pytest.mark.both_logs
@pytest.mark.usefixtures("home")
def test_updates_of_one_secret_at_once_keep_log_and_values_together() -> None:
    ok("secret", "create", "s", "--key=0")
    for number in range(rounds(2, 20)):
        finished = at_once([("secret", "update", "s", f"--key={number}.{process}") for process in range(4)])
        assert any(one.status == 0 for one in finished)
        for one in finished:
            assert one.status == 0 or "Somebody else was first" in one.err, one.err
        value = ok("secret", "get", "s", "--reveal", "--output=json").json["values"]["key"]
        assert value in {f"{number}.{process}" for process, one in enumerate(finished) if one.status == 0}


def status_of_newest_run() -> str:
    return str(ok("run", "list", "--size=1", "--output=json").json["items"][0]["status"])


@pytest.mark.usefixtures("home")
def test_a_run_goes_on_whatever_others_do_meanwhile() -> None:
    ok("stack", "register", "s", "-o", "default", "-a", "default", "--set")
    with waiting_run() as run:
        assert status_of_newest_run() == "running"
        refused = stackledger("clean", "--all", "-y")
        assert (refused.status, "1 runs go on, so the log stays where it is" in refused.err) == (1, True)
        for command in ("clean", "stack set default", "stack delete s -y", "projection rebuild"):
            ok(*command.split())
        assert status_of_newest_run() == "running"
        assert run.let_go() == 0
    assert status_of_newest_run() == "completed"


@pytest.mark.both_logs
@pytest.mark.usefixtures("home")
def test_two_runs_in_one_home_do_not_meet() -> None:
    Path("second").mkdir()
    with waiting_run() as first:
        with chdir("second"), waiting_run() as second:
            assert [run["status"] for run in ok("run", "list", "--output=json").json["items"]] == ["running"] * 2
            assert second.let_go() == 0
        assert first.let_go() == 0
    assert [run["status"] for run in ok("run", "list", "--output=json").json["items"]] == ["completed", "completed"]


@pytest.mark.both_logs
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_run_that_a_signal_ends_is_ended_in_the_log_too(number: signal.Signals) -> None:
    with waiting_run() as run:
        assert run.end(number) == -number
    if number is signal.SIGINT:
        assert status_of_newest_run() == "failed"
    else:
        assert status_of_newest_run() == "dead"
        told = ok("artifact-store", "register", "any", "-f", "local").err
        assert re.search(r"^The process of the run 'waiting-\S+' had died: it has failed\.$", told, re.MULTILINE)
        assert status_of_newest_run() == "failed"
    (newest,) = ok("run", "list", "--size=1", "--output=json").json["items"]
    assert newest["reason"] == ("interrupted" if number is signal.SIGINT else "process died")


@pytest.mark.both_logs
def test_a_command_goes_well_while_the_views_are_destroyed(home: Path) -> None:
    views = home / "views.db"
    ways = (views.unlink, lambda: os.truncate(views, 4096), lambda: views.write_bytes(b"?" * 9000))
    ok("stack", "list")
    for number in range(rounds(9, 300)):

        def destroy(number: int = number) -> None:
            with suppress(FileNotFoundError):
                ways[number % len(ways)]()

        child = forked(destroy)
        ok("stack", "register", f"s-{number}", "-o", "default", "-a", "default")
        total = ok("stack", "list", "--output=json").json["pagination"]["total"]
        assert total == number + 2
        assert ended(child) == 0


def test_a_log_that_is_moved_aside_stays_whole_whoever_uses_it(home: Path) -> None:
    acknowledged = 0
    for number in range(rounds(2, 20)):
        commands = [("stack", "register", f"s-{number}-{each}", "-o", "default", "-a", "default") for each in range(6)]
        for finished in at_once([*commands[:3], ("clean", "--all", "-y"), *commands[3:]]):
            assert finished.status == 0 or re.search(
                r"moved or replaced|no (orchestrator|artifact store) with the name or id"
                r"|Others use the log just now|was deleted",
                finished.err,
            ), finished.err
            acknowledged += finished.status == 0 and "registered" in finished.err
    found = 0
    for folder in (home, *home.glob("old-*")):
        env = {"STACKLEDGER_HOME": str(folder)}
        registered = stackledger("log", "list", "--type=stack.registered", "--output=json", env=env)
        found += registered.json["pagination"]["total"] - 1
        assert stackledger("doctor", env=env).status == 0
    assert found >= acknowledged, "who could not look at what they had registered was told so"


BOB = {"STACKLEDGER_USER": "bob"}


@pytest.mark.both_logs
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("scope", ["global", "repository"])
def test_who_loses_their_active_stack_to_somebody_elses_deletion_is_told_by_the_next_command(scope: str) -> None:
    if scope == "repository":
        ok("init")
    ok("stack", "copy", "default", "s")
    ok("stack", "set", "s")
    with chdir(".."):
        assert stackledger("stack", "delete", "s", "-y", env=BOB).status == 0
    lost = "Your active stack 's' was deleted: 'default' is active now. Choose another one with `stackledger stack set"
    for command in ("stack list", "stack get", "artifact-store register x -f local"):
        assert lost in ok(*command.split()).err
    assert ok("stack", "get").out == f"The {scope} active stack is: 'default'\n"
    ok("stack", "set", "default")
    assert "deleted" not in ok("stack", "get").err
    assert ok("stack", "get").out == f"The {scope} active stack is: 'default'\n"


@pytest.mark.usefixtures("home")
def test_an_environment_that_names_no_stack_is_told_with_the_way_out() -> None:
    environment = {"STACKLEDGER_ACTIVE_STACK": "defualt"}
    for command in ("stack list", "stack get", "stack set default", "stack register s -o default -a default --set"):
        told = stackledger(*command.split(), env=environment)
        assert told.status == 1
        assert "The environment variable STACKLEDGER_ACTIVE_STACK names no stack" in told.err
        assert "Did you mean 'default'? Unset STACKLEDGER_ACTIVE_STACK, or name another stack there." in told.err
    for command in ("doctor", "secret list", "run list", "log list", "config get user", "version"):
        assert stackledger(*command.split(), env=environment).status == 0


def test_a_log_that_is_gone_is_told_and_can_be_put_back(home: Path) -> None:
    ok("stack", "copy", "default", "s")
    moved = (home / "log.db").rename(home.parent / "log.db")
    assert "is gone, so a new one begins. Was that not meant, put log.db back." in ok("stack", "list").err
    assert "gone" not in ok("stack", "list").err
    moved.rename(home / "log.db")
    (home / "log.db-wal").unlink()
    assert {item["name"] for item in ok("stack", "list", "--output=json").json["items"]} == {"default", "s"}
