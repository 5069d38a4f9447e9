"""A whole fleet with a plan of faults, both from one seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from random import Random
from zlib import crc32

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import LogMoved
from stackledger.domain.event import Event, item
from stackledger.domain.events.fleet import KeyEnrolled, KeyRevoked, KeyRole, RunCancelled, TrustPublished
from stackledger.domain.events.runs import (
    Code,
    OutputOfStep,
    PinnedComponent,
    PinnedStack,
    PlannedStep,
    Produced,
    Retry,
    RunFailed,
    RunSucceeded,
    run_tag,
)
from stackledger.domain.fleet import START_ON_FLEET
from stackledger.domain.runs import START_RUN, StartRun
from stackledger.workers.fleet.protocol.coordinator import Coordinator, Pace
from stackledger.workers.fleet.protocol.known import Known
from stackledger.workers.fleet.protocol.messages import Failure, Nudge, Success, Task, TrustList, sealed
from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED, Conflict, NotActive, Tag, Unable
from stackledger.workers.fleet.protocol.worker import Habits, Worker
from stackledger.workers.fleet.tasks import task_of
from stackledger.workers.fleet.trust.ed25519 import id_of
from stackledger.workers.fleet.trust.trusting import EnrolledKeys, Trusted
from tests.support.fleet.broker import Session, SimulatedBroker, Stored
from tests.support.fleet.collector import Collector, SimulatedStore
from tests.support.fleet.log import Access, SimulatedLog
from tests.support.fleet.network import Process, Timeline

LOG = "log-1"
ORCHESTRATOR = "orchestrator-1"
PACE = Pace(
    silence=5,
    probe_every=8,
    probe_grace=10,
    record_confirmed=1,
    declare_every=8,
    trust_every=6,
    patience=4,
    gap=3,
    window=3,
)
HABITS = Habits(lease_after=3, heartbeat=1, grace=3, patience=20)
TICK = 0.5
TAKE_OVER = 6.0
STORE = PinnedComponent(id="store-1", type=ComponentType.ARTIFACT_STORE, name="s", flavor="local", configuration={})
STACK = PinnedStack(
    id="stack-1",
    name="fleet",
    position=1,
    components=(
        PinnedComponent(
            id=ORCHESTRATOR, type=ComponentType.ORCHESTRATOR, name="o", flavor="rabbitmq", configuration={}
        ),
        STORE,
    ),
)


class Pen:
    """Signs as anybody would verify it here: the real keys are tried elsewhere, they take most of the time."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id

    def sign(self, data: bytes) -> bytes:
        return b"%b %d" % (self.key_id.encode(), crc32(data))


def signed(public: str, signature: bytes, data: bytes) -> bool:
    """Say whether the pen of this public key wrote it; here a coordinator's or worker's name is its public key, too."""
    return signature == Pen(ROOT_PEN.key_id if public == ROOT else public).sign(data)


ROOT = "00" * 32
ROOT_PEN = Pen(id_of(ROOT))


class Keyring:
    """Takes everybody's word, for what they are called."""

    def role(self, key_id: str) -> KeyRole | None:
        return "coordinator" if key_id.startswith("coordinator") else "worker"

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        return signed(key_id, signature, data)


def enrolled_keys(known: Known) -> EnrolledKeys:
    return EnrolledKeys(known, signed)


def trust_list(
    number: int, coordinators: Sequence[str], expires: int, *, log_id: str = LOG, pen: Pen = ROOT_PEN
) -> TrustPublished:
    message = TrustList(number=number, expires=expires, coordinators={name: name for name in coordinators})
    return TrustPublished(
        number=number,
        expires=expires,
        root=ROOT,
        coordinators=message.coordinators,
        message=sealed(message, pen, log_id).hex(),
    )


class Line:
    """The connection of a process: made again whenever it was cut."""

    def __init__(self, world: World, process: Process, *, is_worker: bool) -> None:
        self.world = world
        self.process = process
        self.is_worker = is_worker
        self.session: Session | None = None
        self.wanted = True

    def connect(self, owner: Coordinator | Worker) -> None:
        def again() -> None:
            owner.disconnected()
            self.session = None
            self.world.timeline.after(self.world.random.random(), lambda: self.process.act(lambda: self.connect(owner)))

        if not self.wanted:
            return
        broker = self.world.broker
        if isinstance(owner, Worker):
            self.session = Session(
                broker,
                self.process,
                arrived=owner.arrived,
                confirmed=owner.confirmed,
                returned=lambda token, _queue: owner.returned(token),
                cancelled=owner.consumer_cancelled,
                disconnected=again,
                told=owner.told,
            )
            owner.connected()
        else:
            self.session = Session(
                broker,
                self.process,
                arrived=lambda _slot, arrived: self.world.guarded(self.process, lambda: owner.arrived([arrived])),
                confirmed=owner.confirmed,
                returned=owner.returned,
                cancelled=lambda _slot: None,
                disconnected=again,
            )
            broker.declare((OUTCOMES, PARKED))
            self.session.consume_outcomes()
            missing = [] if "default" in broker.queues else ["default"]
            self.world.guarded(self.process, lambda: owner.connected(missing))

    def publish(self, queue: str, data: bytes, token: int) -> None:
        if self.session:
            self.session.publish(queue, data, token)

    def park(self, data: bytes, why: str, token: int) -> None:
        assert why, "nobody would know why it is there"
        self.publish(PARKED, data, token)

    def broadcast(self, data: bytes) -> None:
        if self.session:
            self.session.broadcast(data)

    def acknowledge(self, tag: Tag) -> None:
        if self.session and tag.session == self.session.number:
            self.session.acknowledge(tag)

    def give_back(self, tag: Tag) -> None:
        if self.session and tag.session == self.session.number:
            self.session.give_back(tag)

    def answer(self, reply: str, data: bytes) -> None:
        self.process.calls()
        self.world.answers.append((reply, data))

    def declare(self, queues: Sequence[str]) -> None:
        if self.session:
            self.session.declare(queues)

    def consume(self, slot: int) -> None:
        if self.session:
            self.session.consume(slot)

    def cancel(self, slot: int) -> None:
        if self.session:
            self.session.cancel(slot)

    def close(self) -> None:
        if self.session:
            self.session.close()


class SimulatedChildren:
    """Steps that take some time, fail at times, and leave a line in the witness each time they are executed."""

    def __init__(self, world: World, process: Process) -> None:
        self.world = world
        self.process = process
        self.running: set[str] = set()
        self.worker: Worker | None = None

    def unable(self) -> str | None:
        self.process.calls()
        name = self.process.name
        return "The disk is full." if name in self.world.full - self.world.unaware else None

    def start(self, slot: int, execution: str, task: Task) -> None:
        self.process.calls()
        self.running.add(execution)
        if self.process.name in self.world.full:
            why = "The disk is full."
            self.world.timeline.after(0.0, lambda: self.process.act(lambda: self._give_up(slot, execution, why)))
            return
        self.world.started(task)
        self.world.timeline.after(
            self.world.seconds(task), lambda: self.process.act(lambda: self._end(slot, execution, task))
        )

    def stop(self, slot: int, execution: str) -> None:
        self.process.calls()
        self.running.discard(execution)

    def fail(self, slot: int, execution: str, failure: Failure) -> None:
        self.process.calls()
        if execution in self.running and self.worker is not None:
            self.running.remove(execution)
            worker = self.worker
            self.world.timeline.after(0.0, lambda: self.process.act(lambda: worker.ended(slot, execution, failure)))

    def _give_up(self, slot: int, execution: str, why: str) -> None:
        if execution in self.running and self.worker is not None:
            self.running.remove(execution)
            self.worker.ended(slot, execution, Unable(why))

    def _end(self, slot: int, execution: str, task: Task) -> None:
        if execution not in self.running or self.worker is None:
            return
        self.running.remove(execution)
        if self.world.random.random() < self.world.failing:
            self.worker.ended(slot, execution, Failure(error="ValueError", message="no"))
            return
        outputs = outputs_of(execution, task, of=self.world.bytes_of(execution, task))
        for each in outputs:
            self.process.calls()
            self.world.store.put(each.digest)
        self.worker.ended(slot, execution, Success(outputs=outputs))


def outputs_of(execution: str, task: Task, of: str = "") -> tuple[Produced, ...]:
    """Return what an execution might put out, by which it is known again, unless its bytes are `of` something else."""
    return tuple(
        Produced(
            output=output,
            artifact_id=execution,
            artifact=output,
            digest=f"digest-of-{of or execution}",
            size=1,
            layout="file",
            materializer="json/1",
            data_type="int",
        )
        for output in task.artifacts
    )


class World:
    """Coordinators and workers, kept at their numbers: one that dies is started again after a while."""

    def __init__(
        self,
        random: Random,
        *,
        coordinators: int = 2,
        workers: int = 3,
        slots: int = 2,
        pace: Pace = PACE,
        habits: Habits = HABITS,
        name: str = LOG,
    ) -> None:
        self.name = name
        """What the log is called."""
        self.random = random
        self.pace = pace
        self.habits = habits
        self.timeline = Timeline(self.random)
        self.broker = SimulatedBroker(self.timeline)
        self.log = SimulatedLog(self.timeline)
        self.store = SimulatedStore()
        self.bytes_of: Callable[[str, Task], str] = lambda execution, _: execution
        """What is put out depends on this alone."""
        self.failing = 0.1
        self.seconds: Callable[[Task], float] = lambda _: random.choice((0.0, 0.1, 1.0, 2.0, 5.0, 9.0))
        self.unsure = 0.0
        self.leaving = 0.5
        """How often it is left to coordinators to queue the first steps, as programs of before did."""
        self.executions: Counter[tuple[str, str, int]] = Counter()
        self.cut_off: Process | None = None
        """Whom the log does not answer."""
        self.deserted = False
        """Whether no coordinator becomes active."""
        self.full: set[str] = set()
        """The workers whose disk is full."""
        self.unaware: set[str] = set()
        """Those of them that see it only by what fails."""
        self.answers: list[tuple[str, bytes]] = []
        """What workers said to who asked."""
        self.processes: dict[str, Process] = {}
        self.workers: dict[str, Worker] = {}
        self.trusted: dict[str, Trusted] = {}
        """What each worker keeps in a file."""
        self.mark = 0.0
        self._ids = count(1)
        for number in range(coordinators):
            self.enroll(f"coordinator-{number}", "coordinator")
            self.start_coordinator(f"coordinator-{number}")
        for number in range(workers):
            self.enroll(f"worker-{number}", "worker")
            self.start_worker(f"worker-{number}", slots)

    def new_id(self) -> str:
        return f"id-{next(self._ids)}"

    def enroll(self, name: str, role: KeyRole) -> None:
        self.log.append([KeyEnrolled(key_id=name, role=role, name=name, public=name, queues=("default",))])
        if role == "coordinator":
            self.publish_trust()

    def revoke(self, name: str) -> None:
        self.log.append([KeyRevoked(key_id=name)])
        if self.log.keys[name].role == "coordinator":
            self.publish_trust()

    def counts(self, name: str) -> bool:
        """Say whether a key was enrolled and not revoked."""
        key = self.log.keys.get(name)
        return key is not None and not key.revoked

    def publish_trust(self, lasts: float = 1e9) -> None:
        """Have the root key list all coordinators for some seconds."""
        coordinators = [key.id for key in self.log.keys.values() if key.role == "coordinator" and not key.revoked]
        number = 1 + len(self.log.lists)
        expires = self.timeline.time() + round(lasts * 1_000_000)
        self.log.append([trust_list(number, coordinators, expires)])

    # Processes

    def start_coordinator(self, name: str) -> None:
        process = self._process(name, lambda: self.start_coordinator(name))
        process.on_death.append(lambda: self._unlock(process))

        def stand_by() -> None:
            if not self.counts(name) or self.log.is_moved:
                return
            holder = self.log.holder
            if holder is not None and self.timeline.now - self.mark > TAKE_OVER and not self.log.away:
                self._unlock(holder)
            if self.log.holder is None and not self.log.away and not self.deserted:
                self.log.holder = process
                self.mark = self.timeline.now
                self._activate(process, name)
            else:
                self.timeline.after(TICK, lambda: process.act(stand_by))

        self.timeline.after(self.random.random(), lambda: process.act(stand_by))

    def _unlock(self, process: Process) -> None:
        if self.log.holder is process:
            self.log.holder = None

    def _activate(self, process: Process, name: str) -> None:
        line = Line(self, process, is_worker=False)
        coordinator = Coordinator(
            ORCHESTRATOR,
            self.name,
            log=Access(self.log, process, unsure=lambda: self.unsure, away=lambda: self.cut_off is process),
            broker=line,
            signer=Pen(name),
            verifier=enrolled_keys,
            clock=self.timeline,
            new_id=self.new_id,
            task_of=task_of,
            pace=self.pace,
        )

        def tick() -> None:
            if self.log.holder is process and not self.log.away and self.cut_off is not process:
                self.mark = self.timeline.now
            self.guarded(process, coordinator.tick)
            self.timeline.after(TICK, lambda: process.act(tick))

        try:
            coordinator.activate()
        except (NotActive, LogMoved):  # revoked or moved a moment ago
            process.kill()
            return
        line.connect(coordinator)
        tick()

    def guarded(self, process: Process, act: Callable[[], None]) -> None:
        """Let a coordinator do something; one that is not active any more ends, and starts anew as a standby."""
        try:
            act()
        except (NotActive, LogMoved):
            process.kill()

    def start_worker(self, name: str, slots: int = 2) -> None:
        if not self.counts(name):
            return
        process = self._process(name, lambda: self.start_worker(name, slots))
        line = Line(self, process, is_worker=True)
        children = SimulatedChildren(self, process)
        worker = children.worker = self.workers[name] = Worker(
            self.name,
            slots=slots,
            broker=line,
            children=children,
            signer=Pen(name),
            trust=self.trusted.setdefault(name, Trusted(LOG, ROOT, verify=signed)),
            clock=self.timeline,
            new_id=self.new_id,
            habits=self.habits,
        )

        def tick() -> None:
            worker.tick()
            if worker.is_done:
                process.kill()
            self.timeline.after(TICK, lambda: process.act(tick))

        process.act(lambda: line.connect(worker))
        self.timeline.after(self.random.random() * TICK, lambda: process.act(tick))

    def start_collector(self) -> None:
        process = self._process("collector", self.start_collector)
        turns = Collector(self, process).turns()

        def turn() -> None:
            if not self.log.away:
                next(turns)
            self.timeline.after(self.random.random() * 0.5, lambda: process.act(turn))

        self.timeline.after(self.random.random(), lambda: process.act(turn))

    def _process(self, name: str, again: Callable[[], None]) -> Process:
        process = self.processes[name] = Process(self.timeline, name)
        process.on_death.append(lambda: self.timeline.after(self.random.random() * 3, again))
        return process

    # What people do

    def submit(self, steps: Sequence[PlannedStep]) -> str:
        run_id = self.new_id()
        command = start(run_id, steps)
        decider = START_RUN if self.random.random() < self.leaving else START_ON_FLEET
        self.log.append(decider.decide(command, {}))
        if self.random.random() < 0.5:
            self.broker.put(OUTCOMES, Stored(sealed(Nudge(run_id=run_id), Pen("coordinator-0"), self.name)))
        return run_id

    def cancel(self, run_id: str) -> None:
        ends = (item(run_tag(run_id), RunSucceeded, RunFailed, RunCancelled),)
        try:
            self.log.append([RunCancelled(run_id=run_id)], ends, after=0)
        except Conflict:
            return

    def replace(self, name: str) -> None:
        """Have a process with a new key in the place of one whose key is revoked."""
        role: KeyRole = "coordinator" if name.startswith("coordinator") else "worker"
        new = f"{role}-{next(self._ids)}"
        self.enroll(new, role)
        if role == "coordinator":
            self.start_coordinator(new)
        else:
            self.start_worker(new)
        self.revoke(name)

    def send_nonsense(self) -> None:
        """Put bytes into the queues that nobody of the fleet would, and send everybody lists that nobody may."""
        number = 1 + len(self.log.events)
        of_another = trust_list(number, ["worker-0"], 2**62, pen=Pen("another root"))
        of_a_coordinator = trust_list(number, ["worker-0"], 2**62, pen=Pen("coordinator-0"))
        of_another_log = trust_list(number, ["worker-0"], 2**62, log_id="log-2")
        for each in (of_another, of_a_coordinator, of_another_log):
            self.broker.broadcast(bytes.fromhex(each.message))
        for data in (
            b"",
            b"\xc1",
            b"\x94\x01\xa1x\xc4\x00\xc4\x00",
            sealed(Nudge(run_id="r"), Pen("worker-0"), "log-2"),
        ):
            self.broker.put(OUTCOMES, Stored(data))
            self.broker.put("default", Stored(data))

    def restore(self, kept: Callable[[Event], bool]) -> None:
        """Put an older copy in the place of the log: every session ends with it, the lock too."""
        holder, events = self.log.holder, [each.event for each in self.log.events if kept(each.event)]
        self.log.clear()
        for event in events:
            self.log.append([event])
        if holder is not None:
            holder.kill()

    def clog(self, messages: int) -> None:
        """Let very many messages stand in the outcome queue, before everything that is said from now on."""
        data = sealed(Nudge(run_id="r"), Pen("coordinator-0"), LOG)
        for _ in range(messages):
            self.broker.put(OUTCOMES, Stored(data))

    def replay_some(self) -> None:
        """Put messages of before into their queue again, and send everybody a list of before."""
        self.broker.broadcast(bytes.fromhex(self.random.choice(self.log.lists).message))
        for queue, stored in self.random.sample(self.broker.history, min(5, len(self.broker.history))):
            self.broker.put(queue, Stored(stored))

    # What is seen

    def until(self, happened: Callable[[], object], within: float = 60.0) -> None:
        """Let time pass until something is so, and fail if it is not within some seconds."""
        end = self.timeline.now + within
        while not happened():
            assert self.timeline.now < end, "it never happened"
            self.timeline.run(self.timeline.now + 0.05)

    def rest(self, within: float) -> None:
        """Let time pass until nothing is open any more, for some seconds at most."""
        until = self.timeline.now + within
        while self.timeline.now < until and (self.open_runs() or not self.broker.is_quiet()):
            self.timeline.run(self.timeline.now + 2 * TICK)

    def open_runs(self) -> list[str]:
        return [run_id for run_id in self.log.began if run_id not in self.log.ended]

    def started(self, task: Task) -> None:
        """Keep a line for each execution, and check that a step never begins before its parents succeeded."""
        ref = task.ref
        self.executions[ref.run_id, ref.step, ref.attempt] += 1
        plan = next(step for step in self.log.began[ref.run_id].steps if step.name == ref.step)
        done = self.log.succeeded[ref.run_id]
        assert done >= set(plan.upstream), f"{ref.step} began before its parents had succeeded"


def start(run_id: str, steps: Sequence[PlannedStep]) -> StartRun:
    return StartRun(
        run_id=run_id,
        name=run_id,
        pipeline="p",
        stack=STACK,
        code=Code(digest="", commit=None, dirty=False),
        parameters={},
        steps=tuple(steps),
        environment={},
    )


def planned(name: str, *parents: str, retries: int = 2) -> PlannedStep:
    return PlannedStep(
        name=name,
        source=f"m.{name}",
        digest="",
        upstream=parents,
        inputs={parent: OutputOfStep(step=parent, output="out") for parent in parents},
        parameters={},
        outputs=("out",),
        retry=Retry(max_retries=retries, delay=1.0),
    )
