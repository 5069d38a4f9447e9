"""Spans on their way to whatever takes OpenTelemetry's protocol: in the background, and never in the way of a run.

OpenTelemetry's libraries are known here and in `own_spans.py` only. They are loaded where its variables of the
environment ask for traces, and nowhere else.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgpack

from stackledger.domain.errors import Refused, StackledgerError
from stackledger.domain.event import Recorded
from stackledger.domain.tracing import TraceContext, execution_span, run_context, traced
from stackledger.projections.traces import Span, Traces

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN = "http/protobuf"
_NO_LIBRARY = "the library of OpenTelemetry, which is not installed"
_INSTALL = 'pip install "stackledger[traces]"'

_GOODBYE = 5.0
"""Seconds for which whoever ends waits for a collector that neither takes spans nor refuses them."""
_LOOKS = 0.05
"""Seconds between two looks whether it refuses them."""
_BATCH = 512
"""Spans in one request."""
_WAITS = 1.0
"""Seconds for which the first span of a batch waits for others."""
_MOST = 16 * 1024
"""Spans that wait to be sent; more are dropped."""
_LONGEST_REASON = 300

Say = Callable[[str], object]


def is_asked_for() -> bool:
    """Say whether the environment asks for traces: it names where to send them, and does not forbid it."""
    environ = os.environ
    return (
        any(environ.get(name) for name in _ENDPOINTS)
        and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        and environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() != "none"
    )


def tracing(say: Say) -> Tracing | None:
    """Return what sends spans, if the environment asks for it; what keeps it from that is said, and raises nothing."""
    if not is_asked_for():
        return None
    protocol = next(filter(None, map(os.environ.get, _PROTOCOLS)), _SPOKEN)
    if protocol != _SPOKEN:
        say(f"No traces are sent: the environment asks for {protocol}, and they go by {_SPOKEN} only.")
        return None
    try:
        return Tracing(_exporter(None), say)
    except ImportError:
        say(f"No traces are sent: they need {_NO_LIBRARY}. Install it: {_INSTALL}")
    except Exception as error:  # noqa: BLE001 - variables may have any value, and none of them is worth a run
        say(f"No traces are sent: {error}")
    return None


@contextmanager
def sending(say: Say) -> Iterator[Tracing | None]:
    """Yield what sends spans, as `tracing` has it; at the end what waits to be sent has a moment for it."""
    found = tracing(say)
    try:
        yield found
    finally:
        if found is not None:
            found.leave()


def calling() -> str | None:
    """Return the `traceparent` of the span that goes on here, or in which this process was started; None for none."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None:  # nobody else can have begun one
        here = trace.get_current_span().get_span_context()
        if here.is_valid:
            return TraceContext(f"{here.trace_id:032x}", f"{here.span_id:016x}", here.trace_flags.sampled).traceparent
    before = traced(os.environ.get("TRACEPARENT"))
    return None if before is None else before.traceparent


def send(spans: Iterable[Span], endpoint: str) -> int:
    """Send spans to a collector, and return how many; StackledgerError if it does not take them.

    `endpoint` is its address without the path of traces, as in OTEL_EXPORTER_OTLP_ENDPOINT.
    """
    try:
        exporter = _exporter(f"{endpoint.removesuffix('/')}/v1/traces")
    except ImportError as error:
        raise Refused(f"To send traces takes {_NO_LIBRARY}.", hint=f"Install it: `{_INSTALL}`.") from error
    count, rest = 0, iter(spans)
    while batch := list(islice(rest, _BATCH)):
        failure = _exported(exporter, batch)
        if failure is not None:
            raise StackledgerError(
                f"The collector did not take the spans: {failure}",
                hint="Give the address that takes OTLP over HTTP, mostly with the port 4318.",
            )
        count += len(batch)
    return count


class Tracing:
    """Sends spans, in a thread of its own. What is wrong with that is said once, and spans that cannot go are dropped.

    Every method may be called from any thread, returns at once if nothing else is said, and raises nothing.
    """

    def __init__(self, exporter: SpanExporter, say: Say) -> None:
        from opentelemetry.sdk.trace import TracerProvider

        self._exporter = exporter
        self._say = say
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler
        _resource()  # takes a while, for which nobody has to wait in the end
        self._waiting: deque[Span] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_sending = self._hurries = self._has_said = False

    def put(self, span: Span) -> None:
        """Have a span sent soon."""
        with self._changed:
            if len(self._waiting) < _MOST:
                self._waiting.append(span)
                self._changed.notify_all()
                if self._thread is None:
                    self._thread = threading.Thread(target=self._send, name="stackledger-traces", daemon=True)
                    self._thread.start()
                return
        self.trouble("they come faster than they can be sent.")

    def tell(self, traces: Traces, events: Iterable[Recorded]) -> None:
        """Have the spans sent that events end."""
        try:
            for recorded in events:
                for span in traces.fold(recorded):
                    self.put(span)
        except Exception as error:  # noqa: BLE001 - no event is so odd that a run has to wait for its trace
            self.trouble(f"{type(error).__name__}: {error}")

    def pass_on(self, packed: Iterable[object]) -> None:
        """Have spans sent that a step made, as its process packed them; whatever is none is dropped."""
        for data in packed:
            with suppress(TypeError, ValueError, RecursionError, msgpack.UnpackException):
                self.put(Span(*msgpack.unpackb(data)))

    def of_execution(self, run_id: str, traceparent: str | None, execution: str) -> str:
        """Return the `traceparent` of an execution in a run that was begun in that of somebody, or of nobody."""
        caller = traced(traceparent)
        run = run_context(run_id, caller)
        return TraceContext(run.trace_id, execution_span(execution), self.samples(run_id, caller)).traceparent

    def samples(self, run_id: str, caller: TraceContext | None) -> bool:
        """Say whether a run is told of: all say the same of one, given the same variables of the environment."""
        from opentelemetry.context import Context
        from opentelemetry.sdk.trace.sampling import Decision
        from opentelemetry.trace import NonRecordingSpan, set_span_in_context

        within = Context() if caller is None else set_span_in_context(NonRecordingSpan(span_context(caller)), Context())
        trace_id = int(run_context(run_id, caller).trace_id, 16)
        return self._sampler.should_sample(within, trace_id, "run").decision is Decision.RECORD_AND_SAMPLE

    def leave(self) -> None:
        """Return when all has been sent, or at the first sign that it cannot be, or after some seconds."""
        until = time.monotonic() + _GOODBYE
        with self._changed:
            self._hurries = True
            self._changed.notify_all()
            while self._is_busy and not _ear().is_troubled and time.monotonic() < until:
                self._changed.wait(_LOOKS)
            self._hurries = False
            is_sent = not self._is_busy
        if not is_sent:
            self.trouble(_ear().last)

    def trouble(self, why: object) -> None:
        """Say, once, why spans are dropped."""
        if not self._has_said:
            self._has_said = True
            self._say(f"Spans of traces are dropped, which is not said again: {why}")

    def _send(self) -> None:
        from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, set_value

        # Whoever has the libraries for HTTP traced does not want to know of these requests: each would cause another.
        attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
        while True:
            batch = self._batch()
            try:
                failure = _exported(self._exporter, batch)
            except Exception as error:  # noqa: BLE001 - steps make spans of anything
                failure = str(error)
            if failure is not None:
                self.trouble(failure)
            with self._changed:
                self._is_sending = False
                self._changed.notify_all()

    @property
    def _is_busy(self) -> bool:
        return bool(self._waiting) or self._is_sending

    def _batch(self) -> list[Span]:
        """Wait for spans, and for more of them."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            self._changed.wait_for(lambda: len(self._waiting) >= _BATCH or self._hurries, _WAITS)
            self._is_sending = True
            return [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]


def span_context(of: TraceContext) -> Any:
    """Return a context as OpenTelemetry has it, of a span somewhere else."""
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(int(of.trace_id, 16), int(of.span_id, 16), is_remote=True, trace_flags=TraceFlags(of.sampled))


def _exporter(endpoint: str | None) -> SpanExporter:
    """Return what sends spans over HTTP, to where the environment says if no endpoint is given."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    _ear()  # it may have something to say from the start
    return OTLPSpanExporter(endpoint)


def _exported(exporter: SpanExporter, spans: Sequence[Span]) -> str | None:
    """Send spans, trying again for some seconds; return what stood in the way, None if nothing did."""
    from opentelemetry.sdk.trace.export import SpanExportResult

    readable = [one for span in spans if (one := _readable(span)) is not None]
    _ear().is_troubled = False
    if not readable or exporter.export(readable) is SpanExportResult.SUCCESS:
        return None
    return _ear().last


def _readable(span: Span) -> ReadableSpan | None:
    """Return a span as OpenTelemetry has it, None for one that makes no sense: steps may tell anything."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode

    try:
        parent = None if span.parent_id is None else span_context(TraceContext(span.trace_id, span.parent_id))
        return ReadableSpan(
            name=span.name,
            context=span_context(TraceContext(span.trace_id, span.span_id)),
            parent=parent,
            resource=_resource(),
            attributes=_attributes(span.attributes),
            events=[Event(name, _attributes(attributes), at) for name, at, attributes in span.events],
            links=[
                Link(span_context(TraceContext(trace_id, span_id)), _attributes(attributes))
                for trace_id, span_id, attributes in span.links
            ],
            kind=SpanKind[span.kind],
            status=Status(StatusCode[span.status.upper()], span.message or None),
            start_time=span.start,
            end_time=span.end,
            instrumentation_scope=InstrumentationScope(span.scope),
        )
    except (TypeError, ValueError, LookupError, AttributeError):
        return None


def _attributes(values: Mapping[str, object]) -> Any:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


@cache
def _resource() -> Resource:
    """Return what the environment says of this service; its name is ours unless that says another."""
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource

    said = Resource.create()
    is_named = not str(said.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service")
    return said if is_named else said.merge(Resource({SERVICE_NAME: "stackledger"}))


class _Ear(logging.Handler):
    """Hears why spans could not be sent: the library tells it to its log only.

    That it listens keeps Python from printing these lines where nobody has set up logging.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = "nothing answers."
        self.is_troubled = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the reason, which tells more than that there will be no other try."""
        self.is_troubled = True
        text = record.getMessage()
        if "due to timeout, max retries or shutdown" not in text:
            reason = text.removeprefix("Transient error ").partition(" encountered while exporting")[0]
            self.last = reason[:_LONGEST_REASON]


@cache
def _ear() -> _Ear:
    ear = _Ear()
    logging.getLogger("opentelemetry").addHandler(ear)
    return ear
