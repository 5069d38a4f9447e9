"""Whoever keeps the log on PostgreSQL: making it, finding it, what is said of it, and several homes on one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from unittest import mock

import psycopg
import pytest
from psycopg import sql

from stackledger.client import Client
from stackledger.eventlog.postgres_server import EVENTS, SCHEMA
from tests.support.postgres import PASSWORD, Databases, log_for
from tests.support.program import Finished, process, stackledger
from tests.support.services import interruptible
from tests.support.views import dumped
from tests.support.waiting_run import waiting_run

LOG = "STACKLEDGER_LOG"


@pytest.fixture
def database(postgres: Databases) -> Iterator[str]:
    with postgres.database() as address:
        yield address


@pytest.fixture
def log(home: Path, postgres: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The log that commands use, by the address of somebody who may only append and read."""
    with log_for(home, postgres) as address:
        monkeypatch.setenv(LOG, address)
        yield address


def as_admin(log: str, postgres: Databases) -> str:
    return postgres.address(log.rpartition("/")[2])


def doctor(environment: Mapping[str, str]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = stackledger("doctor", "--output", "json", env=environment).json["items"]
    return found


def events() -> int:
    return int(stackledger("log", "stats", "--output", "json").json["events"])


def refused(done: Finished, *words: str) -> None:
    assert done.status == 1, done
    for word in words:
        assert word in done.err
    assert PASSWORD not in done.out + done.err


@pytest.mark.usefixtures("home")
def test_a_log_is_made_used_and_not_made_again(database: str) -> None:
    environment = {LOG: database}
    refused(stackledger("stack", "list", env=environment), "not there yet", "stackledger log create")
    made = stackledger("log", "create", env=environment)
    assert made.status == 0, made.err
    assert "GRANT stackledger_writer" in made.err
    assert PASSWORD not in made.err
    assert stackledger("stack", "copy", "default", "mine", env=environment).status == 0
    assert "mine" in stackledger("stack", "list", env=environment).out
    assert "mine" not in stackledger("stack", "list").out
    refused(stackledger("log", "create", env=environment), "There is a log at")


@pytest.mark.usefixtures("home")
def test_who_makes_a_log_gives_no_password_that_others_see(database: str) -> None:
    refused(stackledger("log", "create", database), "has a password in it", "PGPASSWORD")
    done = stackledger("log", "create", database.replace(f":{PASSWORD}", ""), env={"PGPASSWORD": PASSWORD})
    assert done.status == 0, done.err


@pytest.mark.usefixtures("home")
def test_a_log_in_a_home_is_not_for_making() -> None:
    refused(stackledger("log", "create"), "where is this one to be", "postgresql://HOST/DATABASE")


def test_the_settings_name_a_log_and_hold_no_password(home: Path, log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LOG)
    refused(stackledger("config", "set", "log", log), "has a password in it")
    refused(stackledger("config", "set", "log", "somewhere/else"), "not the address of a log")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    shown = log.replace(f":{PASSWORD}", "")
    assert stackledger("config", "set", "log", shown).status == 0
    assert stackledger("status", "--output", "json").json["log"] == shown
    assert stackledger("config", "get", "log").out.strip() == shown
    monkeypatch.setenv("OURS", log)
    assert stackledger("config", "set", "log", "env:OURS").status == 0
    assert stackledger("status", "--output", "json").json["log"] == shown
    assert PASSWORD not in (home / "config.json").read_text(encoding="utf-8")
    assert stackledger("config", "set", "log", "").status == 0
    assert stackledger("status", "--output", "json").json["log"] == str(home / "log.db")


def test_no_command_shows_the_password(log: str) -> None:
    for command in ("status", "doctor", "log stats", "config list", "projection list", "stack list", "clean --all -y"):
        done = process(*command.split(), env={LOG: log})
        assert PASSWORD not in done.out + done.err
    wrong = log.replace("127.0.0.1", "127.0.0.1:1,127.0.0.1")
    refused(process("stack", "list", env={LOG: log.rpartition("/")[0] + "/missing"}), "cannot be reached")
    assert PASSWORD not in process("stack", "list", env={LOG: wrong}).err


@pytest.mark.usefixtures("home")
def test_an_address_that_is_none_is_said_without_repeating_it() -> None:
    refused(stackledger("stack", "list", env={LOG: f"mysql://ada:{PASSWORD}@host/log"}), "not the address of a log")


def test_the_log_of_all_stays_when_a_home_is_cleaned(log: str) -> None:
    refused(stackledger("clean", "--all", "--yes"), "not only of this home", "postgresql://test_writer@")
    assert stackledger("clean").status == 0


def test_doctor_finds_nothing_wrong_with_a_writer(log: str) -> None:
    assert [each for each in doctor({}) if each["status"] != "ok"] == []


def test_doctor_warns_of_what_can_lose_events_or_change_them(log: str, postgres: Databases) -> None:
    admin = as_admin(log, postgres)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {log.rpartition('/')[2]} SET synchronous_commit = off")
        connection.execute(f"ALTER TABLE {SCHEMA}.{EVENTS} DISABLE TRIGGER append_only")
        before = "\n".join(each["finding"] for each in doctor({LOG: admin}))
        connection.execute(f"DROP TRIGGER moved ON {SCHEMA}.{EVENTS}")
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        try:
            while connection.execute("SHOW fsync").fetchone() != ("off",):
                pass
            done = stackledger("doctor", "--output", "json", env={LOG: admin})
            told = stackledger("status", env={LOG: admin}).err
        finally:
            connection.execute("ALTER SYSTEM RESET fsync")
            connection.execute("SELECT pg_reload_conf()")
    found = "\n".join(f"{each['status']}: {each['finding']}" for each in done.json["items"])
    assert done.status == 1
    assert "The server has fsync=off" in told
    assert "The server has synchronous_commit=off" in told
    assert "warning: The server has fsync=off" in found
    assert "warning: The server has synchronous_commit=off" in found
    assert "error: The triggers that refuse changes of events are gone" in found
    assert "error: The trigger that keeps a log that was moved from growing is missing" in found
    assert "The trigger that keeps a log that was moved" not in before
    assert "warning: You may change the tables of the log" in found


def test_time_is_that_of_the_server_and_a_clock_that_is_wrong_is_said(log: str) -> None:
    real = time.time_ns()
    with mock.patch("time.time_ns", return_value=real - 2 * 3600 * 1_000_000_000):
        done = stackledger("stack", "copy", "default", "mine")
        assert "7,2" in done.err or "7,1" in done.err
        assert "s away from the log's" in done.err
        warned = stackledger("doctor").out
    assert "s away from the server's" in warned.replace("\n", " ")
    (newest,) = stackledger("log", "list", "--size", "1", "--output", "json").json["items"]
    told = time.strptime(newest["time"][:19], "%Y-%m-%dT%H:%M:%S")
    assert newest["type"] == "stack.registered"
    assert abs(time.mktime(told) - time.timezone - real / 1e9) < 600


def test_two_homes_on_one_log_see_the_same_and_judge_only_their_own_runs(home: Path, log: str, tmp_path: Path) -> None:
    other = {"STACKLEDGER_HOME": str(tmp_path / "other"), LOG: log}
    with waiting_run() as run:
        assert stackledger("stack", "copy", "default", "from-other", env=other).status == 0
        for environment in ({}, other):
            (row,) = stackledger("run", "list", "--output", "json", env=environment).json["items"]
            assert row["status"] == "running"
        assert run.let_go() == 0
    (row,) = stackledger("run", "list", "--output", "json", env=other).json["items"]
    assert row["status"] == "completed"
    assert stackledger("stack", "describe", "from-other").status == 0
    assert dumped(home / "views.db") == dumped(tmp_path / "other" / "views.db")


def test_a_run_that_died_in_another_home_is_left_to_that_home(log: str, tmp_path: Path) -> None:
    other = {"STACKLEDGER_HOME": str(tmp_path / "other"), LOG: log}
    with waiting_run() as run:
        run.end(signal.SIGKILL)
    assert stackledger("stack", "copy", "default", "mine", env=other).status == 0
    assert "no run has died" in [item["finding"] for item in doctor(other)]
    (row,) = stackledger("run", "list", "--output", "json").json["items"]
    assert row["status"] == "dead"
    assert stackledger("stack", "copy", "default", "ours").status == 0
    (row,) = stackledger("run", "list", "--output", "json", env=other).json["items"]
    assert row["status"] == "failed"


def test_another_log_in_the_place_of_the_first_is_noticed(log: str, postgres: Databases, home: Path) -> None:
    stackledger("stack", "copy", "default", "mine")
    with log_for(home, postgres) as second:
        done = stackledger("stack", "list", env={LOG: second})
        assert "built from another log" in done.err
        assert "mine" not in done.out
    assert "mine" in stackledger("stack", "list").out


def test_views_pass_gaps_and_stop_where_they_have_read(log: str, postgres: Databases) -> None:
    stackledger("stack", "copy", "default", "before")
    with psycopg.connect(as_admin(log, postgres)) as connection:
        connection.execute(f"SELECT nextval('{SCHEMA}.{EVENTS}_id_seq') FROM generate_series(1, 5)")
    stackledger("stack", "copy", "default", "after")
    head = int(stackledger("status", "--output", "json").json["position"])
    assert events() == head - 5
    assert [row["position"] for row in stackledger("projection", "list", "--output", "json").json["items"]] == [
        head
    ] * 2
    refused(stackledger("log", "show", str(head - 3)), f"no event at position {head - 3}")
    assert "after" not in stackledger("stack", "list", "--as-of", str(head - 3)).out


def test_a_log_that_is_followed_tells_what_somebody_else_appends(log: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stackledger", "log", "tail", "-f", "-n", "1", "--output", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible) as tail:  # noqa: PLW1509
        assert tail.stdout is not None
        watchdog = threading.Timer(100, tail.kill)
        watchdog.start()
        assert json.loads(tail.stdout.readline())["type"] == "stack.registered"
        other = {**os.environ, "STACKLEDGER_HOME": str(tmp_path / "other")}
        with closing(Client(home=tmp_path / "other", environment=other)) as client:
            client.create_secret("mine", {"key": "value"})
        kinds = []
        while "secret.created" not in kinds:
            kinds.append(json.loads(tail.stdout.readline())["type"])
        watchdog.cancel()
        tail.send_signal(signal.SIGINT)


def test_a_server_that_went_away_is_said_with_a_way_out(log: str, postgres: Databases) -> None:
    name = sql.Identifier(log.rpartition("/")[2])
    postgres.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS off").format(name))
    refused(stackledger("stack", "list"), "cannot be reached", "Check the address")
    found = stackledger("doctor", "--output", "json")
    assert found.status == 1
    assert "cannot be reached" in found.out


@pytest.mark.usefixtures("home")
def test_without_its_library_a_log_on_a_server_says_what_to_install() -> None:
    with mock.patch.dict(sys.modules, {"stackledger.eventlog.postgres_server": None}):
        refused(stackledger("stack", "list", env={LOG: "postgresql://host/log"}), "pip install 'stackledger[postgres]'")
