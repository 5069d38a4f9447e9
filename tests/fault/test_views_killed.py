"""A process that is killed while it catches the views up loses nothing, and doubles nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import pytest

from stackledger.eventlog.stored import StoredEvent
from stackledger.projections.engine import Views
from stackledger.projections.folding import Writer
from tests.support.histories import history
from tests.support.memory_log import MemoryReader
from tests.support.processes import ended, forked
from tests.support.views import bookkeeping, dumped

EVENTS = history(Random(5), 200)


class Deadly(MemoryReader):
    """A log whose reader is killed in the middle of reading."""

    def __init__(self, events: list[StoredEvent], at: int) -> None:
        super().__init__(events)
        self._at = at

    def scan(self, *, after: int = 0, upto: int | None = None, tags: tuple[str, ...] = ()) -> Iterator[StoredEvent]:
        for index, event in enumerate(super().scan(after=after, upto=upto, tags=tags)):
            if index == self._at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield event


def catch_up(writer: Writer) -> None:
    writer.catch_up()


def test_killing_at_every_few_events_loses_and_doubles_nothing(tmp_path: Path) -> None:
    whole = tmp_path / "whole.db"
    Writer(whole, MemoryReader(EVENTS), pytest.fail).catch_up()
    path = tmp_path / "killed.db"
    killed = 0
    for moment in (*range(0, 40, 3), *range(40, 0, -7)) * 3:
        writer = Writer(path, Deadly(EVENTS, moment), print, batch_events=5)
        child = forked(partial(catch_up, writer))
        killed += ended(child) == -signal.SIGKILL
    assert killed > 10
    assert Views(path, MemoryReader(EVENTS), pytest.fail).catch_up() == EVENTS[-1].position
    assert dumped(path) == dumped(whole)
    assert bookkeeping(path) == bookkeeping(whole)
