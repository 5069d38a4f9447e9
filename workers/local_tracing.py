"""Traces of the runs that this process executes itself, and what their steps add to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from stackledger.domain.event import Recorded
from stackledger.domain.events.runs import RunStarted, run_tag
from stackledger.domain.tracing import TraceContext, attempt_span, run_context
from stackledger.eventlog.codec import decode
from stackledger.projections.traces import Traces
from stackledger.workers import own_spans
from stackledger.workers.tracing import Say, Tracing, tracing

if TYPE_CHECKING:
    from stackledger.domain.run_state import Attempt
    from stackledger.flavors.resolving import Redactor
    from stackledger.workers.local import Progress, Services


@contextmanager
def traced(services: Services) -> Iterator[Services]:
    """Yield the services of a run, and where the environment asks for traces tell of it while it goes on with them."""
    tracing = _shared(services.progress.say)
    if tracing is None:
        yield services
        return
    progress = _TracedProgress(services.progress, tracing)
    _redactors.append(services.redactor)
    try:
        yield replace(services, progress=progress, beneath=progress.beneath)
    finally:
        _redactors.remove(services.redactor)
        progress.finish(lambda run_id: map(decode, services.log.scan(tags=(run_tag(run_id),))))


class _TracedProgress:
    """Tells of a run, and passes what happens in it on to somebody else who watches it."""

    def __init__(self, progress: Progress, tracing: Tracing) -> None:
        self._progress = progress
        self._tracing = tracing
        self._contexts: dict[str, TraceContext] = {}
        self._traces = Traces(self._is_told)

    def happened(self, recorded: Recorded) -> None:
        """Take note of an event of the run."""
        self._progress.happened(recorded)
        self._tracing.tell(self._traces, (recorded,))

    def show(self, stream: TextIO, text: str) -> None:
        """Write what a step printed."""
        self._progress.show(stream, text)

    def say(self, line: str) -> None:
        """Say what else is of interest."""
        self._progress.say(line)

    def beneath(self, run_id: str, attempt: Attempt) -> AbstractContextManager[None]:
        """Have spans that a step makes inside be children of its attempt."""
        run, span_id = self._contexts.get(run_id), attempt_span(run_id, attempt.step, attempt.number)
        return own_spans.beneath(None if run is None else run._replace(span_id=span_id))

    def finish(self, events: Callable[[str], Iterable[Recorded]]) -> None:
        """See that all is sent; `events` are those of a run by its id, which somebody else may have ended."""
        for run_id in self._contexts:
            if self._traces.is_open(run_id):
                self._tracing.tell(Traces(self._is_told), events(run_id))
        self._tracing.leave()

    def _is_told(self, started: RunStarted, caller: TraceContext | None) -> bool:
        is_told = self._tracing.samples(started.run_id, caller)
        self._contexts[started.run_id] = run_context(started.run_id, caller)._replace(sampled=is_told)
        return is_told


_found: list[Tracing] = []
_redactors: list[Redactor] = []
"""Of the runs that go on: steps of all of them make their spans in this process."""


def _hidden(text: str) -> str:
    for redactor in _redactors:
        text = redactor.redacted(text)
    return text


def _shared(say: Say) -> Tracing | None:
    """Return what sends the spans of this process: one for all its runs, as there is one provider of tracers."""
    if not _found:
        made = tracing(say)
        if made is None:
            return None
        own_spans.provide(made.put, _hidden)
        _found.append(made)
    return _found[0]
