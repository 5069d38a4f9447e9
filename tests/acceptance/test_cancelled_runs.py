"""Ending runs that a process executes by itself, and going on with runs, as one does on the command line."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from stackledger.client import Client
from stackledger.domain.run_status import DEAD, RunStatus, StepStatus
from tests.support.program import Finished, stackledger
from tests.support.waiting_run import waiting_run

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)


def ok(*arguments: str) -> Finished:
    done = stackledger(*arguments)
    assert done.status == 0, done.err
    return done


def the_run() -> str:
    (run,) = Client().list_pipeline_runs().items
    return run.name


def types() -> list[str]:
    return [event["type"] for event in ok("log", "list", "--size=1000", "--output=json").json["items"]]


def test_the_process_that_executes_a_cancelled_run_ends_after_its_step() -> None:
    with waiting_run() as run:
        name = the_run()
        done = ok("run", "cancel", name, "--reason", "wrong data", "--output", "json")
        assert f"Run '{name}' is cancelled." in done.err
        assert (done.json["status"], done.json["reason"]) == ("stopped", "wrong data")
        assert [step["status"] for step in done.json["steps"]] == ["stopped", "stopped"]
        assert done.json["steps"][0]["ended"] == done.json["ended"]
        assert done.json["steps"][1]["ended"] is None, "it never began"
        before = types()
        assert run.let_go() == 1
        assert f"The run '{name}' was cancelled." in run.said()
    assert types() == before, "what it came to had an effect"


def test_as_of_before_a_cancelled_run_is_as_it_was() -> None:
    with waiting_run() as run:
        name, client = the_run(), Client()
        before = client.status()["position"]
        ok("run", "cancel", name)
        run.let_go()
    assert [step.status for step in client.list_run_steps(name, as_of=before)] == ["running", "initializing"]
    assert {step.status for step in client.list_run_steps(name)} == {StepStatus.STOPPED}


def test_trying_it_changes_nothing() -> None:
    with waiting_run() as run:
        name, before = the_run(), types()
        (event,) = ok("run", "cancel", name, "--dry-run", "--output", "json").json["items"]
        assert event["type"] == "run.cancelled"
        assert types() == before
        assert run.let_go() == 0


def test_a_run_that_has_ended_cannot_be_cancelled_or_resumed() -> None:
    with waiting_run() as run:
        name = the_run()
        assert run.let_go() == 0
    for command, words in (("cancel", "nothing left to cancel"), ("resume", "nothing left to go on with")):
        done = stackledger("run", command, name)
        assert (done.status, words in done.err) == (1, True), done.err
    assert "no run with the name or id 'nowhere'" in stackledger("run", "cancel", "nowhere").err
    done = stackledger("run", "cancel", name[:-1])
    assert f"no run with the name or id '{name[:-1]}'" in done.err, "a change takes no beginning of a name"


@pytest.mark.parametrize("command", ["cancel", "resume"])
def test_a_run_whose_process_died_is_ended_as_that(command: str) -> None:
    with waiting_run() as run:
        name = the_run()
        run.end(signal.SIGKILL)
    (dead,) = Client().list_pipeline_runs().items
    assert dead.status == DEAD
    done = stackledger("pipeline", "runs", command, name)
    assert (done.status, f"The process of the run '{name}' had died" in done.err) == (int(command == "resume"), True)
    (ended,) = Client().list_pipeline_runs().items
    assert (ended.status, ended.reason) == (RunStatus.FAILED, "process died")
    if command == "resume":
        assert "call the pipeline again" in done.err


def test_a_run_that_its_own_process_executes_goes_on_there() -> None:
    with waiting_run() as run:
        done = stackledger("run", "resume", the_run())
        assert (done.status, "goes on there" in done.err) == (1, True)
        assert run.let_go() == 0
