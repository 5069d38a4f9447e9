"""A worker: takes attempts out of the step queues, executes each in a child process, and says what came of it.

Each slot has a consumer of its own. What a slot has to do next follows from what is true of it alone: after
whatever is told, `_go_on` does all that may be done then, and doing it twice does nothing. A short execution is
guarded by the delivery that it came with, a long one by a claim that the log knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from stackledger.domain.events.runs import Kept
from stackledger.workers.fleet.protocol.messages import (
    Cancel,
    Claim,
    Dismissal,
    Dispatch,
    Doing,
    Echo,
    Failure,
    GivenBack,
    Grant,
    Heartbeat,
    Hello,
    Message,
    MessageRefused,
    OutcomeOf,
    Present,
    Probe,
    Refusal,
    Signer,
    Success,
    Taken,
    Task,
    Trust,
    TrustList,
    UnknownKey,
    WhoIsThere,
    opened,
    sealed,
)
from stackledger.workers.fleet.protocol.ports import OUTCOMES, Arrived, Children, Clock, Tag, Unable, WorkerBroker
from stackledger.workers.fleet.protocol.tally import WorkerTally

_MOST_TOLD = 200
"""Of how many executions a worker tells who asks: more may not fit into a message."""
_ASKS_AGAIN = 20.0
"""How many times its patience lies between two beginnings of a worker's waiting for a list that nobody sends.

In between it parks messages by unknown keys at once: who may write into the queue could keep every slot waiting.
"""
_LONGEST_REST = 600.0
"""Seconds after which a worker tries again at the latest whose machine was at fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a worker is, for people who ask."""

    host: str = ""
    pid: int = 0
    queue: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """When a worker says what, in seconds. A step may take `step_timeout`, or less if the run says so.

    What was signed with a key that is on no list yet waits for a newer list, `patience` long.
    """

    lease_after: float = 30.0
    heartbeat: float = 10.0
    grace: float = 25.0
    patience: float = 30.0
    step_timeout: float | None = None


class Consumer(Enum):
    """Where the consumer of a slot is."""

    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


class Sent(Enum):
    """How far a message has come."""

    NO = auto()
    PUBLISHED = auto()
    CONFIRMED = auto()


@dataclass(slots=True)
class Note:
    """A message that has to be confirmed; `why` it is parked, if it is."""

    data: bytes
    why: str | None = None
    sent: Sent = Sent.NO


@dataclass(slots=True)
class Work:
    """What a slot executes. `waits` says that it must not begin before its grant comes."""

    task: Task
    execution: str
    began: float
    began_at: int
    waits: bool
    runs: bool = False
    claim: Note | None = None
    outcome: Note | None = None


@dataclass(slots=True)
class Slot:
    """A place for one execution. `held` is the delivery that guards it; `relay` what is said before that is let go.

    `unread` is what came with the delivery, until it could be opened.
    """

    number: int
    consumer: Consumer = Consumer.CLOSED
    held: Tag | None = None
    unread: Arrived | None = None
    work: Work | None = None
    relay: Note | None = None


class Worker:
    """Executes what it is sent. Every method returns at once; nothing is kept that a death could make false."""

    def __init__(
        self,
        log_id: str,
        *,
        slots: int,
        broker: WorkerBroker,
        children: Children,
        signer: Signer,
        trust: Trust,
        clock: Clock,
        new_id: Callable[[], str],
        habits: Habits,
        place: Place = Place(),
        tally: WorkerTally | None = None,
    ) -> None:
        """Make one that is not connected yet; what it does is added to `tally`."""
        self._log_id = log_id
        self._broker = broker
        self._children = children
        self._signer = signer
        self._trust = trust
        self._clock = clock
        self._new_id = new_id
        self._habits = habits
        self._place = place
        self._tally = tally or WorkerTally()
        self._began_at = clock.time()
        self._slots = [Slot(number) for number in range(slots)]
        self._notes: dict[int, tuple[Slot, Note]] = {}
        self._token = 0
        self._connected = False
        self._heartbeat_at = clock.monotonic()
        self._greeted_at = float("-inf")
        self._asks_since = float("-inf")
        self._rest = 0.0
        self._examine_at = self._heartbeat_at
        self._stop_by: float | None = None
        self.unable: str | None = None
        """Why this worker takes no work although it could: what is wrong with its machine."""
        self.is_dismissed = False
        """Whether a coordinator said that this worker's key does not count."""

    @property
    def is_done(self) -> bool:
        """Whether a worker that was told to stop has nothing left to say."""
        return self._stop_by is not None and self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether no slot executes anything or has anything to say."""
        return all(slot.work is None and slot.relay is None and slot.held is None for slot in self._slots)

    @property
    def busy(self) -> int:
        """How many slots execute something, or have not said yet what came of it."""
        return sum(slot.work is not None for slot in self._slots)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to the broker."""
        return self._connected

    @property
    def _takes_work(self) -> bool:
        return self._stop_by is None and self.unable is None and self._trust.holds(self._clock.time())

    # What the broker tells

    def connected(self) -> None:
        """A connection is there (again)."""
        self._connected = True
        self._greet()
        self._go_on_all()

    def disconnected(self) -> None:
        """The connection is gone: deliveries guard nothing any more, and what was not confirmed is said again."""
        self._connected = False
        self._notes.clear()
        for slot in self._slots:
            slot.consumer = Consumer.CLOSED
            slot.held = slot.relay = slot.unread = None
            work = slot.work
            for note in (work.claim, work.outcome) if work is not None else ():
                if note is not None and note.sent is Sent.PUBLISHED:
                    note.sent = Sent.NO

    def consumer_cancelled(self, slot: int) -> None:
        """Nothing more comes for a slot until it consumes again."""
        self._slots[slot].consumer = Consumer.CLOSED
        self._go_on(self._slots[slot])

    def confirmed(self, token: int) -> None:
        """The broker has a message for good."""
        slot, note = self._notes.pop(token, (None, None))
        if slot is not None and note is not None:
            note.sent = Sent.CONFIRMED
            self._go_on(slot)

    def returned(self, token: int) -> None:
        """A message came back: its queue is not there. It is said again at the next tick."""
        _, note = self._notes.pop(token, (None, None))
        if note is not None:
            note.sent = Sent.NO

    def arrived(self, number: int, arrived: Arrived) -> None:
        """A message came for a slot."""
        slot = self._slots[number]
        if (
            slot.held is not None
            or slot.work is not None
            or slot.relay is not None
            or slot.consumer is not Consumer.OPEN
            or not self._takes_work
        ):
            self._go_on(slot)  # leaves the queue where it has to, before the message could come back
            self._broker.give_back(arrived.tag)
            return
        slot.held, slot.unread = arrived.tag, arrived
        self._go_on(slot)

    def told(self, data: bytes) -> None:
        """A message came that was sent to every worker."""
        try:
            message = opened(data, self._trust, self._log_id).message
        except MessageRefused:
            return
        match message:
            case TrustList():
                self._go_by(message, data)
            case Dismissal() if self._signer.key_id in message.keys:
                self._be_dismissed()
            case WhoIsThere() if self._connected:
                self._broker.answer(message.reply, self._sealed(self._present()))
            case _:
                self._hear(message)

    def _be_dismissed(self) -> None:
        """Let go of everything at once: nothing of it would have any effect."""
        self.is_dismissed = True
        self._stop_by = self._clock.monotonic()
        self._give_all_back()
        self._go_on_all()

    def _go_by(self, message: TrustList, data: bytes) -> None:
        try:
            if self._trust.take(message, data):
                self._asks_since = float("-inf")
        except MessageRefused:
            return
        self._go_on_all()

    def _hear(self, message: Message) -> None:
        for slot in self._slots:
            work = slot.work
            if work is None:
                continue
            match message:
                case Grant() if message.execution == work.execution:
                    work.waits = False
                case Refusal() if message.execution == work.execution:
                    self._drop(slot, work)
                case Cancel() if work.task.ref.run_id in message.run_ids:
                    self._drop(slot, work)
                case _:
                    continue
            self._go_on(slot)

    # What children and time tell

    def ended(self, number: int, execution: str, result: Success | Failure | Unable, log: Kept | None = None) -> None:
        """A child came to the end of an execution, or died of it; `log` is what it said."""
        slot = self._slots[number]
        work = slot.work
        if work is None or work.execution != execution or work.outcome is not None:
            return
        work.runs = False
        if isinstance(result, Unable):
            self._rest_from(result.why)
            self._say_given_back(work)
            self._go_on_all()
        else:
            self._rest = 0.0
            self._conclude(work, result, log)
            self._go_on(slot)

    def tick(self) -> None:
        """Look at the clocks; to be called a few times a second."""
        now = self._clock.monotonic()
        for slot in self._slots:
            work = slot.work
            if work is not None and work.runs:
                limit = min(filter(None, (work.task.timeout, self._habits.step_timeout)), default=None)
                if limit is not None and now - work.began > limit:
                    failure = Failure(error="StepTimeout", message=f"It was not done after {limit:g} seconds.")
                    self._children.fail(slot.number, work.execution, failure)
        if self._stop_by is not None and now > self._stop_by:
            self._give_all_back()
        if self._connected and now - self._heartbeat_at >= self._habits.heartbeat:
            self._heartbeat_at = now
            self._say_heartbeat()
        if now >= self._examine_at:
            self.unable = self._children.unable()
            self._examine_at = now + self._habits.heartbeat
        self._go_on_all()

    def stop(self) -> None:
        """Take nothing new, and be done within the grace period; `is_done` says when."""
        if self._stop_by is None:
            self._stop_by = self._clock.monotonic() + self._habits.grace
            self._go_on_all()

    # Work

    def _read(self, slot: Slot, arrived: Arrived) -> None:
        """Do what a message says, unless it has to wait because nobody told this worker of its key yet."""
        try:
            message = opened(arrived.data, self._trust, self._log_id).message
        except MessageRefused as refused:
            if isinstance(refused, UnknownKey) and self._asks():
                return
            slot.relay = Note(arrived.data, str(refused))
        else:
            self._take(slot, message, arrived)
        slot.unread = None

    def _asks(self) -> bool:
        """Ask now and then for a newer list, and say whether one may still come."""
        now, patience = self._clock.monotonic(), self._habits.patience
        if now - self._asks_since >= _ASKS_AGAIN * patience:
            self._asks_since = now
        if now - self._asks_since >= patience:
            return False
        if now - self._greeted_at >= self._habits.heartbeat:
            self._greet()
        return True

    def _rest_from(self, why: str) -> None:
        """Take nothing for a while, and longer each time that it went wrong again."""
        self.unable = why
        self._rest = min(max(2 * self._rest, self._habits.heartbeat), _LONGEST_REST)
        self._examine_at = self._clock.monotonic() + self._rest

    def _take(self, slot: Slot, message: Message, arrived: Arrived) -> None:
        match message:
            case Dispatch():
                waits = message.copied or arrived.redelivered
                slot.work = Work(message.task, self._new_id(), self._clock.monotonic(), self._clock.time(), waits)
            case Probe():
                slot.relay = Note(self._sealed(Echo(probe=message.probe, queue=message.queue)))
            case _:
                slot.relay = Note(arrived.data, f"A {message.kind} does not belong into the queue of steps.")

    def _go_on_all(self) -> None:
        for slot in self._slots:
            self._go_on(slot)

    def _go_on(self, slot: Slot) -> None:
        """Do everything that may be done for a slot now."""
        if slot.unread is not None:
            if self._takes_work:
                self._read(slot, slot.unread)
            else:
                self._leave_queue(slot)
                self._broker.give_back(slot.unread.tag)
                slot.held = slot.unread = None
        if slot.work is not None and not slot.work.waits and not slot.work.runs and slot.work.outcome is None:
            slot.work.runs = True
            slot.work.began, slot.work.began_at = self._clock.monotonic(), self._clock.time()
            self._children.start(slot.number, slot.work.execution, slot.work.task)
        if not self._connected:
            return
        if slot.relay is not None:
            self._finish(slot, slot.relay)
        elif slot.work is not None and slot.work.outcome is not None:
            self._finish(slot, slot.work.outcome)
        elif slot.work is not None and self._wants_claim(slot, slot.work):
            self._claim(slot, slot.work)
        self._consume(slot)

    def _finish(self, slot: Slot, note: Note) -> None:
        """Say the last word about a delivery, and let it go when the broker has that word."""
        if not self._said(slot, note):
            return
        self._let_go(slot)
        slot.work = slot.relay = None

    def _wants_claim(self, slot: Slot, work: Work) -> bool:
        long = self._clock.monotonic() - work.began >= self._habits.lease_after
        return work.claim is not None or work.waits or slot.held is None or long

    def _claim(self, slot: Slot, work: Work) -> None:
        """Claim an attempt, and let the delivery go once the broker has the claim.

        The consumer goes first: otherwise the next message would come as soon as this one is acknowledged.
        """
        self._leave_queue(slot)
        if slot.consumer is not Consumer.CLOSED:
            return
        if work.claim is None:
            work.claim = Note(self._sealed(Claim(claim=self._taken(work))))
        if self._said(slot, work.claim):
            self._let_go(slot)

    def _consume(self, slot: Slot) -> None:
        idle = slot.work is None and slot.relay is None and slot.held is None
        if idle and slot.consumer is Consumer.CLOSED and self._takes_work:
            slot.consumer = Consumer.OPEN
            self._broker.consume(slot.number)
        elif idle and not self._takes_work:
            self._leave_queue(slot)

    def _leave_queue(self, slot: Slot) -> None:
        if slot.consumer is Consumer.OPEN:
            slot.consumer = Consumer.CLOSING
            self._broker.cancel(slot.number)

    def _drop(self, slot: Slot, work: Work) -> None:
        """Stop an execution that has no effect any more."""
        if work.runs:
            self._tally.stopped += 1
            self._children.stop(slot.number, work.execution)
        self._let_go(slot)
        slot.work = None

    def _let_go(self, slot: Slot) -> None:
        if slot.held is not None and self._connected:
            self._broker.acknowledge(slot.held)
        slot.held = None

    def _conclude(self, work: Work, result: Success | Failure, log: Kept | None) -> None:
        self._tally.took(self._clock.monotonic() - work.began)
        if isinstance(result, Success):
            self._tally.succeeded += 1
        else:
            self._tally.failed += 1
        outcome = OutcomeOf(
            ref=work.task.ref,
            execution=work.execution,
            began=work.began_at,
            ended=self._clock.time(),
            log=log,
            result=result,
        )
        work.outcome = Note(self._sealed(outcome))

    def _give_all_back(self) -> None:
        """Let others do what is not done when the grace period is over."""
        for slot in self._slots:
            work = slot.work
            if work is None or work.outcome is not None:
                continue
            if work.runs:
                self._children.stop(slot.number, work.execution)
                work.runs = False
            if work.claim is None and slot.held is not None:
                self._tally.given_back += 1
                self._broker.give_back(slot.held)
                slot.held = slot.work = None
            else:
                self._say_given_back(work)

    def _say_given_back(self, work: Work) -> None:
        self._tally.given_back += 1
        work.outcome = Note(self._sealed(GivenBack(ref=work.task.ref, execution=work.execution)))

    # Messages

    def _said(self, slot: Slot, note: Note) -> bool:
        """Publish a message unless it is under way, and say whether the broker has confirmed it."""
        if note.sent is Sent.NO:
            note.sent = Sent.PUBLISHED
            self._token += 1
            self._notes[self._token] = slot, note
            if note.why is None:
                self._broker.publish(OUTCOMES, note.data, self._token)
            else:
                self._broker.park(note.data, note.why, self._token)
        return note.sent is Sent.CONFIRMED

    def _greet(self) -> None:
        self._greeted_at = self._clock.monotonic()
        self._token += 1
        self._broker.publish(OUTCOMES, self._sealed(Hello(queue=self._place.queue)), self._token)

    def _say_heartbeat(self) -> None:
        claimed = tuple(
            self._taken(slot.work)
            for slot in self._slots
            if slot.work is not None and slot.work.claim is not None and slot.work.outcome is None
        )
        if claimed:
            self._token += 1
            self._broker.publish(OUTCOMES, self._sealed(Heartbeat(executions=claimed)), self._token)

    def _present(self) -> Present:
        works = [slot.work for slot in self._slots if slot.work is not None and slot.work.outcome is None]
        return Present(
            host=self._place.host,
            pid=self._place.pid,
            queue=self._place.queue,
            slots=len(self._slots),
            began=self._began_at,
            stopping=self._stop_by is not None,
            executions=tuple(Doing(taken=self._taken(work), began=work.began_at) for work in works[:_MOST_TOLD]),
            unable=self.unable,
        )

    def _taken(self, work: Work) -> Taken:
        return Taken(ref=work.task.ref, execution=work.execution, waiting=work.waits)

    def _sealed(self, message: Message) -> bytes:
        return sealed(message, self._signer, self._log_id)
