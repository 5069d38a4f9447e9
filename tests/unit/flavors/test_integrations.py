"""Integrations say what they need, whether it is there, and how pip gets it."""

from __future__ import annotations

import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest

from stackledger.domain.errors import NotFound
from stackledger.flavors import integrations
from stackledger.flavors.integrations import install_command, uninstall_command


def test_requirements_are_those_of_the_extras() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    for integration in integrations.integrations():
        assert list(integration.requirements) == extras[integration.name]


def test_an_unknown_integration_is_not_found_and_near_names_are_offered() -> None:
    with pytest.raises(NotFound, match=r"no integration 'panda'.*'pandas'.*integration list"):
        integrations.requirements("panda")


def test_names_are_known_in_any_case() -> None:
    assert integrations.requirements("NumPy") == integrations.requirements("numpy")


@pytest.mark.parametrize(
    ("version", "installed"),
    [("2.4", True), ("2.4.0", True), ("2.10.1", True), ("3", True), ("2.4.0rc1", True), ("2.3.9", False), ("1", False)],
)
def test_an_integration_is_installed_if_its_versions_are_new_enough(
    monkeypatch: pytest.MonkeyPatch, version: str, *, installed: bool
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    found = {integration.name: integration.installed for integration in integrations.integrations()}
    assert found["numpy"] is installed


def test_an_integration_is_not_installed_if_a_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package == "pyarrow":
            raise importlib.metadata.PackageNotFoundError(package)
        return "99"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert {each.name: each.installed for each in integrations.integrations()} == {
        "numpy": True,
        "pandas": False,
        "sklearn": True,
    }


def test_commands_are_for_the_python_that_runs() -> None:
    assert install_command(["pandas"]) == [
        sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "pandas>=3.0", "pyarrow>=22",
    ]  # fmt: skip
    assert uninstall_command(["Pandas"])[4:] == ["uninstall", "--yes", "pandas", "pyarrow"]


def test_what_another_installed_integration_needs_is_not_uninstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"a": ("", ("shared>=1", "alone>=1")), "b": ("", ("shared>=2",))}
    monkeypatch.setattr(integrations, "_REQUIREMENTS", known)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "99")
    assert uninstall_command(["a"])[5:] == ["--yes", "alone"]
