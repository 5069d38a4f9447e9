"""A fleet over a real broker, in real time: the classes and loops of production, each process a thread or two.

Each has its own way to the broker, through a proxy. Killing one cuts that way and ends its thread where it stands.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from queue import SimpleQueue
from random import Random
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from stackledger.domain.errors import BrokerError
from stackledger.domain.event import Boundary, Event
from stackledger.domain.events.fleet import KeyEnrolled, KeyRole, RunCancelled
from stackledger.domain.events.runs import (
    PlannedStep,
    RunFailed,
    RunStarted,
    RunSucceeded,
)
from stackledger.domain.runs import START_RUN
from stackledger.workers.fleet.broker.address import BrokerAddress
from stackledger.workers.fleet.broker.coordinator_line import CoordinatorLine
from stackledger.workers.fleet.broker.loops import run_coordinator_loop, run_worker_loop
from stackledger.workers.fleet.broker.told import Broke, Ended, Inbox, Stop
from stackledger.workers.fleet.broker.topology import Topology
from stackledger.workers.fleet.broker.worker_line import WorkerLine
from stackledger.workers.fleet.protocol.coordinator import Coordinator, Pace
from stackledger.workers.fleet.protocol.messages import Failure, Success, Task
from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED, NotActive, Seen
from stackledger.workers.fleet.protocol.worker import Habits, Worker
from stackledger.workers.fleet.system_clock import SystemClock
from stackledger.workers.fleet.tasks import task_of
from stackledger.workers.fleet.trust.trusting import Trusted
from tests.support.eventually import eventually
from tests.support.fleet.log import Access, SimulatedLog
from tests.support.fleet.network import Killed
from tests.support.fleet.world import (
    ORCHESTRATOR,
    ROOT,
    Pen,
    enrolled_keys,
    outputs_of,
    signed,
    start,
    trust_list,
)
from tests.support.proxy import Proxy, proxy_to

PACE = Pace(
    silence=4,
    probe_every=4,
    probe_grace=5,
    record_confirmed=0.2,
    declare_every=4,
    trust_every=2,
    patience=10,
    gap=3,
    window=200,
)
HABITS = Habits(lease_after=1.5, heartbeat=0.5, grace=3)


class RealTime(SystemClock):
    def __init__(self) -> None:
        self.random = Random(1)


class SharedLog(SimulatedLog):
    """The simulated log, for many threads."""

    def __init__(self) -> None:
        super().__init__(RealTime())  # type: ignore[arg-type]
        self.changed = threading.Condition(threading.RLock())
        self._ended: set[str] = set()

    def append(self, events: Sequence[Event], boundary: Boundary = (), after: int | None = None) -> None:
        with self.changed:
            super().append(events, boundary, after)
            self._ended |= {event.run_id for event in events if isinstance(event, RunSucceeded)}
            self.changed.notify_all()

    def wait_for_end(self, run_id: str) -> None:
        with self.changed:
            self.changed.wait_for(lambda: run_id in self._ended)


class SharedAccess(Access):
    def follow(self, after: int) -> Seen:
        with self._log.changed:  # type: ignore[attr-defined]
            return super().follow(after)

    def append(self, events: Sequence[Event], boundary: Boundary, after: int) -> None:
        with self._log.changed:  # type: ignore[attr-defined]
            super().append(events, boundary, after)


class Member:
    """A coordinator or a worker: its threads, its inbox, and its way to the broker."""

    def __init__(self, fleet: RealFleet, name: str, proxy: Proxy) -> None:
        self.name = name
        self.proxy = proxy
        self.alive = True
        self.inbox: Inbox = SimpleQueue()
        self.troubles: list[BrokerError] = []
        self._fleet = fleet
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.live: Callable[[], None] = lambda: None

    def calls(self) -> None:
        if not self.alive:
            raise Killed

    def address(self) -> BrokerAddress:
        parts = urlsplit(self._fleet.url)
        place = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{self.proxy.port}"
        return BrokerAddress(parts._replace(netloc=place).geturl(), heartbeat=self._fleet.heartbeat)

    def kill(self) -> None:
        self.alive = False
        self.proxy.refuse()
        self.inbox.put(Broke(Killed()))
        self._fleet.unlock(self)
        self.thread.join(60)

    def stop(self) -> None:
        self.inbox.put(Stop())
        self.thread.join(60)

    def _run(self) -> None:
        with suppress(Killed, NotActive):
            try:
                self.live()
            except BaseException as error:
                if not isinstance(error, Killed | NotActive):
                    self._fleet.broken.append(error)
                raise
            finally:
                self._fleet.unlock(self)


class Threads:
    """Steps that are executed by doing nothing for some time."""

    def __init__(self, fleet: RealFleet, member: Member) -> None:
        self._fleet = fleet
        self._member = member
        self._running: set[str] = set()

    def unable(self) -> str | None:
        return None

    def start(self, slot: int, execution: str, task: Task) -> None:
        self._fleet.executions[task.ref.run_id, task.ref.step, task.ref.attempt] += 1
        self._running.add(execution)
        seconds = self._fleet.seconds(task)
        if seconds:
            self._later(seconds, slot, execution, task)
        else:
            self._end(slot, execution, task)

    def stop(self, slot: int, execution: str) -> None:
        self._running.discard(execution)

    def fail(self, slot: int, execution: str, failure: Failure) -> None:
        if execution in self._running:
            self._running.discard(execution)
            self._member.inbox.put(Ended(slot, execution, failure))

    def _end(self, slot: int, execution: str, task: Task) -> None:
        if execution in self._running and not self._fleet.may_end(task):
            self._later(0.05, slot, execution, task)
        elif execution in self._running:
            self._running.discard(execution)
            self._member.inbox.put(Ended(slot, execution, Success(outputs=outputs_of(execution, task))))

    def _later(self, seconds: float, slot: int, execution: str, task: Task) -> None:
        timer = threading.Timer(seconds, self._end, (slot, execution, task))
        timer.daemon = True
        timer.start()


class RealFleet:
    def __init__(self, url: str, *, pace: Pace = PACE, habits: Habits = HABITS, heartbeat: int = 20) -> None:
        self.url = url
        self.pace = pace
        self.habits = habits
        self.heartbeat = heartbeat
        self.log = SharedLog()
        self.log_id = f"test-{uuid4().hex[:12]}"
        self.topology = Topology(self.log_id, ORCHESTRATOR, ("default",))
        self.executions: Counter[tuple[str, str, int]] = Counter()
        self.seconds: Callable[[Task], float] = lambda _: 0.0
        self.may_end: Callable[[Task], object] = lambda _: True
        """Says of a step whose time is over whether it may end now."""
        self.members: list[Member] = []
        self.broken: list[BaseException] = []
        self._ids = count(1)
        self._stack = ExitStack()

    def new_id(self) -> str:
        return f"id-{next(self._ids)}"

    @property
    def broker(self) -> RealFleet:
        return self  # as the checker asks

    # Members

    def coordinator(self) -> Member:
        """Start a coordinator; it is active as soon as no other one is."""
        member = self._member("coordinator")

        def live() -> None:
            with self.log.changed:
                self.log.changed.wait_for(lambda: self.log.holder is None or not member.alive)
                member.calls()
                self.log.holder = member  # type: ignore[assignment]
            line = CoordinatorLine(member.address(), self.topology, member.inbox)
            coordinator = Coordinator(
                ORCHESTRATOR,
                self.log_id,
                log=SharedAccess(self.log, member, unsure=lambda: 0.0, away=lambda: False),  # type: ignore[arg-type]
                broker=line,
                signer=Pen(member.name),
                verifier=enrolled_keys,
                clock=RealTime(),
                new_id=self.new_id,
                task_of=task_of,
                pace=self.pace,
            )
            coordinator.activate()
            run_coordinator_loop(coordinator, line, member.inbox, trouble=member.troubles.append)

        return self._started(member, live)

    def worker(self, *, slots: int = 2) -> Member:
        member = self._member("worker")

        def live() -> None:
            line = WorkerLine(member.address(), self.topology, member.inbox, queue="default", slots=slots)
            worker = Worker(
                self.log_id,
                slots=slots,
                broker=line,
                children=Threads(self, member),
                signer=Pen(member.name),
                trust=Trusted(self.log_id, ROOT, verify=signed),
                clock=RealTime(),
                new_id=self.new_id,
                habits=self.habits,
            )
            run_worker_loop(worker, line, member.inbox, grace=self.habits.grace, trouble=member.troubles.append)

        return self._started(member, live)

    def unlock(self, member: Member) -> None:
        with self.log.changed:
            if self.log.holder is member:  # type: ignore[comparison-overlap]
                self.log.holder = None
            self.log.changed.notify_all()

    def _member(self, role: KeyRole) -> Member:
        parts = urlsplit(self.url)
        proxy = self._stack.enter_context(proxy_to(parts.hostname or "", parts.port or 5672))
        member = Member(self, f"{role}-{len(self.members)}", proxy)
        self.members.append(member)
        name = member.name
        self.log.append([KeyEnrolled(key_id=name, role=role, name=name, public=name, queues=("default",))])
        if role == "coordinator":
            coordinators = [each.name for each in self.members if each.name.startswith(role)]
            self.log.append([trust_list(len(self.members), coordinators, 2**62, log_id=self.log_id)])
        return member

    def _started(self, member: Member, live: Callable[[], None]) -> Member:
        member.live = live
        member.thread.start()
        return member

    # What people do

    def submit(self, steps: Sequence[PlannedStep]) -> str:
        run_id = self.new_id()
        self.log.append(START_RUN.decide(start(run_id, steps), {}))
        return run_id

    # What is seen

    def of(self, kind: type[Event]) -> list[Any]:
        return [recorded.event for recorded in list(self.log.events) if isinstance(recorded.event, kind)]

    def open_runs(self) -> set[str]:
        ended = {event.run_id for kind in (RunSucceeded, RunFailed, RunCancelled) for event in self.of(kind)}
        return {event.run_id for event in self.of(RunStarted)} - ended

    def at_rest(self, within: float = 90.0) -> None:
        """Wait until every run has ended, and the queues are empty."""

        def rests() -> bool:
            if self.broken:
                raise self.broken[0]
            return not self.open_runs() and self.is_quiet()

        eventually(rests, within)

    def is_quiet(self) -> bool:
        return all(self.ready(queue) == 0 for queue in (*self.topology.queues, OUTCOMES))

    def ready(self, queue: str) -> int:
        """Return how many messages wait in a queue, -1 if it is not there."""
        with self.channel() as channel:
            try:
                return int(channel.queue_declare(self.topology.on_broker(queue), passive=True).method.message_count)
            except ChannelClosedByBroker:
                return -1

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """Return a channel of somebody who is not of the fleet."""
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            yield connection.channel()
        finally:
            with suppress(AMQPError):
                connection.close()

    def put(self, queue: str, data: bytes, **properties: Any) -> None:
        with self.channel() as channel:
            channel.confirm_delivery()
            channel.basic_publish("", self.topology.on_broker(queue), data, pika.BasicProperties(**properties))

    def close(self) -> None:
        for member in self.members:
            if member.alive and member.thread.is_alive():
                member.kill()
        self._stack.close()
        with self.channel() as channel:
            for queue in (*self.topology.queues, OUTCOMES, PARKED):
                channel.queue_delete(self.topology.on_broker(queue))
            channel.exchange_delete(self.topology.control)


@contextmanager
def real_fleet(url: str, **settings: Any) -> Iterator[RealFleet]:
    fleet = RealFleet(url, **settings)
    try:
        yield fleet
    finally:
        fleet.close()
