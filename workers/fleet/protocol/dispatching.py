"""Getting queued attempts into the broker's queues: each confirmed, none forgotten, doubles said to be copies."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator

from stackledger.workers.fleet.protocol.known import Known, Waiting

Publish = Callable[[Waiting, bool], int | None]
"""Publishes an attempt, as a copy or not, and returns the token by which its confirmation comes; None if it cannot."""


class Dispatching:
    """The attempts on their way into the queues, at most `window` of each queue unconfirmed.

    Of each queue, because one that does not confirm, having no quorum or no leader, must not stop the others.
    """

    def __init__(self, known: Known, publish: Publish, window: int) -> None:
        self._known = known
        self._publish = publish
        self._window = window
        self._pending: dict[str, deque[tuple[Waiting, bool]]] = defaultdict(deque)
        self._in_flight: dict[int, Waiting] = {}
        self._in_queue: Counter[str] = Counter()

    def unconfirmed(self) -> int:
        """Return how many wait to be sent or to be confirmed; any thread may ask."""
        return len(self._in_flight) + sum(map(len, list(self._pending.values())))

    def add(self, waiting: Iterable[Waiting], *, copied: bool) -> None:
        """Send these as soon as there is room."""
        for each in waiting:
            self._pending[each.queue].append((each, copied))

    def under_way(self) -> set[int]:
        """Return the positions at which the attempts were queued that are about to be confirmed."""
        return set(self._unconfirmed())

    def pump(self) -> None:
        """Publish what there is room for."""
        for queue, pending in self._pending.items():
            while pending and self._in_queue[queue] < self._window:
                waiting, copied = pending.popleft()
                token = self._publish(waiting, copied) if self._known.holds(waiting) else None
                if token is not None:
                    self._in_flight[token] = waiting
                    self._in_queue[queue] += 1

    def confirmed(self, token: int) -> Waiting | None:
        """Note that the broker has an attempt; return which."""
        waiting = self._in_flight.pop(token, None)
        if waiting is not None:
            self._in_queue[waiting.queue] -= 1
        return waiting

    def interrupted(self) -> None:
        """Send what was not confirmed when the connection went, as copies: the broker may have it."""
        for each in reversed(self._in_flight.values()):
            self._pending[each.queue].appendleft((each, True))
        self._in_flight.clear()
        self._in_queue.clear()

    def restart(self, waiting: Iterable[Waiting]) -> None:
        """Send exactly these, as copies, and forget about all others."""
        self._in_flight.clear()
        self._in_queue.clear()
        self._pending.clear()
        self.add(waiting, copied=True)

    def through(self) -> int:
        """Return up to which position everything that was queued is confirmed."""
        return min(self._unconfirmed(), default=self._known.queued + 1) - 1

    def _unconfirmed(self) -> Iterator[int]:
        for each in self._in_flight.values():
            yield each.position
        for pending in self._pending.values():
            for each, _ in pending:
                yield each.position
