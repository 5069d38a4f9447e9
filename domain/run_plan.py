"""What the plan of a run has to be like: steps that can be executed one by one in its order, and bounded retries."""

from __future__ import annotations

from collections.abc import Sequence

from stackledger.domain.errors import PipelineError
from stackledger.domain.events.runs import OutputOfStep, PlannedStep, Retry
from stackledger.domain.names import title

MAX_DELAY = 24 * 3600.0
"""Seconds between two attempts at most, however the back-off grows."""
MAX_RETRIES = 100
MAX_BACKOFF = 100.0


def check_plan(steps: Sequence[PlannedStep]) -> None:
    """Raise PipelineError for a plan that could not be executed in its order."""
    if not steps:
        raise PipelineError("The pipeline has no steps.", hint="Call at least one step inside the pipeline's function.")
    outputs: dict[str, tuple[str, ...]] = {}
    for step in steps:
        title(step.name, "step")
        if step.name in outputs:
            raise PipelineError(f"Two steps are named {step.name!r}.", hint="Give one of them another id.")
        for parent in step.upstream:
            if parent not in outputs:
                raise PipelineError(f"The step {step.name!r} needs {parent!r}, which does not stand before it.")
        for argument, source in step.inputs.items():
            if isinstance(source, OutputOfStep) and (
                source.step not in step.upstream or source.output not in outputs[source.step]
            ):
                raise PipelineError(
                    f"The argument {argument!r} of the step {step.name!r} reads the output {source.output!r} of"
                    f" {source.step!r}, which is no output of a step before it."
                )
        _check_retry(step.name, step.retry)
        outputs[step.name] = step.outputs


def _check_retry(step: str, retry: Retry) -> None:
    bounds = ((0, retry.max_retries, MAX_RETRIES), (0, retry.delay, MAX_DELAY), (1, retry.backoff, MAX_BACKOFF))
    if not all(least <= value <= most for least, value, most in bounds):  # NaN is not within either
        raise PipelineError(
            f"The step {step!r} cannot be retried {retry.max_retries} times after {retry.delay} s with a back-off of"
            f" {retry.backoff}.",
            hint=(
                f"Retries go from 0 to {MAX_RETRIES}, the delay from 0 to {MAX_DELAY:,.0f} seconds,"
                f" the back-off from 1 to {MAX_BACKOFF:.0f}."
            ),
        )
