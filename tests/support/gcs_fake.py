"""Google Cloud Storage as far as the artifact stores go: the XML interface that obstore speaks, in memory.

Written from the interface's documentation, not from obstore's requests: objects, their creation on the condition of
`x-goog-if-generation-match: 0`, copies, uploads in parts, listing by pages. Who has not the token is refused.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

PAGE = 1000

_Answer = tuple[int, dict[str, str], bytes]


class _Object(NamedTuple):
    data: bytes
    generation: int
    modified: float

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'


class _State:
    """Buckets, uploads that are not yet finished, and how many seconds the server's clock is ahead."""

    def __init__(self, buckets: list[str], token: str, clock_ahead: float) -> None:
        self.token = token
        self.buckets: dict[str, dict[str, _Object]] = {name: {} for name in buckets}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.clock_ahead = clock_ahead
        self.lock = threading.Lock()
        self.numbers = count(1)


@contextmanager
def fake_gcs(buckets: list[str], token: str, clock_ahead: float = 0) -> Iterator[str]:
    """Serve the buckets to whoever has the token; return the address."""
    handler = type("Handler", (_Handler,), {"state": _State(buckets, token, clock_ahead)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Refused(Exception):
    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: _State

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path.lstrip("/")).partition("/")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            if self.headers.get("Authorization") != f"Bearer {self.state.token}":
                raise _Refused(401, "AuthenticationRequired")
            if bucket not in self.state.buckets:
                raise _Refused(404, "NoSuchBucket")
            with self.state.lock:
                status, headers, answer = self._answer(self.state.buckets[bucket], key, query, body)
        except _Refused as refused:
            status, headers = refused.status, {}
            answer = f"<Error><Code>{refused.code}</Code><Message>Refused.</Message></Error>".encode()
        self._send(status, headers, answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - as http.server calls them

    def _send(self, status: int, headers: Mapping[str, str], answer: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(answer)

    def _answer(self, objects: dict[str, _Object], key: str, query: Mapping[str, str], body: bytes) -> _Answer:
        match self.command:
            case "GET" if not key:
                return 200, {"Content-Type": "application/xml"}, self._list(objects, query)
            case "GET" | "HEAD":
                return self._read(objects, key)
            case "DELETE":
                return self._delete(objects, key, query)
            case "POST":
                return self._begin_or_finish(objects, key, query, body)
            case _:
                return self._put(objects, key, query, body)

    def _delete(self, objects: dict[str, _Object], key: str, query: Mapping[str, str]) -> _Answer:
        if "uploadId" in query:
            self.state.uploads.pop(query["uploadId"], None)
        elif objects.pop(key, None) is None:
            raise _Refused(404, "NoSuchKey")
        return 204, {}, b""

    def _begin_or_finish(self, objects: dict[str, _Object], key: str, query: Mapping[str, str], body: bytes) -> _Answer:
        if "uploads" in query:
            upload = f"upload-{next(self.state.numbers)}"
            self.state.uploads[upload] = {}
            answer = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            return 200, {}, answer.encode()
        made = self._keep(objects, key, self._joined(query, body))
        del self.state.uploads[query["uploadId"]]
        answer = f"<CompleteMultipartUploadResult><ETag>{escape(made.etag)}</ETag></CompleteMultipartUploadResult>"
        return 200, {"x-goog-generation": str(made.generation)}, answer.encode()

    def _put(self, objects: dict[str, _Object], key: str, query: Mapping[str, str], body: bytes) -> _Answer:
        if "uploadId" in query:
            self._upload(query)[int(query["partNumber"])] = body
            return 200, {"ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'}, b""
        source = self.headers.get("x-goog-copy-source")
        if source is not None:
            name = unquote(source).lstrip("/").partition("/")[2]
            if name not in objects:
                raise _Refused(404, "NoSuchKey")
            body = objects[name].data
        made = self._keep(objects, key, body)
        return 200, {"ETag": made.etag, "x-goog-generation": str(made.generation)}, b""

    def _keep(self, objects: dict[str, _Object], key: str, data: bytes) -> _Object:
        if self.headers.get("x-goog-if-generation-match") == "0" and key in objects:
            raise _Refused(412, "PreconditionFailed")
        objects[key] = _Object(data, next(self.state.numbers), time.time() + self.state.clock_ahead)
        return objects[key]

    def _read(self, objects: dict[str, _Object], key: str) -> _Answer:
        if key not in objects:
            raise _Refused(404, "NoSuchKey")
        found = objects[key]
        headers = {
            "ETag": found.etag,
            "Last-Modified": formatdate(found.modified, usegmt=True),
            "x-goog-generation": str(found.generation),
        }
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            return 200, headers, found.data
        start, size = int(wanted[1]), len(found.data)
        end = min(int(wanted[2] or size), size - 1)
        if start > end:
            raise _Refused(416, "InvalidRange")
        return 206, {**headers, "Content-Range": f"bytes {start}-{end}/{size}"}, found.data[start : end + 1]

    def _upload(self, query: Mapping[str, str]) -> dict[int, bytes]:
        if query["uploadId"] not in self.state.uploads:
            raise _Refused(404, "NoSuchUpload")
        return self.state.uploads[query["uploadId"]]

    def _joined(self, query: Mapping[str, str], body: bytes) -> bytes:
        parts = self._upload(query)
        numbers = [int(each.text or "") for each in ET.fromstring(body).iter() if each.tag.endswith("PartNumber")]  # noqa: S314 - obstore wrote it
        if sorted(parts) != numbers:
            raise _Refused(400, "InvalidPart")
        return b"".join(parts[number] for number in numbers)

    def _list(self, objects: dict[str, _Object], query: Mapping[str, str]) -> bytes:
        after = query.get("continuation-token", "")
        names = sorted(name for name in objects if name.startswith(query.get("prefix", "")) and name > after)
        page, more = names[:PAGE], len(names) > PAGE
        contents = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(objects[name].data)}</Size>"
            f"<LastModified>{_iso(objects[name].modified)}</LastModified>"
            f"<ETag>{escape(objects[name].etag)}</ETag></Contents>"
            for name in page
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        return f"<ListBucketResult>{contents}{token}{truncated}</ListBucketResult>".encode()


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
