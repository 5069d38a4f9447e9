"""Reading runs, their steps and artifacts as of a position."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from collections.abc import Collection
from typing import Any, NamedTuple

from stackledger.domain.errors import NotFound, UsageError, near_names
from stackledger.domain.names import folded, quoted
from stackledger.domain.run_status import DEAD, RunStatus, StepStatus
from stackledger.projections.engine import View
from stackledger.projections.listing import (
    FIRST_PAGE,
    GIVEN_IDS,
    Asked,
    Listing,
    Page,
    Sought,
    Where,
    decoded,
    found,
    given_ids,
    listed,
    moment,
)
from stackledger.projections.schema import ARTIFACTS, HOLDS, RUN_COUNTS, RUN_STATES, RUNS, STEP_STATES


class RunRow(NamedTuple):
    """A run. Times are microseconds since 1970; `stack_name` is the name that the stack had when the run started.

    `because` says why it failed, or what reason was given for cancelling it.
    """

    id: str
    name: str
    pipeline: str
    status: str
    stack_id: str
    stack_name: str
    owner: str
    started: int
    ended: int | None
    because: str | None
    retry_of: str | None


class StepRow(NamedTuple):
    """A step of a run: what was planned, and where it has got. `inputs` are digests by argument.

    On a fleet `queued` is since when it waits in which `queue`, `execution` the one that counts, and `worker` the key
    of who took it up.
    `planned` is the step as in `run.started`, with `source`, `digest`, `upstream`, `inputs`, `parameters`, `outputs`,
    `requirements`.
    """

    name: str
    status: str
    attempt: int
    queued: int | None
    started: int | None
    ended: int | None
    error: str | None
    message: str | None
    retry_at: int | None
    because: tuple[str, ...]
    inputs: dict[str, str]
    queue: str | None
    execution: str | None
    worker: str | None
    planned: dict[str, Any]


class ArtifactRow(NamedTuple):
    """An artifact: what a step put out, where its bytes are found, and how they are read. `run` is the run's name."""

    id: str
    name: str
    version: int
    run_id: str
    step: str
    output: str
    digest: str
    size: int
    layout: str
    materializer: str
    data_type: str
    owner: str
    created: int
    run: str | None


class PipelineRow(NamedTuple):
    """A pipeline that ran: how often, and the id, name, status and start of its newest run."""

    name: str
    runs: int
    last_run_id: str
    last_run: str
    last_status: str
    last_started: int


class RunDetails(NamedTuple):
    """All that is known of a run. `stack`, `parameters`, `code` and `environment` are as in `run.started`."""

    run: RunRow
    stack: dict[str, Any]
    parameters: dict[str, Any]
    code: dict[str, Any]
    environment: dict[str, str]
    steps: tuple[StepRow, ...]
    artifacts: tuple[ArtifactRow, ...]


_OPEN = (StepStatus.INITIALIZING, StepStatus.QUEUED, StepStatus.RUNNING, StepStatus.RETRYING)
_RUN = "runs.run_id, name, pipeline, status, stack_id, stack_name, owner, started, ended, because, retry_of"
_RUN_SOURCE = (
    f"{RUNS.name} AS runs JOIN {RUN_STATES.name} AS states"
    " ON states.run_id = runs.run_id AND states.from_pos <= :at AND states.to_pos > :at"
)
_RUN_HOLDS = "runs.from_pos <= :at"
_RUNS = Listing(
    _RUN,
    _RUN_SOURCE,
    {
        "started": "runs.from_pos",
        "name": "folded, runs.from_pos",
        "pipeline": "pipeline, runs.from_pos",
        "status": "status, runs.from_pos",
        "stack": "stack_name, runs.from_pos",
        "id": "runs.run_id",
    },
    "desc:started",
)
_PIPELINES = Listing(
    "pipeline, number, runs.run_id, name, status, started",
    "(SELECT pipeline_folded AS grouped, count(*) AS number, max(from_pos) AS last"
    f" FROM {RUNS.name} WHERE {{where}} GROUP BY pipeline_folded) JOIN {_RUN_SOURCE}",
    {"started": "last", "name": "runs.pipeline_folded", "runs": "number, last"},
    "desc:started",
)
_PIPELINE_HOLDS = "runs.from_pos = last"
_ARTIFACT = ", ".join(
    (
        *(column for column in (*ARTIFACTS.key, *ARTIFACTS.columns) if column != "folded"),
        f"(SELECT runs.name FROM {RUNS.name} AS runs WHERE runs.run_id = made.run_id)",
    )
)
_ALL = f"{ARTIFACTS.name} AS made"
_NEWEST = (
    f"(SELECT * FROM {ARTIFACTS.name} AS one WHERE NOT EXISTS (SELECT 1 FROM {ARTIFACTS.name} AS later"
    " WHERE later.folded = one.folded AND later.version > one.version AND later.from_pos <= :at)) AS made"
)
_ARTIFACTS = Listing(
    _ARTIFACT,
    _ALL,
    {
        "created": "from_pos, artifact_id",
        "name": "folded, version",
        "size": "size, from_pos",
        "id": "artifact_id",
    },
    "desc:created",
)


def runs(view: View, asked: Asked = FIRST_PAGE, *, dead: Collection[str] = ()) -> Page[RunRow]:
    """Return a page of the runs, newest first if not sorted otherwise (`started`, `name`, `pipeline`, `status`, …).

    Those of `dead`, given by id, are found by the status `dead` and not by `running`. Raises UsageError for a status
    that no run can have.
    """
    filters = asked.filters
    known = [*(status.value for status in RunStatus), DEAD]
    if filters.status is not None and filters.status not in known:
        raise UsageError(
            f"No run can have the status {quoted(filters.status)}.",
            hint=f"A run is {', '.join(known[:-1])} or {known[-1]}.",
            near=near_names(filters.status, known),
        )
    where = Where(view, _RUN_HOLDS)
    where.named(filters.name)
    where.equal("owner", filters.owner)
    where.equal("pipeline_folded", None if filters.pipeline is None else folded(filters.pipeline))
    if filters.status in {RunStatus.RUNNING, DEAD}:
        within = "IN" if filters.status == DEAD else "NOT IN"
        where.narrow(
            f"status = :running AND runs.run_id {within} {GIVEN_IDS}",
            running=RunStatus.RUNNING.value,
            ids=given_ids(dead),
        )
    else:
        where.equal("status", filters.status)
    if filters.stack is not None:
        where.narrow(":stack IN (stack_id, stack_name)", stack=filters.stack)
    rows, total = listed(view, asked, _RUNS, where, (RUN_COUNTS, "run"))
    return Page(tuple(RunRow(*row) for row in rows), total, asked.page, asked.size)


def run(view: View, reference: str, *, prefix: bool = True) -> RunDetails:
    """Return the run of that id, name, or beginning of an id (with `prefix`, of a name too)."""
    run_id = found(view, Sought("run", RUNS.name, "run_id"), reference, prefix=prefix)
    row = view.connection.execute(
        f"SELECT {_RUN}, stack, parameters, code, environment, plan FROM {_RUN_SOURCE} WHERE runs.run_id = :id",
        {"at": view.position, "id": run_id},
    ).fetchone()
    stack, parameters, code, environment, plan = map(decoded, row[11:])
    return RunDetails(
        run=RunRow(*row[:11]),
        stack=stack,
        parameters=parameters,
        code=code,
        environment=environment,
        steps=_steps(view, RunRow(*row[:11]), plan),
        artifacts=_artifacts(view, "run_id = :run_id", run_id=run_id),
    )


def names_of_runs(view: View, ids: Collection[str]) -> dict[str, str]:
    """Return the names of runs by id, of those that there are."""
    rows = view.connection.execute(
        f"SELECT run_id, name FROM {RUNS.name} AS runs WHERE {_RUN_HOLDS} AND run_id IN {GIVEN_IDS}",
        {"at": view.position, "ids": given_ids(ids)},
    )
    return dict(rows.fetchall())


def pipelines(view: View, asked: Asked = FIRST_PAGE) -> Page[PipelineRow]:
    """Return a page of the pipelines that ran, newest run first if not sorted otherwise (`started`, `name`, `runs`)."""
    of_runs = Where(view, "from_pos <= :at")
    of_runs.named(asked.filters.name, "pipeline_folded")
    where = Where(view, _PIPELINE_HOLDS)
    where.parameters |= of_runs.parameters
    listing = _PIPELINES._replace(source=_PIPELINES.source.format(where=of_runs))
    rows, total = listed(view, asked, listing, where)
    return Page(tuple(PipelineRow(*row) for row in rows), total, asked.page, asked.size)


def pipeline(view: View, name: str) -> PipelineRow:
    """Return the pipeline of that name, ignoring case, or raise NotFound with near names."""
    parameters = {"at": view.position, "name": folded(name)}
    source = _PIPELINES.source.format(where="from_pos <= :at AND pipeline_folded = :name")
    sql = f"SELECT {_PIPELINES.columns} FROM {source} WHERE {_PIPELINE_HOLDS}"
    row = view.connection.execute(sql, parameters).fetchone()
    if row is None:
        known = view.connection.execute(f"SELECT DISTINCT pipeline FROM {RUNS.name} WHERE from_pos <= :at", parameters)
        raise NotFound(
            f"No pipeline named {quoted(name)} ran{moment(view)}.", near=near_names(name, (each for (each,) in known))
        )
    return PipelineRow(*row)


def unfinished_runs(view: View) -> tuple[RunRow, ...]:
    """Return the runs that have not ended, oldest first."""
    return _unfinished(view, "TRUE")


def unfinished_runs_on(view: View, component_id: str) -> int:
    """Return how many runs have not ended that were begun on a stack with this component."""
    (number,) = view.connection.execute(
        f"SELECT count(*) FROM {_RUN_SOURCE} WHERE {_RUN_HOLDS} AND status = :running AND instr(stack, :quoted) > 0",
        {"at": view.position, "running": RunStatus.RUNNING.value, "quoted": f'"{component_id}"'},
    ).fetchone()
    return int(number)


def driven_runs(view: View) -> tuple[RunRow, ...]:
    """Return the runs that have not ended and that whoever began them executes, oldest first: one may be dead.

    A run whose code is in the artifact store is executed by a fleet, whatever became of who began it.
    """
    return _unfinished(view, "json_extract(code, '$.archive') IS NULL")


def _unfinished(view: View, condition: str) -> tuple[RunRow, ...]:
    rows = view.connection.execute(
        f"SELECT {_RUN} FROM {_RUN_SOURCE} WHERE {_RUN_HOLDS} AND status = :running AND {condition}"
        " ORDER BY runs.from_pos",
        {"at": view.position, "running": RunStatus.RUNNING.value},
    )
    return tuple(RunRow(*row) for row in rows)


def artifacts(view: View, asked: Asked = FIRST_PAGE, *, newest: bool = False) -> Page[ArtifactRow]:
    """Return a page of all artifacts, newest first if not sorted otherwise (`created`, `name`, `size`, `id`).

    With `newest` only the last version under each name; else the name filter with a plain name gives the versions
    of that artifact.
    """
    filters = asked.filters
    where = Where(view, "from_pos <= :at")
    where.named(filters.name)
    where.equal("owner", filters.owner)
    where.equal("run_id", filters.run)
    where.equal("step", filters.step)
    rows, total = listed(view, asked, _ARTIFACTS._replace(source=_NEWEST) if newest else _ARTIFACTS, where)
    return Page(tuple(ArtifactRow(*row) for row in rows), total, asked.page, asked.size)


def artifact(view: View, reference: str, version: int | None = None, *, prefix: bool = True) -> ArtifactRow:
    """Return an artifact by id or name, or what begins one; of a name the newest version, if none is given."""
    sought = Sought("artifact", ARTIFACTS.name, "artifact_id", named=_NEWEST)
    artifact_id = found(view, sought, reference, prefix=prefix)
    (row,) = _artifacts(view, "artifact_id = :id", id=artifact_id)
    if version is None or version == row.version:
        return row
    rows = _artifacts(view, "folded = :folded AND version = :version", folded=folded(row.name), version=version)
    if not rows:
        raise NotFound(f"The artifact {row.name!r} has no version {version}.", hint="Versions count from 1.")
    return rows[0]


def _artifacts(view: View, condition: str, **parameters: str | int) -> tuple[ArtifactRow, ...]:
    rows = view.connection.execute(
        f"SELECT {_ARTIFACT} FROM {_ALL} WHERE {condition} AND {HOLDS} ORDER BY from_pos",
        {"at": view.position, **parameters},
    )
    return tuple(ArtifactRow(*row) for row in rows)


def _steps(view: View, run: RunRow, plan: list[dict[str, Any]]) -> tuple[StepRow, ...]:
    """Return the steps of a run in the order of its plan."""
    states = {
        row[0]: row[1:]
        for row in view.connection.execute(
            f"SELECT step, {', '.join(STEP_STATES.columns)} FROM {STEP_STATES.name} WHERE run_id = :id AND {HOLDS}",
            {"at": view.position, "id": run.id},
        )
    }
    stopped = () if run.status == RunStatus.RUNNING else _OPEN  # its process died, or somebody ended it
    steps = []
    for planned in plan:
        state = (
            dict(zip(STEP_STATES.columns, states[planned["name"]], strict=True)) if planned["name"] in states else {}
        )
        if state.get("status", StepStatus.INITIALIZING) in stopped:
            # Of those that never began nothing is to be said but that.
            state |= {"status": StepStatus.STOPPED.value, "retry_at": None} | ({"ended": run.ended} if state else {})
        steps.append(
            StepRow(
                name=planned["name"],
                status=state.get("status", StepStatus.INITIALIZING.value),
                attempt=state.get("attempt") or 0,
                queued=state.get("queued"),
                started=state.get("started"),
                ended=state.get("ended"),
                error=state.get("error"),
                message=state.get("message"),
                retry_at=state.get("retry_at"),
                because=tuple(decoded(state.get("because") or "[]")),
                inputs=decoded(state.get("inputs") or "{}"),
                queue=state.get("queue"),
                execution=state.get("execution"),
                worker=state.get("worker"),
                planned=planned,
            )
        )
    return tuple(steps)
