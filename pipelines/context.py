"""What a step can ask about itself while it is executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from pydantic import JsonValue

from stackledger.domain.errors import PipelineError


@dataclass(frozen=True, slots=True)
class PipelineInfo:
    """The pipeline that runs."""

    name: str


@dataclass(frozen=True, slots=True)
class PipelineRunInfo:
    """The run that the step belongs to."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class StepRunInfo:
    """The step's own part in the run; `attempt` counts from 1."""

    name: str
    attempt: int
    parameters: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class StepContext:
    """Where the code that asks is being executed."""

    pipeline: PipelineInfo
    pipeline_run: PipelineRunInfo
    step_run: StepRunInfo

    @property
    def step_name(self) -> str:
        """The step's name in the run."""
        return self.step_run.name


_current: ContextVar[StepContext] = ContextVar("stackledger_step_context")


def get_step_context() -> StepContext:
    """Return the context of the step that is being executed, or raise PipelineError outside of one."""
    try:
        return _current.get()
    except LookupError:
        raise PipelineError(
            "No step is being executed here.",
            hint="Ask for the context inside a step's function, in the thread that the step runs in.",
        ) from None


@contextmanager
def executing(context: StepContext) -> Iterator[None]:
    """Let `get_step_context` return `context` inside."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
