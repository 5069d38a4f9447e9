"""`@pipeline` makes a function a pipeline: calling it puts the graph together, then runs it on the active stack."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, overload

from pydantic import JsonValue

from stackledger.domain.errors import PipelineError
from stackledger.domain.names import title
from stackledger.pipelines.code import Git, code_digest, combined, directory_of, environment
from stackledger.pipelines.graph import Graph, StepHandle, building, graph_being_built
from stackledger.pipelines.parameters import restored_parameter, stored_parameter
from stackledger.pipelines.plan import PipelinePlan, default_run_name
from stackledger.pipelines.runner import runner
from stackledger.pipelines.settings import Settings, settings_in
from stackledger.pipelines.signature import Signature, call_of, signature_of
from stackledger.pipelines.step import name_for

if TYPE_CHECKING:
    from stackledger.pipelines.responses import RunResponse


class Pipeline:
    """A function as a pipeline; what it calls inside are steps, which have its `settings` where they have none."""

    def __init__(
        self,
        function: Callable[..., object],
        *,
        name: str | None = None,
        run_name: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        if not isinstance(function, FunctionType):
            raise PipelineError(f"{function!r} cannot be a pipeline.", hint="Put @pipeline above a function.")
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name_for(function, name, "pipeline")
        self.run_name = run_name
        self.settings = settings_in(settings, f"pipeline {self.name!r}")
        self._call = call_of(function, f"pipeline {self.name!r}")

    def __repr__(self) -> str:
        """Name the pipeline."""
        return f"<pipeline {self.name!r}>"

    def __call__(self, *args: Any, **kwargs: Any) -> RunResponse | Any:
        """Run the pipeline on the active stack and return the run, or raise RunFailed naming the steps that failed.

        Inside another pipeline, the steps of this one become steps of that one, whose settings come last.
        """
        graph = graph_being_built()
        if graph is not None:
            with graph.defaulting_to(self.settings):
                return self.function(*args, **kwargs)
        return runner().run(self.plan(*args, **kwargs))

    def plan(self, *args: Any, **kwargs: Any) -> PipelinePlan:
        """Put the graph together without running anything, or raise PipelineError."""
        parameters = self._parameters(args, kwargs)
        graph = Graph(self.name)
        arguments = {
            name: restored_parameter(value, self.signature.annotations[name]) for name, value in parameters.items()
        }
        with building(graph), graph.defaulting_to(self.settings):
            try:
                self.function(**arguments)
            except RecursionError as error:
                raise PipelineError(
                    f"The pipeline {self.name!r} does not come to an end: what it calls calls itself again and again.",
                    hint="A pipeline can call itself only as often as a parameter says.",
                ) from error
        git = Git(directory_of(self.function))
        steps = graph.planned()
        if not steps:
            raise PipelineError(
                f"The pipeline {self.name!r} has no steps.", hint="Call at least one step inside its function."
            )
        return PipelinePlan(
            name=self.name,
            run_name=default_run_name(self.name) if self.run_name is None else self.run_name,
            parameters=parameters,
            steps=steps,
            environment=environment(),
            digest=combined([code_digest(self.function), *(step.planned.digest for step in steps)]),
            git=git,
        )

    def with_options(
        self, *, name: str | None = None, run_name: str | None = None, settings: Settings | None = None
    ) -> Pipeline:
        """Return a copy of the pipeline with other options; what is not given stays, field by field in its settings.

        In the name of its runs, `{date}` and `{time}` stand for the moment of the start.
        """
        copy = Pipeline(self.function, name=self.name, run_name=self.run_name)
        copy.settings = self.settings
        return copy.configure(name=name, run_name=run_name, settings=settings)

    def configure(
        self, *, name: str | None = None, run_name: str | None = None, settings: Settings | None = None
    ) -> Pipeline:
        """Change options of the pipeline; return it. What is not given stays, field by field in its settings."""
        if name is not None:
            self.name = title(name, "pipeline")
        if run_name is not None:
            self.run_name = run_name
        if settings is not None:
            self.settings = settings_in(settings, f"pipeline {self.name!r}").over(self.settings)
        return self

    @functools.cached_property
    def signature(self) -> Signature:
        """What the pipeline takes."""
        return signature_of(self.function, self._call, f"pipeline {self.name!r}")

    def _parameters(self, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, JsonValue]:
        parameters: dict[str, JsonValue] = {}
        for name, value in self.signature.bound(args, kwargs, f"pipeline {self.name!r}", self.name).items():
            where = f"The parameter {name!r} of the pipeline {self.name!r}"
            if isinstance(value, StepHandle):
                raise PipelineError(f"{where} is {value!r}, which belongs to a pipeline that was put together before.")
            parameters[name] = stored_parameter(value, self.signature.annotations[name], where)
        return parameters


@overload
def pipeline(function: Callable[..., object], /) -> Pipeline: ...
@overload
def pipeline(
    *, name: str | None = None, run_name: str | None = None, settings: Settings | None = None
) -> Callable[[Callable[..., object]], Pipeline]: ...
def pipeline(
    function: Callable[..., object] | None = None,
    /,
    *,
    name: str | None = None,
    run_name: str | None = None,
    settings: Settings | None = None,
) -> Pipeline | Callable[[Callable[..., object]], Pipeline]:
    """Make a function a pipeline, as `@pipeline` or `@pipeline(name=…, run_name=…, settings={"resources": …})`."""
    if function is not None:
        return Pipeline(function, name=name, run_name=run_name, settings=settings)
    return lambda function: Pipeline(function, name=name, run_name=run_name, settings=settings)
