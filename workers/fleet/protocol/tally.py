"""What a process of a fleet did since it began, where nothing else tells: plain numbers, for whoever measures.

They are only ever added to, by the one thread that does the work; others may read them at any time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from stackledger.domain.event import Event
from stackledger.domain.events.fleet import StepLost
from stackledger.domain.events.runs import StepFailed, StepSucceeded

SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0)
"""The upper ends of the spans of time into which executions are sorted; longer ones come last."""


class CoordinatorTally:
    """What a coordinator appended and parked, whenever it was active."""

    def __init__(self) -> None:
        self.appends = 0
        self.events = 0
        self.succeeded = 0
        self.failed = 0
        self.lost: Counter[str] = Counter()
        self.parked = 0

    def appended(self, events: Sequence[Event]) -> None:
        """Count one append."""
        self.appends += 1
        self.events += len(events)
        for event in events:
            match event:
                case StepSucceeded():
                    self.succeeded += 1
                case StepFailed():
                    self.failed += 1
                case StepLost():
                    self.lost[event.because] += 1
                case _:
                    pass


class WorkerTally:
    """What became of the executions of a worker; `spans` are how many took how long, `seconds` all of them."""

    def __init__(self) -> None:
        self.succeeded = 0
        self.failed = 0
        self.stopped = 0
        self.given_back = 0
        self.seconds = 0.0
        self.spans = [0] * (len(SECONDS) + 1)

    def took(self, seconds: float) -> None:
        """Sort in how long an execution took that came to an end of its own."""
        self.seconds += seconds
        self.spans[bisect_left(SECONDS, seconds)] += 1
