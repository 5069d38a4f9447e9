"""Runs as traces: a pure fold of their events into spans, the same whoever folds and whenever.

A run is the root of a trace, or a child of the span within which it was called. Below it are its steps, below these
the attempts at them, and below an attempt that a fleet executed the execution that counted. A span is there once it
has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from stackledger.domain.event import Event, Recorded
from stackledger.domain.events.fleet import KeyEnrolled, RunCancelled, StepClaimed, StepLost, StepQueued
from stackledger.domain.events.runs import (
    Execution,
    RunFailed,
    RunStarted,
    RunSucceeded,
    StepFailed,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from stackledger.domain.run_status import RunStatus, StepStatus
from stackledger.domain.tracing import (
    TraceContext,
    attempt_span,
    execution_span,
    run_context,
    step_span,
    traced,
)

Attributes: TypeAlias = Mapping[str, object]

_NANOSECONDS = 1_000
"""In a microsecond."""


class Span(NamedTuple):
    """Something that took a while, from `start` to `end` in nanoseconds since 1970 UTC; ids are hexadecimal.

    `status` is `ok`, `error` or `unset`, with a `message` where it went wrong. Spans of a step's own have more: their
    `kind` in capitals, events with time and attributes, links with trace, span and attributes, and the `scope` that
    made them.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    start: int
    end: int
    attributes: Attributes
    status: str = "unset"
    message: str = ""
    kind: str = "INTERNAL"
    events: tuple[tuple[str, int, Attributes], ...] = ()
    links: tuple[tuple[str, str, Attributes], ...] = ()
    scope: str = "stackledger"


class _Ending(NamedTuple):
    """How something ended: when, in microseconds, with which word for it, and what went wrong if something did."""

    at: int
    status: str
    error: str | None = None
    message: str = ""


@dataclass(slots=True)
class _Attempt:
    number: int
    began: int
    queue: str | None
    claimed: StepClaimed | None = None
    claimed_at: int = 0


@dataclass(slots=True)
class _Step:
    began: int
    attempt: _Attempt | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    context: TraceContext
    caller: TraceContext | None
    began: int
    started: RunStarted
    names: Mapping[str, str]
    steps: dict[str, _Step] = field(default_factory=dict)


def everything(started: RunStarted, caller: TraceContext | None) -> bool:
    """Say of any run that it is told of."""
    del started, caller
    return True


class Traces:
    """Folds the events of runs, of each in their order; `wanted` says of which, and of whose calls, is told.

    The events of keys name the workers.
    """

    def __init__(self, wanted: Callable[[RunStarted, TraceContext | None], bool] = everything) -> None:
        self._wanted = wanted
        self._runs: dict[str, _Run] = {}
        self._names: dict[str, str] = {}

    def fold(self, recorded: Recorded) -> Iterator[Span]:
        """Yield the spans that an event ends."""
        event, at = recorded.event, recorded.envelope.time
        if isinstance(event, RunStarted):
            caller = traced(recorded.envelope.causation)
            if self._wanted(event, caller):
                self._runs[event.run_id] = _Run(run_context(event.run_id, caller), caller, at, event, self._names)
            return
        if isinstance(event, KeyEnrolled):
            self._names[event.key_id] = event.name
        run = self._runs.get(getattr(event, "run_id", ""))
        if run is None:
            return
        match event:
            case RunSucceeded():
                yield from self._ended(run, _Ending(at, RunStatus.COMPLETED))
            case RunFailed():
                yield from self._ended(run, _Ending(at, RunStatus.FAILED, event.because, ", ".join(event.steps)))
            case RunCancelled():
                yield from self._ended(run, _Ending(at, RunStatus.STOPPED))
            case _:
                yield from _of_step(run, event, at)

    def is_open(self, run_id: str) -> bool:
        """Say whether a run began that has not ended."""
        return run_id in self._runs

    def _ended(self, run: _Run, ending: _Ending) -> Iterator[Span]:
        started = run.started
        for step in list(run.steps):
            yield from _step(run, step, ending)
        del self._runs[started.run_id]
        attributes = {
            "stackledger.run.id": started.run_id,
            "stackledger.run.name": started.name,
            "stackledger.pipeline": started.pipeline,
            "stackledger.stack": started.stack.name,
        }
        yield _span(
            run,
            ending,
            name=f"run {started.pipeline}",
            span_id=run.context.span_id,
            parent=None if run.caller is None else run.caller.span_id,
            began=run.began,
            attributes=attributes,
        )


def _of_step(run: _Run, event: Event, at: int) -> Iterator[Span]:
    match event:
        case StepQueued() | StepStarted():
            queue = event.queue if isinstance(event, StepQueued) else None
            run.steps.setdefault(event.step, _Step(at)).attempt = _Attempt(event.attempt, at, queue)
        case StepClaimed():
            attempt = run.steps.setdefault(event.step, _Step(at)).attempt
            if attempt is not None:
                attempt.claimed, attempt.claimed_at = event, at
        case StepLost():
            yield from _attempt(run, event.step, _Ending(at, "lost", "Lost", event.because))
        case StepSucceeded():
            yield from _step(run, event.step, _Ending(at, StepStatus.COMPLETED), event.execution)
        case StepFailed():
            ending = _Ending(at, StepStatus.FAILED, event.error, event.message)
            part = _step if event.retry_at is None else _attempt
            yield from part(run, event.step, ending, event.execution)
        case StepSkipped():
            yield from _step(run, event.step, _Ending(at, StepStatus.SKIPPED))
        case _:
            pass


def _step(run: _Run, name: str, ending: _Ending, execution: Execution | None = None) -> Iterator[Span]:
    """Yield the spans of a step that ends, and of its attempt if one is open."""
    yield from _attempt(run, name, ending, execution)
    run_id = run.started.run_id
    yield _span(
        run,
        ending,
        name=f"step {name}",
        span_id=step_span(run_id, name),
        parent=run.context.span_id,
        began=run.steps.pop(name).began,
        attributes={"stackledger.run.id": run_id, "stackledger.step": name},
    )


def _attempt(run: _Run, name: str, ending: _Ending, execution: Execution | None = None) -> Iterator[Span]:
    """Yield the spans of an attempt that ends, if one is open, and of its execution if the log knows one."""
    step, run_id = run.steps.setdefault(name, _Step(ending.at)), run.started.run_id
    attempt, step.attempt = step.attempt, None
    if attempt is None:
        return
    attributes: dict[str, object] = {
        "stackledger.run.id": run_id,
        "stackledger.step": name,
        "stackledger.attempt": attempt.number,
    }
    if attempt.queue is not None:
        attributes["stackledger.queue"] = attempt.queue
    span_id, claimed = attempt_span(run_id, name, attempt.number), attempt.claimed
    if execution is None and claimed is not None:
        # Nobody said when it began: that it was claimed is the first that the log has of it.
        began, ended = attempt.claimed_at, ending.at
        execution = Execution(id=claimed.execution, worker=claimed.worker, began=began, ended=ended, log=None)
    if execution is not None:
        yield _span(
            run,
            ending._replace(at=execution.ended),
            name="execution",
            span_id=execution_span(execution.id),
            parent=span_id,
            began=execution.began,
            attributes={
                **attributes,
                "stackledger.execution": execution.id,
                "stackledger.worker": run.names.get(execution.worker, execution.worker),
                "stackledger.worker.key": execution.worker,
                "stackledger.queue_seconds": max(0, execution.began - attempt.began) / 1_000_000,
            },
        )
    yield _span(
        run,
        ending,
        name=f"attempt {attempt.number}",
        span_id=span_id,
        parent=step_span(run_id, name),
        began=attempt.began,
        attributes=attributes,
    )


def _span(
    run: _Run, ending: _Ending, *, name: str, span_id: str, parent: str | None, began: int, attributes: Attributes
) -> Span:
    said = {**attributes, "stackledger.status": str(ending.status)}
    if ending.error is not None:
        said["error.type"] = ending.error
    return Span(
        trace_id=run.context.trace_id,
        span_id=span_id,
        parent_id=parent,
        name=name,
        start=began * _NANOSECONDS,
        end=max(began, ending.at) * _NANOSECONDS,  # clocks are set back
        attributes=said,
        status="error" if ending.error is not None else "ok" if ending.status == "completed" else "unset",
        message=": ".join(filter(None, (ending.error, ending.message))),
    )
