"""The process of a coordinator: it stands by until the seat is free, drives runs while it has it, and so on."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty
from typing import TypeVar

from stackledger.domain.errors import (
    LogDamaged,
    LogError,
    LogForbidden,
    LogMoved,
    LogTooNew,
    LogUnreachable,
    NotFound,
    Refused,
)
from stackledger.domain.event import Context
from stackledger.domain.wording import counted
from stackledger.eventlog.handler import Newcomers
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.moves import moved_away, standing
from stackledger.eventlog.seat import Listener, Seat
from stackledger.workers.fleet.broker.address import BrokerAddress
from stackledger.workers.fleet.broker.coordinator_line import PREFETCH, CoordinatorLine
from stackledger.workers.fleet.broker.loops import run_coordinator_loop
from stackledger.workers.fleet.broker.told import Changed, Inbox, Stop
from stackledger.workers.fleet.broker.topology import Topology
from stackledger.workers.fleet.fleet_log import HandlerLog, OpenRuns
from stackledger.workers.fleet.protocol.coordinator import Coordinator, Pace
from stackledger.workers.fleet.protocol.known import Known
from stackledger.workers.fleet.protocol.messages import Signer, Verifier
from stackledger.workers.fleet.protocol.ports import Dismissed, LogAway, NotActive
from stackledger.workers.fleet.protocol.tally import CoordinatorTally
from stackledger.workers.fleet.system_clock import SystemClock
from stackledger.workers.fleet.tasks import task_of
from stackledger.workers.fleet.traced_log import TracedLog
from stackledger.workers.tracing import Tracing

_LOOK_EVERY = 0.5
"""Seconds between two looks whether the seat is free."""
_OTHERS_FIRST = 1.5
"""Seconds for which others may try when something went wrong here."""
_LISTENS_FOR = 0.2
"""Seconds after which whoever listens to the log looks whether to end."""

Tell = Callable[[str], None]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What one coordinator needs to drive the runs of an orchestrator.

    `context` says by whom what it appends was done, `newcomers` enrolls them; `open_runs` are read from the views.
    Who is `without_broker` for so many seconds lets others try. `tracing` sends traces of the runs.
    """

    topology: Topology
    seat: Seat
    open_runs: OpenRuns
    context: Callable[[], Context]
    newcomers: Newcomers
    address: BrokerAddress
    signer: Signer
    verifier: Callable[[Known], Verifier]
    pace: Pace = field(default_factory=Pace)
    prefetch: int = PREFETCH
    without_broker: float = 30.0
    tracing: Tracing | None = None


class Audience:
    """Who is told what becomes of a coordinator; the same line is told once, until another one comes.

    `trouble` gets what is wrong with the log or the broker, `tell` all else, and that too if there is no other.
    `alive` is called a few times a second, active or standing by. `active` is the coordinator while it is, and `tally`
    what it did, for whoever measures in another thread.
    """

    def __init__(self, tell: Tell, *, trouble: Tell | None = None, alive: Callable[[], None] = lambda: None) -> None:
        self._tell = tell
        self._trouble = trouble or tell
        self._last = ""
        self.alive = alive
        self.active: Coordinator | None = None
        self.tally = CoordinatorTally()

    def tell(self, line: str) -> None:
        """Say what is new."""
        self._say(self._tell, line)

    def trouble(self, what: Exception | str) -> None:
        """Say what is wrong."""
        self._say(self._trouble, str(what))

    def _say(self, to: Tell, line: str) -> None:
        if line != self._last:
            self._last = line
            to(line)


def coordinate(post: Post, inbox: Inbox, audience: Audience) -> None:
    """Coordinate until Stop is put into the inbox.

    Whatever takes the seat away, or keeps it from being taken, is waited for. What waiting does not mend is raised: a
    damaged log, one that was moved, an event that only a newer program knows, another log in the place of this one, a
    key that was revoked.
    """
    try:
        # Whoever takes over begins at once where its views lag but little.
        _waited_for(post.open_runs, audience)
        pause = 0.0
        while not _told_to_stop(inbox, pause):
            audience.alive()
            done = _waited_for(lambda: _had_its_turn(post, inbox, audience), audience)
            if done:
                break
            pause = _OTHERS_FIRST if done is None else _LOOK_EVERY
    finally:
        post.seat.leave()
    audience.tell("Stopped.")


def as_soon_as_there(make: Callable[[], Result], inbox: Inbox, audience: Audience) -> Result | None:
    """Return what can be made where the log can be reached, which is waited for; None if Stop comes before.

    What waiting does not mend is raised: a log that is there and lets nobody in, or whatever else is wrong.
    """
    while True:
        audience.alive()
        try:
            return make()
        except LogForbidden:
            raise
        except LogUnreachable as error:
            audience.trouble(f"Waiting for the log. {error}")
        if _told_to_stop(inbox, _OTHERS_FIRST):
            audience.tell("Stopped.")
            return None


def _had_its_turn(post: Post, inbox: Inbox, audience: Audience) -> bool:
    """Drive runs if the seat is free; return True when told to stop, False where the seat is somebody else's."""
    if not post.seat.take():
        audience.tell("Standing by: another coordinator is active.")
        return False
    try:
        _check_log(post)
        _drive(post, inbox, audience)
    finally:
        post.seat.leave()
    return True


def _waited_for(act: Callable[[], Result], audience: Audience) -> Result | None:
    """Return what comes of something; None, and a word to whoever listens, where it may go well another time."""
    try:
        return act()
    except (LogTooNew, LogDamaged, LogMoved):
        raise
    except Dismissed as error:
        raise Refused(
            str(error),
            hint="Make another key, have it enrolled where the root key is, and start the coordinator again.",
        ) from error
    except (NotActive, LogAway, LogError) as error:
        audience.trouble(f"Standing by: {error}")
        return None


def _check_log(post: Post) -> None:
    """Raise NotFound where another log has taken the place of the one that the queues are named after, or LogMoved."""
    found = standing(post.seat.reader)
    if found is not None and found.moved is not None:
        raise moved_away(post.seat.reader.name, found.moved, {})
    if found is not None and found.name != post.topology.log:
        raise NotFound(
            "Another log is in the place of the one to coordinate, or it was moved and adopted since.",
            hint="Start the program again.",
        )


class _Seated(Coordinator):
    """A coordinator that tells what becomes of it, and leaves the seat to others where it has no broker for long."""

    def show_to(self, audience: Audience, patience: float) -> None:
        """Say to whom, and how many seconds it may be without the broker."""
        self._audience = audience
        self._without_broker = patience
        self._with_broker_at = self._clock.monotonic()

    def connected(self, missing: Sequence[str]) -> None:
        self._audience.tell("Connected to the broker.")
        super().connected(missing)

    def tick(self) -> None:
        super().tick()
        self._audience.alive()
        now = self._clock.monotonic()
        if self._connected:
            self._with_broker_at = now
        elif now - self._with_broker_at > self._without_broker:
            raise NotActive("The broker cannot be reached from here, perhaps from elsewhere.")


def _drive(post: Post, inbox: Inbox, audience: Audience) -> None:
    """Drive runs until told to stop; NotActive and LogAway come through."""
    orchestrator_id = post.topology.orchestrator_id
    line = CoordinatorLine(post.address, post.topology, inbox, prefetch=post.prefetch)
    try:
        log = HandlerLog(orchestrator_id, post.seat, post.open_runs, post.context(), post.newcomers)
        coordinator = _Seated(
            orchestrator_id,
            post.topology.log,
            log=log if post.tracing is None else TracedLog(log, post.tracing, orchestrator_id),
            broker=line,
            signer=post.signer,
            verifier=post.verifier,
            clock=SystemClock(),
            new_id=new_id,
            task_of=task_of,
            pace=post.pace,
            place=(platform.node(), os.getpid()),
            tally=audience.tally,
        )
        coordinator.show_to(audience, post.without_broker)
        coordinator.activate()
    except BaseException:
        line.supervisor.end()
        raise
    audience.active = coordinator
    try:
        with _listening(post.seat.listener(), inbox):
            audience.tell(f"Active, with {counted(len(coordinator.known.runs), 'open run')}.")
            run_coordinator_loop(coordinator, line, inbox, trouble=audience.trouble)
    finally:
        audience.active = None


@contextmanager
def _listening(listener: Listener, inbox: Inbox) -> Iterator[None]:
    """Put into the inbox that the log changed as soon as somebody hears of it; what nobody hears the next tick sees."""

    def listen() -> None:
        while not over.is_set():
            try:
                if listener.wait(_LISTENS_FOR):
                    inbox.put(Changed())
            except LogError:
                over.wait(_LISTENS_FOR)
        listener.close()

    over = threading.Event()
    thread = threading.Thread(target=listen, name="stackledger-log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(2 * _LISTENS_FOR)  # it may be waiting for a server that does not answer


def _told_to_stop(inbox: Inbox, within: float) -> bool:
    """Say whether Stop comes within some seconds; what else comes is of a line that is over."""
    until = time.monotonic() + within
    with suppress(Empty):
        while True:
            if isinstance(inbox.get(timeout=max(0.0, until - time.monotonic())), Stop):
                return True
    return False
