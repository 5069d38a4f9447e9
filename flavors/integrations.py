"""The libraries behind flavors and materializers: which there are, which are installed, how pip gets them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stackledger.domain.errors import NotFound, near_names
from stackledger.domain.names import folded, quoted

# As the extras of the same names in pyproject.toml; a test compares them.
_REQUIREMENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "azure": ("artifacts in Azure Blob Storage", ("obstore>=0.12",)),
    "gcs": ("artifacts in Google Cloud Storage", ("obstore>=0.12",)),
    "numpy": ("arrays and scalars between steps, as npy", ("numpy>=2.4",)),
    "pandas": ("frames and series between steps, as Parquet", ("pandas>=3.0", "pyarrow>=22")),
    "rabbitmq": ("steps on other machines", ("pathspec>=1.1", "pika>=1.4.4")),
    "s3": ("artifacts in S3, and in what speaks its language", ("obstore>=0.12",)),
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
        f"There is no integration {quoted(name)}.",
        near=near_names(name, _REQUIREMENTS),
        hint="`stackledger integration list` lists them.",
    )


def names() -> list[str]:
    """Return the names of all integrations."""
    return sorted(_REQUIREMENTS)


def requirements_of(several: Iterable[str]) -> list[str]:
    """Return what pip installs for several integrations, each requirement once, or raise NotFound."""
    return list(dict.fromkeys(requirement for name in several for requirement in requirements(name)))


def leftovers(several: Iterable[str]) -> list[str]:
    """Return the packages of integrations that nothing else installed needs, or raise NotFound."""
    given = list(several)
    going = {folded(name) for name in given}
    packages = [_package(requirement) for requirement in requirements_of(given)]
    needed = _needed_without(set(packages))
    for integration in integrations():
        if integration.installed and folded(integration.name) not in going:
            needed.update(map(_package, integration.requirements))
    return [package for package in packages if package not in needed]


def _needed_without(packages: set[str]) -> set[str]:
    """Return what all installed packages but these require."""
    from importlib.metadata import distributions  # slow to import, and only asked for here

    return {
        _package(requirement)
        for distribution in distributions()
        if _normal(distribution.name) not in packages
        for requirement in distribution.requires or ()
        if "extra ==" not in requirement
    }


def _package(requirement: str) -> str:
    return _normal(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


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
