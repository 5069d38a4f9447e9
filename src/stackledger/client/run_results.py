"""What queries about runs return, and the JSON that is printed of it."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from typing import Any, NamedTuple


class Step(NamedTuple):
    """A step of a run. Times are ISO 8601 in UTC; `inputs` are the digests, `outputs` the ids of artifacts.

    `requirements`, as pip takes them, have to be installed where it runs.

    `because` names the failed steps for which it was skipped, `retry_at` says when a failed one is tried again. On a
    fleet `queued` says since when it waits in which `queue`, `worker` whose key took up the `execution` that counts, by
    its name, or by its id, `worker_id`, where the log knows no such key.
    """

    name: str
    status: str
    attempt: int
    queued: str | None
    started: str | None
    ended: str | None
    upstream: list[str]
    parameters: dict[str, Any]
    requirements: list[str]
    inputs: dict[str, Any]
    outputs: dict[str, str]
    error: str | None
    because: list[str]
    retry_at: str | None
    queue: str | None
    execution: str | None
    worker: str | None
    worker_id: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the step as JSON."""
        return self._asdict()


class Run(NamedTuple):
    """A run and all that it ran on, as it was then."""

    id: str
    name: str
    pipeline: str
    status: str
    owner: str
    stack: dict[str, Any]
    started: str | None
    ended: str | None
    reason: str | None
    code: dict[str, Any]
    parameters: dict[str, Any]
    environment: dict[str, str]
    steps: list[Step]

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON."""
        return self._asdict() | {"steps": [step.to_json() for step in self.steps]}


class Artifact(NamedTuple):
    """A version of an artifact: what a step put out, by the digest of its bytes."""

    id: str
    name: str
    version: int
    run: str
    run_id: str
    step: str
    output: str
    data_type: str
    materializer: str
    runs_code: bool
    digest: str
    size: int
    created: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the artifact as JSON."""
        return self._asdict()


class Pipeline(NamedTuple):
    """A pipeline that ran, and its newest run."""

    name: str
    runs: int
    last_run: str
    last_status: str
    last_started: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the pipeline as JSON."""
        return self._asdict()
