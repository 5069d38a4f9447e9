"""Virtual time, processes that die at any call, and connections that deliver late but in order."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from random import Random


class Killed(BaseException):
    """The process died here, in the middle of what it was doing."""


class Timeline:
    """What happens when. Things at the same time happen in the order in which they were planned."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = 0.0
        self._order = count()
        self._planned: list[tuple[float, int, Callable[[], object]]] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> int:
        return 1_795_000_000_000_000 + round(self.now * 1_000_000)

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        heapq.heappush(self._planned, (self.now + seconds, next(self._order), act))

    def run(self, until: float) -> None:
        while self._planned and self._planned[0][0] <= until:
            self.now, _, act = heapq.heappop(self._planned)
            act()
        self.now = until


class Process:
    """Something that can be killed at its n-th call outside, stopped for a while, and started again as another."""

    def __init__(self, timeline: Timeline, name: str) -> None:
        self.timeline = timeline
        self.name = name
        self.alive = True
        self.stopped = False
        self._doom: int | None = None
        self._late: list[Callable[[], None]] = []
        self.on_death: list[Callable[[], None]] = []

    def doom(self, calls: int) -> None:
        """Let it die at a call from now on."""
        self._doom = calls

    def calls(self) -> None:
        """Count a call outside; the process may die before it is made."""
        if not self.alive:
            raise Killed
        if self._doom is not None:
            self._doom -= 1
            if self._doom < 0:
                raise Killed

    def act(self, act: Callable[[], None]) -> None:
        """Do something inside the process: now, when it is continued, or never."""
        if not self.alive:
            return
        if self.stopped:
            self._late.append(act)
            return
        try:
            act()
        except Killed:
            self.kill()

    def kill(self) -> None:
        if self.alive:
            self.alive = False
            for each in self.on_death:
                each()

    def stop(self, seconds: float) -> None:
        """Be as good as dead for a while (SIGSTOP, SIGCONT)."""
        self.stopped = True
        self.timeline.after(seconds, self._continue)

    def _continue(self) -> None:
        self.stopped = False
        late, self._late = self._late, []
        for act in late:
            self.act(act)


class Pipe:
    """One direction of a connection: everything arrives in order, after some time, until it is cut."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._slowest = timeline.random.choice((0.01, 0.1, 1.0))
        self._free_at = 0.0
        self._cut = False

    def send(self, act: Callable[[], None]) -> None:
        timeline = self._timeline
        self._free_at = max(self._free_at, timeline.now + timeline.random.random() * self._slowest)
        timeline.after(self._free_at - timeline.now, lambda: None if self._cut else act())

    def cut(self) -> None:
        self._cut = True
