"""A pipeline put together: what an orchestrator executes, with the functions themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import JsonValue

from stackledger.domain.events.runs import Code, PlannedStep
from stackledger.domain.names import MAX_NAME
from stackledger.pipelines.signature import Signature


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step as it is pinned in the log, and what is needed to execute it here.

    `artifacts` are the names under which its outputs are kept, by output.
    """

    planned: PlannedStep
    function: Callable[..., object]
    signature: Signature
    artifacts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PipelinePlan:
    """A pipeline with its parameters. `steps` stand in an order in which they can be executed one by one."""

    name: str
    run_name: str
    parameters: dict[str, JsonValue]
    steps: tuple[StepPlan, ...]
    code: Code
    environment: dict[str, str]

    def name_of_run(self, time: int) -> str:
        """Return the run's name with `{date}` and `{time}` filled in; `time` is in microseconds since 1970 UTC."""
        moment = datetime.fromtimestamp(time / 1_000_000, UTC)
        return self.run_name.replace("{date}", f"{moment:%Y_%m_%d}").replace("{time}", f"{moment:%H_%M_%S_%f}")


_DATED = "-{date}-{time}"
_LENGTH_DATED = len("-2026_11_20-23_59_59_999999")


def default_run_name(pipeline: str) -> str:
    """Return the pattern of a run's name that nobody chose."""
    return pipeline[: MAX_NAME - _LENGTH_DATED] + _DATED
