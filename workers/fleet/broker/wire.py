"""One connection to RabbitMQ, and how a session is set up on it: by asking, and going on with the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import pika
from pika.channel import Channel

from stackledger.domain.errors import TopologyMismatch
from stackledger.workers.fleet.broker.told import Inbox, Told

_NOT_FOUND = 404

Ask = Callable[[Callable[..., None]], object]
"""Asks the broker something, and calls back with the answer."""


class Supervisor(Protocol):
    """Whoever makes the connection again when it is lost."""

    inbox: Inbox
    wire: Wire | None

    def is_ready(self, wire: Wire, told: Told) -> None:
        """Tell that a session can be used."""

    def lose(self, wire: Wire, error: BaseException) -> None:
        """End a session."""


class Connection(pika.SelectConnection):  # type: ignore[misc, unused-ignore]
    """Writes each message in one piece: pika itself makes a system call of each of its frames."""

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        super()._output_marshaled_frames([b"".join(marshaled_frames)])


class Wire:
    """One connection, as long as it holds: what sessions are made of."""

    connection: Connection

    def __init__(self, number: int, supervisor: Supervisor) -> None:
        self.number = number
        self.blocked = False
        self._supervisor = supervisor

    def tell(self, told: Told) -> None:
        """Let the main thread know, unless the session is over."""
        if self._supervisor.wire is self:
            self._supervisor.inbox.put(told)

    def ready(self, told: Told) -> None:
        """Say that the session can be used, and what else there is to say about it."""
        self._supervisor.is_ready(self, told)

    def lose(self, error: BaseException) -> None:
        """End the session."""
        self._supervisor.lose(self, error)

    def channel(self) -> Ask:
        """Open a channel; if the broker closes it, the session is lost."""

        def ask(then: Callable[..., None]) -> None:
            channel = self.connection.channel(on_open_callback=then)
            channel.add_on_close_callback(lambda _channel, reason: self.lose(reason))
            channel.add_on_cancel_callback(
                lambda _frame: self.lose(
                    TopologyMismatch("The broker ended a consumer: its queue was deleted, or moved to another node.")
                )
            )

        return ask

    def missing(self, queues: tuple[str, ...]) -> Ask:
        """Call back with those of these queues, one at least, that are not there."""

        def ask(then: Callable[..., None]) -> None:
            there: dict[str, bool] = {}

            def note(queue: str, is_there: bool) -> None:  # noqa: FBT001 - found out by a callback
                if queue not in there:
                    there[queue] = is_there
                    if len(there) == len(queues):
                        then(tuple(each for each in queues if not there[each]))

            for queue in queues:
                self._look(queue, note)

        return ask

    def _look(self, queue: str, note: Callable[[str, bool], None]) -> None:
        """Look on a channel of its own whether a queue is there: the broker closes it if not."""

        def closed(_channel: Channel, reason: BaseException) -> None:
            code = getattr(reason, "reply_code", None)
            if code == _NOT_FOUND:
                note(queue, False)  # noqa: FBT003
            elif code is None or code >= 300:  # noqa: PLR2004 - where the codes of errors begin
                self.lose(reason)

        def found(channel: Channel) -> None:
            channel.close()
            note(queue, True)  # noqa: FBT003

        def opened(channel: Channel) -> None:
            channel.add_on_close_callback(closed)
            channel.queue_declare(queue, passive=True, callback=lambda _frame: found(channel))

        self.connection.channel(on_open_callback=opened)
