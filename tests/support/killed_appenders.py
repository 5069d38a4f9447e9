"""Processes that append until they are killed, and what the log must hold afterwards."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent

from tests.support.any_log import Where, reader_at, recorder_at
from tests.support.appenders import under
from tests.support.processes import ended, forked


@dataclass
class Killed:
    """A log, the processes that append to it, and the acknowledgements that they wrote into a pipe.

    Every event says in its data which batch it belongs to, and its place in it. A worker acknowledges a batch by
    a line with its name and the position of its last event.
    """

    where: Where
    chance: random.Random
    workers: dict[int, str] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    started: int = 0

    def __post_init__(self) -> None:
        self._reading, self._writing = os.pipe()
        self._rest = b""
        self._checked = 0
        self._found: dict[str, int] = {}

    def start(self) -> None:
        """Fork another worker."""
        self.started += 1
        name = f"w{self.started}"
        seed = self.chance.random()
        self.workers[forked(lambda: self._work(name, random.Random(seed)))] = name

    def read_acknowledgements(self) -> list[bytes]:
        """Wait until some came, and return them."""
        *lines, self._rest = (self._rest + os.read(self._reading, 65536)).split(b"\n")
        for line in filter(None, lines):
            batch, position = line.decode().split()
            self.acknowledged[batch] = int(position)
        return lines

    def kill(self, pid: int) -> None:
        """Kill a worker in the middle of whatever it does."""
        os.kill(pid, signal.SIGKILL)
        assert ended(pid) == -signal.SIGKILL, "a worker failed by itself: see its traceback"
        del self.workers[pid]

    def kill_all(self) -> None:
        """Kill the workers one by one, and take what they had acknowledged."""
        for pid in list(self.workers):
            self.kill(pid)
        os.write(self._writing, b"\n")  # the last word, so that reading ends
        while b"" not in self.read_acknowledgements():
            pass

    def check(self) -> None:
        """Find every acknowledged event, whole batches only, each once, in an undamaged file."""
        with closing(reader_at(self.where)) as reader:
            position = self._checked
            for event in reader.scan(after=self._checked):
                batch, place, size, _ = event.data.split(b" ", 3)
                if place != b"0" or isinstance(self.where, Path):
                    assert event.position == position + 1, "a position was left out"
                position = event.position
                assert self._found.get(batch.decode(), 0) == int(place), f"{batch!r} is torn, doubled or out of order"
                self._found[batch.decode()] = int(place) + 1
                if int(place) + 1 == int(size):
                    assert self.acknowledged.pop(batch.decode(), position) == position
                else:
                    following = reader.at(position + 1)
                    assert following is not None, f"only a part of {batch!r} is there"
                    assert following.data.startswith(batch + b" "), f"{batch!r} is torn"
            self._checked = position
        assert self.acknowledged == {}, "acknowledged, and not in the log"
        if isinstance(self.where, Path):
            with closing(sqlite3.connect(self.where)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def close(self) -> None:
        """Kill who is left."""
        for pid in list(self.workers):
            self.kill(pid)
        os.close(self._reading)
        os.close(self._writing)

    def _work(self, name: str, chance: random.Random) -> None:
        number = 0
        while True:
            with closing(recorder_at(self.where)) as recorder:
                for _ in range(chance.randrange(1, 12)):
                    number += 1
                    batch, size = f"{name}.{number}", chance.choice([1, 1, 1, 3, 20])
                    last = recorder.append(
                        [
                            DCBEvent(type="t/1", data=_data(chance, batch, place, size), tags=["all", f"by:{name}"])
                            for place in range(size)
                        ],
                        DCBAppendCondition(under(f"other:{name}")),
                    )
                    os.write(self._writing, f"{batch} {last}\n".encode())


def _data(chance: random.Random, batch: str, place: int, size: int) -> bytes:
    return f"{batch} {place} {size} ".encode() + bytes(chance.choice([10, 100, 9000]))


@contextmanager
def killed(where: Where, seed: int) -> Iterator[Killed]:
    with closing(Killed(where, random.Random(seed))) as appenders:
        yield appenders
