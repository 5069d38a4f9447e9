"""Messages that are thrown to and fro by two connections of pika, with 200 in flight.

Two quorum queues; everything is persistent and confirmed, and a delivery is acknowledged after its answer is confirmed.
The threads of both connections are in this process.
"""

from __future__ import annotations

import threading
from contextlib import closing
from itertools import count
from typing import Any

import pika

IN_FLIGHT = 200


class PikaLoop:
    """Two connections of pika that throw messages to and fro."""

    def __init__(self, url: str) -> None:
        with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
            for queue in ("bench.there", "bench.back"):
                connection.channel().queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        self._left = self._answers = 0
        self._done = threading.Event()
        self._sides = [_Side(url, "bench.back", self._answered), _Side(url, "bench.there", self._asked)]

    def exchange(self, messages: int) -> None:
        """Send messages, and wait until each is answered."""
        self._done.clear()
        self._answers = messages
        self._left = messages
        self._sides[0].soon(self._begin)
        self._done.wait()

    def end(self) -> None:
        """Close both connections."""
        for side in self._sides:
            side.end()

    def _begin(self) -> None:
        for _ in range(IN_FLIGHT):
            self._send()

    def _send(self) -> None:
        if self._left:
            self._left -= 1
            self._sides[0].publish("bench.there", b"m" * 500, lambda: None)

    def _asked(self, tag: int) -> None:
        side = self._sides[1]
        side.publish("bench.back", b"m" * 500, lambda: side.channel.basic_ack(tag))

    def _answered(self, tag: int) -> None:
        self._sides[0].channel.basic_ack(tag)
        self._answers -= 1
        self._send()
        if not self._answers:
            self._done.set()


class _Side:
    """A connection in a thread of its own, with a channel that consumes, and publishes with confirms."""

    channel: Any

    def __init__(self, url: str, queue: str, delivered: Any) -> None:
        self._queue = queue
        self._delivered = delivered
        self._tags = count(1)
        self._then: dict[int, Any] = {}
        self._ready = threading.Event()
        self._connection = pika.SelectConnection(
            pika.URLParameters(url), on_open_callback=lambda connection: connection.channel(on_open_callback=self._open)
        )
        self._thread = threading.Thread(target=self._connection.ioloop.start, daemon=True)
        self._thread.start()
        self._ready.wait()

    def soon(self, act: Any) -> None:
        self._connection.ioloop.add_callback_threadsafe(act)

    def end(self) -> None:
        self._connection.add_on_close_callback(lambda _connection, _reason: self._connection.ioloop.stop())
        self.soon(self._connection.close)
        self._thread.join()

    def publish(self, queue: str, data: bytes, then: Any) -> None:
        self._then[next(self._tags)] = then
        self.channel.basic_publish("", queue, data, pika.BasicProperties(delivery_mode=2), mandatory=True)

    def _open(self, channel: Any) -> None:
        self.channel = channel
        channel.basic_qos(prefetch_count=IN_FLIGHT)
        channel.confirm_delivery(self._confirmed)
        channel.basic_consume(
            self._queue, lambda _channel, method, _properties, _body: self._delivered(method.delivery_tag)
        )
        self._ready.set()

    def _confirmed(self, frame: Any) -> None:
        last = frame.method.delivery_tag
        for tag in [each for each in self._then if each <= last] if frame.method.multiple else [last]:
            self._then.pop(tag)()
