"""Getting queued attempts into the broker's queues: each confirmed, none forgotten, doubles said to be copies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from stackledger.workers.fleet.known import Known, Waiting

Publish = Callable[[Waiting, bool], int]
"""Publishes an attempt, as a copy or not, and returns the token by which its confirmation comes."""


class Dispatching:
    """The attempts on their way into the queues, at most `window` of them unconfirmed."""

    def __init__(self, known: Known, publish: Publish, window: int) -> None:
        self._known = known
        self._publish = publish
        self._window = window
        self._pending: deque[tuple[Waiting, bool]] = deque()
        self._in_flight: dict[int, Waiting] = {}

    def add(self, waiting: Iterable[Waiting], *, copied: bool) -> None:
        """Send these as soon as there is room."""
        self._pending.extend((each, copied) for each in waiting)

    def under_way(self) -> set[int]:
        """Return the positions at which the attempts were queued that are about to be confirmed."""
        return {each.position for each in self._in_flight.values()} | {each.position for each, _ in self._pending}

    def pump(self) -> None:
        """Publish what there is room for."""
        while self._pending and len(self._in_flight) < self._window:
            waiting, copied = self._pending.popleft()
            if self._known.holds(waiting):
                self._in_flight[self._publish(waiting, copied)] = waiting

    def confirmed(self, token: int) -> Waiting | None:
        """Note that the broker has an attempt; return which."""
        return self._in_flight.pop(token, None)

    def interrupted(self) -> None:
        """Send what was not confirmed when the connection went, as copies: the broker may have it."""
        self._pending.extendleft((each, True) for each in reversed(self._in_flight.values()))
        self._in_flight.clear()

    def restart(self, waiting: Iterable[Waiting]) -> None:
        """Send exactly these, as copies, and forget about all others."""
        self._in_flight.clear()
        self._pending.clear()
        self.add(waiting, copied=True)

    def through(self) -> int:
        """Return up to which position everything that was queued is confirmed."""
        unconfirmed = [each.position for each in self._in_flight.values()]
        unconfirmed += [each.position for each, _ in self._pending]
        return min(unconfirmed, default=self._known.queued + 1) - 1
