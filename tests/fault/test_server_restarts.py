"""A server that is restarted under those who append, also as by a crash: all is there that it acknowledged, once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from contextlib import closing, suppress

from stackledger.domain.decider import Decider
from stackledger.domain.errors import AppendUnknown, LogUnreachable
from stackledger.domain.event import Boundary, Context, Event, item
from stackledger.domain.events.stacks import StackRegistered, stack_name_tag
from stackledger.eventlog.codec import decode
from stackledger.eventlog.handler import CommandHandler
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.postgres import PostgresRecorder
from stackledger.eventlog.sqlite import SQLiteRecorder
from tests.support.any_log import reader_at, recorder_at
from tests.support.eventually import eventually
from tests.support.postgres import Databases, make_empty_log, private_server
from tests.support.processes import ended, forked
from tests.support.registry import stack
from tests.support.soak import rounds

WRITERS = 3


def boundary(name: str) -> Boundary:
    return (item(stack_name_tag(name), StackRegistered),)


def decide(name: str, taken: bool) -> Sequence[Event]:  # noqa: FBT001 - it is the state
    return () if taken else (stack(new_id(), name=name), stack(new_id(), name=f"{name}-beside"))


REGISTERING: Decider[str, bool] = Decider(
    initial=False, boundary=boundary, decide=decide, evolve=lambda _taken, _event: True
)


def opened(address: str) -> SQLiteRecorder | PostgresRecorder:
    while True:
        with suppress(LogUnreachable):  # it restarts just now
            return recorder_at(address)


def register_for_ever(address: str, writer: int, acknowledgements: int) -> None:
    number = 0
    with closing(opened(address)) as recorder:
        handler = CommandHandler(recorder, new_id)
        while True:
            number += 1
            name = f"s-{writer}-{number}"
            while True:
                # Whoever is told that nobody knows, or that the log was away for long, asks again.
                with suppress(AppendUnknown, LogUnreachable):
                    handler.handle(REGISTERING, name, Context(new_id(), time.time_ns() // 1000, "user", "host"))
                    break
            os.write(acknowledgements, f"{name}\n".encode())


def test_a_server_that_is_restarted_loses_and_doubles_nothing() -> None:
    chance = random.Random(1)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    heard = b""

    def acknowledgements() -> int:
        nonlocal heard
        with suppress(BlockingIOError):
            while data := os.read(reading, 65_536):
                heard += data
        return heard.count(b"\n")

    with private_server() as server, Databases(server.admin).database() as address:
        make_empty_log(address)
        writers = [
            forked(lambda number=number: register_for_ever(address, number, writing))  # type: ignore[misc]
            for number in range(WRITERS)
        ]
        try:
            for _ in range(rounds(6, 500)):
                time.sleep(chance.uniform(0.05, 0.6))
                server.stop(chance.choice([signal.SIGQUIT, signal.SIGQUIT, signal.SIGINT]))
                server.start()
            eventually(lambda: acknowledgements() > WRITERS)
        finally:
            for pid in writers:
                os.kill(pid, signal.SIGKILL)
            died = [ended(pid) for pid in writers]
            os.close(writing)
        assert died == [-signal.SIGKILL] * WRITERS, "a writer gave up: see its traceback"
        acknowledgements()
        os.close(reading)
        acknowledged = set(heard.decode().split())
        with closing(reader_at(address)) as reader:
            events = [decode(stored).event for stored in reader.scan()]
            positions = [stored.position for stored in reader.scan()]
        names = [event.name for event in events if isinstance(event, StackRegistered)]
        assert len(names) == len(set(names)), "an append happened twice"
        assert acknowledged <= set(names), "acknowledged, and not in the log"
        assert names[1::2] == [f"{name}-beside" for name in names[::2]], "an append happened in part"
        assert positions == sorted(positions)
