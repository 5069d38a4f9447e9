"""The orchestrator that has the steps of a run executed by a fleet: it begins the run, and watches it in the log."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from stackledger.domain.collection import COLLECTIONS
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import ChangedMeanwhile, LogBusy, LogUnreachable, StackledgerError
from stackledger.domain.event import Context, Recorded
from stackledger.domain.events.fleet import DispatchConfirmed, StepClaimed, StepQueued, fleet_tag
from stackledger.domain.events.runs import Kept, PinnedStack, Retry, RunStarted, StepFailed, StepSucceeded, run_tag
from stackledger.domain.fleet import START_ON_FLEET
from stackledger.domain.ports import ArtifactStore
from stackledger.domain.run_state import Run, evolve
from stackledger.domain.run_status import RunStatus
from stackledger.domain.runs import FailStep
from stackledger.eventlog.codec import decode
from stackledger.flavors.rabbitmq_orchestrator import RabbitMQOrchestratorConfig, RabbitMQOrchestratorFlavor
from stackledger.pipelines.archive import CodeArchive, packed, source_root
from stackledger.pipelines.plan import PipelinePlan, StepPlan
from stackledger.workers.execute import Failure
from stackledger.workers.fleet.broker.told import Inbox, Stop
from stackledger.workers.fleet.tasks import kept_parameters
from stackledger.workers.local import Coordinate, FinishedRun, Followable, Progress, Services
from stackledger.workers.requirements import check_installed

_AWAY_SECONDS = 1.0
"""How long to wait for a log that is away before it is asked again."""
_QUIET_SECONDS = 10.0
"""After how long without an event people are told what may be missing."""
_GOODBYE_SECONDS = 10.0
"""How long to wait for the coordinator of this process to leave."""
_NOBODY_SENDS = (
    "No coordinator has taken up the run yet. `stackledger stack up` starts one on this machine, with workers;"
    " `stackledger coordinator start` is one."
)
_NOBODY_WORKS = (
    "No worker has said anything about the run yet. `stackledger worker list` shows those that are there;"
    " `stackledger stack up` starts some on this machine."
)


class RabbitMQOrchestrator:
    """Runs pipelines on a fleet. What it begins goes on without this process, as long as there is a coordinator."""

    def __init__(self, config: RabbitMQOrchestratorConfig, *, home: Path, component_id: str) -> None:
        del home, component_id
        self._config = config

    def run(self, plan: PipelinePlan, stack: PinnedStack, services: Services) -> FinishedRun:
        """Begin a run of a pipeline and follow it to its end; PipelineError for what cannot be executed elsewhere.

        KeyboardInterrupt leaves the run going on.
        """
        check_installed(RabbitMQOrchestratorFlavor.requirements, "The orchestrator")
        first = services.make_context()
        first = first._replace(correlation=first.correlation or first.command_id, causation=services.caller)
        run_id = services.new_id()
        watch = _Watch(run_id, services.log, services.progress, self._config.lease_after)
        try:
            watch.take(self._begun(run_id, plan, stack, services, first))
            return watch.coordinating(services.coordinate)
        except KeyboardInterrupt:
            watch.say_farewell()
            raise

    def _begun(
        self, run_id: str, plan: PipelinePlan, stack: PinnedStack, services: Services, first: Context
    ) -> Sequence[Recorded]:
        """Begin the run, once all that others need to execute it is in the artifact store."""
        while True:
            looked = services.log.head()
            submitted, archive = self._submitted(plan, services)
            command = submitted.start(run_id, stack, first.time, archive)
            try:
                return services.handler.handle(START_ON_FLEET, command, first, seen={COLLECTIONS: looked}).events
            except ChangedMeanwhile:
                pass  # what was there already may have been collected since: it is put there anew

    def _submitted(self, plan: PipelinePlan, services: Services) -> tuple[PipelinePlan, Kept]:
        """Return the plan for others to execute, and where its code is: all that they need is in the artifact store."""
        queues = [self._config.queue_for(step.planned.name, step.queue, step.resources) for step in plan.steps]
        archive = packed(source_root())
        steps = tuple(
            self._planned(step, queue, archive, services.store) for step, queue in zip(plan.steps, queues, strict=True)
        )
        kept = services.store.put(archive.data)
        return replace(plan, steps=steps), Kept(digest=kept.digest, size=kept.size)

    def _planned(self, step: StepPlan, queue: str, archive: CodeArchive, store: ArtifactStore) -> StepPlan:
        retry, parameters = step.planned.retry, kept_parameters(step.planned)
        kept = None if parameters is None else store.put(parameters)
        changes = {
            "source": archive.source_of(step.function),
            "queue": queue,
            "timeout": self._config.step_timeout,
            "retry": Retry(max_retries=self._config.step_retries) if retry == Retry() else retry,
            "kept_parameters": None if kept is None else Kept(digest=kept.digest, size=kept.size),
        }
        return replace(step, planned=step.planned.model_copy(update=changes))


def follow(
    run_id: str, log: Followable, progress: Progress, coordinate: Coordinate | None, *, lease_after: float
) -> FinishedRun:
    """Watch a run that somebody began from its start to its end, and coordinate meanwhile where this home may.

    KeyboardInterrupt leaves the run going on.
    """
    watch = _Watch(run_id, log, progress, lease_after)
    try:
        return watch.coordinating(coordinate)
    except KeyboardInterrupt:
        watch.say_farewell()
        raise


@contextmanager
def _coordinating(coordinate: Coordinate | None, progress: Progress) -> Iterator[None]:
    """Coordinate in a thread of its own meanwhile, where this home may: so that nobody else has to."""
    if coordinate is None:
        yield
        return

    def tell(line: str) -> None:
        if not over.is_set():
            progress.say(f"Coordinator: {line}")

    def live() -> None:
        try:
            coordinate(inbox, tell)
        except StackledgerError as error:
            tell(str(error))

    over = threading.Event()
    inbox: Inbox = SimpleQueue()
    thread = threading.Thread(target=live, name="stackledger-coordinator", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        inbox.put(Stop())
        thread.join(_GOODBYE_SECONDS)


class _Watch:
    """A run as the log tells of it, passed on as it comes."""

    def __init__(self, run_id: str, log: Followable, progress: Progress, lease_after: float) -> None:
        self._tags = (run_tag(run_id),)
        self._log = log
        self._progress = progress
        self._lease_after = lease_after
        self._run: Run | None = None
        self._position = 0
        self._failures: dict[str, Failure] = {}
        self._queued = 0
        self._orchestrator_id = ""
        self._missing: str | None = _NOBODY_SENDS  # None once a worker has said something
        self._hinted: set[str] = set()

    def coordinating(self, coordinate: Coordinate | None) -> FinishedRun:
        """Watch to the end; `coordinate`, if it is given, goes on meanwhile."""
        with _coordinating(coordinate, self._progress):
            return self.to_the_end()

    def to_the_end(self) -> FinishedRun:
        """Return the run when it has ended, however long that takes; a log that is away is waited for."""
        is_away, since = False, time.monotonic()
        while True:
            try:
                for stored in self._log.scan(after=self._position, tags=self._tags):
                    self.take((decode(stored),))
                    since = time.monotonic()
                is_away = False
                if self._run is not None and self._run.status is not RunStatus.RUNNING:
                    return FinishedRun(self._run, self._failures)
                self._hint(time.monotonic() - since)
                self._log.wait()
            except (LogUnreachable, LogBusy) as error:
                if not is_away:
                    self._progress.say(f"{error} The run goes on; whoever watches it waits.")
                is_away = True
                time.sleep(_AWAY_SECONDS)

    def say_farewell(self) -> None:
        """Say what becomes of the run that nobody watches any more, if it has begun."""
        if self._run is not None and self._run.status is RunStatus.RUNNING:
            name = self._run.name
            self._progress.say(
                f"The run {name!r} goes on without this process, as long as there are a coordinator and workers."
                f" Watch it with `stackledger run resume '{name}'`, end it with `stackledger run cancel '{name}'`."
            )

    def take(self, events: Iterable[Recorded]) -> None:
        """Take note of what happened in the run, and pass it on."""
        for recorded in events:
            self._position, event = recorded.position, recorded.event
            self._run = evolve(self._run, event)
            match event:
                case RunStarted():
                    components = event.stack.components
                    self._orchestrator_id = next(
                        each.id for each in components if each.type is ComponentType.ORCHESTRATOR
                    )
                case StepQueued():
                    self._queued = self._queued or self._position
                case StepClaimed() | StepSucceeded() | StepFailed():
                    self._missing = None
                case _:
                    pass
            if isinstance(event, StepFailed) and event.retry_at is None:
                outcome = FailStep(event.step, event.attempt, event.error, event.message)
                self._failures[event.step] = Failure(outcome, None)
            self._progress.happened(recorded)

    def _hint(self, quiet: float) -> None:
        """Say, of each once, who may be missing where nothing happens for some seconds."""
        if self._missing == _NOBODY_SENDS and quiet > _QUIET_SECONDS and self._is_sent():
            self._missing = _NOBODY_WORKS
        patience = _QUIET_SECONDS + (self._lease_after if self._missing == _NOBODY_WORKS else 0)
        if self._missing is not None and quiet > patience and self._missing not in self._hinted:
            self._hinted.add(self._missing)
            self._progress.say(self._missing)

    def _is_sent(self) -> bool:
        """Say whether a coordinator sent the first steps: it says within a second what is in the queues."""
        said = map(decode, self._log.scan_back(tags=(fleet_tag(self._orchestrator_id),)))
        through = next((each.event.through for each in said if isinstance(each.event, DispatchConfirmed)), 0)
        return 0 < self._queued <= through
