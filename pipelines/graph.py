"""The graph of a pipeline while its function runs: each call of a step adds one node and returns handles."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from pydantic import JsonValue

from stackledger.domain.errors import PipelineError, near_names
from stackledger.domain.events.runs import OutputOfStep, PlannedStep
from stackledger.domain.names import title
from stackledger.pipelines.fitting import may_be, words
from stackledger.pipelines.parameters import shown, stored_parameter
from stackledger.pipelines.plan import StepPlan
from stackledger.pipelines.requirements import DockerSettings, pinned_requirements
from stackledger.pipelines.settings import StepSettings
from stackledger.pipelines.signature import Output

if TYPE_CHECKING:
    from stackledger.pipelines.step import Step


class StepHandle:
    """A call of a step that puts nothing out: other steps can come after it."""

    __slots__ = ("graph", "step")

    def __init__(self, graph: Graph, step: str) -> None:
        self.graph = graph
        self.step = step

    def __repr__(self) -> str:
        """Name the step."""
        return f"<step {self.step!r}, which has no output>"

    def _no_value(self) -> PipelineError:
        return PipelineError(
            f"The step {self.step!r} has no output, so that there is no value to use.",
            hint="Annotate what it returns, or give the call to `after` of another step.",
        )

    def _refuse(self, *_: object) -> NoReturn:
        raise self._no_value()

    # Comparing and formatting would do without these, and give a wrong answer.
    __eq__ = __ne__ = __format__ = _refuse
    __hash__ = object.__hash__
    __bool__ = __iter__ = __len__ = __getitem__ = __call__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __floordiv__ = __mod__ = __pow__ = __neg__ = __matmul__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __int__ = __float__ = __index__ = _refuse

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse what the value will have; what Python itself asks an object for is simply not there."""
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse()


class OutputHandle(StepHandle):
    """What a step will put out: pass it to other steps. Its value is not known while the pipeline is put together."""

    __slots__ = ("annotation", "output")

    def __init__(self, graph: Graph, step: str, output: Output) -> None:
        super().__init__(graph, step)
        self.output = output.name
        self.annotation = output.annotation

    def __repr__(self) -> str:
        """Name step and output."""
        return f"<output {self.output!r} of the step {self.step!r}>"

    def _no_value(self) -> PipelineError:
        return PipelineError(
            f"The output {self.output!r} of the step {self.step!r} has no value yet: steps run after the whole pipeline"
            " was put together.",
            hint="Decide, unpack and compute inside a step. Several outputs come from -> tuple[A, B].",
        )


After = str | StepHandle | Sequence["str | StepHandle | Sequence[StepHandle]"] | None
"""A step by its id or by what its call returned, or several; a call with several outputs returned a tuple."""


@dataclass(frozen=True, slots=True)
class _Node:
    step: Step
    inputs: Mapping[str, OutputHandle]
    parameters: dict[str, JsonValue]
    after: tuple[str, ...]
    defaults: StepSettings


class Graph:
    """The steps of one pipeline, in the order of their calls."""

    def __init__(self, pipeline: str) -> None:
        self._pipeline = pipeline
        self._nodes: dict[str, _Node] = {}
        self._numbers: dict[str, int] = {}
        self._defaults = StepSettings()
        self._requirements: dict[DockerSettings | None, tuple[str, ...]] = {}

    @contextmanager
    def defaulting_to(self, settings: StepSettings) -> Iterator[None]:
        """Have steps that are called inside executed with these settings where they say nothing else."""
        before, self._defaults = self._defaults, settings.over(self._defaults)
        try:
            yield
        finally:
            self._defaults = before

    def add(
        self, step: Step, args: Sequence[object], kwargs: Mapping[str, object], chosen: str | None, after: After
    ) -> StepHandle | tuple[OutputHandle, ...]:
        """Add a call of a step; return a handle for its output, a tuple for several, or one for itself without any."""
        node_id = self._id(step, chosen)
        what = f"step {node_id!r}"
        inputs: dict[str, OutputHandle] = {}
        parameters: dict[str, JsonValue] = {}
        for name, value in step.signature.bound(args, kwargs, what, step.name).items():
            where = f"The argument {name!r} of the {what}"
            if isinstance(value, OutputHandle):
                self._check_own(value, where)
                _check_type(value, step.signature.annotations[name], where)
                inputs[name] = value
            elif isinstance(value, StepHandle):
                raise PipelineError(
                    f"{where} is the step {value.step!r}, which has no output.",
                    hint="Annotate what that step returns; if it is only to come first, say after=… .",
                )
            else:
                _refuse_nested(value, where)
                parameters[name] = stored_parameter(value, step.signature.annotations[name], where)
        self._nodes[node_id] = _Node(step, inputs, parameters, self._after(after, what), self._defaults)
        handles = tuple(OutputHandle(self, node_id, output) for output in step.signature.outputs)
        if not handles:
            return StepHandle(self, node_id)
        return handles[0] if len(handles) == 1 else handles

    def planned(self) -> tuple[StepPlan, ...]:
        """Return the steps in an order in which they can be executed, near the order of their calls."""
        parents = {node_id: self._parents(node_id) for node_id in self._nodes}
        return tuple(self._plan(node_id, parents[node_id]) for node_id in _sorted(parents))

    def _id(self, step: Step, chosen: str | None) -> str:
        if chosen is not None:
            node_id = title(chosen, "step")
            if node_id in self._nodes:
                raise PipelineError(f"Two steps have the id {node_id!r}.", hint="Give one of them another id.")
            return node_id
        node_id, number = step.name, self._numbers.get(step.name, 1)
        while node_id in self._nodes:
            number += 1
            node_id = f"{step.name}_{number}"
        self._numbers[step.name] = number
        return title(node_id, "step")

    def _check_own(self, handle: StepHandle, where: str) -> None:
        if handle.graph is not self:
            raise PipelineError(f"{where} is {handle!r} of another pipeline, or of another call of this one.")

    def _after(self, after: object, what: str) -> tuple[str, ...]:
        if after is None:
            return ()
        names: list[str] = []
        for member in after if isinstance(after, list | tuple) else (after,):
            # A call with several outputs returned a tuple of them.
            for each in member if isinstance(member, tuple) and member else (member,):
                if isinstance(each, StepHandle):
                    self._check_own(each, f"`after` of the {what}")
                    names.append(each.step)
                elif isinstance(each, str):
                    names.append(title(each, "step"))
                else:
                    raise PipelineError(
                        f"The {what} is to come after {shown(each)}, which is neither the id of a step nor what calling"
                        " one returned here.",
                        hint='Say after="its_id", or after=its_step(...); several of them in a list.',
                    )
        return tuple(dict.fromkeys(names))

    def _parents(self, node_id: str) -> tuple[str, ...]:
        node = self._nodes[node_id]
        named = [self._named(name, node_id) for name in node.after]
        return tuple(dict.fromkeys([*(handle.step for handle in node.inputs.values()), *named]))

    def _named(self, name: str, wanted_by: str) -> str:
        if name in self._nodes:
            return name
        called = [node_id for node_id, node in self._nodes.items() if node.step.name == name]
        if len(called) == 1:
            return called[0]
        raise PipelineError(
            f"The step {wanted_by!r} is to come after {name!r}, "
            + (f"which is called {len(called)} times: {', '.join(called)}." if called else "which is no step here."),
            near=near_names(name, self._nodes) if not called else (),
        )

    def _plan(self, node_id: str, parents: tuple[str, ...]) -> StepPlan:
        node = self._nodes[node_id]
        step = node.step
        settings = step.settings.over(node.defaults)
        if settings.docker not in self._requirements:
            self._requirements[settings.docker] = pinned_requirements(settings.docker, f"step {node_id!r}")
        return StepPlan(
            planned=PlannedStep(
                name=node_id,
                source=step.source,
                digest=step.digest,
                upstream=parents,
                inputs={
                    name: OutputOfStep(step=handle.step, output=handle.output) for name, handle in node.inputs.items()
                },
                parameters=node.parameters,
                outputs=tuple(output.name for output in step.signature.outputs),
                retry=step.retry,
                requirements=self._requirements[settings.docker],
            ),
            function=step.function,
            signature=step.signature,
            queue=step.queue,
            resources=settings.resources,
            artifacts={
                output.name: output.artifact or f"{self._pipeline}::{node_id}::{output.name}"
                for output in step.signature.outputs
            },
        )


def _refuse_nested(value: object, where: str) -> None:
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ()
    for member in members:
        if isinstance(member, StepHandle):
            raise PipelineError(
                f"{where} holds {member!r} inside a {type(value).__name__}.",
                hint="Pass each output as an argument of its own.",
            )


def _check_type(handle: OutputHandle, wanted: object, where: str) -> None:
    if not may_be(handle.annotation, wanted):
        raise PipelineError(
            f"{where} is to be {words(wanted)}, but the output {handle.output!r} of the step {handle.step!r} is"
            f" {words(handle.annotation)}.",
            hint="Correct one of the two annotations, or convert the value in a step between them.",
        )


def _sorted(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the nodes with parents first, and otherwise in their order, or raise PipelineError naming a cycle."""
    order = {node: index for index, node in enumerate(parents)}
    children: dict[str, list[str]] = {node: [] for node in parents}
    missing = {node: len(needed) for node, needed in parents.items()}
    for node, needed in parents.items():
        for parent in needed:
            children[parent].append(node)
    names = list(parents)
    free = [order[node] for node, count in missing.items() if not count]
    done: list[str] = []
    while free:
        node = names[heapq.heappop(free)]
        done.append(node)
        for child in children[node]:
            missing[child] -= 1
            if not missing[child]:
                heapq.heappush(free, order[child])
    if len(done) < len(names):
        raise PipelineError(
            f"Steps wait for each other: {' → '.join(_cycle(parents, set(names) - set(done)))}.",
            hint="Take one of them out of `after`.",
        )
    return done


def _cycle(parents: Mapping[str, Sequence[str]], stuck: set[str]) -> list[str]:
    path = [min(stuck)]
    while True:
        parent = next(node for node in parents[path[-1]] if node in stuck)
        if parent in path:
            return [*path[path.index(parent) :], parent][::-1]
        path.append(parent)


_building: ContextVar[Graph | None] = ContextVar("stackledger_graph", default=None)


def graph_being_built() -> Graph | None:
    """Return the graph of the pipeline whose function is running here, None outside of one."""
    return _building.get()


@contextmanager
def building(graph: Graph) -> Iterator[None]:
    """Let steps that are called inside add themselves to `graph`."""
    token = _building.set(graph)
    try:
        yield
    finally:
        _building.reset(token)
