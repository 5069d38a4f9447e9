"""The libraries behind flavors and materializers: which there are, which are installed, how pip gets them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from stackledger.domain.errors import NotFound, near_names
from stackledger.domain.names import folded, visible

# As the extras of the same names in pyproject.toml; a test compares them.
_REQUIREMENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "numpy": ("arrays and scalars between steps, as npy", ("numpy>=2.4",)),
    "pandas": ("frames and series between steps, as Parquet", ("pandas>=3.0", "pyarrow>=22")),
    "sklearn": (
        "models of scikit-learn between steps",
        ("scikit-learn>=1.9",),
    ),
}


@dataclass(frozen=True, slots=True)
class Integration:
    """Libraries that Stackledger works with when they are there."""

    name: str
    summary: str
    requirements: tuple[str, ...]
    installed: bool


def integrations() -> list[Integration]:
    """Return all integrations by name."""
    return [
        Integration(name, summary, needed, all(map(_is_installed, needed)))
        for name, (summary, needed) in sorted(_REQUIREMENTS.items())
    ]


def requirements(name: str) -> tuple[str, ...]:
    """Return what pip installs for the integration, or raise NotFound."""
    for known, (_, needed) in _REQUIREMENTS.items():
        if folded(known) == folded(name):
            return needed
    raise NotFound(
        f"There is no integration '{visible(name)}'.",
        near=near_names(name, _REQUIREMENTS),
        hint="`stackledger integration list` lists them.",
    )


def install_command(names: Iterable[str]) -> list[str]:
    """Return the command that installs the integrations into the Python that runs this."""
    return [*_PIP, "install", *_all(names)]


def uninstall_command(names: Iterable[str]) -> list[str]:
    """Return the command that removes the libraries of the integrations, but not what another one needs, too."""
    going = {folded(name) for name in names}
    going_packages = [_package(requirement) for requirement in _all(going)]
    staying = {
        _package(requirement)
        for integration in integrations()
        if integration.installed and folded(integration.name) not in going
        for requirement in integration.requirements
    }
    return [*_PIP, "uninstall", "--yes", *(package for package in going_packages if package not in staying)]


_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def _all(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(requirement for name in names for requirement in requirements(name)))


def _package(requirement: str) -> str:
    return requirement.partition(">=")[0]


def _is_installed(requirement: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and only asked for here

    package, _, least = requirement.partition(">=")
    try:
        found = version(package)
    except PackageNotFoundError:
        return False
    return _release(found) >= _release(least)


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version up to what follows them: `2.4.0rc1` is 2, 4, 0."""
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        numbers += [int(digits)] if digits else []
        if digits != part:
            break
    return tuple(numbers)
