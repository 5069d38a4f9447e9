"""A receiver of OpenTelemetry's protocol over HTTP: keeps each span that is sent to it, and answers as it is told."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.eventually import eventually


class Received(NamedTuple):
    """A span as it came; ids are hexadecimal, times nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start: int
    end: int
    attributes: dict[str, Any]
    status: int
    message: str
    events: list[str]
    service: str


class Receiver:
    """What came, and with which status (HTTP) it is answered."""

    def __init__(self) -> None:
        self.status = 200
        self.requests = 0
        self.headers: list[dict[str, str]] = []
        self._spans: list[Received] = []
        self._mutex = threading.Lock()
        self.url = ""

    @property
    def spans(self) -> list[Received]:
        """Every span that came, as often as it came."""
        with self._mutex:
            return list(self._spans)

    def named(self, name: str) -> Received:
        """Wait for a span of that name; return the last one."""
        eventually(lambda: any(span.name == name for span in self.spans), 60)
        return [span for span in self.spans if span.name == name][-1]

    def take(self, path: str, headers: dict[str, str], data: bytes) -> int:
        """Take a request; return the status of the answer."""
        if headers.get("content-encoding") == "gzip":
            data = gzip.decompress(data)
        with self._mutex:
            self.requests += 1
            self.headers.append(headers)
            if self.status == 200:
                assert path == "/v1/traces"
                self._spans += _spans(ExportTraceServiceRequest.FromString(data))
            return self.status


def _spans(request: ExportTraceServiceRequest) -> Iterator[Received]:
    for resource in request.resource_spans:
        of = _attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Received(
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.name,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    _attributes(span.attributes),
                    span.status.code,
                    span.status.message,
                    [event.name for event in span.events],
                    of.get("service.name", ""),
                )


def _attributes(values: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in values}


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Receive meanwhile, at a port of loopback that is free."""
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {key.lower(): value for key, value in self.headers.items()}
            status = received.take(self.path, headers, self.rfile.read(int(headers["content-length"])))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()
