from __future__ import annotations

from queue import SimpleQueue
from typing import Any

from stackledger.workers.fleet.broker.loops import run_coordinator_loop
from stackledger.workers.fleet.broker.told import Changed, Delivered, Inbox, Stop
from stackledger.workers.fleet.protocol.ports import Arrived, Tag

ARRIVED = Arrived(Tag(1, 1), b"data")


class Noted:
    """A coordinator and its line; what is done to them is noted."""

    def __init__(self) -> None:
        self.acts: list[str] = []
        self.supervisor = self

    def tick(self) -> None:
        self.acts.append("tick")

    def arrived(self, arrivals: list[Arrived]) -> None:
        self.acts.append(f"arrived {len(arrivals)}")

    def start(self) -> None:
        pass

    def flush(self) -> None:
        pass

    def end(self) -> None:
        self.acts.append("end")


def driven(*told: Any) -> list[str]:
    """Return what a coordinator does that is told this at once, between its first look at all and its last one."""
    noted = Noted()
    inbox: Inbox = SimpleQueue()
    turns = iter([told, (Stop(),)])

    def flush() -> None:
        for each in next(turns, ()):
            inbox.put(each)

    noted.flush = flush  # type: ignore[method-assign]
    run_coordinator_loop(noted, noted, inbox)  # type: ignore[arg-type]
    first, *acts, tick, end = noted.acts
    assert (first, tick, end) == ("tick", "tick", "end")
    return acts


def test_a_log_that_changed_is_looked_at_before_the_next_tick() -> None:
    assert driven(Changed(), Changed(), Changed()) == ["tick"]


def test_who_looks_at_the_log_for_what_arrived_looks_once() -> None:
    assert driven(Changed(), Delivered(0, ARRIVED), Changed(), Delivered(0, ARRIVED)) == ["arrived 2"]
