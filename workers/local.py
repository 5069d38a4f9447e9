"""The orchestrator that executes the steps of a run one after another in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO, TypeAlias

from stackledger.domain.collection import COLLECTIONS
from stackledger.domain.errors import ChangedMeanwhile, RunFailed, raised, sentence
from stackledger.domain.event import Context, Recorded
from stackledger.domain.events.artifacts import COLLECTIONS_TAG, ArtifactsCollected
from stackledger.domain.events.runs import OutputOfStep, PinnedStack
from stackledger.domain.names import visible
from stackledger.domain.ports import ArtifactStore
from stackledger.domain.run_state import Attempt, Run, evolve, next_due, produced, running
from stackledger.domain.run_status import RunStatus, StepStatus
from stackledger.domain.runs import RUN, START_RUN, Advance, EndRun, FinishStep, Outcome
from stackledger.eventlog.codec import decode
from stackledger.eventlog.handler import CommandHandler, Handled, Known
from stackledger.eventlog.stored import LogReader
from stackledger.flavors.resolving import Redactor
from stackledger.pipelines.context import PipelineInfo, PipelineRunInfo, StepContext, StepRunInfo
from stackledger.pipelines.plan import PipelinePlan, StepPlan
from stackledger.workers.execute import Executor, Failure
from stackledger.workers.local_tracing import traced
from stackledger.workers.requirements import check_steps
from stackledger.workers.run_files import driving, forget_lock, is_driven, log_file
from stackledger.workers.step_log import StepLog, captured

if TYPE_CHECKING:
    from stackledger.workers.fleet.broker.told import Inbox


class Progress(Protocol):
    """Somebody who watches a run."""

    def happened(self, recorded: Recorded) -> None:
        """Take note of an event of the run, right after it came into the log."""

    def show(self, stream: TextIO, text: str) -> None:
        """Write what a step printed to the stream that it printed it to."""

    def say(self, line: str) -> None:
        """Say what else is of interest."""


class Followable(LogReader, Protocol):
    """The log, for reading what comes into it."""

    def wait(self) -> None:
        """Return when there may be events that were not there at the last call."""


Coordinate: TypeAlias = "Callable[[Inbox, Callable[[str], None]], None]"
"""Coordinates a fleet until Stop is put into the inbox; the callable is given what to tell people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What a run needs from around it.

    `make_context` says who runs it, and when it is now; `redactor` takes secrets out of what is kept; `wait` sleeps
    for a number of seconds. `coordinate` coordinates the fleet of the run's orchestrator until Stop is put into the
    inbox, and is given what to tell people by; None where this home may not. `caller` is the `traceparent` of the span
    that the run is begun in, if it is in one; an attempt is executed inside of what `beneath` returns.
    """

    handler: CommandHandler
    log: Followable
    store: ArtifactStore
    make_context: Callable[[], Context]
    new_id: Callable[[], str]
    progress: Progress
    redactor: Redactor
    wait: Callable[[float], None] = time.sleep
    coordinate: Coordinate | None = None
    caller: str | None = None
    beneath: Callable[[str, Attempt], AbstractContextManager[None]] = lambda *_: nullcontext()


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that has ended; `failures` are the last attempts of failed steps."""

    run: Run
    failures: Mapping[str, Failure] = field(repr=False)

    def raise_if_failed(self) -> None:
        """Raise RunFailed naming the steps that failed, from what the first of them raised."""
        if self.run.status is RunStatus.COMPLETED:
            return
        if self.run.status is RunStatus.STOPPED or not self.failures:
            raise RunFailed(
                f"The run {self.run.name!r} was {'cancelled' if self.run.status is RunStatus.STOPPED else 'ended'}.",
                hint=f"See how far it came with `stackledger run steps '{self.run.name}'`.",
            )
        skipped = sum(step.status is StepStatus.SKIPPED for step in self.run.steps.values())
        first = next(iter(self.failures.values()))
        raise RunFailed(
            f"The run {self.run.name!r} failed at {', '.join(repr(name) for name in self.failures)}"
            + (f", and {skipped} more could not run" if skipped else "")
            + f": {sentence(visible(raised(first.outcome.error, first.outcome.message)))}",
            hint=f"See what they printed with `stackledger run logs '{self.run.name}'`.",
        ) from first.error


class LocalOrchestrator:
    """Runs pipelines here and now; it has no configuration."""

    def __init__(self, config: object, *, home: Path, component_id: str) -> None:
        del config, component_id
        self._home = home

    def run(self, plan: PipelinePlan, stack: PinnedStack, services: Services) -> FinishedRun:
        """Run a pipeline to its end, each change of state durable before the next begins.

        MissingRequirements before it begins where this machine lacks what its steps require.
        KeyboardInterrupt ends the run as interrupted, and is raised again. If the log refuses to be written, the run
        stays as it was, without a driver: whoever looks finds it dead.
        """
        check_steps([step.planned for step in plan.steps])
        run_id = services.new_id()
        with traced(services) as watched, driving(self._home, run_id):
            drive = _Drive(self._home, plan, watched, run_id)
            try:
                drive.start(stack)
                finished = drive.to_the_end()
            except KeyboardInterrupt:
                drive.interrupt()
                raise
            finally:
                if not drive.is_open:
                    forget_lock(self._home, run_id)
        return finished


class _Drive:
    """One run being driven from its start to its end."""

    def __init__(self, home: Path, plan: PipelinePlan, services: Services, run_id: str) -> None:
        self._home = home
        self._plan = plan
        self._steps: Mapping[str, StepPlan] = {step.planned.name: step for step in plan.steps}
        self._services = services
        self._executor = Executor(
            store=services.store,
            new_id=services.new_id,
            redactor=services.redactor,
        )
        self._run_id = run_id
        first = services.make_context()
        self._first = first._replace(correlation=first.correlation or first.command_id)
        self._known: Known[Run | None] = Known(None, 0)
        self._failures: dict[str, Failure] = {}

    @property
    def is_open(self) -> bool:
        """Whether the run has started and not ended, as far as is known."""
        run = self._known.state
        return run is not None and run.status is RunStatus.RUNNING

    def start(self, stack: PinnedStack) -> None:
        command = self._plan.start(self._run_id, stack, self._first.time)
        handled = self._services.handler.handle(
            START_RUN, command, self._first._replace(causation=self._services.caller)
        )
        state: Run | None = None
        for recorded in handled.events:
            state = evolve(state, recorded.event)
        self._known = Known(state, handled.known.position)
        self._tell(handled.events)

    def to_the_end(self) -> FinishedRun:
        outcomes: tuple[Outcome, ...] = ()
        due = 0
        while True:
            context = self._context()
            now = max(context.time, due)  # the clock may have been set back while we waited
            run = self._advanced(outcomes, now, context)
            if run.status is not RunStatus.RUNNING:
                return FinishedRun(run, self._failures)
            outcomes = tuple(self._execute(run, attempt) for attempt in running(run))
            if not outcomes:
                due = next_due(run) or now
                self._services.wait(max(0.0, (due - now) / 1_000_000))

    def _advanced(self, outcomes: tuple[Outcome, ...], now: int, context: Context) -> Run:
        """Record outcomes, and start what is ready then.

        An output that was in the store already may have been collected since: then its attempt is executed again.
        """
        looked = self._known.position
        while True:
            command = Advance(run_id=self._run_id, now=now, outcomes=outcomes, slots=1)
            try:
                return self._handle(command, context, looked)
            except ChangedMeanwhile:
                since, looked = looked, self._services.log.head()
                collected = self._collected(since, looked)
                outcomes = tuple(self._unless_collected(outcome, collected) for outcome in outcomes)

    def _collected(self, after: int, upto: int) -> set[str]:
        """Return the digests of what was collected out of any store."""
        stored = self._services.log.scan(after=after, upto=upto, tags=(COLLECTIONS_TAG,))
        events = [decode(each).event for each in stored]
        return {each.digest for event in events if isinstance(event, ArtifactsCollected) for each in event.objects}

    def _unless_collected(self, outcome: Outcome, collected: set[str]) -> Outcome:
        if isinstance(outcome, FinishStep) and not collected.isdisjoint(each.digest for each in outcome.outputs):
            assert self._known.state is not None
            return self._execute(self._known.state, Attempt(outcome.step, outcome.attempt))
        return outcome

    def interrupt(self) -> None:
        if self.is_open:
            self._handle(EndRun(self._run_id, "interrupted"), self._context())

    def _handle(self, command: Advance | EndRun, context: Context, looked: int | None = None) -> Run:
        """Have a command decided; ChangedMeanwhile if anything was collected after the position `looked`."""
        seen = None if looked is None else {COLLECTIONS: looked}
        handled: Handled[Run | None] = self._services.handler.handle(
            RUN, command, context, seen=seen, known=self._known
        )
        self._known = handled.known
        self._tell(handled.events)
        run = handled.known.state
        assert run is not None
        return run

    def _tell(self, events: Sequence[Recorded]) -> None:
        for recorded in events:
            self._services.progress.happened(recorded)

    def _context(self) -> Context:
        return self._services.make_context()._replace(correlation=self._first.correlation)

    def _execute(self, run: Run, attempt: Attempt) -> Outcome:
        step = self._steps[attempt.step]
        context = StepContext(
            PipelineInfo(run.pipeline),
            PipelineRunInfo(run.id, run.name),
            StepRunInfo(attempt.step, attempt.number, step.planned.parameters),
        )
        inputs = {
            argument: produced(run, source)
            for argument, source in step.planned.inputs.items()
            if isinstance(source, OutputOfStep)
        }
        path = partial(log_file, self._home, run.id, attempt.step, attempt.number)
        log = StepLog(path, self._services.redactor)
        with self._services.beneath(run.id, attempt):
            executed = self._executor.execute(step, inputs, context, captured(log, self._services.progress.show))
        if isinstance(executed, Failure):
            self._failures[attempt.step] = executed
            return executed.outcome
        self._failures.pop(attempt.step, None)
        return executed


def end_dead_run(handler: CommandHandler, home: Path, run_id: str, context: Context) -> tuple[Recorded, ...]:
    """End a run of this home whose process died, and return the events of that: none if it is driven or has ended."""
    if is_driven(home, run_id):
        return ()
    events = handler.handle(RUN, EndRun(run_id, "process died"), context).events
    forget_lock(home, run_id)
    return events
