"""A front of an HTTP server that does to requests and answers what networks and servers do to them."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

Fault = Literal["lose answer", "keep answer", "cut answer", "hang"] | int
"""The server does it, and the connection ends, or no answer ever comes; half of the answer comes; the server is not
asked and no answer comes, or this status."""


class Request(NamedTuple):
    """A request as it came; names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


class Front:
    """Where clients connect to; `fault` says of each request what becomes of it, `requests` are all that came."""

    def __init__(self, upstream: str) -> None:
        self.fault: Callable[[Request], Fault | None] = lambda _: None
        self.requests: list[Request] = []
        self.upstream = urlsplit(upstream).netloc
        self.released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"front": self}))
        self.url = urlsplit(upstream)._replace(netloc=f"127.0.0.1:{self._server.server_port}").geturl()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def fail(self, times: int, fault: Fault, of: Callable[[Request], bool] = lambda _: True) -> None:
        """Do this to the next requests for which `of` is true, so many times."""
        left = [fault] * times
        self.fault = lambda request: left.pop() if left and of(request) else None

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def front_of(upstream: str) -> Iterator[Front]:
    front = Front(upstream)
    try:
        yield front
    finally:
        front.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # clients that come at once wait for none of them to be sent again

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away: tests have them go."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    front: Front

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        self.front.requests.append(request)
        fault = self.front.fault(request)
        if isinstance(fault, int):
            self._answer(fault, [], b"")
        elif fault == "hang":
            self.front.released.wait()
            self._hang_up()
        else:
            status, headers, answer = self._passed_on(body)
            if fault == "keep answer":
                self.front.released.wait()
            if fault in {"lose answer", "keep answer"}:
                self._hang_up()
            else:
                self._answer(status, headers, answer, cut=fault == "cut answer")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - as http.server calls them

    def _passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.front.upstream, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        try:
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], answer: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(answer)))
        for name, value in headers:
            if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(answer)))
        self.end_headers()
        self.wfile.write(answer[: len(answer) // 2] if cut else answer)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
