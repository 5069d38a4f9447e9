"""A log in memory, to fold and to read without a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stackledger.eventlog.stored import StoredEvent


class MemoryReader:
    """A LogReader over a list of events, which may grow."""

    name = "in memory"

    def __init__(self, events: Iterable[StoredEvent] = ()) -> None:
        self.events = list(events)

    def head(self) -> int:
        return self.events[-1].position if self.events else 0

    def at(self, position: int) -> StoredEvent | None:
        return next((event for event in self.events if event.position == position), None)

    def scan(self, *, after: int = 0, upto: int | None = None, tags: tuple[str, ...] = ()) -> Iterator[StoredEvent]:
        for event in list(self.events):
            if after < event.position and (upto is None or event.position <= upto) and set(tags) <= set(event.tags):
                yield event

    def scan_back(self, *, before: int | None = None, tags: tuple[str, ...] = ()) -> Iterator[StoredEvent]:
        for event in reversed(self.events):
            if (before is None or event.position < before) and set(tags) <= set(event.tags):
                yield event

    def close(self) -> None:
        pass


def cut(events: Iterable[StoredEvent], position: int) -> list[StoredEvent]:
    """Return the log as it was at a position."""
    return [event for event in events if event.position <= position]
