"""The client's part about runs.

Their queries and results are imported where they are used: commands about the registry do without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from stackledger.client import arguments
from stackledger.client.artifacts import ArtifactClient
from stackledger.client.moments import iso
from stackledger.client.results import Page
from stackledger.domain.component_types import REQUIRED, ComponentType
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
    from stackledger.projections.run_queries import RunDetails, RunRow, StepRow
    from stackledger.workers.fleet.broker.told import Inbox

    Result = TypeVar("Result")
    Coordinate = Callable[[Inbox, Callable[[str], None]], None]

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

        def query(view: View, dead: set[str]) -> tuple[run_queries.RunDetails, Run, Mapping[str, str]]:
            details = run_queries.run(view, name_id_or_prefix)
            return details, _run(details.run, dead, names), _names_of_workers(view, details.steps)

        details, run, workers = self._read_runs(query, as_of)
        outputs: dict[str, dict[str, str]] = {}
        for each in details.artifacts:
            outputs.setdefault(each.step, {})[each.output] = each.id
        return run._replace(
            stack=details.stack,
            code=details.code,
            parameters=details.parameters,
            environment=details.environment,
            steps=[_step(row, outputs.get(row.name, {}), workers) for row in details.steps],
        )

    def list_run_steps(self, name_id_or_prefix: str, *, as_of: str | int | None = None) -> list[Step]:
        """Return the steps of a run, in the order in which they can be executed."""
        return self.describe_pipeline_run(name_id_or_prefix, as_of=as_of).steps

    def step_logs(self, name_id_or_prefix: str, step: str) -> list[str]:
        """Return what the attempts at a step printed, line by line.

        On this machine as far as it is kept here; on a fleet as it is in the artifact store, once an attempt has ended.
        """
        run = self.describe_pipeline_run(name_id_or_prefix)
        steps = {each.name: each for each in run.steps}
        if step not in steps:
            raise NotFound(f"The run {run.name!r} has no step {quoted(step)}.", near=near_names(step, steps))
        texts = self._logs_in_store(run, step) if run.code.get("archive") else self._logs_here(run.id, steps[step])
        return [line for text in texts for line in text.decode(errors="replace").splitlines()]

    def _logs_here(self, run_id: str, step: Step) -> Iterator[bytes]:
        from stackledger.workers.run_files import log_file

        for attempt in range(1, step.attempt + 1):
            path = log_file(self._ledger.home, run_id, step.name, attempt)
            if path.exists():
                yield path.read_bytes()

    def _logs_in_store(self, run: Run, step: str) -> Iterator[bytes]:
        """Yield what is kept of the executions of a step that came to an outcome."""
        from stackledger.domain.events.runs import StepFailed, StepSucceeded, step_tag
        from stackledger.eventlog.codec import decode

        store = None
        for stored in self._ledger.reader.scan(tags=(step_tag(run.id, step),)):
            event = decode(stored).event
            if isinstance(event, StepSucceeded | StepFailed) and event.execution and event.execution.log:
                store = store or self._store(run.stack)
                yield store.get(event.execution.log.digest, event.execution.log.size)

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
        from stackledger.client.collecting import signature
        from stackledger.domain.ports import CollectableStore
        from stackledger.eventlog.ids import new_id
        from stackledger.flavors.resolving import Redactor
        from stackledger.pipelines.responses import RunResponse
        from stackledger.progress import watcher
        from stackledger.projections import run_queries
        from stackledger.workers.local import Services
        from stackledger.workers.tracing import calling

        redactor = Redactor()
        first = self._context()
        stack, driven = self._read(lambda view: (self._pinned(view), run_queries.driven_runs(view)))
        self._end_dead_runs(driven)
        self._check_reach(stack.model_dump(mode="json"))
        stack = self._located(stack)
        pinned = stack.model_dump(mode="json")
        store = self._store(pinned, redactor)
        orchestrator = self._implementation(pinned, ComponentType.ORCHESTRATOR, redactor)
        if isinstance(store, CollectableStore):
            store.sign_in(signature(self._ledger))
        with watcher() as progress:
            services = Services(
                handler=self._ledger.handler,
                log=self._ledger.reader,
                store=store,
                # Who runs it stays the same from its start to its end.
                make_context=lambda: first._replace(command_id=new_id(), time=self._ledger.now()),
                new_id=new_id,
                progress=progress,
                redactor=redactor,
                coordinate=self._coordinate_of(pinned),
                caller=calling(),
            )
            finished = orchestrator.run(plan, stack, services)
        finished.raise_if_failed()
        run = finished.run
        # Scripts that want to know no more do not wait for the views.
        return RunResponse(run.id, run.name, run.pipeline, run.status, lambda: self.get_pipeline_run(run.id).steps)

    def _coordinate_of(self, stack: Mapping[str, Any]) -> Coordinate | None:
        """Return what coordinates the fleet of a stack, if it has one, in a thread that has all for itself.

        None where no key of this home may: then somebody else has to.
        """
        component = next(each for each in stack["components"] if each["type"] == ComponentType.ORCHESTRATOR)
        _, flavor = self._flavor(ComponentType.ORCHESTRATOR, component["flavor"])
        if not flavor.runs_on_fleet:
            return None
        from stackledger.projections import key_queries
        from stackledger.workers.fleet.trust.keys import signing_key

        enrolled = self._read(lambda view: key_queries.enrolled(view, "coordinator"))
        if signing_key(self._ledger.home, "coordinator", enrolled) is None:
            return None

        def coordinate(inbox: Inbox, tell: Callable[[str], None]) -> None:
            from stackledger.client import Client

            client = Client(home=self._ledger.home, environment=self._ledger.environment, notify=tell)
            try:
                # Who coordinates is of no interest to whoever watches a run.
                client.coordinate(
                    component["id"], lambda _, /, **__: None, inbox, trouble=lambda line, /, **_: tell(line)
                )
            finally:
                client.close()

        return coordinate

    def _check_reach(self, stack: Mapping[str, Any]) -> None:
        """Raise Refused where steps would be executed on other machines than the one that has the artifact store.

        Whoever registered the stack may not have known: values for references may be there only now.
        """
        from stackledger.domain.stack_parts import out_of_reach

        orchestrator, store = (next(each for each in stack["components"] if each["type"] == kind) for kind in REQUIRED)
        is_local = [
            self._is_local(kind, each["flavor"], each["configuration"], otherwise=kind is ComponentType.ORCHESTRATOR)
            for kind, each in zip(REQUIRED, (orchestrator, store), strict=True)
        ]
        if is_local == [False, True]:
            names = [
                f"{kind.words} {each['name']!r}" for kind, each in zip(REQUIRED, (orchestrator, store), strict=True)
            ]
            raise out_of_reach(store=names[1], orchestrator=names[0])

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

    def _located(self, stack: PinnedStack) -> PinnedStack:
        """Return the stack of a run as those need it who execute it: the workers of a fleet have homes of their own."""
        at = {component.type: number for number, component in enumerate(stack.components)}
        orchestrator, store = (stack.components[at[kind]] for kind in REQUIRED)
        if not self._flavor(orchestrator.type, orchestrator.flavor)[1].runs_on_fleet:
            return stack
        _, flavor = self._flavor(store.type, store.flavor)
        located = flavor.located(store.configuration, self._ledger.home, store.id)
        components = list(stack.components)
        components[at[store.type]] = store.model_copy(update={"configuration": dict(located)})
        return stack.model_copy(update={"components": tuple(components)})

    def _read_runs(self, query: Callable[[View, set[str]], Result], as_of: str | int | None = None) -> Result:
        """Return what the query reads, which is told the ids of the runs that are dead at that position."""
        dead = self._dead()
        return self._read(lambda view: query(view, dead if view.position == view.newest else set()), as_of)

    def _dead(self) -> set[str]:
        """Return the ids of the runs that have not ended, and that nobody drives who should."""
        from stackledger.workers.run_files import dead_runs

        free = dead_runs(self._ledger.home, self._driven())
        # One that ended between reading the log and looking at its lock is not dead.
        return set(free).intersection(self._driven()) if free else set()

    def _driven(self) -> list[str]:
        """Return the ids of the runs of this home that have not ended, but for those that a fleet executes."""
        from stackledger.projections import run_queries

        return [row.id for row in self._read(run_queries.driven_runs) if self._is_ours(row.owner)]


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


def _names_of_workers(view: View, steps: tuple[StepRow, ...]) -> Mapping[str, str]:
    """Return the names of the keys that took up steps, as far as the log knows them."""
    ids = {step.worker for step in steps if step.worker}
    if not ids:
        return {}
    from stackledger.projections import key_queries

    return key_queries.names(view, ids)


def _step(row: StepRow, outputs: dict[str, str], workers: Mapping[str, str]) -> Step:
    from stackledger.client.run_results import Step

    return Step(
        name=row.name,
        status=row.status,
        attempt=row.attempt,
        queued=iso(row.queued),
        started=iso(row.started),
        ended=iso(row.ended),
        upstream=list(row.planned["upstream"]),
        parameters=row.planned["parameters"],
        requirements=list(row.planned["requirements"]),
        inputs=row.inputs,
        outputs=outputs,
        error=raised(row.error, row.message or "") if row.error else None,
        because=list(row.because),
        retry_at=iso(row.retry_at),
        queue=row.queue,
        execution=row.execution,
        worker=workers.get(row.worker, row.worker) if row.worker else None,
        worker_id=row.worker,
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
