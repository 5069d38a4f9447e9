"""The signals by which a process of the fleet is told to come to an end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from stackledger.workers.fleet.broker.told import Inbox, Stop


@contextmanager
def stopped_by_signals(inbox: Inbox, tell: Callable[[str], None], *, meanwhile: str = "") -> Iterator[None]:
    """Put Stop into the inbox at the first signal to end; the second one ends the process. For the main thread."""

    def stop(number: int, _frame: FrameType | None) -> None:
        inbox.put(Stop())
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        tell(f"{signal.Signals(number).name}: stopping{meanwhile}. Once more ends it at once.")

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
