"""A stack whose artifacts are in object storage, from registration to the value read back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.test_run_commands import PIPELINE
from tests.support.http_faults import Front, front_of
from tests.support.object_servers import ObjectServer
from tests.support.program import Finished, stackledger

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def front(s3: ObjectServer) -> Iterator[Front]:
    with front_of(s3.url) as front:
        yield front


def ok(*arguments: str) -> Finished:
    done = stackledger(*arguments)
    assert done.status == 0, done.err
    return done


def options(server: ObjectServer, **other: str) -> list[str]:
    """Return the options that register a store there, its credentials by reference to the secret `account`."""
    references = {name: f"{{{{account.{name}}}}}" for name in server.credentials if name != "region"}
    return [f"--{name}={value}" for name, value in {**server.configuration(**references), **other}.items()]


def keep_credentials(server: ObjectServer) -> None:
    for name, value in server.credentials.items():
        Path(name).write_text(value, encoding="utf-8")
    ok("secret", "create", "account", *(f"--{name}=@{name}" for name in server.credentials))
    for name in server.credentials:
        Path(name).unlink()


def a_stack_on(server: ObjectServer, **other: str) -> None:
    keep_credentials(server)
    ok("artifact-store", "register", "remote", f"--flavor={server.flavor}", *options(server, **other))
    ok("stack", "register", "far", "-o", "default", "-a", "remote", "--set")


def run_a_pipeline() -> subprocess.CompletedProcess[str]:
    Path("adding.py").write_text(PIPELINE, encoding="utf-8")
    return subprocess.run([sys.executable, "adding.py"], capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize("where", ["s3", "gcs", "azure"])
def test_a_pipeline_runs_on_a_stack_whose_artifacts_are_far(
    where: str, home: Path, request: pytest.FixtureRequest
) -> None:
    from stackledger import Client

    server: ObjectServer = request.getfixturevalue(where)
    a_stack_on(server)
    ran = run_a_pipeline()
    assert ran.returncode == 0, ran.stderr
    (run,) = ok("run", "list", "--output=json").json["items"]
    assert (run["status"], run["stack"]["name"]) == ("completed", "far")
    assert {each["name"] for each in ok("artifact", "list", "--output=json").json["items"]} == {"numbers", "total"}
    assert ok("artifact", "describe", "total", "--output=json").json["run"] == run["name"]
    assert Client().get_artifact_version("total").load() == 6
    assert [path for path in (home / "artifacts").rglob("*") if path.is_file()] == []
    cleaned = ok("clean", "--yes")
    assert "left as it is" not in cleaned.err
    assert [each["status"] for each in doctor_about_stores()] == ["ok"]
    assert Client().get_artifact_version("total").load() == 6


def doctor_about_stores() -> list[dict[str, str]]:
    found = stackledger("doctor", "--output=json").json["items"]
    return [each for each in found if each["check"] == "artifact stores"]


def test_a_store_that_cannot_be_used_is_told_when_it_is_registered_and_is_not(s3: ObjectServer, front: Front) -> None:
    keep_credentials(s3)
    front.fault = lambda request: 403 if request.method == "PUT" else None
    for given, told in (
        (options(s3, path="gs://bucket/x"), "does not begin with s3://"),
        (options(s3, path="s3://nobody-made-this/x"), "Stackledger makes no buckets: create it"),
        (options(s3, endpoint_url=front.url), "it answered 403 Forbidden. Give these credentials the right to"),
        (options(s3, endpoint_url=f"http://127.0.0.1:{closed_port()}"), "it cannot be reached (Connection refused)"),
        (options(s3, allow_http="false"), "is not encrypted"),
        (options(s3, key="{{account.kee}}"), "no key 'kee'"),
    ):
        refused = stackledger("artifact-store", "register", "remote", "--flavor=s3", *given)
        assert refused.status == 1
        assert told in " ".join(refused.err.split())
        assert s3.credentials["secret"] not in refused.err
    listed = ok("artifact-store", "list", "--output=json").json["items"]
    assert [each["name"] for each in listed] == ["default"]


def test_a_store_whose_credentials_are_set_only_elsewhere_is_registered_unseen(s3: ObjectServer) -> None:
    given = options(s3, key="env:KEY_OF_THE_FLEET", secret="env:SECRET_OF_THE_FLEET", path="s3://nobody-made-this")
    ok("artifact-store", "register", "remote", "--flavor=s3", *given)
    (told,) = doctor_about_stores()
    assert told["status"] == "error"
    assert "'KEY_OF_THE_FLEET' is not set" in told["finding"]


def test_a_store_that_went_away_is_told_by_doctor_clean_and_the_run(s3: ObjectServer, front: Front) -> None:
    a_stack_on(s3, endpoint_url=front.url, timeout="3")
    assert run_a_pipeline().returncode == 0
    front.fault = lambda _: 503
    (told,) = doctor_about_stores()
    assert told["status"] == "error"
    assert told["finding"].startswith("remote: The artifact store s3://")
    assert "it answered 503" in told["finding"]
    assert "'remote' was left as it is: The artifact store s3://" in " ".join(ok("clean", "--yes").err.split())
    ran = run_a_pipeline()
    assert ran.returncode == 1
    assert "it answered 503" in ran.stderr
    front.fault = lambda _: None
    assert run_a_pipeline().returncode == 0


def test_a_query_of_a_registered_store_imports_no_library_of_a_cloud(s3: ObjectServer) -> None:
    a_stack_on(s3)
    program = (
        "import sys, stackledger.__main__ as m\ntry:\n    m.main()\nfinally:\n    assert 'obstore' not in sys.modules"
    )
    for query in (["stack", "describe"], ["artifact-store", "describe"], ["artifact-store", "flavor", "list"]):
        command = [sys.executable, "-c", program, *query]
        done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr


def closed_port() -> int:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])
