"""What a child tells of the spans that steps make themselves: its keeper passes it on, and its worker sends it.

So no step waits for a collector, and spans are not lost with the process that made them.
"""

from __future__ import annotations

import importlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TypeVar

import msgpack

from stackledger.domain.tracing import traced
from stackledger.projections.traces import Span
from stackledger.workers import own_spans
from stackledger.workers.fleet.execution.keeper import sent
from stackledger.workers.tracing import is_asked_for

_MANY = 64
"""Spans that wait for the end of the step at most."""
_MOST_BYTES = 64 * 1024
"""Of the spans in a message; a longer one is dropped."""

Log = TypeVar("Log")


def load() -> None:
    """Load what children need for it, before they are forked, where the environment asks for traces."""
    if is_asked_for():
        with suppress(ImportError):
            importlib.import_module("opentelemetry.sdk.trace")


class ToldSpans:
    """Gathers spans, and tells the keeper of them at the end of a step, or before if they are many."""

    def __init__(self, channel: socket.socket, hide: Callable[[str], str]) -> None:
        """Make one for a child; `hide` takes secrets out of a text. Without traces nothing is done, and at no cost."""
        self._channel = channel
        self._packed: deque[bytes] = deque()
        self._is_wanted = is_asked_for()
        if self._is_wanted:
            try:
                own_spans.provide(self._put, hide)
            except Exception:  # noqa: BLE001 - its worker says what is wrong, and no step has to suffer for it
                self._is_wanted = False

    def beneath(self, traceparent: str | None, log: Log) -> AbstractContextManager[Log]:
        """Have spans that are made inside be children of another one; yield the log."""
        return self._beneath(traceparent, log) if self._is_wanted else nullcontext(log)

    @contextmanager
    def _beneath(self, traceparent: str | None, log: Log) -> Iterator[Log]:
        if traceparent is not None:
            os.environ["TRACEPARENT"] = traceparent  # for processes that the step begins
        try:
            with own_spans.beneath(traced(traceparent)):
                yield log
        finally:
            self._tell()

    def _put(self, span: Span) -> None:
        self._packed.append(msgpack.packb(span))
        if len(self._packed) >= _MANY:
            self._tell()

    def _tell(self) -> None:
        # No lock: a step may fork while another thread of it is here.
        batch, size = list[bytes](), 0
        while self._packed:
            with suppress(IndexError):
                data = self._packed.popleft()
                if size + len(data) > _MOST_BYTES:
                    self._send(batch)
                    batch, size = [], 0
                if len(data) <= _MOST_BYTES:
                    batch.append(data)
                    size += len(data)
        self._send(batch)

    def _send(self, batch: list[bytes]) -> None:
        if batch:
            with suppress(OSError):  # the step closed what is not its own
                sent(self._channel, "spans", batch)
