from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import Finished, completions, stackledger

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.both_logs]

PIPELINE = """
from typing import Annotated

from stackledger import pipeline, step


@step(settings={"docker": {"requirements": ["msgpack", "pydantic>=2"]}})
def load(size: int) -> Annotated[list[int], "numbers"]:
    print("\\x1b[31mloading", size)
    return list(range(size))


@step
def add(numbers: list[int]) -> Annotated[int, "total"]:
    print("adding")
    return sum(numbers)


@pipeline
def adding(size: int = 4) -> None:
    add(load(size))


if __name__ == "__main__":
    adding()
"""


def ok(*arguments: str) -> Finished:
    done = stackledger(*arguments)
    assert done.status == 0, done.err
    return done


def run_a_pipeline() -> None:
    Path("adding.py").write_text(PIPELINE, encoding="utf-8")
    done = subprocess.run([sys.executable, "adding.py"], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr


def test_a_run_is_listed_described_and_read_back() -> None:
    run_a_pipeline()
    (run,) = ok("run", "list", "--output=json").json["items"]
    assert (run["pipeline"], run["status"], run["stack"]["name"]) == ("adding", "completed", "default")
    assert run["name"] in ok("run", "list").out
    assert ok("pipeline", "runs", "list").out == ok("run", "list").out
    assert completions("run", "describe", "add") == completions("run", "logs", "") == {run["name"]}
    assert completions("pipeline", "describe", "a") == {"adding"}
    assert completions("artifact", "describe", "t") == {"total"}
    described = ok("run", "describe", run["name"], "--output=json").json
    assert {"id", "name", "pipeline", "status", "stack", "started", "ended", "steps"} <= set(described)
    assert [step["name"] for step in described["steps"]] == ["load", "add"]
    assert [step["requirements"] for step in described["steps"]] == [["msgpack", "pydantic>=2"], []]
    assert {one["type"] for one in described["stack"]["components"]} == {"orchestrator", "artifact_store"}
    shown = ok("run", "describe", run["id"]).out
    assert "Stack, as it was then" in shown
    assert "SKIPPED" not in shown
    steps = ok("run", "steps", run["name"], "--columns=name,status", "--output=csv").out
    assert steps == "name,status\nload,completed\nadd,completed\n"


def test_logs_of_steps_are_printed_without_what_would_colour_the_terminal() -> None:
    run_a_pipeline()
    (run,) = ok("run", "list", "--output=json").json["items"]
    lines = ok("run", "logs", run["name"]).out.splitlines()
    assert "[load] \\u001b[31mloading 4" in lines
    assert "[add] adding" in lines
    assert ok("run", "logs", run["name"], "--step", "add").out == "adding\n"
    wrong = stackledger("run", "logs", run["name"], "--step", "ad")
    assert (wrong.status, "Did you mean 'add'" in wrong.err) == (1, True)


def test_it_is_said_where_there_is_no_log_of_a_run() -> None:
    run_a_pipeline()
    (run,) = ok("run", "list", "--output=json").json["items"]
    for file in Path(os.environ["STACKLEDGER_HOME"], "runs").rglob("*.log"):
        file.unlink()
    done = ok("run", "logs", run["name"])
    assert (done.out, "No logs" in done.err) == ("", True)


def test_of_code_without_a_repository_only_the_digest_is_shown() -> None:
    run_a_pipeline()
    (run,) = ok("run", "list", "--output=json").json["items"]
    shown = ok("run", "describe", run["name"]).out
    assert ("CODE DIGEST" in shown, "CODE COMMIT" in shown, "CODE DIRTY" in shown) == (True, False, False)


def test_artifacts_and_pipelines_know_where_they_came_from() -> None:
    run_a_pipeline()
    run_a_pipeline()
    artifacts = ok("artifact", "list", "--name=total", "--output=json").json["items"]
    assert [artifact["version"] for artifact in artifacts] == [2, 1]
    runs = ok("run", "list", "--output=json").json["items"]
    assert [(each["run"], each["run_id"]) for each in artifacts] == [(run["name"], run["id"]) for run in runs]
    assert ok("artifact", "describe", "total", "--output=json").json == artifacts[0]
    assert ok("artifact", "describe", "total", "--version", "1", "--output=json").json == artifacts[1]
    assert artifacts[0]["digest"] in ok("artifact", "describe", artifacts[0]["id"]).out
    (found,) = ok("pipeline", "list", "--output=json").json["items"]
    assert (found["name"], found["runs"], found["last_status"]) == ("adding", 2, "completed")
    assert ok("pipeline", "describe", "adding", "--output=json").json == found
    assert ok("run", "list", "--pipeline", "adding", "--status", "failed", "--output=json").json["items"] == []


def test_a_skipped_step_names_what_failed() -> None:
    Path("fails.py").write_text(PIPELINE.replace('print("\\x1b[31mloading", size)', "1 / 0"), encoding="utf-8")
    assert subprocess.run([sys.executable, "fails.py"], capture_output=True, timeout=100, check=False).returncode == 1
    (run,) = ok("run", "list", "--output=json").json["items"]
    failed, skipped = ok("run", "steps", run["id"], "--output=json").json["items"]
    assert (failed["error"], failed["because"]) == ("ZeroDivisionError: division by zero", [])
    assert (skipped["status"], skipped["because"]) == ("skipped", ["load"])
    assert "SKIPPED BECAUSE OF" in ok("run", "steps", run["id"]).out
    assert "SKIPPED BECAUSE OF" in ok("run", "describe", run["id"]).out


def test_a_run_keeps_what_it_ran_on() -> None:
    ok("artifact-store", "register", "mine", "-f", "local")
    ok("stack", "register", "s", "-o", "default", "-a", "mine", "--set")
    run_a_pipeline()
    (before,) = ok("run", "list", "--output=json").json["items"]
    before = ok("run", "describe", before["id"], "--output=json").json
    ok("stack", "set", "default")
    ok("stack", "delete", "s", "-y", "-r")
    assert ok("run", "describe", before["id"], "--output=json").json == before
    assert "mine" in ok("run", "describe", before["id"]).out


def read(name: str) -> str:
    """Load an artifact's newest version in a fresh process; return what it printed, or the error's text."""
    program = f"""
from stackledger import Client
try:
    print(Client().get_artifact_version({name!r}).load())
except Exception as error:
    print(type(error).__name__, error)
"""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True
    ).stdout


def test_what_a_run_ran_on_stays_when_stack_and_component_are_gone() -> None:
    ok("artifact-store", "register", "mine", "--flavor=local", "--path=kept")
    ok("stack", "register", "mine", "-o", "default", "-a", "mine")
    ok("stack", "set", "mine")
    run_a_pipeline()
    (run,) = ok("run", "list", "--output=json").json["items"]
    before = ok("run", "describe", run["name"], "--output=json").out
    ok("stack", "set", "default")
    ok("stack", "delete", "mine", "-y")
    ok("artifact-store", "rename", "mine", "renamed")
    assert read("total") == "6\n"
    ok("artifact-store", "delete", "renamed", "-y")
    assert ok("run", "describe", run["name"], "--output=json").out == before
    assert read("total") == "6\n"
    Path("kept").rename("moved")
    assert "ArtifactMissing" in read("total")
    assert ok("artifact", "describe", "total").status == 0


OWN_STORE = """
from pathlib import Path
import hashlib

from stackledger.domain.component_types import ComponentType
from stackledger.domain.ports import Stored
from stackledger.flavors.flavor import Flavor, FlavorConfig


class CarelessFlavor(Flavor):
    name = "careless"
    type = ComponentType.ARTIFACT_STORE
    config_class = FlavorConfig
    implementation = "own_store:Careless"


class Careless:
    def __init__(self, config, *, home, component_id):
        self.folder = Path("careless")
        self.folder.mkdir(exist_ok=True)

    def put(self, data):
        digest = hashlib.sha256(data).hexdigest()
        (self.folder / digest).write_bytes(data)
        return Stored(digest, len(data))

    def get(self, digest, size):
        return (self.folder / digest).read_bytes()
"""


def test_bytes_that_a_careless_store_returns_are_read_only_with_the_digest_of_the_log() -> None:
    Path("own_store.py").write_text(OWN_STORE, encoding="utf-8")
    ok("artifact-store", "flavor", "register", "own_store.CarelessFlavor")
    ok("artifact-store", "register", "careless", "--flavor=careless")
    ok("stack", "register", "careless", "-o", "default", "-a", "careless")
    ok("stack", "set", "careless")
    run_a_pipeline()
    assert read("total") == "6\n"
    for file in Path("careless").iterdir():
        file.write_bytes(b"7")
    assert "ArtifactDamaged The artifact store returned other bytes for 'total'" in read("total")
    ok("stack", "set", "default")
    ok("stack", "delete", "careless", "-y", "-r")
    ok("artifact-store", "flavor", "delete", "careless", "-y")
    assert (
        "FlavorError The artifact store 'careless' is of the flavor 'careless', which is not there any more."
        " Register it again" in read("total")
    )


def test_a_run_read_back_is_what_its_pipeline_returned() -> None:
    program = (
        PIPELINE.replace("    adding()\n", "    run = adding()\n")
        + """
    from stackledger import Client

    client = Client()
    assert client.get_pipeline_run(run.name) == client.get_pipeline_run(run.id) == run
    assert (run.status, run.steps["add"].status) == ("completed", "completed")
    total = run.steps["add"].outputs["total"]
    assert [total.load(), total[0].load(), total[-1].load(), len(total)] == [6, 6, 6, 1]
    assert [each.version for each in total] == [1]
    assert run.steps["load"].output.load() == [0, 1, 2, 3]
"""
    )
    subprocess.run([sys.executable, "-c", program], timeout=100, check=True, capture_output=True)


def test_a_dead_run_is_found_by_that_status_until_its_end_is_appended() -> None:
    run_a_pipeline()
    Path("dies.py").write_text(PIPELINE.replace('print("adding")', "import os; os._exit(9)"), encoding="utf-8")
    assert subprocess.run([sys.executable, "dies.py"], capture_output=True, timeout=100, check=False).returncode == 9

    def listed(status: str) -> list[str]:
        return [run["status"] for run in ok("run", "list", "--status", status, "--output=json").json["items"]]

    assert (listed("dead"), listed("running"), listed("completed")) == (["dead"], [], ["completed"])
    assert ok("run", "list", "--output=json").json["items"][0]["status"] == "dead"
    assert ok("pipeline", "list", "--output=json").json["items"][0]["last_status"] == "dead"
    ok("artifact-store", "register", "any", "--flavor=local")
    assert (listed("dead"), listed("running"), listed("failed")) == ([], [], ["failed"])
