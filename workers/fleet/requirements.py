"""Whether what a run needs is installed on this machine."""

from __future__ import annotations

from collections.abc import Iterable

from stackledger.domain.errors import PipelineError


class MissingRequirements(PipelineError):
    """Libraries that a run needs are not installed on the machine that is to execute its steps."""


def check_installed(requirements: Iterable[str], what: str) -> None:
    """Raise MissingRequirements naming every requirement (as pip takes them) that is not met, and what needs them."""
    missing = [told for requirement in requirements if (told := _missing(requirement))]
    if missing:
        raise MissingRequirements(
            f"{what} needs what is not installed on this machine: {'; '.join(missing)}.",
            hint="Install it where the workers run, and start them again.",
        )


def _missing(text: str) -> str:
    """Return what is wrong with a requirement here, nothing if it is met."""
    from importlib.metadata import PackageNotFoundError, distribution

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return f"{text!r}, which is not a requirement that pip understands"
    if requirement.marker is not None and not requirement.marker.evaluate():
        return ""
    try:
        found = distribution(requirement.name).version
    except PackageNotFoundError:
        return str(requirement)
    if requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement} (there is {found})"
