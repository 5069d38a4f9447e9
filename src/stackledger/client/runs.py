"""The client's part about runs.

Their queries and results are imported where they are used: commands about the registry do without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from stackledger.client import arguments
from stackledger.client.artifacts import ArtifactClient
from stackledger.client.moments import iso
from stackledger.client.results import Page
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import NotFound, near_names, raised
from stackledger.domain.names import quoted
from stackledger.projections import registry_queries

if TYPE_CHECKING:
    from stackledger.client.run_results import Pipeline, Run, Step
    from stackledger.domain.events.runs import PinnedStack
    from stackledger.pipelines.plan import PipelinePlan
    from stackledger.pipelines.responses import ArtifactResponse, RunResponse, StepResponse
    from stackledger.projections import run_queries
    from stackledger.projections.engine import View
    from stackledger.projections.run_queries import ArtifactRow, RunDetails, RunRow, StepRow

    Result = TypeVar("Result")

_FILTERS = ("name", "owner", "pipeline", "status", "stack")


class RunClient(ArtifactClient):
    """Runs and their steps, and running pipelines on the active stack."""

    def list_pipeline_runs(
        self,
        *,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
        as_of: str | int | None = None,
        **filters: Any,
    ) -> Page[Run]:
        """Return a page of the runs, newest first unless `sort_by` says otherwise; without their steps and code.

        Filters are `name` and `owner`, as for stacks, `pipeline`, `status`, and `stack` by name or id.
        """
        from stackledger.projections import run_queries

        names = self._names()

        def query(view: View, dead: set[str]) -> Page[Run]:
            found = run_queries.runs(view, self._asked(_FILTERS, filters, sort_by, page, size), dead=dead)
            return Page([_run(row, dead, names) for row in found.items], found.total, page, size)

        return self._read_runs(query, as_of)

    def describe_pipeline_run(self, name_id_or_prefix: str, *, as_of: str | int | None = None) -> Run:
        """Return a run, its steps, and all that it ran on, as it was then."""
        from stackledger.projections import run_queries

        names = self._names()

        def query(view: View, dead: set[str]) -> tuple[run_queries.RunDetails, Run]:
            details = run_queries.run(view, name_id_or_prefix)
            return details, _run(details.run, dead, names)

        details, run = self._read_runs(query, as_of)
        return run._replace(
            stack=details.stack,
            code=details.code,
            parameters=details.parameters,
            environment=details.environment,
            steps=[_step(row, details.artifacts) for row in details.steps],
        )

    def list_run_steps(self, name_id_or_prefix: str, *, as_of: str | int | None = None) -> list[Step]:
        """Return the steps of a run, in the order in which they can be executed."""
        return self.describe_pipeline_run(name_id_or_prefix, as_of=as_of).steps

    def step_logs(self, name_id_or_prefix: str, step: str) -> list[str]:
        """Return what the attempts at a step printed, line by line, as far as it is kept on this machine."""
        from stackledger.workers.run_files import log_file

        run = self.describe_pipeline_run(name_id_or_prefix)
        steps = {each.name: each for each in run.steps}
        if step not in steps:
            raise NotFound(f"The run {run.name!r} has no step {quoted(step)}.", near=near_names(step, steps))
        lines: list[str] = []
        for attempt in range(1, steps[step].attempt + 1):
            path = log_file(self._ledger.home, run.id, step, attempt)
            if path.exists():
                lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines

    def list_pipelines(
        self,
        *,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
        as_of: str | int | None = None,
        **filters: Any,
    ) -> Page[Pipeline]:
        """Return a page of the pipelines that ran, newest run first unless `sort_by` says otherwise.

        The filter is `name`, as for stacks.
        """
        from stackledger.projections import run_queries

        def query(view: View, dead: set[str]) -> Page[Pipeline]:
            found = run_queries.pipelines(view, self._asked(("name",), filters, sort_by, page, size))
            return Page([_pipeline(row, dead) for row in found.items], found.total, page, size)

        return self._read_runs(query, as_of)

    def get_pipeline(self, name: str, *, as_of: str | int | None = None) -> Pipeline:
        """Return a pipeline that ran, by name."""
        from stackledger.projections import run_queries

        arguments.text(name, "The name of a pipeline")
        return self._read_runs(lambda view, dead: _pipeline(run_queries.pipeline(view, name), dead), as_of)

    def get_pipeline_run(self, name_id_or_prefix: str) -> RunResponse:
        """Return a run as a call of its pipeline returns it, with outputs that load."""
        from stackledger.pipelines.responses import RunResponse
        from stackledger.projections import run_queries

        def query(view: View, dead: set[str]) -> tuple[run_queries.RunDetails, str]:
            details = run_queries.run(view, name_id_or_prefix)
            return details, _status(details.run.id, details.run.status, dead)

        details, status = self._read_runs(query)
        run = details.run
        return RunResponse(run.id, run.name, run.pipeline, status, partial(self._step_responses, details))

    def _step_responses(self, details: RunDetails) -> dict[str, StepResponse]:
        from stackledger.pipelines.responses import StepResponse

        outputs: dict[str, dict[str, ArtifactResponse]] = {step.name: {} for step in details.steps}
        for row in details.artifacts:
            outputs[row.step][row.output] = self._loadable(row, details.stack)
        return {
            step.name: StepResponse(step.name, step.status, step.attempt, outputs[step.name]) for step in details.steps
        }

    def run(self, plan: PipelinePlan) -> RunResponse:
        """Run a pipeline to its end on the active stack, which is pinned as it is now; RunFailed names failed steps."""
        from stackledger.eventlog.ids import new_id
        from stackledger.flavors.resolving import Redactor
        from stackledger.pipelines.responses import RunResponse
        from stackledger.progress import watcher
        from stackledger.workers.local import Services

        self._end_dead_runs()
        redactor = Redactor()
        first = self._context()
        stack = self._read(self._pinned)
        pinned = stack.model_dump(mode="json")
        store = self._store(pinned, redactor)
        orchestrator = self._implementation(pinned, ComponentType.ORCHESTRATOR, redactor)
        with watcher() as progress:
            services = Services(
                handler=self._ledger.handler,
                store=store,
                # Who runs it stays the same from its start to its end.
                make_context=lambda: first._replace(command_id=new_id(), time=self._ledger.now()),
                new_id=new_id,
                progress=progress,
                redactor=redactor,
            )
            finished = orchestrator.run(plan, stack, services)
        finished.raise_if_failed()
        run = finished.run
        # Scripts that want to know no more do not wait for the views.
        return RunResponse(run.id, run.name, run.pipeline, run.status, lambda: self.get_pipeline_run(run.id).steps)

    def _pinned(self, view: View) -> PinnedStack:
        """Return the active stack with the configuration of its components, as of the view's position."""
        from stackledger.domain.events.runs import PinnedComponent, PinnedStack

        stack = self._active(view)[0].stack
        ids = [ref.id for refs in stack.components.values() for ref in refs]
        rows = registry_queries.components_by_id(view, ids)
        return PinnedStack(
            id=stack.id,
            name=stack.name,
            position=view.position,
            components=tuple(
                PinnedComponent.model_validate(
                    {
                        "id": row.id,
                        "type": row.type,
                        "name": row.name,
                        "flavor": row.flavor,
                        "configuration": row.configuration,
                    }
                )
                for row in (rows[component_id] for component_id in ids)
            ),
        )

    def _read_runs(self, query: Callable[[View, set[str]], Result], as_of: str | int | None = None) -> Result:
        """Return what the query reads, which is told the ids of the runs that are dead at that position."""
        dead = self._dead()
        return self._read(lambda view: query(view, dead if view.position == view.newest else set()), as_of)

    def _dead(self) -> set[str]:
        """Return the ids of the runs that have not ended and that nobody drives."""
        from stackledger.workers.run_files import dead_runs

        free = dead_runs(self._ledger.home, self._unfinished())
        # One that ended between reading the log and looking at its lock is not dead.
        return set(free).intersection(self._unfinished()) if free else set()

    def _unfinished(self) -> list[str]:
        from stackledger.projections import run_queries

        return [row.id for row in self._read(run_queries.unfinished_runs) if self._is_ours(row.owner)]


def _status(run_id: str, status: str, dead: set[str]) -> str:
    # One that was found dead may have been ended since.
    from stackledger.domain.run_status import DEAD, RunStatus

    return DEAD if run_id in dead and status == RunStatus.RUNNING else status


def _run(row: RunRow, dead: set[str], names: Mapping[str, str]) -> Run:
    from stackledger.client.run_results import Run

    return Run(
        id=row.id,
        name=row.name,
        pipeline=row.pipeline,
        status=_status(row.id, row.status, dead),
        owner=names.get(row.owner, row.owner),
        stack={"id": row.stack_id, "name": row.stack_name},
        started=iso(row.started),
        ended=iso(row.ended),
        reason=row.because,
        code={},
        parameters={},
        environment={},
        steps=[],
    )


def _step(row: StepRow, artifacts: tuple[ArtifactRow, ...]) -> Step:
    from stackledger.client.run_results import Step

    return Step(
        name=row.name,
        status=row.status,
        attempt=row.attempt,
        started=iso(row.started),
        ended=iso(row.ended),
        upstream=list(row.planned["upstream"]),
        parameters=row.planned["parameters"],
        inputs=row.inputs,
        outputs={each.output: each.id for each in artifacts if each.step == row.name},
        error=raised(row.error, row.message or "") if row.error else None,
    )


def _pipeline(row: run_queries.PipelineRow, dead: set[str]) -> Pipeline:
    from stackledger.client.run_results import Pipeline

    return Pipeline(
        name=row.name,
        runs=row.runs,
        last_run=row.last_run,
        last_status=_status(row.last_run_id, row.last_status, dead),
        last_started=iso(row.last_started),
    )
