"""Plans of runs for tests: a graph is a mapping of step names to the names of their parents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stackledger.domain.component_types import ComponentType
from stackledger.domain.events.runs import (
    Code,
    OutputOfStep,
    PinnedComponent,
    PinnedStack,
    PlannedStep,
    Produced,
    Retry,
    RunStarted,
)
from stackledger.domain.runs import StartRun

RUN_ID = "01938b3c-0000-7000-8000-000000000001"

STACK = PinnedStack(
    id="01938b3c-0000-7000-8000-0000000000aa",
    name="default",
    position=4,
    components=(
        PinnedComponent(id="o", type=ComponentType.ORCHESTRATOR, name="default", flavor="local", configuration={}),
        PinnedComponent(id="a", type=ComponentType.ARTIFACT_STORE, name="default", flavor="local", configuration={}),
    ),
)
CODE = Code(digest="c0de" * 16, commit=None, dirty=False)


def planned(name: str, parents: Sequence[str] = (), retry: Retry | None = None) -> PlannedStep:
    """Return a step that reads the one output of each of its parents."""
    return PlannedStep(
        name=name,
        source=f"project.steps.{name}",
        digest="5ea1" * 16,
        upstream=tuple(parents),
        inputs={
            f"argument_{index}": OutputOfStep(step=parent, output="output") for index, parent in enumerate(parents)
        },
        parameters={},
        outputs=("output",),
        retry=retry or Retry(),
    )


def start(graph: Mapping[str, Sequence[str]], retry: Retry | None = None, **changes: object) -> StartRun:
    """Return the command that starts a run of the graph."""
    steps = tuple(planned(name, parents, retry) for name, parents in graph.items())
    fields: dict[str, object] = {
        "run_id": RUN_ID,
        "name": "first run",
        "pipeline": "training",
        "stack": STACK,
        "code": CODE,
        "parameters": {},
        "steps": steps,
        "environment": {"python": "3.11.7"},
    }
    return StartRun(**{**fields, **changes})  # type: ignore[arg-type]


def started(graph: Mapping[str, Sequence[str]], retry: Retry | None = None) -> RunStarted:
    """Return the event that such a command brings about."""
    command = start(graph, retry)
    return RunStarted(
        run_id=command.run_id,
        name=command.name,
        pipeline=command.pipeline,
        stack=command.stack,
        code=command.code,
        parameters=command.parameters,
        steps=command.steps,
        environment=command.environment,
        retry_of=None,
    )


def output_of(step: str) -> Produced:
    """Return what `step` puts out under its one output's name."""
    return Produced(
        output="output",
        artifact_id=f"artifact-of-{step}",
        artifact=f"training::{step}::output",
        digest=f"digest-of-{step}",
        size=3,
        layout="file",
        materializer="json/1",
        data_type="builtins.int",
    )
