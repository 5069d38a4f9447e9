"""The client's part about runs and artifacts.

Their queries are imported where they are used: commands about the registry do without them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from stackledger.client.components import ComponentClient
from stackledger.client.results import Artifact, Page, Pipeline, Run, Step, iso
from stackledger.domain.errors import FlavorError, NotFound, near_names, raised
from stackledger.domain.run_status import DEAD, RunStatus
from stackledger.projections import registry_queries
from stackledger.workers.run_files import dead_runs, log_file

if TYPE_CHECKING:
    from stackledger.domain.events.runs import PinnedStack
    from stackledger.domain.ports import ArtifactStore
    from stackledger.flavors.resolving import Redactor
    from stackledger.pipelines.plan import PipelinePlan
    from stackledger.pipelines.responses import ArtifactResponse, RunResponse
    from stackledger.projections import run_queries
    from stackledger.projections.engine import View
    from stackledger.projections.run_queries import ArtifactRow, RunRow, StepRow

    Result = TypeVar("Result")


class RunClient(ComponentClient):
    """Runs, their steps and artifacts, and running pipelines on the active stack."""

    def list_runs(
        self,
        *,
        filters: Mapping[str, Any] | None = None,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
        as_of: str | int | None = None,
    ) -> Page[Run]:
        """Return a page of the runs, newest first unless `sort_by` says otherwise; without their steps and code."""
        from stackledger.projections import run_queries

        names = self._names()

        def query(view: View, dead: set[str]) -> Page[Run]:
            found = run_queries.runs(
                view, filters=self._filters(filters), dead=dead, sort_by=sort_by, page=page, size=size
            )
            return Page([_run(row, dead, names) for row in found.items], found.total, page, size)

        return self._read_runs(query, as_of)

    def get_run(self, name_id_or_prefix: str, *, as_of: str | int | None = None) -> Run:
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

    def run_steps(self, name_id_or_prefix: str, *, as_of: str | int | None = None) -> list[Step]:
        """Return the steps of a run, in the order in which they can be executed."""
        return self.get_run(name_id_or_prefix, as_of=as_of).steps

    def step_logs(self, name_id_or_prefix: str, step: str) -> list[str]:
        """Return what the attempts at a step printed, line by line, as far as it is kept on this machine."""
        run = self.get_run(name_id_or_prefix)
        steps = {each.name: each for each in run.steps}
        if step not in steps:
            raise NotFound(f"The run {run.name!r} has no step {step!r}.", near=near_names(step, steps))
        lines: list[str] = []
        for attempt in range(1, steps[step].attempt + 1):
            path = log_file(self._ledger.home, run.id, step, attempt)
            if path.exists():
                lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines

    def list_pipelines(
        self,
        *,
        filters: Mapping[str, Any] | None = None,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
        as_of: str | int | None = None,
    ) -> Page[Pipeline]:
        """Return a page of the pipelines that ran, newest run first unless `sort_by` says otherwise."""
        from stackledger.projections import run_queries

        def query(view: View, dead: set[str]) -> Page[Pipeline]:
            found = run_queries.pipelines(view, filters=self._filters(filters), sort_by=sort_by, page=page, size=size)
            return Page([_pipeline(row, dead) for row in found.items], found.total, page, size)

        return self._read_runs(query, as_of)

    def get_pipeline(self, name: str, *, as_of: str | int | None = None) -> Pipeline:
        """Return a pipeline that ran, by name."""
        from stackledger.projections import run_queries

        return self._read_runs(lambda view, dead: _pipeline(run_queries.pipeline(view, name), dead), as_of)

    def list_artifacts(
        self,
        *,
        filters: Mapping[str, Any] | None = None,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
        as_of: str | int | None = None,
    ) -> Page[Artifact]:
        """Return a page of all versions of artifacts, newest first unless `sort_by` says otherwise."""
        from stackledger.projections import run_queries

        def query(view: View) -> Page[Artifact]:
            wanted = self._filters(filters)
            if wanted.run is not None:
                wanted = wanted._replace(run=run_queries.run(view, wanted.run).run.id)
            found = run_queries.artifacts(view, filters=wanted, sort_by=sort_by, page=page, size=size)
            return Page([_artifact(row) for row in found.items], found.total, page, size)

        return self._read(query, as_of)

    def get_artifact(self, name: str, *, version: int | None = None, as_of: str | int | None = None) -> Artifact:
        """Return an artifact by id, or a version of a name: the newest if none is given."""
        from stackledger.projections import run_queries

        return self._read(lambda view: _artifact(run_queries.artifact(view, name, version)), as_of)

    def get_pipeline_run(self, name_id_or_prefix: str) -> RunResponse:
        """Return a run as a call of its pipeline returns it, with outputs that load."""
        from stackledger.pipelines.responses import RunResponse, StepResponse
        from stackledger.projections import run_queries

        def query(view: View, dead: set[str]) -> tuple[run_queries.RunDetails, str]:
            details = run_queries.run(view, name_id_or_prefix)
            return details, _status(details.run.id, details.run.status, dead)

        details, status = self._read_runs(query)
        return RunResponse(
            id=details.run.id,
            name=details.run.name,
            pipeline=details.run.pipeline,
            status=status,
            steps={
                step.name: StepResponse(
                    name=step.name,
                    status=step.status,
                    attempt=step.attempt,
                    outputs={
                        row.output: self._loadable(row, details.stack)
                        for row in details.artifacts
                        if row.step == step.name
                    },
                )
                for step in details.steps
            },
        )

    def get_artifact_version(self, name: str, version: int | None = None) -> ArtifactResponse:
        """Return a version of an artifact that can be loaded: `.load()` checks the bytes against the log's digest."""
        from stackledger.projections import run_queries

        def query(view: View) -> tuple[ArtifactRow, dict[str, Any]]:
            row = run_queries.artifact(view, name, version)
            return row, run_queries.run(view, row.run_id, prefix=False).stack

        return self._loadable(*self._read(query))

    def _loadable(self, row: ArtifactRow, stack: Mapping[str, Any]) -> ArtifactResponse:
        """Return an artifact that loads from the store of the stack that was pinned when it was made."""
        from stackledger.domain.events.runs import Produced
        from stackledger.pipelines.responses import ArtifactResponse
        from stackledger.workers.execute import load

        produced = Produced(
            output=row.output,
            artifact_id=row.id,
            artifact=row.name,
            digest=row.digest,
            size=row.size,
            layout=cast("Any", row.layout),
            materializer=row.materializer,
            data_type=row.data_type,
        )
        return ArtifactResponse(
            id=row.id,
            name=row.name,
            version=row.version,
            digest=row.digest,
            size=row.size,
            materializer=row.materializer,
            data_type=row.data_type,
            loader=lambda: load(self._store(stack), produced),
        )

    def run(self, plan: PipelinePlan) -> RunResponse:
        """Run a pipeline to its end on the active stack, which is pinned as it is now; RunFailed names failed steps."""
        from stackledger.domain.component_types import ComponentType
        from stackledger.eventlog.ids import new_id
        from stackledger.flavors.resolving import Redactor
        from stackledger.progress import watcher
        from stackledger.workers.local import Services

        self._end_dead_runs()
        redactor = Redactor()
        stack = self._read(self._pinned)
        pinned = stack.model_dump(mode="json")
        store = self._store(pinned, redactor)
        orchestrator = self._implementation(pinned, ComponentType.ORCHESTRATOR, redactor)
        with watcher() as progress:
            services = Services(
                handler=self._ledger.handler,
                store=store,
                make_context=self._context,
                new_id=new_id,
                progress=progress,
                redact=redactor.redacted,
            )
            finished = orchestrator.run(plan, stack, services)
        finished.raise_if_failed()
        return self.get_pipeline_run(finished.run.id)

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

    def _store(self, stack: Mapping[str, Any], redactor: Redactor | None = None) -> ArtifactStore:
        """Return the artifact store of a pinned stack."""
        from stackledger.domain.component_types import ComponentType

        return cast("ArtifactStore", self._implementation(stack, ComponentType.ARTIFACT_STORE, redactor))

    def _implementation(self, stack: Mapping[str, Any], kind: str, redactor: Redactor | None) -> Any:
        """Return what does the work of a pinned stack's component: its flavor's class, made with its configuration."""
        from stackledger.domain.component_types import ComponentType
        from stackledger.flavors.catalogue import load_implementation
        from stackledger.flavors.validation import configured

        component = next(each for each in stack["components"] if each["type"] == kind)
        component_type = ComponentType(kind)
        try:
            _, flavor = self._flavor(component_type, component["flavor"])
        except NotFound as error:
            raise FlavorError(
                f"The {component_type.words} {component['name']!r} of the stack {stack['name']!r} was of the flavor"
                f" {component['flavor']!r}, which is not there any more.",
                hint=f"Register it again: `stackledger {component_type.group} flavor register module.Class`.",
            ) from error
        config = configured(flavor, component["configuration"], self._secret_lookup(), redactor)
        return load_implementation(flavor)(config, home=self._ledger.home, component_id=component["id"])

    def _secret_lookup(self) -> Callable[[str], Mapping[str, str]]:
        def lookup(name: str) -> Mapping[str, str]:
            row = self._read(lambda view: registry_queries.secret(view, name, prefix=False))
            return self._ledger.secret_values.read(row.id)

        return lookup

    def _read_runs(self, query: Callable[[View, set[str]], Result], as_of: str | int | None = None) -> Result:
        """Return what the query reads, which is told the ids of the runs that are dead at that position."""
        dead = self._dead()
        return self._read(lambda view: query(view, dead if view.position == view.newest else set()), as_of)

    def _dead(self) -> set[str]:
        """Return the ids of the runs that have not ended and that nobody drives."""
        free = dead_runs(self._ledger.home, self._unfinished())
        # One that ended between reading the log and looking at its lock is not dead.
        return set(free).intersection(self._unfinished()) if free else set()

    def _unfinished(self) -> list[str]:
        from stackledger.projections import run_queries

        return [row.id for row in self._read(run_queries.unfinished_runs)]


def _status(run_id: str, status: str, dead: set[str]) -> str:
    # One that was found dead may have been ended since.
    return DEAD if run_id in dead and status == RunStatus.RUNNING else status


def _run(row: RunRow, dead: set[str], names: Mapping[str, str]) -> Run:
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


def _artifact(row: ArtifactRow) -> Artifact:
    from stackledger.pipelines.materializers import runs_code

    return Artifact(
        id=row.id,
        name=row.name,
        version=row.version,
        run=row.run_id,
        step=row.step,
        output=row.output,
        data_type=row.data_type,
        materializer=row.materializer,
        runs_code=runs_code(row.materializer),
        digest=row.digest,
        size=row.size,
        created=iso(row.created),
    )


def _pipeline(row: run_queries.PipelineRow, dead: set[str]) -> Pipeline:
    return Pipeline(
        name=row.name,
        runs=row.runs,
        last_run=row.last_run,
        last_status=_status(row.last_run_id, row.last_status, dead),
        last_started=iso(row.last_started),
    )
