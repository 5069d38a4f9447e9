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

from pika.adapters.select_connection import IOLoop

from stackledger.domain.errors import BrokerError
from stackledger.workers.fleet.broker.address import BrokerAddress
from stackledger.workers.fleet.broker.errors import FROM_PIKA, broker_error
from stackledger.workers.fleet.broker.foreign_headers import read_any_header
from stackledger.workers.fleet.broker.publishing import PATIENCE, Publisher
from stackledger.workers.fleet.broker.told import (
    Blocked,
    Broke,
    Disconnected,
    Inbox,
    NotConnected,
    Told,
    Unanswered,
    Unblocked,
)
from stackledger.workers.fleet.broker.wire import Ask, Connection, Wire

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_GOODBYE = 3.0
"""For how many seconds a connection is closed in order, before it is just left."""

_LASTING = 10.0
"""A session that lasted for so many seconds is taken for a good one: the next attempt follows at once."""


def tame_pika() -> None:
    """Keep pika from telling of every lost connection with a stack trace; who needs to know of one is told by us.

    And from losing them to the headers of a message.
    """
    read_any_header()
    logger = logging.getLogger("pika")
    if logger.level == logging.NOTSET:
        logger.addHandler(logging.NullHandler())
        logger.setLevel(logging.CRITICAL)


class Session(Protocol):
    """What a process does on a connection; it is made anew for each, and lives in the thread of that."""

    publisher: Publisher

    def set_up(self) -> Generator[Ask, Any, None]:
        """Ask for one thing after the other, each answered; in the end call `ready`."""


S = TypeVar("S", bound=Session)


class Supervisor(Generic[S]):
    """Keeps a session with the broker, and hands it what the main thread wants of it."""

    def __init__(self, address: BrokerAddress, inbox: Inbox, session: Callable[[Wire], S], *, name: str) -> None:
        tame_pika()
        self.inbox = inbox
        self.wire: Wire | None = None
        self._address = address
        self._make = session
        self._session: S | None = None
        self._ready_at: float | None = None
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
        if self._thread.ident is None:
            self._loop.close()  # it was never started
            return
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
            self._ready_at = monotonic()
            self.inbox.put(told)
            self._loop.call_later(PATIENCE, partial(self._complain, wire, frozenset()))

    def lose(self, wire: Wire, error: BaseException) -> None:
        """End a session, at once for us; the broker is told if it still listens. Another one follows."""
        if self.wire is not wire:
            return
        ours = error if isinstance(error, BrokerError) else broker_error(error, self._address.place)
        self.inbox.put(NotConnected(ours) if self._ready_at is None else Disconnected(ours))
        if self._ready_at is not None and monotonic() - self._ready_at >= _LASTING:
            self._failures = 0
        self.wire = self._session = self._ready_at = None
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
        connection = wire.connection = Connection(
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


def _close(connection: Connection) -> None:
    if not (connection.is_closed or connection.is_closing):
        connection.close()
