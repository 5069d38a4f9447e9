"""The main loop of a process of the fleet: it takes out of its inbox what it was told, and lets time pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from queue import Empty
from time import monotonic
from typing import TYPE_CHECKING

from stackledger.domain.errors import BrokerError
from stackledger.workers.fleet.broker.told import (
    Announced,
    Blocked,
    Broke,
    Changed,
    Confirmed,
    Connected,
    ConsumerCancelled,
    Delivered,
    Disconnected,
    Ended,
    Inbox,
    NotConnected,
    Returned,
    Stop,
    Told,
    Unanswered,
    Unblocked,
)
from stackledger.workers.fleet.protocol.ports import Arrived, NotActive

# A process that is the one does without the modules of the other.
if TYPE_CHECKING:
    from stackledger.workers.fleet.broker.coordinator_line import CoordinatorLine
    from stackledger.workers.fleet.broker.worker_line import WorkerLine
    from stackledger.workers.fleet.protocol.coordinator import Coordinator
    from stackledger.workers.fleet.protocol.worker import Worker

_EVERY = 0.2
"""How many seconds pass between two looks at the clocks."""
_MOST = 2_000
"""How much is dealt with between two looks at the clocks, at most."""
_LAST_WORDS = 5.0
"""How many seconds a worker that is to stop may try to say what it has to say, after its grace period."""

Trouble = Callable[[BrokerError], None]
"""Is called with what happened to the connection; it comes back by itself."""


def run_coordinator_loop(  # noqa: C901, PLR0912 - one arm for each thing that may be told
    coordinator: Coordinator, line: CoordinatorLine, inbox: Inbox, *, trouble: Trouble = lambda _error: None
) -> None:
    """Drive an activated coordinator until it is told to stop; NotActive comes through. The line ends with it."""
    line.supervisor.start()
    arrived: list[Arrived] = []
    changed = False
    try:
        for told in _turns(inbox):
            match told:
                case None:
                    if arrived:
                        coordinator.arrived(arrived)
                    elif changed:
                        coordinator.tick()
                    arrived, changed = [], False
                    line.supervisor.flush()
                case Tick():
                    coordinator.tick()
                case Changed():
                    changed = True
                case Delivered():
                    arrived.append(told.arrived)
                case Confirmed():
                    for token in told.tokens:
                        coordinator.confirmed(token)
                case Returned():
                    coordinator.returned(told.token, told.queue)
                case Connected():
                    line.supervisor.use(told.session)
                    coordinator.connected(told.missing)
                case Disconnected():
                    line.supervisor.use(None)
                    arrived = []
                    coordinator.disconnected()
                    trouble(told.error)
                case NotConnected() | Unanswered():
                    trouble(told.error)
                case Unblocked():
                    coordinator.unblocked()
                case Blocked():
                    trouble(BrokerError(f"The broker takes no messages for now: {told.why}"))
                case Stop():
                    # What is in the log by now, that a run was cancelled perhaps, workers hear of before we go.
                    with suppress(NotActive):
                        coordinator.tick()
                    line.supervisor.flush()
                    return
                case Broke():
                    raise told.error
                case Announced() | ConsumerCancelled() | Ended():
                    pass  # workers' matters
    finally:
        line.supervisor.end()


def run_worker_loop(  # noqa: C901, PLR0912 - the same
    worker: Worker, line: WorkerLine, inbox: Inbox, *, grace: float, trouble: Trouble = lambda _error: None
) -> None:
    """Drive a worker until it was told to stop and is done; at the latest some time after its grace period.

    What it could not say until then is as lost as if it had died. The line ends with it.
    """
    line.supervisor.start()
    until: float | None = None
    try:
        for told in _turns(inbox):
            match told:
                case None:
                    line.supervisor.flush()
                    if worker.is_done or (until is not None and monotonic() > until):
                        return
                case Tick():
                    worker.tick()
                case Delivered():
                    worker.arrived(told.slot, told.arrived)
                case Announced():
                    worker.told(told.data)
                case Confirmed():
                    for token in told.tokens:
                        worker.confirmed(token)
                case Returned():
                    worker.returned(told.token)
                case ConsumerCancelled():
                    worker.consumer_cancelled(told.slot)
                case Ended():
                    worker.ended(told.slot, told.execution, told.result, told.log)
                case Connected():
                    line.supervisor.use(told.session)
                    worker.connected()
                case Disconnected():
                    line.supervisor.use(None)
                    worker.disconnected()
                    trouble(told.error)
                case NotConnected() | Unanswered():
                    trouble(told.error)
                case Stop():
                    until = monotonic() + grace + _LAST_WORDS
                    worker.stop()
                case Blocked():
                    trouble(BrokerError(f"The broker takes no messages for now: {told.why}"))
                case Unblocked() | Changed():
                    pass
                case Broke():
                    raise told.error
    finally:
        line.supervisor.end()


class Tick:
    """It is time to look at the clocks."""


def _turns(inbox: Inbox) -> Iterator[Told | Tick | None]:
    """Yield what was told, turn by turn: None ends a turn, and the next one waits until there is something to do."""
    tick_at = monotonic()
    while True:
        if monotonic() >= tick_at:
            tick_at = monotonic() + _EVERY
            yield Tick()
        yield None
        try:
            yield inbox.get(timeout=max(0.0, tick_at - monotonic()))
            yield from islice(_there_already(inbox), _MOST)
        except Empty:
            pass


def _there_already(inbox: Inbox) -> Iterator[Told]:
    while True:
        try:
            yield inbox.get_nowait()
        except Empty:
            return
