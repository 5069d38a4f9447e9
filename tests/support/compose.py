"""The services of deploy/compose/compose.yaml as processes of this machine, with the commands that stand there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from tests.support.checkout import ROOT
from tests.support.services import end_with_parent

DEPLOY = ROOT / "deploy"
_HOMES, _HOME, _ALIVE = "/homes", "/var/lib/stackledger", "/tmp/alive"  # noqa: S108 - in a container
_PORTS = {"9464": "0", "0.0.0.0": "127.0.0.1"}  # noqa: S104 - here all of them are on one machine


def script(name: str) -> ModuleType:
    """Return a program of deploy/, which is in no package, as a module."""
    spec = util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compose_file() -> dict[str, Any]:
    """Return what stands in the compose file."""
    found = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


class Composed:
    """Starts services. `places` says what stands here for what in a container, such as the name of another service.

    `secrets` is the folder of make_secrets.py, `folder` one that nobody uses.
    """

    def __init__(self, folder: Path, secrets: Path, places: Mapping[str, str], stack: ExitStack) -> None:
        self.homes = folder / "homes"
        self.output = folder / "output"
        self._folder = folder
        self._secrets = secrets
        self._places = places
        self._stack = stack
        self._file = compose_file()
        self.homes.mkdir()

    def start(
        self, service: str, command: Sequence[str] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a service as a process, with another command than its own if one is given; it is killed in the end."""
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                ["sh", str(DEPLOY / "container/with-secrets"), *(command or self._command(service))],
                env=self._environment(service),
                cwd=cwd or self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it makes one system call
            )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        return process

    def run(self, service: str, command: Sequence[str] | None = None, cwd: Path | None = None) -> None:
        """Start a service that ends by itself, and see it succeed."""
        process = self.start(service, command, cwd)
        assert process.wait(timeout=120) == 0, self.output.read_text(encoding="utf-8")

    def is_alive(self, service: str) -> bool:
        """Say whether the health check of a service passes."""
        kind, *check = self._file["services"][service]["healthcheck"]["test"]
        assert (kind, check[0]) == ("CMD", "is-alive")
        command = ["sh", str(DEPLOY / "container/is-alive"), *(self._here(service, word) for word in check[1:])]
        return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0

    def _command(self, service: str) -> list[str]:
        return [self._here(service, str(word)) for word in self._file["services"][service]["command"]]

    def _environment(self, service: str) -> dict[str, str]:
        spec = self._file["services"][service]
        given = {name: self._here(service, str(value)) for name, value in spec.get("environment", {}).items()}
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": os.environ["HOME"],
            "LC_ALL": "C.UTF-8",
            "STACKLEDGER_HOME": str(self.homes / service),
            **given,
            "SECRETS_FOLDER": str(self._mounted(service, spec.get("secrets", []))),
        }

    def _mounted(self, service: str, secrets: Sequence[str | Mapping[str, str]]) -> Path:
        """Return a folder with the secrets of a service under the names that it knows them by."""
        folder = self._folder / "secrets-of" / service
        folder.mkdir(parents=True, exist_ok=True)
        for each in secrets:
            source, target = (each, each) if isinstance(each, str) else (each["source"], each["target"])
            file = self._secrets / Path(self._file["secrets"][source]["file"]).name
            (folder / target).write_bytes(file.read_bytes())
        return folder

    def _here(self, service: str, text: str) -> str:
        """Return what stands on this machine for a word of the compose file."""
        if text.startswith(_HOME):
            return text.replace(_HOME, str(self.homes / service))
        if text == _ALIVE:
            return str(self._folder / f"{service}.alive")
        if text in _PORTS:
            return _PORTS[text]
        if text == _HOMES:
            return str(self.homes)
        if text == "/setup.sh":
            return str(DEPLOY / "setup.sh")
        for place, here in self._places.items():
            text = text.replace(place, here)
        return text
