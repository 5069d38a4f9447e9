"""A connection to RabbitMQ that is made again whenever it is lost, in a thread of its own.

pika belongs to that thread alone. Other threads hand it work in batches and hear from it through an inbox. Whatever
goes wrong on a session, be it a channel that the broker closed or a consumer that it cancelled, ends the session
as a whole: what both sides know of it is gone at once, and there is one way to come back.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

import pika
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel

from stackledger.domain.errors import BrokerError, TopologyMismatch
from stackledger.workers.fleet.broker_address import BrokerAddress
from stackledger.workers.fleet.broker_errors import FROM_PIKA, broker_error
from stackledger.workers.fleet.publishing import PATIENCE, Publisher
from stackledger.workers.fleet.told import (
    Blocked,
    Broke,
    Disconnected,
    Inbox,
    NotConnected,
    Told,
    Unanswered,
    Unblocked,
)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_GOODBYE = 3.0
"""For how many seconds a connection is closed in order, before it is just left."""

_NOT_FOUND = 404

Ask = Callable[[Callable[..., None]], object]
"""Asks the broker something, and calls back with the answer."""

# It tells of every lost connection with a stack trace; who needs to know of one is told by us.
logging.getLogger("pika").addHandler(logging.NullHandler())
if logging.getLogger("pika").level == logging.NOTSET:
    logging.getLogger("pika").setLevel(logging.CRITICAL)


class Wire:
    """One connection, as long as it holds: what sessions are made of."""

    connection: pika.SelectConnection

    def __init__(self, number: int, supervisor: Supervisor[Any]) -> None:
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

    def lose(self, error: BrokerError | BaseException) -> None:
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


class Session(Protocol):
    """What a process does on a connection; it is made anew for each, and lives in the thread of that."""

    publisher: Publisher

    def set_up(self) -> Generator[Ask, Any, None]:
        """Ask for one thing after the other, each answered; in the end call `ready`."""


S = TypeVar("S", bound=Session)


class Supervisor(Generic[S]):
    """Keeps a session with the broker, and hands it what the main thread wants of it."""

    def __init__(self, address: BrokerAddress, inbox: Inbox, session: Callable[[Wire], S], *, name: str) -> None:
        self.inbox = inbox
        self.wire: Wire | None = None
        self._address = address
        self._make = session
        self._session: S | None = None
        self._ready = False
        self._sessions = 0
        self._failures = 0
        self._ending = False
        self._open: set[Wire] = set()
        self._outbox: deque[tuple[int, Callable[[S], object]]] = deque()
        self._used: int | None = None
        self._loop = IOLoop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # In the main thread

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def use(self, session: int | None) -> None:
        """Work is for this session from now on; None as long as the main thread knows of none."""
        self._used = session

    def do(self, act: Callable[[S], object]) -> None:
        """Have something done on the session that is used, with the next `flush`; without one forget it."""
        if self._used is not None:
            self._outbox.append((self._used, act))

    def flush(self) -> None:
        """Hand over what is to be done."""
        if self._outbox:
            self._loop.add_callback_threadsafe(self._drain)

    def end(self) -> None:
        """Leave the broker for good, and wait for that for a few seconds at most."""
        self._loop.add_callback_threadsafe(self._leave)
        self._thread.join(_GOODBYE + 2)

    @property
    def is_alive(self) -> bool:
        """Whether the thread of the connection goes on."""
        return self._thread.is_alive()

    # In the thread of the connection

    def is_ready(self, wire: Wire, told: Told) -> None:
        """Tell that a session can be used."""
        if self.wire is wire:
            self._ready = True
            self._failures = 0
            self.inbox.put(told)
            self._loop.call_later(PATIENCE, partial(self._complain, wire, frozenset()))

    def lose(self, wire: Wire, error: BaseException) -> None:
        """End a session, at once for us; the broker is told if it still listens. Another one follows."""
        if self.wire is not wire:
            return
        ours = error if isinstance(error, BrokerError) else broker_error(error, self._address.place)
        self.inbox.put(Disconnected(ours) if self._ready else NotConnected(ours))
        self.wire = self._session = None
        self._ready = False
        _close(wire.connection)
        if not self._ending:
            self._connect_later()

    def _complain(self, wire: Wire, known: frozenset[str]) -> None:
        """Tell, once, of queues that do not confirm; while the broker takes no messages it is not their fault."""
        if self.wire is not wire or self._session is None:
            return
        overdue = frozenset(self._session.publisher.overdue(monotonic())) if not wire.blocked else known
        for queue in overdue - known:
            wire.tell(
                Unanswered(
                    BrokerError(
                        f"The broker has not confirmed a message for the queue '{queue}' for {PATIENCE:.0f} seconds.",
                        hint="See `rabbitmq-queues quorum_status`. Where too few nodes are up, start them; if it has "
                        "no leader for good, delete it: the coordinator makes it again with all that was to be done.",
                    )
                )
            )
        self._loop.call_later(PATIENCE / 3, partial(self._complain, wire, overdue))

    def _blocked(self, wire: Wire, why: str | None) -> None:
        wire.blocked = why is not None
        wire.tell(Unblocked() if why is None else Blocked(why))

    def _run(self) -> None:
        self._connect()
        while True:
            try:
                self._loop.start()
            except FROM_PIKA as error:
                if self.wire is not None:
                    self.lose(self.wire, error)
            except BaseException as error:  # noqa: BLE001 - the main thread raises it
                self.inbox.put(Broke(error))
                return
            else:
                self._loop.close()
                return

    def _connect_later(self) -> None:
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._failures)
        self._failures += 1
        # Not all of a fleet at once.
        self._loop.call_later(random.uniform(pause / 2, pause), self._connect)  # noqa: S311

    def _connect(self) -> None:
        if self._ending:
            return
        self._sessions += 1
        wire = self.wire = Wire(self._sessions, self)
        connection = wire.connection = pika.SelectConnection(
            self._address.parameters(),
            on_open_callback=lambda _connection: self._set_up(wire),
            on_open_error_callback=lambda _connection, error: self._closed(wire, error),
            on_close_callback=lambda _connection, error: self._closed(wire, error),
            custom_ioloop=self._loop,
        )
        self._open.add(wire)
        connection.add_on_connection_blocked_callback(lambda _, frame: self._blocked(wire, str(frame.method.reason)))
        connection.add_on_connection_unblocked_callback(lambda _connection, _frame: self._blocked(wire, None))

    def _set_up(self, wire: Wire) -> None:
        if self.wire is not wire:
            return
        self._session = self._make(wire)
        asked = self._session.set_up()

        def answered(*answer: Any) -> None:
            if self.wire is wire:
                with suppress(StopIteration):
                    asked.send(answer[-1] if answer else None)(answered)

        answered(None)

    def _drain(self) -> None:
        while self._outbox:
            number, act = self._outbox.popleft()
            if self.wire is None or self._session is None or self.wire.number != number:
                continue  # it was meant for a session that is over
            try:
                act(self._session)
            except FROM_PIKA as error:
                self.lose(self.wire, error)

    def _leave(self) -> None:
        self._drain()
        self._ending = True
        self.wire = self._session = None
        for wire in tuple(self._open):
            _close(wire.connection)
        # One that swallows everything never says goodbye.
        self._loop.call_later(_GOODBYE if self._open else 0, self._loop.stop)

    def _closed(self, wire: Wire, error: BaseException) -> None:
        self._open.discard(wire)
        self.lose(wire, error)
        if self._ending and not self._open:
            self._loop.stop()


def _close(connection: pika.SelectConnection) -> None:
    if not (connection.is_closed or connection.is_closing):
        connection.close()
