"""The fleet of the compose file as processes on one machine: homes, users, permissions and commands are those there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.compose import DEPLOY, Composed, script
from tests.support.eventually import eventually
from tests.support.object_servers import BUCKET, ObjectServer
from tests.support.postgres import PASSWORD, Databases
from tests.support.rabbitmq import PrivateNode

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.timeout(240)]

RUN = """
import os, sys, time
from pathlib import Path
from stackledger import pipeline, step

def began(folder, name):
    with (Path(folder) / f"{name}.began").open("a") as file:
        file.write(f"{os.getpid()}\\n")

@step
def load(folder: str) -> list[float]:
    began(folder, "load")
    return [float(number) for number in range(10)]

@step
def split(folder: str, numbers: list[float]) -> list[list[float]]:
    began(folder, "split")
    return [numbers[:8], numbers[8:]]

@step
def train_mean(folder: str, parts: list[list[float]]) -> float:
    began(folder, "train_mean")
    while not (Path(folder) / "go").exists():
        time.sleep(0.02)
    return sum(parts[0]) / len(parts[0])

@step
def train_middle(folder: str, parts: list[list[float]]) -> float:
    began(folder, "train_middle")
    return sorted(parts[0])[len(parts[0]) // 2]

@step
def evaluate(folder: str, parts: list[list[float]], mean: float, middle: float) -> list[float]:
    began(folder, "evaluate")
    return [abs(mean - sum(parts[1])), abs(middle - sum(parts[1]))]

@step
def choose(folder: str, errors: list[float]) -> float:
    began(folder, "choose")
    return min(errors)

@pipeline
def training(folder: str) -> None:
    parts = split(folder, load(folder))
    choose(folder, evaluate(folder, parts, train_mean(folder, parts), train_middle(folder, parts)))

if __name__ == "__main__":
    run = training(folder=sys.argv[1])
    print("the best", run.steps["choose"].outputs["output"].load())
"""


@pytest.fixture
def composed(tmp_path: Path, rabbitmq_node: PrivateNode, postgres: Databases, s3: ObjectServer) -> Iterator[Composed]:
    secrets = tmp_path / "secrets"
    script("make_secrets").make(secrets, f"127.0.0.1:{rabbitmq_node.port}")
    rabbitmq_node.control("import_definitions", str(secrets / "broker-definitions.json"))
    for name, value in {
        "database-admin": PASSWORD,
        "store-user": s3.credentials["key"],
        "store-password": s3.credentials["secret"],
    }.items():
        (secrets / name).chmod(0o600)
        (secrets / name).write_text(value)
    with postgres.database() as address, ExitStack() as stack:
        parts = urlsplit(address)
        server = parts.netloc.rpartition("@")[2]
        make_users(secrets, parts.path.lstrip("/"), server)
        places = {
            "postgres/ledger": f"{server}{parts.path}",
            "http://s3:9000": s3.url,
            "s3://stackledger": f"s3://{BUCKET}/{tmp_path.name}",
        }
        yield Composed(tmp_path, secrets, places, stack)


def make_users(secrets: Path, database: str, server: str) -> None:
    host, _, port = server.partition(":")
    environment = {
        **os.environ,
        "SECRETS_FOLDER": str(secrets),
        "POSTGRES_USER": "admin",
        "POSTGRES_DB": database,
        "PGHOST": host,
        "PGPORT": port,
        "PGPASSWORD": PASSWORD,
    }
    subprocess.run(["sh", str(DEPLOY / "compose/postgres-init.sh")], env=environment, check=True, timeout=100)


def above(pid: int) -> set[int]:
    """Return the processes above one, itself too."""
    found = {pid}
    while pid > 1:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
        pid = int(status.partition("PPid:")[2].split()[0])
        found.add(pid)
    return found


def test_a_run_succeeds_on_the_composed_fleet_though_a_worker_is_killed_in_the_middle(
    composed: Composed, tmp_path: Path
) -> None:
    composed.run("setup")
    fleet = {name: composed.start(name) for name in ("coordinator", "worker-1", "worker-2")}
    composed.run("client", ["stackledger", "stack", "set", "fleet"])
    project, signs = tmp_path / "project", tmp_path / "signs"
    for folder in (project, signs):
        folder.mkdir()
    (project / "run.py").write_text(RUN)
    run = composed.start("client", [sys.executable, "run.py", str(signs)], project)

    # The file is there a moment before the number is in it.
    (began,) = eventually(
        lambda: [int(word) for file in signs.glob("train_mean.*") for word in file.read_text().split()]
    )
    (victim,) = (name for name, process in fleet.items() if process.pid in above(began))
    fleet[victim].kill()
    assert fleet[victim].wait() == -9
    (signs / "go").touch()
    assert run.wait(timeout=90) == 0, composed.output.read_text()
    assert "the best" in composed.output.read_text()

    left = {name: process for name, process in fleet.items() if name != victim}
    for name, process in left.items():
        eventually(partial(composed.is_alive, name))
        process.terminate()
    assert [process.wait(timeout=90) for process in left.values()] == [0, 0], composed.output.read_text()
    # Whatever else the victim was at was done anew, too.
    times = {file.stem: len(file.read_text().split()) for file in signs.glob("*.began")}
    assert times.pop("train_middle") in {1, 2}
    assert times == {"load": 1, "split": 1, "train_mean": 2, "evaluate": 1, "choose": 1}
