"""What a step is executed with: its own settings over those of its pipeline, field by field, as ZenML merges them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from stackledger.domain.errors import PipelineError, near_names
from stackledger.pipelines.requirements import DockerSettings
from stackledger.pipelines.resources import ResourceSettings

Settings = Mapping[str, object]
"""What steps are executed with: `{"resources": ResourceSettings(...), "docker": DockerSettings(...)}`."""

_Part = TypeVar("_Part", ResourceSettings, DockerSettings)


@dataclass(frozen=True, slots=True)
class StepSettings:
    """What a step needs of the machine that executes it, and what has to be installed there."""

    resources: ResourceSettings | None = None
    docker: DockerSettings | None = None

    def over(self, defaults: StepSettings) -> StepSettings:
        """Return these settings, with what they leave open as `defaults` have it."""
        return StepSettings(_over(self.resources, defaults.resources), _over(self.docker, defaults.docker))


def settings_in(settings: object, what: str) -> StepSettings:
    """Return the settings that a step or a pipeline was given, or raise PipelineError; `what` names it."""
    if settings is None:
        return StepSettings()
    if not isinstance(settings, Mapping):
        raise PipelineError(
            f"The {what} has {settings!r} for its settings.",
            hint='Say settings={"resources": ResourceSettings(cpu_count=2)}.',
        )
    for key in settings:
        if key not in {"resources", "docker"}:
            raise PipelineError(
                f"The {what} has settings under {key!r}, which nothing here knows.",
                hint='What can be set are "resources" and "docker".',
                near=near_names(str(key), ["resources", "docker"]),
            )
    return StepSettings(
        _part(ResourceSettings, settings.get("resources"), what), _part(DockerSettings, settings.get("docker"), what)
    )


def _part(kind: type[_Part], given: object, what: str) -> _Part | None:
    if isinstance(given, Mapping):
        return kind(**_known(kind, given, what))
    if not (given is None or isinstance(given, kind)):
        raise PipelineError(
            f"The {what} has {given!r} where {kind.__name__} belong.",
            hint=f"Say {kind.__name__}({', '.join(f'{field.name}=…' for field in fields(kind))}).",
        )
    return given


def _known(kind: type[_Part], given: Mapping[Any, Any], what: str) -> dict[str, Any]:
    names = [field.name for field in fields(kind)]
    for key in given:
        if key not in names:
            raise PipelineError(
                f"The {what} has {key!r} in its {kind.__name__}, which nothing here knows.",
                hint=f"There {'are' if len(names) > 1 else 'is'} {', '.join(names)}.",
                near=near_names(str(key), names),
            )
    return dict(given)


def _over(own: _Part | None, default: _Part | None) -> _Part | None:
    if own is None or default is None:
        return default if own is None else own
    said = {field.name: value for field in fields(own) if (value := getattr(own, field.name)) is not None}
    return replace(default, **said)
