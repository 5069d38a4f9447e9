"""Integrations say what they need, whether it is there, and how pip gets it."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from stackledger.domain.errors import NotFound
from stackledger.flavors import integrations
from stackledger.flavors.integrations import leftovers, requirements_of


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
        "azure": True,
        "gcs": True,
        "numpy": True,
        "pandas": False,
        "rabbitmq": True,
        "s3": True,
        "sklearn": True,
    }


def test_several_integrations_need_each_package_once() -> None:
    assert requirements_of(["pandas", "Pandas", "numpy"]) == ["pandas>=3.0", "pyarrow>=22", "numpy>=2.4"]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What is installed, and what it requires: to be filled in."""
    found: dict[str, list[str]] = {}
    monkeypatch.setattr(
        importlib.metadata,
        "distributions",
        lambda: [SimpleNamespace(name=name, requires=requires) for name, requires in found.items()],
    )
    return found


def test_what_an_installed_package_requires_is_not_left_over(installed: dict[str, list[str]]) -> None:
    installed |= {
        "NumPy": [],
        "pandas": ["numpy>=1.26; python_version < '3.14'"],
        "stackledger": ['pyarrow ; extra == "x"'],
    }
    assert leftovers(["numpy"]) == []
    assert leftovers(["numpy", "Pandas"]) == ["numpy", "pandas", "pyarrow"]


@pytest.mark.usefixtures("installed")
def test_what_another_installed_integration_needs_is_not_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"a": ("", ("shared>=1", "alone>=1")), "b": ("", ("shared>=2",))}
    monkeypatch.setattr(integrations, "_REQUIREMENTS", known)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "99")
    assert leftovers(["a"]) == ["alone"]
