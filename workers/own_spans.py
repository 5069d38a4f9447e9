"""Spans that a step's code makes itself: beneath its execution, and sent with those of the run.

For that the process that executes it has OpenTelemetry's context and, unless the project brought its own, a provider of
tracers. Whatever fails here has no effect on the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from stackledger.domain.tracing import TraceContext
from stackledger.projections.traces import Span
from stackledger.workers.tracing import span_context

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


def provide(put: Callable[[Span], None], hide: Callable[[str], str]) -> None:
    """Give each span that code of this process ends to `put`, unless the project has a provider of its own.

    Raises ImportError where the library is not there. `hide` takes secrets out of texts: exceptions are among them.
    """
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    class Putting(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            with suppress(Exception):  # of a step that is in order
                put(Span(*(_hidden(part, hide) for part in _span(span))))

    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(Putting())
        trace.set_tracer_provider(provider)


@contextmanager
def beneath(context: TraceContext | None) -> Iterator[None]:
    """Have spans that are made inside be children of another one; of nothing that is going on here if that is None."""
    from opentelemetry.context import Context, attach, detach
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    within = Context() if context is None else set_span_in_context(NonRecordingSpan(span_context(context)), Context())
    token = attach(within)
    try:
        yield
    finally:
        detach(token)


def _span(span: ReadableSpan) -> Span:
    own, parent, scope = span.context, span.parent, span.instrumentation_scope
    assert own is not None
    return Span(
        f"{own.trace_id:032x}",
        f"{own.span_id:016x}",
        None if parent is None else f"{parent.span_id:016x}",
        span.name,
        span.start_time or 0,
        span.end_time or 0,
        _attributes(span.attributes),
        span.status.status_code.name.lower(),
        span.status.description or "",
        span.kind.name,
        tuple((event.name, event.timestamp, _attributes(event.attributes)) for event in span.events),
        tuple(
            (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}", _attributes(link.attributes))
            for link in span.links
        ),
        "" if scope is None else scope.name,
    )


def _hidden(value: Any, hide: Callable[[str], str]) -> Any:
    match value:
        case str():
            return hide(value)
        case dict():
            return {key: _hidden(each, hide) for key, each in value.items()}
        case list() | tuple():
            return tuple(_hidden(each, hide) for each in value)
        case _:
            return value


def _attributes(values: Any) -> dict[str, object]:
    return dict(values or {})
