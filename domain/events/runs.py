"""Events about runs, their steps, and the artifacts that steps produce."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue

from stackledger.domain.component_types import ComponentType
from stackledger.domain.event import Event, Part
from stackledger.domain.names import folded


def run_tag(run_id: str) -> str:
    """Return the tag on every event of the run and of its steps."""
    return f"run:{run_id}"


def run_name_tag(name: str) -> str:
    """Return the tag on the event that takes this name."""
    return f"run-name:{folded(name)}"


def step_tag(run_id: str, step: str) -> str:
    """Return the tag on every event of this step of this run."""
    return f"step:{run_id}/{step}"


def content_tag(digest: str) -> str:
    """Return the tag on every event that refers to these bytes in an artifact store."""
    return f"content:{digest}"


class PinnedComponent(Part):
    """A component as it was when the run started."""

    id: str
    type: ComponentType
    name: str
    flavor: str
    configuration: dict[str, JsonValue]


class PinnedStack(Part):
    """The stack as it was at `position` of the log, when the run started; the default component of a type first."""

    id: str
    name: str
    position: int
    components: tuple[PinnedComponent, ...]


class Kept(Part):
    """An object in the run's artifact store: the SHA-256 of its `size` bytes in hexadecimal."""

    digest: str
    size: int


class Code(Part):
    """Which code ran: SHA-256 in hexadecimal over the pipeline's source, and the git commit if there is one.

    `dirty` says that the work tree had changes that the commit does not hold. `archive` is the source tree in the
    artifact store, for those that execute it elsewhere; None where the run was executed by the process that began it.
    """

    digest: str
    commit: str | None
    dirty: bool
    archive: Kept | None = None


class OutputOfStep(Part):
    """The input is what another step of this run put out."""

    kind: Literal["step"] = "step"
    step: str
    output: str


class StoredArtifact(Part):
    """The input is an artifact that was there before the run."""

    kind: Literal["artifact"] = "artifact"
    artifact_id: str
    digest: str


Input = Annotated[OutputOfStep | StoredArtifact, Field(discriminator="kind")]


class Retry(Part):
    """How often a failed attempt is followed by another; `delay` in seconds, multiplied by `backoff` each time."""

    max_retries: int = 0
    delay: float = 0.0
    backoff: float = 1.0


class PlannedStep(Part):
    """One step of the graph. `source` is its dotted path, `upstream` the steps that must succeed before it.

    On a fleet `queue` says which workers may take it, and an attempt that takes over `timeout` seconds fails.
    `requirements`, as pip takes them, have to be installed where it runs. `kept_parameters` is where workers find
    parameters that are too many for a message; None where those are few, or nobody else executes it.
    """

    name: str
    source: str
    digest: str
    upstream: tuple[str, ...]
    inputs: dict[str, Input]
    parameters: dict[str, JsonValue]
    outputs: tuple[str, ...]
    retry: Retry
    queue: str = "default"
    timeout: float | None = None
    requirements: tuple[str, ...] = ()
    kept_parameters: Kept | None = None


class RunStarted(Event):
    """A pipeline began to run on a stack. All that it runs on is pinned here, whatever happens to the stack later.

    `environment` holds `python`, `platform` and the versions of the packages that values were written with;
    `retry_of` the run whose successes this one inherits.
    """

    TYPE: ClassVar[str] = "run.started/3"

    run_id: str
    name: str
    pipeline: str
    stack: PinnedStack
    code: Code
    parameters: dict[str, JsonValue]
    steps: tuple[PlannedStep, ...]
    environment: dict[str, str]
    retry_of: str | None

    def tags(self) -> tuple[str, ...]:
        """Find it by run, name, pipeline, stack, and by what it starts from: artifacts, code, many parameters."""
        stored = {
            source.digest
            for step in self.steps
            for source in step.inputs.values()
            if isinstance(source, StoredArtifact)
        }
        kept = {digest for step in self.steps for digest in _digests(step.kept_parameters)}
        return (
            run_tag(self.run_id),
            run_name_tag(self.name),
            f"pipeline:{folded(self.pipeline)}",
            f"ran-on:{self.stack.id}",
            *map(content_tag, {*stored, *kept, *_digests(self.code.archive)}),
        )


class RunSucceeded(Event):
    """Every step of the run succeeded."""

    TYPE: ClassVar[str] = "run.succeeded/1"

    run_id: str

    def tags(self) -> tuple[str, ...]:
        """Find it by run."""
        return (run_tag(self.run_id),)


class RunFailed(Event):
    """The run ended without success. `steps` are those that failed; none where the run's process died."""

    TYPE: ClassVar[str] = "run.failed/1"

    run_id: str
    because: Literal["steps failed", "process died", "interrupted"]
    steps: tuple[str, ...]

    def tags(self) -> tuple[str, ...]:
        """Find it by run."""
        return (run_tag(self.run_id),)


class StepStarted(Event):
    """An attempt at a step began. `inputs` are the SHA-256 digests of what it reads, by argument."""

    TYPE: ClassVar[str] = "step.started/1"

    run_id: str
    step: str
    attempt: int
    inputs: dict[str, str]

    def tags(self) -> tuple[str, ...]:
        """Find it by run, step and the content it reads."""
        return (run_tag(self.run_id), step_tag(self.run_id, self.step), *map(content_tag, set(self.inputs.values())))


class Produced(Part):
    """An artifact that a step put out.

    `artifact` is the name under which versions count up. `digest` is the SHA-256 of the object's `size`
    bytes in the artifact store; `materializer` names the format and its version, `data_type` the Python
    type. With the layout `tree` the object is a manifest of files; with `file` it is the one file itself.
    """

    output: str
    artifact_id: str
    artifact: str
    digest: str
    size: int
    layout: Literal["file", "tree"]
    materializer: str
    data_type: str


def _digests(kept: Kept | None) -> tuple[str, ...]:
    return () if kept is None else (kept.digest,)


class Execution(Part):
    """A fleet's taking up of an attempt. `worker` is the id of its key; `log` what the step printed.

    `began` and `ended` are in microseconds since 1970 UTC, by the worker's clock.
    """

    id: str
    worker: str
    began: int
    ended: int
    log: Kept | None


def _digests_of_log(execution: Execution | None) -> tuple[str, ...]:
    return () if execution is None else _digests(execution.log)


class StepSucceeded(Event):
    """An attempt at a step succeeded, and all its outputs are in the artifact store.

    `execution` is None where no worker of a fleet executed it.
    """

    TYPE: ClassVar[str] = "step.succeeded/2"

    run_id: str
    step: str
    attempt: int
    outputs: tuple[Produced, ...]
    execution: Execution | None = None

    def tags(self) -> tuple[str, ...]:
        """Find it by run, step and content."""
        return (
            run_tag(self.run_id),
            step_tag(self.run_id, self.step),
            *map(content_tag, {*(output.digest for output in self.outputs), *_digests_of_log(self.execution)}),
        )


class StepFailed(Event):
    """An attempt at a step failed.

    `error` is its kind, cut to 200 characters, `message` is cut to 2,000; `retry_at` is in microseconds.
    """

    TYPE: ClassVar[str] = "step.failed/2"

    run_id: str
    step: str
    attempt: int
    error: str
    message: str
    retry_at: int | None
    execution: Execution | None = None

    def tags(self) -> tuple[str, ...]:
        """Find it by run, step and the content of its log."""
        log = map(content_tag, _digests_of_log(self.execution))
        return (run_tag(self.run_id), step_tag(self.run_id, self.step), *log)


class StepSkipped(Event):
    """A step will not run, because steps that it needs failed or were skipped."""

    TYPE: ClassVar[str] = "step.skipped/1"

    run_id: str
    step: str
    because: tuple[str, ...]

    def tags(self) -> tuple[str, ...]:
        """Find it by run and step."""
        return (run_tag(self.run_id), step_tag(self.run_id, self.step))
