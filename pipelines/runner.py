"""Who runs a pipeline that is called: bound by the front door, because nothing here knows of logs or stacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from stackledger.domain.errors import PipelineError

if TYPE_CHECKING:
    from stackledger.pipelines.plan import PipelinePlan
    from stackledger.pipelines.responses import RunResponse


class Runner(Protocol):
    """Runs pipelines on the active stack."""

    def run(self, plan: PipelinePlan) -> RunResponse:
        """Run a pipeline to its end, or raise RunFailed naming the steps that failed."""


_factory: Callable[[], Runner] | None = None


def bind(factory: Callable[[], Runner] | None) -> Callable[[], Runner] | None:
    """Have pipelines run by what `factory` makes when the first is called; return the factory that was bound before."""
    global _factory
    before, _factory = _factory, factory
    return before


def runner() -> Runner:
    """Return what runs pipelines in this process."""
    if _factory is None:
        raise PipelineError(
            "Nothing that runs pipelines is there.", hint="Import `pipeline` from `stackledger`, not from inside it."
        )
    return _factory()
