"""A home in which pipelines run: log, artifact store and clock, and all that happened in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from stackledger.domain.event import Context, Recorded
from stackledger.domain.events.runs import (
    Produced,
    RunFailed,
    RunSucceeded,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from stackledger.domain.run_state import Run, evolve
from stackledger.eventlog.codec import decode
from stackledger.eventlog.handler import CommandHandler
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.reader import SQLiteReader
from stackledger.eventlog.sqlite import SQLiteRecorder
from stackledger.eventlog.stored import StoredEvent
from stackledger.flavors.local_artifact_store import LocalArtifactStore, LocalArtifactStoreConfig
from stackledger.flavors.resolving import Redactor
from stackledger.pipelines import runner
from stackledger.pipelines.plan import PipelinePlan
from stackledger.pipelines.responses import ArtifactResponse, RunResponse, StepResponse
from stackledger.workers.execute import load
from stackledger.workers.local import FinishedRun, LocalOrchestrator, Services
from tests.support.run_plans import STACK

SECOND = 1_000_000


class LocalHome:
    """Runs pipelines on the local orchestrator. Time passes only while a run waits for a retry."""

    def __init__(self, home: Path, *secrets: str) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.recorder = SQLiteRecorder(home / "log.db")
        self.store = LocalArtifactStore(LocalArtifactStoreConfig(), home=home, component_id="store")
        self.handler = CommandHandler(self.recorder, new_id)
        self.now = 1_795_000_000 * SECOND
        self.waits: list[float] = []
        self.seen: list[Recorded] = []
        self.said: list[str] = []
        self.redactor = Redactor()
        for secret in secrets:
            self.redactor.learn(secret)

    def run(self, plan: PipelinePlan) -> RunResponse:
        finished = self.finish(plan)
        finished.raise_if_failed()
        return RunResponse(
            finished.run.id,
            finished.run.name,
            finished.run.pipeline,
            finished.run.status,
            lambda: self._steps(finished),
        )

    def _steps(self, finished: FinishedRun) -> dict[str, StepResponse]:
        def loadable(one: Produced) -> ArtifactResponse:
            return ArtifactResponse(
                id=one.artifact_id,
                name=one.artifact,
                version=1,
                digest=one.digest,
                size=one.size,
                materializer=one.materializer,
                data_type=one.data_type,
                loader=lambda: load(self.store, one),
            )

        return {
            name: StepResponse(
                name, step.status, step.attempt, {key: loadable(one) for key, one in (step.outputs or {}).items()}
            )
            for name, step in finished.run.steps.items()
        }

    def finish(self, plan: PipelinePlan) -> FinishedRun:
        orchestrator = LocalOrchestrator(None, home=self.home, component_id="orchestrator")
        return orchestrator.run(plan, STACK, self.services())

    def services(self) -> Services:
        return Services(
            handler=self.handler,
            log=SQLiteReader(self.home / "log.db"),
            store=self.store,
            make_context=self.context,
            new_id=new_id,
            progress=self,
            redactor=self.redactor,
            wait=self.wait,
        )

    def context(self) -> Context:
        return Context(command_id=new_id(), time=self.now, actor="somebody", host="here")

    def happened(self, recorded: Recorded) -> None:
        self.seen.append(recorded)

    def show(self, stream: TextIO, text: str) -> None:
        stream.write(text)

    def recorded(self) -> list[Recorded]:
        """Return everything in the log."""
        return [
            decode(StoredEvent(one.position, one.event.type, tuple(one.event.tags), one.event.data))
            for one in self.recorder.read()
        ]

    def state(self) -> Run:
        """Return the only run, folded from the log."""
        run: Run | None = None
        for recorded in self.recorded():
            run = evolve(run, recorded.event)
        assert run is not None
        return run

    def story(self) -> list[str]:
        """Return what happened, a word or two for each event."""
        return [told(recorded) for recorded in self.recorded()]

    def logs(self) -> dict[str, str]:
        """Return the text of every step log, by the start of its file's name."""
        files = (self.home / "runs").glob("*/*.log")
        return {path.name.rpartition("-")[0] + "." + path.name.split(".")[-2]: path.read_text() for path in files}

    def say(self, line: str) -> None:
        self.said.append(line)

    def close(self) -> None:
        self.recorder.close()

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += round(seconds * SECOND)


def told(recorded: Recorded) -> str:
    """Return an event of a run in a word or two."""
    event = recorded.event
    words = {StepSucceeded.TYPE: "ok", StepSkipped.TYPE: "skipped", RunSucceeded.TYPE: "succeeded"}
    match event:
        case StepStarted():
            return f"{event.step} {event.attempt}"
        case StepFailed():
            return f"{event.step} {event.error}"
        case RunFailed():
            return event.because
        case StepSucceeded() | StepSkipped():
            return f"{event.step} {words[event.TYPE]}"
        case _:
            return words.get(event.TYPE, "started")


@contextmanager
def bound(make: Callable[[], runner.Runner]) -> Iterator[None]:
    """Let calls of pipelines be run by what `make` returns."""
    before = runner.bind(make)
    try:
        yield
    finally:
        runner.bind(before)
