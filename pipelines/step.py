"""`@step` makes a function a step: inside a pipeline a call adds it to the graph, elsewhere it is just called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, overload

from stackledger.domain.errors import InvalidName, PipelineError
from stackledger.domain.events.runs import Retry
from stackledger.domain.names import title
from stackledger.pipelines.code import code_digest
from stackledger.pipelines.graph import After, graph_being_built
from stackledger.pipelines.settings import Settings, settings_in
from stackledger.pipelines.signature import Signature, call_of, signature_of


@dataclass(frozen=True, slots=True)
class StepRetryConfig:
    """How often a failed step is tried again, after `delay` seconds, which `backoff` multiplies each time.

    A back-off of 0 or 1 keeps the delay as it is.
    """

    max_retries: int = 1
    delay: float = 0
    backoff: float = 1


class Step:
    """A function as a step of pipelines.

    On a fleet the step waits in the `queue` of that name, or in the first one that has the resources of its `settings`.
    What they leave open is as the pipeline's settings have it.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *,
        name: str | None = None,
        retry: StepRetryConfig | None = None,
        queue: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        if not isinstance(function, FunctionType):
            raise PipelineError(f"{function!r} cannot be a step.", hint="Put @step above a function.")
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name_for(function, name, "step")
        self.retry = _retry(retry, self.name)
        self.queue = _queue(queue, self.name)
        self.settings = settings_in(settings, f"step {self.name!r}")
        self._call = call_of(function, f"step {self.name!r}")

    def __repr__(self) -> str:
        """Name the step."""
        return f"<step {self.name!r}>"

    def __call__(self, *args: Any, id: str | None = None, after: After = None, **kwargs: Any) -> Any:  # noqa: A002 - the function's own arguments and values
        """Add the step to the pipeline that is being put together, or call the function where there is none.

        `id` names the step in its pipeline, `after` the steps that come before it without passing anything on.
        """
        graph = graph_being_built()
        if graph is not None:
            return graph.add(self, args, kwargs, id, after)
        if id is not None or after is not None:
            raise PipelineError(
                f"The step {self.name!r} is called outside of a pipeline, where `id` and `after` mean nothing."
            )
        return self.function(*args, **kwargs)

    def with_options(
        self,
        *,
        name: str | None = None,
        retry: StepRetryConfig | None = None,
        queue: str | None = None,
        settings: Settings | None = None,
    ) -> Step:
        """Return a copy of the step with other options; what is not given stays, field by field in its settings."""
        copy = Step(self.function, name=self.name)
        copy.retry, copy.queue, copy.settings = self.retry, self.queue, self.settings
        return copy.configure(name=name, retry=retry, queue=queue, settings=settings)

    def configure(
        self,
        *,
        name: str | None = None,
        retry: StepRetryConfig | None = None,
        queue: str | None = None,
        settings: Settings | None = None,
    ) -> Step:
        """Change options of the step; return it. What is not given stays, field by field in its settings."""
        if name is not None:
            self.name = title(name, "step")
        if retry is not None:
            self.retry = _retry(retry, self.name)
        if queue is not None:
            self.queue = _queue(queue, self.name)
        if settings is not None:
            self.settings = settings_in(settings, f"step {self.name!r}").over(self.settings)
        return self

    @functools.cached_property
    def signature(self) -> Signature:
        """What the step takes and puts out."""
        return signature_of(self.function, self._call, f"step {self.name!r}")

    @functools.cached_property
    def digest(self) -> str:
        """The digest of the code that the step reaches."""
        return code_digest(self.function)

    @property
    def source(self) -> str:
        """The dotted path of the function."""
        return f"{self.function.__module__}.{self.function.__qualname__}"


def name_for(function: FunctionType, chosen: str | None, what: str) -> str:
    """Return the name of a step or pipeline: the chosen one, or the function's without underscores before it."""
    if chosen is not None:
        return title(chosen, what)
    try:
        return title(function.__name__.lstrip("_"), what)
    except InvalidName as error:
        raise InvalidName(error.message, hint=f'Choose another one: {what}(name="…")(function).') from error


def _retry(retry: StepRetryConfig | None, step: str) -> Retry:
    if retry is None:
        return Retry()
    if not isinstance(retry, StepRetryConfig):
        raise PipelineError(f"The step {step!r} has {retry!r} for its retries.", hint="Give a StepRetryConfig.")
    return Retry(max_retries=retry.max_retries, delay=retry.delay, backoff=retry.backoff or 1)


def _queue(queue: str | None, step: str) -> str | None:
    if not (queue is None or isinstance(queue, str)):
        raise PipelineError(f"The step {step!r} has {queue!r} for its queue.", hint="Give the queue's name.")
    return queue


@overload
def step(function: Callable[..., object], /) -> Step: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: StepRetryConfig | None = None,
    queue: str | None = None,
    settings: Settings | None = None,
) -> Callable[[Callable[..., object]], Step]: ...
def step(
    function: Callable[..., object] | None = None,
    /,
    *,
    name: str | None = None,
    retry: StepRetryConfig | None = None,
    queue: str | None = None,
    settings: Settings | None = None,
) -> Step | Callable[[Callable[..., object]], Step]:
    """Make a function a step, as `@step` or `@step(name=…, retry=…, queue=…, settings={"resources": …})`."""
    if function is not None:
        return Step(function, name=name, retry=retry, queue=queue, settings=settings)
    return lambda function: Step(function, name=name, retry=retry, queue=queue, settings=settings)
