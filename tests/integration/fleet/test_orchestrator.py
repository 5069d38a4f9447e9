"""What whoever starts a run on a fleet gives to others, and what they see of it; somebody plays the coordinator."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from io import BytesIO
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import pytest

from stackledger.domain.collection import DECIDER, CollectObjects, CondemnObjects
from stackledger.domain.component_types import ComponentType
from stackledger.domain.decider import Decider
from stackledger.domain.errors import BrokerUnreachable, LogUnreachable, PipelineError, RunFailed
from stackledger.domain.event import Event
from stackledger.domain.events.fleet import DispatchConfirmed, RunCancelled, StepClaimed, StepLost, StepQueued
from stackledger.domain.events.runs import (
    Execution,
    Kept,
    Retry,
    RunStarted,
    RunSucceeded,
    StepFailed,
    StepSkipped,
    StepSucceeded,
)
from stackledger.domain.events.runs import RunFailed as RunHasFailed
from stackledger.domain.ports import Stored
from stackledger.domain.run_state import Run, run_item
from stackledger.domain.run_status import RunStatus
from stackledger.eventlog.stored import StoredEvent
from stackledger.flavors.local_artifact_store import LocalArtifactStore
from stackledger.flavors.rabbitmq_orchestrator import RabbitMQOrchestratorConfig
from stackledger.pipelines.plan import PipelinePlan
from stackledger.progress import Lines
from stackledger.workers.fleet.broker.told import Stop
from stackledger.workers.fleet.orchestrator import RabbitMQOrchestrator
from stackledger.workers.local import FinishedRun, Services
from tests.support.eventually import eventually
from tests.support.local_runs import LocalHome
from tests.support.run_plans import STACK, output_of

PROJECT = """
from typing import Annotated

from stackledger.pipelines.pipeline import pipeline
from stackledger.pipelines.resources import ResourceSettings
from stackledger.pipelines.step import StepRetryConfig, step


@step
def load(size: int) -> int:
    return size


@step(retry=StepRetryConfig(max_retries=3), settings={{"resources": ResourceSettings(gpu_count=1)}})
def train(number: int) -> int:
    return number


@step(queue="second")
def after(number: int) -> int:
    return number


@pipeline
def training(size: int = 3) -> None:
    after(train(load(size)))


def local() -> object:
    def inner() -> int:
        return 1

    return pipeline(name="closed")(lambda: step(inner)())
"""
QUEUES = ({"name": "first"}, {"name": "second"}, {"name": "gpu", "gpu_count": 1})
BY = Execution(id="e", worker="0123456789abcdef", began=5_000_000, ended=6_500_000, log=None)


class Project:
    def __init__(self, module: Any, home: LocalHome) -> None:
        self.module = module
        self.home = home
        self.told: list[str] = []

    def plan(self, **parameters: Any) -> PipelinePlan:
        plan: PipelinePlan = self.module.training.plan(**parameters)
        return plan

    def run(self, play: Callable[[Coordinator], None], plan: PipelinePlan | None = None, **changes: Any) -> FinishedRun:
        """Run a pipeline, whose coordinator somebody plays meanwhile."""
        config = RabbitMQOrchestratorConfig.model_validate({"url": "amqp://localhost", "queues": QUEUES} | changes)
        lines = Lines(self.told.append)
        coordinator = Coordinator(self.home)

        def coordinate(inbox: SimpleQueue[Any], tell: Callable[[str], None]) -> None:
            coordinator.tell = tell
            play(coordinator)
            assert isinstance(inbox.get(timeout=100), Stop)

        services = replace(self.home.services(), progress=lines, coordinate=coordinate)
        return RabbitMQOrchestrator(config, home=self.home.home, component_id="fleet").run(
            plan or self.plan(), STACK, self.services(services)
        )

    def services(self, services: Services) -> Services:
        return services


class Coordinator:
    """Appends what a coordinator would, without any rules."""

    tell: Callable[[str], None]

    def __init__(self, home: LocalHome) -> None:
        self._home = home

    @property
    def run(self) -> Run:
        return self._home.state()

    def says(self, *events: Event) -> None:
        decider: Decider[tuple[Event, ...], None] = Decider(
            initial=None,
            boundary=lambda _: (run_item(self.run.id),),
            decide=lambda command, _: command,
            evolve=lambda state, _: state,
        )
        self._home.handler.handle(decider, events, self._home.context())

    def queued(self, step: str, attempt: int = 1) -> StepQueued:
        return StepQueued(run_id=self.run.id, step=step, attempt=attempt, queue="q", dispatch="d", inputs={})

    def claimed(self, step: str) -> StepClaimed:
        return StepClaimed(run_id=self.run.id, step=step, attempt=1, execution="e", worker=BY.worker)

    def lost(self, step: str) -> StepLost:
        return StepLost(run_id=self.run.id, step=step, attempt=1, because="lease ran out", retry_at=0)

    def succeeded(self, step: str, attempt: int = 1) -> StepSucceeded:
        return StepSucceeded(run_id=self.run.id, step=step, attempt=attempt, outputs=(output_of(step),), execution=BY)

    def failed(self, step: str, retry_at: int | None = None) -> StepFailed:
        return StepFailed(
            run_id=self.run.id, step=step, attempt=1, error="ValueError", message="no", retry_at=retry_at, execution=BY
        )


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    folder = tmp_path / "project"
    (folder / ".stackledger").mkdir(parents=True)
    name = f"project_{uuid4().hex}"
    (folder / f"{name}.py").write_text(PROJECT.replace("{{", "{").replace("}}", "}"), encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(folder / "run.py"), raising=False)
    home = LocalHome(tmp_path / "home")
    try:
        yield Project(import_module(name), home)
    finally:
        home.close()
        del sys.modules[name]


def ends_well(coordinator: Coordinator) -> None:
    steps = ("load", "train", "after")
    coordinator.says(*map(coordinator.queued, steps[1:]), *map(coordinator.succeeded, steps))
    coordinator.says(RunSucceeded(run_id=coordinator.run.id))


def started(project: Project) -> RunStarted:
    (event,) = [each.event for each in project.home.recorded() if isinstance(each.event, RunStarted)]
    return event


def test_a_run_names_its_code_in_the_store_and_where_each_step_waits(project: Project) -> None:
    finished = project.run(ends_well, step_timeout=60, step_retries=2)
    assert finished.run.status is RunStatus.COMPLETED
    finished.raise_if_failed()
    event, name = started(project), project.module.__name__
    assert [(step.source, step.queue, step.timeout) for step in event.steps] == [
        (f"{name}.load", "first", 60),
        (f"{name}.train", "gpu", 60),
        (f"{name}.after", "second", 60),
    ]
    assert [step.retry.max_retries for step in event.steps] == [2, 3, 2]
    assert event.code.archive is not None
    data = project.home.store.get(event.code.archive.digest, event.code.archive.size)
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        assert f"{name}.py" in archive.getnames()


def test_a_step_that_says_nothing_of_retries_has_none_unless_the_orchestrator_gives_some(project: Project) -> None:
    project.run(ends_well)
    assert [step.retry for step in started(project).steps][::2] == [Retry(), Retry()]


def test_the_same_code_is_kept_once(project: Project) -> None:
    project.run(ends_well)
    before = objects(project)
    project.home.recorder.close()
    again = LocalHome(project.home.home.with_name("again"))
    again.store = project.home.store
    Project(project.module, again).run(ends_well)
    again.close()
    assert objects(project) == before


def objects(project: Project) -> set[str]:
    return {path.name for path in project.home.store.root.rglob("*") if path.is_file()}


def test_many_parameters_are_in_the_store_before_the_run_begins(project: Project) -> None:
    plan = project.plan()
    first = plan.steps[0]
    large = {"size": 3, "text": "x" * 100_000}
    plan = replace(
        plan, steps=(replace(first, planned=first.planned.model_copy(update={"parameters": large})), *plan.steps[1:])
    )
    before = objects(project)
    project.run(ends_well, plan)
    sizes = sorted(path.stat().st_size for path in project.home.store.root.rglob("*") if path.name not in before)
    assert any(100_000 < size < 100_200 for size in sizes)
    kept = started(project).steps[0].kept_parameters
    assert kept is not None
    assert project.home.store.exists(kept.digest)


def test_code_that_was_collected_before_its_run_began_is_kept_anew(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there, of a run that never began, when the next one was about to begin."""

    def put(store: LocalArtifactStore, data: bytes) -> Stored:
        stored = put_as_ever(store, data)
        found.append(stored.digest)
        if len(found) == 1:
            objects = (Kept(digest=stored.digest, size=stored.size),)
            for command in (CondemnObjects("store", objects, 1), CollectObjects("store", objects, "c", 1)):
                project.home.handler.handle(DECIDER, command, project.home.context())
            store.delete(stored.digest)
        return stored

    put_as_ever, found = LocalArtifactStore.put, list[str]()
    monkeypatch.setattr(LocalArtifactStore, "put", put)
    project.run(ends_well)
    assert len(found) == 2
    archive = started(project).code.archive
    assert archive is not None
    assert project.home.store.exists(archive.digest)


def test_whoever_watches_sees_what_the_log_says(project: Project) -> None:
    def play(coordinator: Coordinator) -> None:
        coordinator.says(coordinator.claimed("load"), coordinator.lost("load"))
        coordinator.says(coordinator.queued("load", 2), coordinator.succeeded("load", 2))
        eventually(lambda: len(project.told) == 6)
        coordinator.tell("Something of interest.")
        ends_well(coordinator)

    project.run(play)
    assert project.told[1:7] == [
        "Step load waits for a worker.",
        "Step load was claimed by a worker.",
        "Step load got lost, since its worker says nothing any more. It will be tried again.",
        "Step load waits for a worker (attempt 2).",
        "Step load has finished in 1.500s.",
        "Coordinator: Something of interest.",
    ]


def test_a_run_that_failed_raises_naming_its_steps_and_where_their_logs_are(project: Project) -> None:
    def play(coordinator: Coordinator) -> None:
        coordinator.says(coordinator.succeeded("load"), coordinator.queued("train"))
        coordinator.says(
            coordinator.failed("train"),
            StepSkipped(run_id=coordinator.run.id, step="after", because=("train",)),
            RunHasFailed(run_id=coordinator.run.id, because="steps failed", steps=("train",)),
        )

    finished = project.run(play)
    with pytest.raises(RunFailed, match=r"failed at 'train', and 1 more could not run: ValueError: no\. .*run logs"):
        finished.raise_if_failed()


def test_a_run_that_was_cancelled_raises_too(project: Project) -> None:
    finished = project.run(lambda each: each.says(RunCancelled(run_id=each.run.id)))
    with pytest.raises(RunFailed, match=r"was cancelled\."):
        finished.raise_if_failed()
    assert project.told[-1].startswith("The run was cancelled after ")


def test_one_that_was_cancelled_after_a_step_had_failed_was_cancelled(project: Project) -> None:
    def play(coordinator: Coordinator) -> None:
        coordinator.says(coordinator.succeeded("load"), coordinator.queued("train"))
        coordinator.says(coordinator.failed("train"), RunCancelled(run_id=coordinator.run.id))

    with pytest.raises(RunFailed, match=r"was cancelled\."):
        project.run(play).raise_if_failed()


def test_whoever_watches_is_told_once_who_may_be_missing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackledger.workers.fleet.orchestrator._QUIET_SECONDS", 0.0)

    orchestrator = next(each.id for each in STACK.components if each.type is ComponentType.ORCHESTRATOR)

    def play(coordinator: Coordinator) -> None:
        eventually(lambda: any("No coordinator has" in line for line in list(project.told)))
        (position,) = [each.position for each in project.home.recorded() if isinstance(each.event, StepQueued)]
        coordinator.says(DispatchConfirmed(orchestrator_id=orchestrator, through=position))
        eventually(lambda: any("No worker has" in line for line in list(project.told)))
        coordinator.says(coordinator.claimed("load"), coordinator.queued("train"))
        eventually(lambda: "Step train waits for a worker." in list(project.told))
        ends_well(coordinator)

    project.run(play, lease_after=1)
    assert [line.partition(" has")[0] for line in project.told if line.startswith("No ")] == [
        "No coordinator",
        "No worker",
    ]


def test_a_log_that_is_away_for_a_moment_is_waited_for(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def __init__(self, log: Any) -> None:
            self._log = log
            self._scans = 0

        def scan(self, **asked: Any) -> Iterator[StoredEvent]:
            self._scans += 1
            if self._scans in (2, 3):
                raise LogUnreachable("The log is away.")
            found: Iterator[StoredEvent] = self._log.scan(**asked)
            return found

        def head(self) -> int:
            return int(self._log.head())

        def wait(self) -> None:
            self._log.wait()

    monkeypatch.setattr("stackledger.workers.fleet.orchestrator._AWAY_SECONDS", 0.0)
    monkeypatch.setattr(project, "services", lambda services: replace(services, log=Away(services.log)))

    def play(coordinator: Coordinator) -> None:
        eventually(lambda: any("away" in line for line in list(project.told)))
        ends_well(coordinator)

    assert project.run(play).run.status is RunStatus.COMPLETED
    assert [line for line in project.told if "away" in line] == [
        "The log is away. The run goes on; whoever watches it waits."
    ]


def test_a_run_is_followed_where_nobody_can_coordinate_from_here(project: Project) -> None:
    def play(coordinator: Coordinator) -> None:
        ends_well(coordinator)
        raise BrokerUnreachable("The broker cannot be reached.")

    assert project.run(play).run.status is RunStatus.COMPLETED


def test_what_others_cannot_find_is_refused_before_anything_is_kept(project: Project) -> None:
    before = objects(project)
    with pytest.raises(PipelineError, match="is made inside of a function, where a worker cannot find it"):
        project.run(ends_well, project.module.local().plan())
    assert objects(project) == before
    assert project.home.recorded() == []
