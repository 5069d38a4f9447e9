"""A pipeline put together: what an orchestrator executes, with the functions themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import JsonValue

from stackledger.domain.events.runs import Code, Kept, PinnedStack, PlannedStep
from stackledger.domain.names import MAX_NAME
from stackledger.domain.runs import StartRun
from stackledger.pipelines.code import Git
from stackledger.pipelines.resources import ResourceSettings
from stackledger.pipelines.signature import Signature


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step as it is pinned in the log, and what is needed to execute it here.

    `artifacts` are the names under which its outputs are kept, by output. On a fleet the step waits in `queue`, or if
    none is chosen in the first that has its `resources`.
    """

    planned: PlannedStep
    function: Callable[..., object]
    signature: Signature
    artifacts: Mapping[str, str]
    queue: str | None = None
    resources: ResourceSettings | None = None


@dataclass(frozen=True, slots=True)
class PipelinePlan:
    """A pipeline with its parameters. `steps` stand in an order in which they can be executed one by one.

    `digest` is the code's.
    """

    name: str
    run_name: str
    parameters: dict[str, JsonValue]
    steps: tuple[StepPlan, ...]
    environment: dict[str, str]
    digest: str
    git: Git = field(compare=False, repr=False)

    @property
    def code(self) -> Code:
        """Which code runs; whoever asks first waits for git."""
        return Code(digest=self.digest, **self.git.state._asdict())

    def name_of_run(self, time: int) -> str:
        """Return the run's name with `{date}` and `{time}` filled in; `time` is in microseconds since 1970 UTC."""
        moment = datetime.fromtimestamp(time / 1_000_000, UTC)
        return self.run_name.replace("{date}", f"{moment:%Y_%m_%d}").replace("{time}", f"{moment:%H_%M_%S_%f}")

    def start(self, run_id: str, stack: PinnedStack, time: int, archive: Kept | None = None) -> StartRun:
        """Return the command that begins a run of it on a stack, whose store has the code's archive if others need it.

        Waits for git.
        """
        return StartRun(
            run_id=run_id,
            name=self.name_of_run(time),
            pipeline=self.name,
            stack=stack,
            code=self.code.model_copy(update={"archive": archive}),
            parameters=self.parameters,
            steps=tuple(step.planned for step in self.steps),
            environment=self.environment,
        )


_DATED = "-{date}-{time}"
_LENGTH_DATED = len("-2026_11_20-23_59_59_999999")


def default_run_name(pipeline: str) -> str:
    """Return the pattern of a run's name that nobody chose."""
    return pipeline[: MAX_NAME - _LENGTH_DATED] + _DATED
