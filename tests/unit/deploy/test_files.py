"""What stands in deploy/ and its documents: files that can be read, commands that the program takes, no secrets.

No engine for containers or clusters is there to run them: see docs/operations.md for what validated them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import stackledger
from stackledger import __version__
from stackledger.cli.lazy import LazyGroup
from stackledger.cli.reference import commands
from stackledger.workers.fleet.broker.topology import Topology
from stackledger.workers.fleet.working import memory_limit
from tests.support.checkout import ROOT
from tests.support.compose import DEPLOY, compose_file, script

KUBERNETES = DEPLOY / "kubernetes"
UNITS = sorted((DEPLOY / "systemd").iterdir())
MANIFESTS = sorted(KUBERNETES.glob("*.yaml"))
PAGES = [ROOT / "docs/fleet.md", ROOT / "docs/operations.md"]
SCRIPTS = [
    DEPLOY / "setup.sh",
    DEPLOY / "compose/postgres-init.sh",
    DEPLOY / "container/with-secrets",
    DEPLOY / "container/is-alive",
]

_IMAGE = re.compile(r"[a-z0-9./-]+:(?P<tag>[A-Za-z0-9][\w.-]*)")
_VARIABLE = re.compile(r"\bSTACKLEDGER_[A-Z][A-Z_]*[A-Z]\b")
_OWN = {"STACKLEDGER_SECRET_STORE_KEY", "STACKLEDGER_AMQP_URL"}
"""An example of a secret's variable, and that which orchestrators are configured to look into."""


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each is not None]


def resources() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in MANIFESTS:
        for each in documents(path):
            yield f"{each['kind']}/{each.get('metadata', {}).get('name')}", each


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the pods of our own, as their manifests describe them."""
    for name, each in resources():
        if each["kind"] == "Deployment":
            yield name, each["spec"]["template"]["spec"]
        elif each["kind"] == "ScaledJob":
            yield name, each["spec"]["jobTargetRef"]["template"]["spec"]


def unit(path: Path) -> Mapping[str, list[str]]:
    """Return the settings of a unit, of all sections; each may be there several times."""
    found: dict[str, list[str]] = {}
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        name, given, value = line.partition("=")
        if given and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def calls_in(page: Path) -> Iterator[list[str]]:
    """Yield the calls of the program in those blocks of a document that no test runs."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for line in re.sub(r"\\\n\s*", " ", "\n".join(blocks)).splitlines():
        words = line.partition("#")[0].split("&&")[0].split(">")[0].strip()
        if words.startswith("stackledger "):
            yield shlex.split(words)[1:]


def all_calls() -> Iterator[tuple[str, list[str]]]:
    for name, service in compose_file()["services"].items():
        if "stackledger" in (command := service.get("command", [])):
            yield f"compose {name}", command[command.index("stackledger") + 1 :]
    for name, pod in pods():
        args = pod["containers"][0]["args"]
        yield name, args[args.index("stackledger") + 1 :]
    for path in UNITS:
        (line,) = unit(path)["ExecStart"]
        yield path.name, shlex.split(line.replace("${SLOTS}", "2").replace("${METRICS_PORT}", "0"))[1:]
    for page in PAGES:
        for number, words in enumerate(calls_in(page)):
            yield f"{page.name} {number}", words


@cache
def known() -> dict[str, Any]:
    return dict(commands())


def accept(words: list[str]) -> Any:
    """Have the program parse its arguments, and do nothing."""
    for length in range(min(3, len(words)), 0, -1):
        command = known().get(" ".join(["stackledger", *words[:length]]))
        if command is not None and not isinstance(command, LazyGroup):
            return command.make_context(words[length - 1], [str(word) for word in words[length:]])
    raise AssertionError(f"there is no such command: {words}")


@pytest.mark.parametrize(("where", "words"), [pytest.param(*each, id=each[0]) for each in all_calls()])
def test_every_command_is_one_that_the_program_takes(where: str, words: list[str]) -> None:
    context = accept(words)
    if context.params.get("memory"):
        memory_limit(context.params["memory"])


def test_each_resource_is_there_once() -> None:
    names = [name for name, each in resources() if each["kind"] != "Kustomization"]
    assert len(set(names)) == len(names) > 10


def test_the_kustomization_names_all_manifests() -> None:
    (kustomization,) = documents(KUBERNETES / "kustomization.yaml")
    assert {*kustomization["resources"], "kustomization.yaml"} == {path.name for path in MANIFESTS}


def test_json_can_be_read() -> None:
    files = sorted(DEPLOY.glob("*/*.json"))
    assert len(files) >= 3
    for path in files:
        json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_parsed_and_run(path: Path) -> None:
    assert path.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", str(path)], check=True, timeout=20)


def test_images_have_a_tag_that_stays() -> None:
    images = {service["image"] for service in compose_file()["services"].values()}
    images |= {each["spec"]["image"] for name, each in resources() if each["kind"] == "RabbitmqCluster"}
    (kustomization,) = documents(KUBERNETES / "kustomization.yaml")
    images |= {f"{each['newName']}:{each['newTag']}" for each in kustomization["images"]}
    python = re.search(
        r"^ARG PYTHON=(\S+)$", (DEPLOY / "container/Containerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert python is not None
    for image in {*images, f"python:{python[1]}"}:
        found = _IMAGE.fullmatch(image)
        assert found is not None, image
        assert found["tag"] != "latest", image


def test_our_own_image_is_that_of_this_version() -> None:
    tags = {service["image"] for service in compose_file()["services"].values() if "build" in service}
    (kustomization,) = documents(KUBERNETES / "kustomization.yaml")
    assert tags == {f"stackledger:{__version__}"}
    assert [each["newTag"] for each in kustomization["images"]] == [__version__]


def program() -> Iterator[Path]:
    """Yield the files of the program; its rooms are links in a checkout."""
    for top in Path(stackledger.__file__).parent.iterdir():
        yield from top.resolve().rglob("*.py") if top.is_dir() else [top]


def test_variables_are_those_that_the_program_reads() -> None:
    read = set()
    for path in program():
        if path.suffix == ".py":
            read |= set(_VARIABLE.findall(path.read_text(encoding="utf-8")))
    used = set()
    for path in (*DEPLOY.rglob("*"), *PAGES):
        if path.is_file() and "secrets" not in path.parts and path.suffix not in {".pyc", ".py"}:
            used |= set(_VARIABLE.findall(path.read_text(encoding="utf-8")))
    assert used - _OWN <= read


def of_kubernetes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what Kubernetes itself has a schema for, with the jobs that KEDA makes."""
    for name, each in resources():
        if each["apiVersion"] in {"v1", "apps/v1", "policy/v1", "networking.k8s.io/v1"}:
            yield name, each
        if each["kind"] == "ScaledJob":
            job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": each["metadata"]}
            yield name, {**job, "spec": each["spec"]["jobTargetRef"]}


@pytest.mark.parametrize(("name", "resource"), [pytest.param(*each, id=each[0]) for each in of_kubernetes()])
def test_manifests_fit_the_schemas_of_kubernetes(name: str, resource: dict[str, Any]) -> None:
    kubernetes_validate.validate(resource, "1.34", strict=True)


@pytest.mark.parametrize(("name", "pod"), [pytest.param(*each, id=each[0]) for each in pods()])
class TestPods:
    def test_they_may_do_as_little_as_possible(self, name: str, pod: dict[str, Any]) -> None:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}

    def test_probes_look_at_the_file_that_the_command_touches(self, name: str, pod: dict[str, Any]) -> None:
        for container in pod["containers"]:
            args = container["args"]
            file = args[args.index("--liveness-file") + 1]
            for probe in ("startupProbe", "livenessProbe"):
                assert container[probe]["exec"]["command"][:2] == ["is-alive", file]

    def test_what_is_mounted_is_there_and_what_is_written_to_is_not_the_root(
        self, name: str, pod: dict[str, Any]
    ) -> None:
        volumes = {each["name"]: each for each in pod["volumes"]}
        mounts = {each["mountPath"]: each for each in pod["containers"][0]["volumeMounts"]}
        assert {each["name"] for each in mounts.values()} == volumes.keys()
        writable = {path for path, each in mounts.items() if not each.get("readOnly")}
        assert writable == {"/var/lib/stackledger", "/tmp"}  # noqa: S108
        assert all("emptyDir" in volumes[mounts[path]["name"]] for path in writable)


def test_the_grace_of_steps_is_shorter_than_that_of_their_pods_containers_and_services() -> None:
    graces = {name: grace_of(pod["containers"][0]["args"]) for name, pod in pods() if "worker" in name}
    given = {name: pod["terminationGracePeriodSeconds"] for name, pod in pods()}
    # A job is ended by nobody but itself.
    assert all(grace < given[name] for name, grace in graces.items() if not name.startswith("ScaledJob"))
    for service in compose_file()["services"].values():
        if "--grace" in service.get("command", []):
            assert grace_of(service["command"]) < int(service["stop_grace_period"].rstrip("s"))
    (worker,) = (unit(path) for path in UNITS if "worker" in path.name)
    assert grace_of(shlex.split(worker["ExecStart"][0])) < int(worker["TimeoutStopSec"][0])


def grace_of(command: list[str]) -> float:
    return float(command[command.index("--grace") + 1])


def test_jobs_end_by_themselves_where_nothing_is_to_be_done() -> None:
    jobs = [pod["containers"][0]["args"] for name, pod in pods() if name.startswith("ScaledJob")]
    assert jobs
    for args in jobs:
        assert (
            0
            < float(args[args.index("--idle-timeout") + 1])
            < float(args[args.index("timeout") + 3].rstrip("h")) * 3600
        )


def metrics_of(command: list[str]) -> tuple[str, str]:
    return command[command.index("--metrics-port") + 1], command[command.index("--metrics-host") + 1]


def test_prometheus_finds_the_metrics_of_all_pods_and_may_ask_there() -> None:
    specs = {name: each["spec"].get("jobTargetRef", each["spec"])["template"] for name, each in templates()}
    assert len(specs) == 3
    (policy,) = (each["spec"] for name, each in resources() if name == "NetworkPolicy/metrics")
    assert [port for rule in policy["ingress"] for port in rule["ports"]] == [{"port": 9464}]
    (selected,) = policy["podSelector"]["matchExpressions"]
    assert {*selected["values"]} == {each["metadata"]["labels"]["app.kubernetes.io/name"] for each in specs.values()}
    for each in specs.values():
        (container,) = each["spec"]["containers"]
        assert metrics_of(container["args"]) == ("9464", "0.0.0.0")  # noqa: S104 - a container's own network
        assert container["ports"] == [{"name": "metrics", "containerPort": 9464}]
        assert each["metadata"]["annotations"] == {"prometheus.io/scrape": "true", "prometheus.io/port": "9464"}


def templates() -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, each) for name, each in resources() if each["kind"] in {"Deployment", "ScaledJob"})


def test_services_have_metrics_and_what_it_takes() -> None:
    extras = [
        service["build"]["args"]["EXTRAS"] for service in compose_file()["services"].values() if "build" in service
    ]
    arg = re.search(r"^ARG EXTRAS=(\S+)$", (DEPLOY / "container/Containerfile").read_text("utf-8"), re.MULTILINE)
    assert arg is not None
    assert all("observability" in each.split(",") for each in (*extras, arg[1]))
    commands = [
        service["command"] for service in compose_file()["services"].values() if "start" in service.get("command", [])
    ]
    assert [metrics_of(command) for command in commands] == [("9464", "0.0.0.0")] * 3  # noqa: S104 - as above
    for path in UNITS:
        assert "--metrics-port" in unit(path)["ExecStart"][0]
    assert "observability" in UNITS[0].read_text(encoding="utf-8")


def test_queues_that_are_scaled_by_are_called_as_the_broker_calls_them() -> None:
    found = {}
    for _, each in resources():
        if each["kind"] in {"ScaledObject", "ScaledJob"}:
            (trigger,) = each["spec"]["triggers"]
            found[each["kind"]] = trigger["metadata"]["queueName"]
    (settings,) = (each["data"] for _, each in resources() if each["kind"] == "ConfigMap")
    topology = Topology(settings["LOG_ID"], settings["ORCHESTRATOR_ID"], ("default", "gpu"))
    assert found == {"ScaledObject": topology.on_broker("default"), "ScaledJob": topology.on_broker("gpu")}
    commands = [pod["containers"][0]["args"] for name, pod in pods() if "worker" in name]
    served = {command[command.index("--queue") + 1] for command in commands}
    assert served == {"default", "gpu"}


def test_budgets_for_disruptions_are_for_what_has_a_number_of_its_own() -> None:
    jobs = [each for _, each in resources() if each["kind"] == "ScaledJob"]
    labels = [each["spec"]["jobTargetRef"]["template"]["metadata"]["labels"] for each in jobs]
    budgets = [
        each["spec"]["selector"]["matchLabels"] for _, each in resources() if each["kind"] == "PodDisruptionBudget"
    ]
    assert labels
    assert budgets
    assert not [(label, budget) for label in labels for budget in budgets if budget.items() <= label.items()]


def test_services_run_as_little_as_possible() -> None:
    for name, service in compose_file()["services"].items():
        if "stackledger" in service["image"]:
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged"), name
        assert "ports" not in service, name


def test_no_password_stands_in_a_manifest() -> None:
    named = compose_file()["secrets"]
    for name, service in compose_file()["services"].items():
        for each in service.get("secrets", []):
            assert (each if isinstance(each, str) else each["source"]) in named, name
        for variable, value in service.get("environment", {}).items():
            secret = re.search(r"PASSWORD|SECRET|_KEY|AMQP", variable)
            assert secret is None or variable.endswith("_FILE"), (name, variable)
            assert not re.search(r"://[^/@]*:[^/@]*@", value), (name, variable)
    assert not [name for name, each in resources() if each["kind"] == "Secret"]


def test_secrets_are_made_once_and_are_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    script("make_secrets").make(folder, "broker:5672")
    assert folder.stat().st_mode & 0o777 == 0o700
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    needed = {Path(each["file"]).name for each in compose_file()["secrets"].values()}
    assert needed <= before.keys()
    script("make_secrets").make(folder, "broker:5672")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    passwords = [data for name, data in before.items() if not name.startswith("broker-definitions")]
    assert len(set(passwords)) == len(passwords)
    for user in ("coordinator", "worker"):
        assert before[f"broker-{user}"] not in before["broker-definitions.json"]


def test_a_commands_secrets_come_from_files_and_its_keys_are_its_own(tmp_path: Path) -> None:
    folder, home = tmp_path / "secrets", tmp_path / "home"
    folder.mkdir()
    for name, text in {"PGPASSWORD": "a b$c\n", "lower": "no", "WITH-DASH": "no", "1f.key": "{}"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o444)
    environment = {"PATH": os.environ["PATH"], "SECRETS_FOLDER": str(folder), "STACKLEDGER_HOME": str(home)}
    for _ in range(2):  # also where they are there already
        done = subprocess.run(
            ["sh", str(DEPLOY / "container/with-secrets"), "env"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        assert "PGPASSWORD=a b$c" in done.stdout.splitlines()
        assert "no" not in {line.partition("=")[2] for line in done.stdout.splitlines()}
    (key,) = (home / "keys").iterdir()
    assert key.name == "1f.key"
    assert key.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_are_hardened_and_restart(path: Path) -> None:
    settings = unit(path)
    assert settings["Restart"] == ["always"]
    assert settings["User"] == ["stackledger"]
    for name in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictSUIDSGID", "ProtectKernelModules"):
        assert settings[name] == ["yes"], name
    assert settings["ProtectSystem"] == ["strict"]
    assert "Environment=PGPASSWORD" not in path.read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_understands_units(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_text(path.read_text(encoding="utf-8").replace("/opt/stackledger/bin/stackledger", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
