"""What queries return: plain tuples with names, and the JSON that `--output json` prints of them.

Named tuples, not data classes: a query's whole budget beyond the interpreter is about 20 ms, and a frozen
data class takes 0.9 ms to define, a named tuple 0.14.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

from stackledger.projections.registry_queries import ComponentRef


def iso(microseconds: int | None) -> str | None:
    """Return microseconds since 1970 as ISO 8601 in UTC."""
    if microseconds is None:
        return None
    moment = datetime.fromtimestamp(microseconds // 1_000_000, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{microseconds % 1_000_000:06d}Z"


class Stack(NamedTuple):
    """A stack. `components` are by type, the default one of a type first; `active` is for the caller."""

    id: str
    name: str
    active: bool
    shared: bool
    owner: str
    labels: dict[str, str]
    components: dict[str, tuple[ComponentRef, ...]]

    def to_json(self) -> dict[str, Any]:
        """Return the stack as JSON."""
        components = {kind: [one._asdict() for one in several] for kind, several in self.components.items()}
        return self._asdict() | {"components": components}


class Component(NamedTuple):
    """A component: a configured instance of a flavor. `active` says that it is part of the caller's active stack."""

    id: str
    name: str
    type: str
    flavor: str
    active: bool
    shared: bool
    owner: str
    labels: dict[str, str]
    configuration: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the component as JSON."""
        return self._asdict()


class Secret(NamedTuple):
    """A secret: the names of its keys, and its values where they were asked for."""

    id: str
    name: str
    keys: list[str]
    owner: str
    values: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the secret as JSON."""
        return self._asdict()


class Repository(NamedTuple):
    """A folder with an active stack of its own; `files` counts those of the template that it was made with."""

    id: str
    path: str
    active_stack: str
    files: int

    def to_json(self) -> dict[str, Any]:
        """Return the repository as JSON."""
        return self._asdict()


class Flavor(NamedTuple):
    """A flavor of the catalogue, or one that users registered.

    Lists leave out what only its class knows: the `fields` of its configuration, and what `up` and `down` say.
    """

    name: str
    type: str
    source: str
    custom: bool
    summary: str
    fields: list[dict[str, Any]]
    provisioning: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the flavor as JSON."""
        return self._asdict()


class Step(NamedTuple):
    """A step of a run. Times are ISO 8601 in UTC; `inputs` and `outputs` name artifacts by their ids."""

    name: str
    status: str
    attempt: int
    started: str | None
    ended: str | None
    upstream: list[str]
    parameters: dict[str, Any]
    inputs: dict[str, Any]
    outputs: dict[str, str]
    error: str | None

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


class Integration(NamedTuple):
    """Libraries that Stackledger works with where they are installed."""

    name: str
    summary: str
    requirements: list[str]
    installed: bool

    def to_json(self) -> dict[str, Any]:
        """Return the integration as JSON."""
        return self._asdict()


class Projection(NamedTuple):
    """How far a projection has got; `lag` counts positions behind the log, `skipped` events of unknown types."""

    name: str
    version: int
    position: int
    lag: int
    skipped: int
    checked_at: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the projection as JSON."""
        return self._asdict()


class Finding(NamedTuple):
    """What `doctor` found; `status` is ok, warning or error."""

    status: str
    check: str
    finding: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON."""
        return self._asdict()


class LogEvent(NamedTuple):
    """An event of the log. `type` is without its version; `actor` and `host` are names where they are known."""

    position: int | None
    id: str
    type: str
    version: int
    time: str | None
    actor: str
    host: str
    reason: str | None
    ticket: str | None
    tags: list[str]
    data: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON."""
        return self._asdict()


class Change(NamedTuple):
    """One event of a history, and what it changed: field, old and new value."""

    position: int
    time: str | None
    type: str
    actor: str
    host: str
    reason: str | None
    ticket: str | None
    changes: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """Return the change as JSON."""
        return self._asdict()


Row = TypeVar("Row")


class Page(NamedTuple, Generic[Row]):
    """A page of a list; `total` counts what matches on all pages."""

    items: list[Row]
    total: int
    page: int
    size: int

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // self.size))


def event_json(  # noqa: PLR0917 - an event's parts in their order
    position: int | None,
    type_name: str,
    envelope: Mapping[str, Any],
    tags: Sequence[str],
    data: dict[str, Any],
    names: Mapping[str, str],
) -> dict[str, Any]:
    """Return an event as JSON; `names` are those behind the ids of subjects."""
    kind, _, version = type_name.partition("/")
    return LogEvent(
        position=position,
        id=envelope["id"],
        type=kind,
        version=int(version) if version.isdecimal() else 0,
        time=iso(envelope["time"]),
        actor=names.get(envelope["actor"], envelope["actor"]),
        host=names.get(envelope["host"], envelope["host"]),
        reason=envelope["reason"],
        ticket=envelope["ticket"],
        tags=list(tags),
        data=data,
    ).to_json()
