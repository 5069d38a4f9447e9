"""Whether what a run needs is installed on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from stackledger.domain.errors import PipelineError
from stackledger.domain.events.runs import PlannedStep
from stackledger.domain.wording import listed


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


def check_steps(steps: Sequence[PlannedStep]) -> None:
    """Raise MissingRequirements naming all that steps require and this machine, which is to execute them, lacks."""
    wanted: dict[str, list[str]] = {}
    for step in steps:
        for requirement in step.requirements:
            wanted.setdefault(requirement, []).append(step.name)
    missing = {requirement: told for requirement in wanted if (told := _missing(requirement))}
    if missing:
        each = "; ".join(f"{told} for {listed(wanted[requirement], {})}" for requirement, told in missing.items())
        raise MissingRequirements(
            f"Steps need what is not installed on this machine: {each}.",
            hint=f"pip install {' '.join(map(shlex.quote, missing))}",
        )


def _missing(text: str) -> str:
    """Return what is wrong with a requirement here, nothing if it is met."""
    from importlib.metadata import PackageNotFoundError, version

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return f"{text!r}, which is not a requirement that pip understands"
    if requirement.marker is not None and not requirement.marker.evaluate():
        return ""
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return str(requirement)
    if requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement} (there is {found})"
