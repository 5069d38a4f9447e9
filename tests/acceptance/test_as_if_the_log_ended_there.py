"""What a client answers as of a position is what it answers over the log cut there, names joined in included."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stackledger.client import Client
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import NotFound
from stackledger.eventlog.reader import SQLiteReader
from stackledger.eventlog.transfer import write_lines
from tests.support.own_flavor import write_alerter_flavor
from tests.support.program import stackledger

PIPELINE = """
from stackledger import pipeline, step

@step
def number() -> int:
    return 1

@pipeline
def numbers() -> None:
    number()

numbers()
"""

STORY = """
artifact-store register a --flavor local
stack register s -o default -a a --label team=x
artifact-store rename a A2
artifact-store register b --flavor local --label k=v
secret create aws --key=value
alerter register bell --flavor mine --url={{aws.key}}
stack update s -a b -al bell
stack set s
RUN
artifact-store rename b b2
stack rename s t
stack copy t s
stack share t
RUN
secret create gcp --key=value
secret rename gcp azure
alerter update bell --url=plain
secret delete aws -y
stack set default
stack delete t -y
artifact-store update A2 --label k=w
stack rename s t
stack update t -a A2
stack remove-component t -al
alerter delete bell -y
alerter flavor delete mine -y
artifact-store delete b2 -y
artifact-store register b --flavor local
"""


@pytest.fixture
def whole(home: Path) -> Iterator[Client]:
    """A client of a home in which all of this happened."""
    assert not home.exists()
    source = write_alerter_flavor(Path.cwd(), "flavors_of_a_story")
    Path("told.py").write_text(PIPELINE)
    for command in (f"alerter flavor register {source}", *STORY.strip().splitlines()):
        if command == "RUN":
            subprocess.run([sys.executable, "told.py"], check=True, capture_output=True, timeout=100)
            continue
        done = stackledger(*command.split())
        assert done.status == 0, (command, done.err)
    with closing(Client()) as client:
        yield client


def cut_at(home: Path, position: int, target: Path) -> Client:
    """Return a client of a home with the beginning of a log, and all that is known beside it."""
    file = target.with_suffix(".jsonl")
    with closing(SQLiteReader(home / "log.db")) as reader, file.open("wb") as out:
        write_lines(reader.scan(upto=position), out)
    target.mkdir()
    shutil.copy(home / "subjects.db", target)
    client = Client(home=target)
    client.import_log(file)
    return client


Question = Callable[[Client, str | None], Any]

QUESTIONS: dict[str, Question] = {
    "stacks": lambda client, at: client.list_stacks(as_of=at),
    "the active stack": lambda client, at: client.active_stack_and_scope(as_of=at),
    "secrets": lambda client, at: client.list_secrets(as_of=at),
    "flavors": lambda client, at: client.list_flavors("alerter", as_of=at),
    "runs": lambda client, at: client.list_pipeline_runs(as_of=at),
    "pipelines": lambda client, at: client.list_pipelines(as_of=at),
    "artifacts": lambda client, at: client.list_artifacts(as_of=at),
    "versions of artifacts": lambda client, at: client.list_artifact_versions(as_of=at),
    "runs in full": lambda client, at: [
        client.describe_pipeline_run(run.id, as_of=at) for run in client.list_pipeline_runs(as_of=at).items
    ],
    "the history of the active stack": lambda client, at: client.stack_history(as_of=at),
    **{
        f"{kind.words}s": lambda client, at, kind=kind: client.list_stack_components(kind, as_of=at)  # type: ignore[misc]
        for kind in (ComponentType.ORCHESTRATOR, ComponentType.ARTIFACT_STORE, ComponentType.ALERTER)
    },
    **{
        f"{what} {name}": lambda client, at, name=name, ask=ask: ask(client, name, at)  # type: ignore[misc]
        for name in ("s", "t")
        for what, ask in {
            "stack": lambda client, name, at: client.get_stack(name, as_of=at),
            "history of the stack": lambda client, name, at: client.stack_history(name, as_of=at),
            "export of the stack": lambda client, name, at: client.export_stack(name, as_of=at),
        }.items()
    },
    **{
        f"history of the store {name}": lambda client, at, name=name: client.component_history(  # type: ignore[misc]
            "artifact_store", name, as_of=at
        )
        for name in ("a", "A2", "b", "b2")
    },
    "history of the alerter": lambda client, at: client.component_history("alerter", "bell", as_of=at),
    "the alerter's flavor": lambda client, at: client.get_flavor("mine", "alerter", as_of=at).fields,
    "secret aws": lambda client, at: client.get_secret("aws", reveal=False, as_of=at),
    "pipeline": lambda client, at: client.get_pipeline("numbers", as_of=at),
    "artifact": lambda client, at: client.describe_artifact_version("number::output", as_of=at),
}


def answered(ask: Question, client: Client, as_of: str | None) -> Any:
    try:
        return ask(client, as_of)
    except NotFound as error:
        return error.message.partition(" as of ")[0].removesuffix("."), error.near


def test_every_query_as_of_a_position_answers_as_if_the_log_ended_there(
    whole: Client, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whether a run is dead is told by its lock, which is not in the log, and about now alone.
    monkeypatch.setattr(Client, "_dead", lambda _: set())
    head = whole.log_stats()["position"]
    unlike = []
    for position in range(6, head + 1):
        with closing(cut_at(home, position, tmp_path / f"cut-{position}")) as cut:
            for question, ask in QUESTIONS.items():
                then, now = answered(ask, whole, str(position)), answered(ask, cut, None)
                if then != now:
                    unlike.append((position, question, then, now))
    assert not unlike, "\n".join(map(repr, unlike[0]))
