"""A log that goes on somewhere else: moved, imported there, refused here, and taken back."""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from psycopg import sql

from stackledger.eventlog.postgres_setup import WRITER
from tests.support.postgres import Databases
from tests.support.program import Finished, stackledger
from tests.support.waiting_run import waiting_run

LOG = "STACKLEDGER_LOG"
HOME = "STACKLEDGER_HOME"


@pytest.fixture
def database(postgres: Databases) -> Iterator[str]:
    with postgres.database() as address:
        yield address


def ok(*arguments: str, env: Mapping[str, str] | None = None) -> Finished:
    done = stackledger(*arguments, env=env)
    assert done.status == 0, done.err
    return done


def refused(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    done = stackledger(*arguments, env=env)
    assert (done.status, done.out) == (1, "")
    return done.err


def stats(env: Mapping[str, str] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = ok("log", "stats", "--output=json", env=env).json
    return found


@pytest.mark.usefixtures("home")
def test_a_log_goes_on_in_a_database_and_then_in_another_home_and_nowhere_else(
    postgres: Databases, database: str, tmp_path: Path
) -> None:
    ok("stack", "copy", "default", "mine")
    ok("log", "export", "first.jsonl", "--move", "--to=the server in the cellar", "--reason=grown", "--ticket=ML-1")
    said = refused("stack", "copy", "mine", "late")
    assert "by 'default' to the server in the cellar (grown)" in said
    assert "UTC" in said

    postgres.user("test_creator")
    postgres.execute(sql.SQL("ALTER ROLE test_creator CREATEROLE"))
    name = database.rpartition("/")[2]
    postgres.execute(sql.SQL("ALTER DATABASE {} OWNER TO test_creator").format(sql.Identifier(name)))
    on_server = {LOG: postgres.address(name, "test_creator")}  # who is no superuser
    assert "goes on here, under a new incarnation" in ok("log", "import", "first.jsonl", env=on_server).err
    postgres.user("test_writer", WRITER)
    on_server = {LOG: postgres.address(name, "test_writer")}
    ok("stack", "copy", "mine", "on-server", env=on_server)
    adopted, *_ = ok("log", "list", "--type=log.adopted", "--output=json", env=on_server).json["items"]
    assert adopted["actor"] == "default"
    assert stats(on_server)["incarnation"] == adopted["data"]["incarnation"]

    ok("log", "export", "second.jsonl", "--move", env=on_server)
    assert "nobody said where to" in refused("stack", "copy", "mine", "late", env=on_server)
    back = {HOME: str(tmp_path / "back")}
    ok("log", "import", "second.jsonl", env=back)
    ok("stack", "copy", "on-server", "home-again", env=back)
    assert {"mine", "on-server", "home-again"} <= set(ok("stack", "list", env=back).out.split())
    assert len({stats(each)["incarnation"] for each in ({}, on_server, back)}) == 3
    assert len({stats(each)["log_id"] for each in ({}, on_server, back)}) == 1


CHANGES = (
    "stack copy default other",
    "stack set mine",
    "stack set default",
    "stack update mine -o default",
    "stack delete mine --yes",
    "artifact-store register s --flavor=local",
    "secret create s --key=-",
    "init",
    "key enroll worker",
    "stack copy default other --dry-run",
)
QUERIES = ("stack list", "stack describe mine", "log list", "log stats", "status", "projection list", "artifact list")


def test_every_change_is_refused_and_every_query_answered(home: Path) -> None:
    ok("stack", "copy", "default", "mine")
    ok("key", "create", "worker", "--role=worker")
    ok("log", "export", "log.jsonl", "--move")
    before = (home / "log.db").read_bytes(), stats()["position"]
    for command in CHANGES:
        done = stackledger(*command.split(), answers="value")
        assert (done.status, "was moved at" in done.err) == (1, True), f"{command}: {done.err}"
        assert "Traceback" not in done.err
    assert ((home / "log.db").read_bytes(), stats()["position"]) == before
    for command in QUERIES:
        ok(*command.split())
    assert "was moved at" in ok("status").err
    (found,) = [each for each in ok("doctor", "--output=json").json["items"] if each["status"] != "ok"]
    assert (found["status"], "was moved at" in found["finding"]) == ("warning", True)
    assert ok("log", "list", "--size=1", "--output=json").json["items"][0]["type"] == "log.moved"
    ok("clean")


@pytest.mark.usefixtures("home")
def test_nobody_works_for_a_log_that_was_moved(tmp_path: Path) -> None:
    ok("orchestrator", "register", "fleet", "--flavor=rabbitmq", "--url=amqp://localhost:1")
    ok("stack", "register", "far", "-o", "fleet", "-a", "default")
    ok("log", "export", "log.jsonl", "--move")
    assert "was moved at" in refused("stack", "up", "far")
    assert "was moved at" in refused("worker", "start", "fleet")
    assert "was moved at" in refused("worker", "join-file", "fleet", "--file", str(tmp_path / "join.json"))


@pytest.mark.both_logs
@pytest.mark.usefixtures("home")
def test_a_move_that_was_not_meant_is_taken_back() -> None:
    assert "was not moved" in refused("log", "adopt", "--yes")
    ok("log", "export", "log.jsonl", "--move")
    shown = ok("log", "adopt", "--dry-run", "--output=json").json["items"]
    assert [each["type"] for each in shown] == ["log.adopted"]
    assert "was moved at" in refused("stack", "copy", "default", "mine")
    assert stackledger("log", "adopt", answers="n\n").status == 1
    ok("log", "adopt", "--yes", "--reason=a slip")
    ok("stack", "copy", "default", "mine")
    assert stats()["incarnation"]


@pytest.mark.usefixtures("home")
def test_a_move_is_shown_before_it_is_made() -> None:
    shown = ok("log", "export", "log.jsonl", "--move", "--to=there", "--dry-run", "--output=json").json["items"]
    assert [(each["type"], each["data"]["destination"]) for each in shown] == [("log.moved", "there")]
    assert not Path("log.jsonl").exists()
    assert ok("log", "export", "log.jsonl", "--dry-run", "--output=json").json["items"] == []
    assert not Path("log.jsonl").exists()
    ok("stack", "copy", "default", "mine")
    assert stackledger("log", "export", "log.jsonl", "--to=there").status == 2
    assert "password" in refused("log", "export", "log.jsonl", "--move", "--to=postgresql://a:hunter22@host/log")
    assert "hunter22" not in "".join(each.read_text(encoding="utf-8") for each in Path().glob("*.jsonl"))
    ok("stack", "copy", "default", "still-here")


@pytest.mark.usefixtures("home")
def test_a_file_that_got_lost_is_written_again_and_one_that_is_there_is_not_written_over() -> None:
    Path("there.jsonl").write_text("mine", encoding="utf-8")
    assert "is there already" in refused("log", "export", "there.jsonl", "--move")
    ok("stack", "copy", "default", "still-here")

    failing = mock.patch("stackledger.client.logs.os.fsync", side_effect=OSError(errno.ENOSPC, "No space left"))
    with failing:
        said = refused("log", "export", "lost.jsonl", "--move")
    assert "No space left. The log was moved all the same" in said
    assert not Path("lost.jsonl").exists()
    ok("log", "export", "again.jsonl")
    ok("log", "export", "once-more.jsonl", "--move", "--to=elsewhere")
    assert Path("again.jsonl").read_bytes() == Path("once-more.jsonl").read_bytes()
    last = json.loads(Path("again.jsonl").read_bytes().splitlines()[-2])
    assert last["type"] == "log.moved/1"


@pytest.mark.usefixtures("home")
def test_an_import_that_died_before_it_adopted_the_log_is_gone_on_with(tmp_path: Path) -> None:
    ok("log", "export", "log.jsonl", "--move")
    there = {HOME: str(tmp_path / "there")}
    killed = mock.patch("stackledger.client.logs.LogClient._adopt_moved", side_effect=KeyboardInterrupt)
    with killed:
        assert stackledger("log", "import", "log.jsonl", env=there).status != 0
    assert "stackledger log adopt" in refused("stack", "copy", "default", "mine", env=there)
    ok("log", "adopt", "--yes", env=there)
    ok("stack", "copy", "default", "mine", env=there)


@pytest.mark.usefixtures("home")
def test_a_copy_of_a_log_is_no_move(tmp_path: Path) -> None:
    ok("log", "export", "log.jsonl")
    there = {HOME: str(tmp_path / "there")}
    assert "It is a copy" in ok("log", "import", "log.jsonl", env=there).err
    assert stats(there)["position"] == stats()["position"]
    assert stats(there)["incarnation"] is None
    ok("stack", "copy", "default", "mine")


@pytest.mark.usefixtures("home")
def test_a_log_stays_while_runs_go_on_and_runs_that_died_are_ended_first() -> None:
    with waiting_run() as run:
        said = refused("log", "export", "log.jsonl", "--move")
        assert "runs that have not ended: 'waiting" in said
        assert not Path("log.jsonl").exists()
        run.end(signal.SIGKILL)
    ok("log", "export", "log.jsonl", "--move")
    types = [each["type"] for each in ok("log", "list", "--output=json").json["items"]]
    assert types[:2] == ["log.moved", "run.failed"]


@pytest.mark.usefixtures("home")
def test_workers_elsewhere_join_a_log_under_the_incarnation_that_it_has() -> None:
    ok("orchestrator", "register", "fleet", "--flavor=rabbitmq", "--url=amqp://localhost")
    ok("key", "create", "root", "--role=root")
    ok("key", "create", "here", "--role=coordinator")
    ok("key", "enroll", "here")
    joins = []
    for name in ("first", "second"):
        ok("worker", "join-file", "fleet", "--file", name)
        joins.append(json.loads(Path(name).read_text(encoding="utf-8")))
        ok("log", "export", f"{name}.jsonl", "--move")
        ok("log", "adopt", "--yes")
    assert [bool(join["incarnation"]) for join in joins] == [False, True]
    assert joins[0]["log_id"] == joins[1]["log_id"]
