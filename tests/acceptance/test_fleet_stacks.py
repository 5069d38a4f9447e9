"""Stacks whose steps workers execute: registering them, and running a pipeline on one, seen from the client."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.test_run_commands import PIPELINE
from tests.support.program import Finished, stackledger
from tests.support.services import interruptible

pytestmark = pytest.mark.usefixtures("home")

URL = "STACKLEDGER_AMQP_URL"
NOBODY = "amqp://127.0.0.1:1/%2F"
"""Where nobody listens."""


def ok(*arguments: str) -> Finished:
    done = stackledger(*arguments)
    assert done.status == 0, done.err
    return done


def a_fleet(url: str = f"env:{URL}", *options: str) -> None:
    ok("orchestrator", "register", "fleet", "--flavor=rabbitmq", f"--url={url}", *options)


def test_the_flavor_says_what_it_takes() -> None:
    described = ok("orchestrator", "flavor", "describe", "rabbitmq").out
    assert all(field in described for field in ("url", "queues", "lease_after", "heartbeat", "step_timeout"))
    assert "stack up" in ok("orchestrator", "flavor", "describe", "rabbitmq", "--output=json").json["provisioning"]


def test_an_orchestrator_is_registered_with_a_reference_to_its_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL, raising=False)
    a_fleet(f"env:{URL}", '--queues=["default", {"name": "gpu", "gpu_count": 1}]')
    described = ok("orchestrator", "describe", "fleet", "--output=json").json
    assert described["configuration"]["url"] == f"env:{URL}"
    assert [each["name"] for each in described["configuration"]["queues"]] == ["default", "gpu"]


def test_a_url_with_a_password_is_refused_and_never_repeated() -> None:
    refused = stackledger("orchestrator", "register", "fleet", "--flavor=rabbitmq", "--url=amqp://me:hunter22@host")
    assert refused.status == 1
    assert "holds a password" in refused.err
    assert "hunter22" not in refused.err + refused.out
    assert "fleet" not in ok("orchestrator", "list").out


@pytest.mark.parametrize("by_variable", [True, False])
def test_a_local_store_is_refused_where_the_broker_is_elsewhere(
    monkeypatch: pytest.MonkeyPatch, *, by_variable: bool
) -> None:
    monkeypatch.setenv(URL, "amqps://rabbit.example.org")
    a_fleet(f"env:{URL}" if by_variable else "amqps://rabbit.example.org")
    refused = stackledger("stack", "register", "far", "-o", "fleet", "-a", "default")
    assert refused.status == 1
    assert "artifact store 'default' is on one machine alone, and the orchestrator 'fleet'" in refused.err
    assert "--flavor=s3" in refused.err
    ok("stack", "register", "far", "-o", "default", "-a", "default")
    refused = stackledger("stack", "update", "far", "-o", "fleet")
    assert (refused.status, "is on one machine alone" in refused.err) == (1, True)
    assert ok("stack", "describe", "far", "--output=json").json["components"]["orchestrator"][0]["name"] == "default"


def test_a_local_store_will_do_where_the_broker_is_here_and_a_shared_one_anywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(URL, NOBODY)
    a_fleet()
    ok("stack", "register", "near", "-o", "fleet", "-a", "default")
    ok("stack", "delete", "near", "-y")
    monkeypatch.delenv("ABSENT", raising=False)
    ok("orchestrator", "update", "fleet", "--url=amqps://rabbit.example.org")
    ok(
        "artifact-store",
        "register",
        "bucket",
        "--flavor=s3",
        "--path=s3://bucket",
        "--key=env:ABSENT",
        "--secret=env:ABSENT",
    )
    ok("stack", "register", "far", "-o", "fleet", "-a", "bucket")


def test_what_would_put_the_store_of_a_stack_out_of_reach_is_not_changed_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, NOBODY)
    a_fleet()
    for name in ("near", "beside"):
        ok("stack", "register", name, "-o", "fleet", "-a", "default")
    refused = stackledger("orchestrator", "update", "fleet", "--url=amqps://rabbit.example.org")
    assert (refused.status, "in the stacks 'beside' and 'near'" in refused.err) == (1, True)
    assert ok("orchestrator", "describe", "fleet", "--output=json").json["configuration"]["url"] == f"env:{URL}"
    ok("orchestrator", "update", "fleet", "--url=amqp://localhost", "--slots=3")
    for name in ("near", "beside"):
        ok("stack", "update", name, "-o", "default")
    changed = ok("orchestrator", "update", "fleet", "--url=amqps://rabbit.example.org")
    assert "until they are started again: here by `stackledger orchestrator down fleet`" in " ".join(
        changed.err.split()
    )
    assert "started again" not in ok("orchestrator", "update", "fleet", "--label", "a=b").err


def test_a_store_that_others_use_does_not_become_one_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ABSENT", raising=False)
    credentials = ("--key=env:ABSENT", "--secret=env:ABSENT")
    ok("artifact-store", "register", "bucket", "--flavor=s3", "--path=s3://bucket", *credentials)
    monkeypatch.setenv("ABSENT", "there by now")  # while it is not, nobody can say where the store is
    a_fleet("amqps://rabbit.example.org")
    ok("stack", "register", "far", "-o", "fleet", "-a", "bucket")
    here = ("--endpoint_url=http://127.0.0.1:1", "--allow_http=true")
    refused = stackledger("artifact-store", "update", "bucket", *here)
    assert (refused.status, "in the stacks 'far'" in refused.err) == (1, True), refused.err
    ok("stack", "update", "far", "-o", "default")
    ok("artifact-store", "update", "bucket", *here)


def test_imported_and_restored_stacks_are_refused_as_registrations_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, NOBODY)
    a_fleet()
    ok("stack", "register", "near", "-o", "fleet", "-a", "default")
    position = str(ok("log", "stats", "--output=json").json["position"])
    ok("stack", "export", "near", "near.yaml")
    ok("stack", "update", "near", "-o", "default")
    monkeypatch.setenv(URL, "amqps://rabbit.example.org")
    for arguments in (("import", "other", "-f", "near.yaml"), ("restore", "near", "--as-of", position)):
        refused = stackledger("stack", *arguments)
        assert (refused.status, "is on one machine alone" in refused.err) == (1, True), refused.err


def test_what_could_not_be_known_when_a_stack_was_registered_is_refused_when_it_is_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(URL, raising=False)
    a_fleet()
    ok("stack", "register", "near", "-o", "fleet", "-a", "default", "--set")
    monkeypatch.setenv(URL, "amqps://rabbit.example.org")
    ran = run_a_pipeline()
    assert ran.returncode == 1
    assert "artifact store 'default' is on one machine alone" in ran.stderr
    assert ok("run", "list", "--output=json").json["items"] == []


def run_a_pipeline(source: str = PIPELINE) -> subprocess.CompletedProcess[str]:
    Path("adding.py").write_text(source, encoding="utf-8")
    return subprocess.run([sys.executable, "adding.py"], capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("@step\ndef add", '@step(queue="defalt")\ndef add'), "Did you mean 'default'?"),
        (
            ("@step\ndef add", '@step(settings={"resources": ResourceSettings(gpu_count=1)})\ndef add'),
            "needs 1 GPUs, and no queue of its orchestrator has as much",
        ),
        (("    add(load(size))", "    add(step(name='load')(lambda: [1])())"), "is made inside of a function"),
    ],
)
def test_what_no_worker_could_execute_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], told: str
) -> None:
    monkeypatch.setenv(URL, NOBODY)
    a_fleet()
    ok("stack", "register", "near", "-o", "fleet", "-a", "default", "--set")
    ran = run_a_pipeline(PIPELINE.replace(*change).replace("import pipeline", "import ResourceSettings, pipeline"))
    assert ran.returncode == 1
    assert told in ran.stderr
    assert ok("run", "list", "--output=json").json["items"] == []


def test_doctor_tells_of_brokers_that_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not [each for each in ok("doctor", "--output=json").json["items"] if each["check"] == "brokers"]
    monkeypatch.setenv(URL, NOBODY)
    a_fleet()
    ok("orchestrator", "register", "other", "--flavor=rabbitmq", "--url=env:NO_SUCH_VARIABLE")
    found = [each for each in ok("doctor", "--output=json").json["items"] if each["check"] == "brokers"]
    told = {each["finding"].partition(":")[0]: each for each in found}
    assert told.keys() == {"fleet", "other"}
    assert {each["status"] for each in found} == {"warning"}
    assert "cannot be reached" in told["fleet"]["finding"]
    assert "NO_SUCH_VARIABLE" in told["other"]["finding"]


def test_status_tells_of_a_list_of_coordinators_that_expires_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, NOBODY)
    a_fleet()
    for name, role in (("root", "root"), ("c", "coordinator")):
        ok("key", "create", name, f"--role={role}")
    ok("key", "enroll", "c", "--expires-in=3")
    assert "expires in" not in ok("status").err, "the active stack has no fleet"
    ok("stack", "register", "near", "-o", "fleet", "-a", "default", "--set")
    assert "The list of coordinators expires in 2 days" in ok("status").err


def test_what_was_typed_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, NOBODY)
    a_fleet()
    ok("stack", "register", "near", "-o", "fleet", "-a", "default", "--set")
    ran = subprocess.run([sys.executable], input=PIPELINE, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 1
    assert "was typed in, and stands in no file that could be sent to a worker" in ran.stderr


@contextmanager
def a_watched_run() -> Iterator[subprocess.Popen[str]]:
    """Start a run that nobody coordinates, and wait until it is in the log."""
    Path("adding.py").write_text(PIPELINE, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "adding.py"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=interruptible,  # noqa: PLW1509 - it makes a few system calls
    ) as process:
        try:
            assert process.stderr is not None
            assert "started on the stack near" in process.stderr.readline()
            yield process
        finally:
            process.kill()


def test_a_run_of_a_fleet_is_never_judged_by_the_process_that_began_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, NOBODY)
    a_fleet()
    ok("stack", "register", "near", "-o", "fleet", "-a", "default", "--set")
    with a_watched_run() as process:
        process.kill()
        process.wait(60)
    ok("stack", "register", "another", "-o", "default", "-a", "default")
    (run,) = ok("run", "list", "--output=json").json["items"]
    assert run["status"] == "running"
    assert "runs died" not in ok("doctor").out


def test_an_interrupt_leaves_the_run_going_on_and_says_how_to_look_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL, NOBODY)
    a_fleet()
    ok("stack", "register", "near", "-o", "fleet", "-a", "default", "--set")
    with a_watched_run() as process:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=100)
    (run,) = ok("run", "list", "--output=json").json["items"]
    assert (process.returncode, run["status"]) == (-signal.SIGINT, "running")
    assert f"The run '{run['name']}' goes on without this process" in told
    for command in ("resume", "cancel"):
        assert f"stackledger run {command} '{run['name']}'" in told
