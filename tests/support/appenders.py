"""Processes that append to one log at the same time: functions that a fresh interpreter can import."""

from __future__ import annotations

import random
from contextlib import closing

from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem
from eventsourcing.persistence import IntegrityError

from tests.support.any_log import Where, recorder_at


def under(tag: str) -> DCBQuery:
    return DCBQuery(items=[DCBQueryItem(types=[], tags=[tag])])


def append_all(where: Where, worker: int, count: int) -> list[int]:
    """Append `count` events that say whose and which they are, one or several at once; return their positions."""
    chance, number = random.Random(worker), 0
    positions: list[int] = []
    with closing(recorder_at(where)) as recorder:
        while number < count:
            size = min(chance.choice([1, 1, 1, 5]), count - number)
            events = [
                DCBEvent(type="t/1", data=b"%d %d" % (worker, number + place), tags=[f"worker:{worker}", "all"])
                for place in range(size)
            ]
            last = recorder.append(events, DCBAppendCondition(under(f"nobody:{worker}")))
            positions += range(last - size + 1, last + 1)
            number += size
    return positions


def claim_all(where: Where, worker: int, names: int) -> list[int]:
    """Try to be the first to claim each name; return those that were claimed."""
    order = list(range(names))
    random.Random(worker).shuffle(order)
    won = []
    with closing(recorder_at(where)) as recorder:
        for name in order:
            claim = DCBEvent(type="claimed/1", data=b"%d" % worker, tags=[f"name:{name}"])
            try:
                recorder.append([claim], DCBAppendCondition(under(f"name:{name}")))
            except IntegrityError:
                continue
            won.append(name)
    return won


def count_up(where: Where, times: int) -> int:
    """Add one to the counter so many times, each time to the number that was read; return the conflicts."""
    conflicts = 0
    with closing(recorder_at(where)) as recorder:
        for _ in range(times):
            while True:
                read = recorder.read(under("counter"))
                value = max((int(sequenced.event.data) for sequenced in read), default=0)
                try:
                    recorder.append(
                        [DCBEvent(type="counted/1", data=b"%d" % (value + 1), tags=["counter"])],
                        DCBAppendCondition(under("counter"), after=read.head),
                    )
                    break
                except IntegrityError:
                    conflicts += 1
    return conflicts
