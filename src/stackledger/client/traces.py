"""The client's part about traces: what the log has of a run, as OpenTelemetry has it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from stackledger.client.runs import RunClient

if TYPE_CHECKING:
    from stackledger.projections.engine import View
    from stackledger.projections.traces import Attributes, Span

_CODES = {"ok": 1, "error": 2}
_INTERNAL = 1


class RunTrace(NamedTuple):
    """The spans of a run that have ended, parents before their children; all of them if it has ended."""

    run_id: str
    run: str
    has_ended: bool
    trace_id: str
    spans: Sequence[Span]

    def to_json(self) -> dict[str, Any]:
        """Return the spans in the JSON of OpenTelemetry's protocol, which collectors take as it is."""
        scope = {"scope": {"name": "stackledger"}, "spans": list(map(_json, self.spans))}
        resource = {"attributes": _attributes({"service.name": "stackledger"})}
        return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


class TraceClient(RunClient):
    """Traces of runs."""

    def run_trace(self, name_id_or_prefix: str, *, as_of: str | int | None = None) -> RunTrace:
        """Return the trace of a run, with the ids that it has where it was sent while the run went on."""
        from stackledger.domain.events.fleet import KEYS_TAG
        from stackledger.domain.events.runs import RunStarted, run_tag
        from stackledger.domain.tracing import run_context, traced
        from stackledger.eventlog.codec import decode
        from stackledger.projections import run_queries
        from stackledger.projections.traces import Traces

        def query(view: View, dead: set[str]) -> tuple[run_queries.RunRow, int]:
            del dead
            return run_queries.run(view, name_id_or_prefix).run, view.position

        run, position = self._read_runs(query, as_of)
        traces, trace_id = Traces(), ""
        spans: list[Span] = []
        scan = partial(self._ledger.reader.scan, upto=position)
        for stored in chain(scan(tags=(KEYS_TAG,)), scan(tags=(run_tag(run.id),))):
            recorded = decode(stored)
            if isinstance(recorded.event, RunStarted):
                trace_id = run_context(run.id, traced(recorded.envelope.causation)).trace_id
            spans += traces.fold(recorded)
        return RunTrace(run.id, run.name, not traces.is_open(run.id), trace_id, _in_order(spans))

    def send_trace(self, trace: RunTrace, endpoint: str) -> int:
        """Send a trace to a collector, and return how many spans it has; StackledgerError if it does not take them.

        `endpoint` is the collector's address without the path of traces, as in OTEL_EXPORTER_OTLP_ENDPOINT.
        """
        from stackledger.workers.tracing import send

        return send(trace.spans, endpoint)


def _in_order(spans: Sequence[Span]) -> list[Span]:
    """Return spans with each one's children right behind it, in the order in which they began."""
    known = {span.span_id for span in spans}
    children: dict[str | None, list[Span]] = {}
    for span in sorted(spans, key=lambda span: span.start):
        children.setdefault(span.parent_id if span.parent_id in known else None, []).append(span)
    found: list[Span] = []
    waiting = children.get(None, [])[::-1]
    while waiting:
        span = waiting.pop()
        found.append(span)
        waiting += children.get(span.span_id, [])[::-1]
    return found


def _json(span: Span) -> dict[str, Any]:
    parent = {} if span.parent_id is None else {"parentSpanId": span.parent_id}
    message = {"message": span.message} if span.message else {}
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        **parent,
        "name": span.name,
        "kind": _INTERNAL,
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "attributes": _attributes(span.attributes),
        "status": {"code": _CODES.get(span.status, 0), **message},
    }


def _attributes(values: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: object) -> dict[str, Any]:
    match value:
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case _:
            return {"stringValue": str(value)}
