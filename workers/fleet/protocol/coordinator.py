"""The active coordinator: reads what the fleet says, records what counts, and dispatches what is ready.

It keeps nothing that it could not learn again from the log and the broker, so it may die between any two calls.
The order in each of its acts is what makes that safe: append, then acknowledge what was recorded, then publish
what the log says is queued.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stackledger.domain.event import Boundary, Event, item
from stackledger.domain.events.fleet import Because, DispatchConfirmed, TopologyRenewed, TrustPublished, fleet_tag
from stackledger.domain.events.runs import Execution
from stackledger.domain.fleet import Claimed, Ended, Report, Unfit, Vanished, Verdict, boundary, may_work, settled
from stackledger.domain.runs import FailStep, FinishStep
from stackledger.workers.fleet.protocol.dispatching import Dispatching
from stackledger.workers.fleet.protocol.known import Known, Waiting
from stackledger.workers.fleet.protocol.leases import Leases, Markers, Probes
from stackledger.workers.fleet.protocol.messages import (
    Cancel,
    Claim,
    Dismissal,
    Dispatch,
    Echo,
    GivenBack,
    Grant,
    Heartbeat,
    Hello,
    Marker,
    Message,
    MessageRefused,
    MessageTooLong,
    Nudge,
    OutcomeOf,
    Presiding,
    Probe,
    Refusal,
    Signer,
    Success,
    Taken,
    Task,
    Verifier,
    WhoIsThere,
    opened,
    sealed,
)
from stackledger.workers.fleet.protocol.ports import (
    OUTCOMES,
    PARKED,
    Arrived,
    Broker,
    Clock,
    Conflict,
    Dismissed,
    FleetLog,
    LogAway,
    Seen,
    Tag,
    Unrecordable,
)
from stackledger.workers.fleet.protocol.tally import CoordinatorTally

_MOST_CANCELLED = 1_000
"""Ids of runs that fit into a message."""
_LONGEST_KEY = 64
_MOST_DISMISSED = 200
"""Strangers name themselves as they like; what is said about them has to fit into a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long the coordinator waits for what, in seconds, and how many dispatches may be unconfirmed."""

    silence: float = 45.0
    probe_every: float = 60.0
    probe_grace: float = 150.0
    record_confirmed: float = 1.0
    declare_every: float = 60.0
    trust_every: float = 60.0
    patience: float = 20.0
    gap: float = 5.0
    window: int = 1_000


class _Said(NamedTuple):
    """A report, how it came, and whether whoever sent it waits for a grant."""

    report: Report
    arrived: Arrived | None = None
    asks: str | None = None


class Coordinator:
    """Drives all runs of one orchestrator, while it holds the lock where the log lives.

    Every method returns at once. NotActive is let through: whoever drives this gives it up then.
    """

    def __init__(
        self,
        orchestrator_id: str,
        log_id: str,
        *,
        log: FleetLog,
        broker: Broker,
        signer: Signer,
        verifier: Callable[[Known], Verifier],
        clock: Clock,
        new_id: Callable[[], str],
        task_of: Callable[[Known, Waiting], Task],
        pace: Pace,
        place: tuple[str, int] = ("", 0),
        tally: CoordinatorTally | None = None,
    ) -> None:
        """Make one that is not active yet. `place` is the host and the number of its process, for people who ask.

        What it does is added to `tally`.
        """
        self._orchestrator_id = orchestrator_id
        self._log_id = log_id
        self._log = log
        self._broker = broker
        self._signer = signer
        self._clock = clock
        self._new_id = new_id
        self._task_of = task_of
        self._pace = pace
        self._place = place
        self._tally = tally or CoordinatorTally()
        self._began_at = clock.time()
        self._known = Known(orchestrator_id)
        self._verifier = verifier(self._known)
        self._markers = Markers(self._put_marker)
        self._leases = Leases(self._known, self._markers, pace.silence)
        self._probes = Probes(
            self._known, self._markers, self._put_probe, every=pace.probe_every, grace=pace.probe_grace
        )
        self._dispatching = Dispatching(self._known, self._publish, pace.window)
        self._token = 0
        self._parking: dict[int, tuple[Arrived, str]] = {}
        self._unread: list[tuple[float, Arrived]] = []
        self._renew: set[str] = set()
        self._strangers: set[str] = set()
        self._unfit: list[Unfit] = []
        self._trust: TrustPublished | None = None
        self._greeted = False
        self._connected = False
        self._looked = clock.monotonic()
        self._recorded = self._declared = self._trust_said = self._looked

    @property
    def known(self) -> Known:
        """What the coordinator knows from the log."""
        return self._known

    @property
    def unconfirmed(self) -> int:
        """How many dispatches wait to be sent, or to be confirmed."""
        return self._dispatching.unconfirmed()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to the broker."""
        return self._connected

    def activate(self) -> None:
        """Begin: learn from the log what is open. What was queued and maybe not sent is sent as copies."""
        self._fold(self._log.begin())
        self._leases.restart(self._clock.monotonic())
        self._dispatching.restart(self._unconfirmed())

    # What the broker tells

    def connected(self, missing: Sequence[str]) -> None:
        """A connection is there (again); `missing` are the step queues that are not declared."""
        self._connected = True
        self._trust = None  # workers hear of coordinators before they hear from one
        self._renew.update(missing)
        self._leases.restart(self._clock.monotonic())
        self._work()

    def disconnected(self) -> None:
        """The connection is gone, and with it every delivery and every confirmation that was awaited."""
        self._connected = False
        self._unread.clear()
        self._parking.clear()
        self._markers.forget()
        self._probes.restart()
        self._dispatching.interrupted()

    def unblocked(self) -> None:
        """The broker takes messages again."""
        self._leases.restart(self._clock.monotonic())

    def confirmed(self, token: int) -> None:
        """The broker has a message for good."""
        parked = self._parking.pop(token, None)
        if parked is not None:
            self._broker.acknowledge(parked[0].tag)
        self._dispatching.confirmed(token)
        self._dispatching.pump()

    def returned(self, token: int, queue: str) -> None:
        """A message came back: its queue is not there."""
        parked = self._parking.pop(token, None)
        if parked is not None:
            self._broker.declare((PARKED,))
            self._park(*parked)
        elif queue not in (OUTCOMES, PARKED):
            self._dispatching.confirmed(token)
            self._renew.add(queue)

    def arrived(self, arrivals: Sequence[Arrived]) -> None:
        """Messages came out of the outcome queue, in this order."""
        now = self._clock.monotonic()
        self._unread += ((now, each) for each in arrivals)
        self._work()

    # What time tells

    def tick(self) -> None:
        """Look at the log and at the clocks; to be called a few times a second."""
        now = self._clock.monotonic()
        if now - self._looked > self._pace.gap:
            self._leases.restart(now)  # we were asleep: what they said waits in the queue
        self._looked = now
        if self._connected:
            self._leases.look(now)
            self._probes.look(now, self._dispatching.under_way)
            if now - self._declared >= self._pace.declare_every:
                # Workers park, too, and wait until they can; nobody else sees that the queue for it is gone.
                self._declared = now
                self._broker.declare((PARKED,))
        self._work()
        if self._unread and now - self._unread[0][0] > self._pace.patience:
            self._broker.close()  # the broker would close the channel on us, with everything that is on it

    # Work

    def _work(self) -> None:
        """Do all that can be done now; where the log is away, everything stays for the next time."""
        try:
            self._catch_up()
            if self._connected:
                self._renew_topology()
            self._read()
            self._record_confirmed()
        except LogAway:
            return
        if self._connected:
            self._dispatching.pump()

    def _catch_up(self) -> None:
        self._fold(self._log.follow(self._known.position))
        if not self._connected:
            return
        self._say_trust()
        cancelled = self._known.cancelled
        while cancelled:
            self._say(Cancel(run_ids=tuple(cancelled[:_MOST_CANCELLED])))
            del cancelled[:_MOST_CANCELLED]
        if self._greeted and self._known.stopped:
            self._say(Cancel(run_ids=tuple(self._known.stopped)))  # whoever was away may be at one of them
        self._greeted = False
        for key in self._known.dismissed:
            self._dismiss(key)
        self._known.dismissed.clear()
        if self._strangers:
            self._say(Dismissal(keys=tuple(sorted(self._strangers))))
            self._strangers.clear()

    def _say_trust(self) -> None:
        """Pass the list of coordinators on to the workers: as it changes, when somebody asks, and now and then."""
        now, trust = self._clock.monotonic(), self._known.trust
        if trust is not None and (trust is not self._trust or now - self._trust_said >= self._pace.trust_every):
            self._trust, self._trust_said = trust, now
            self._broker.broadcast(bytes.fromhex(trust.message))

    def _fold(self, seen: Seen) -> None:
        for recorded in seen.events:
            self._known.fold(recorded)
        self._known.position = seen.position
        own = self._known.keys.get(self._signer.key_id)
        if own is None or own.revoked or own.role != "coordinator":
            # No worker would listen, and somebody may stand by to whom they do.
            raise Dismissed("The key of this coordinator does not count: it was never enrolled, or revoked.")
        if self._known.mistrusted:
            self._known.mistrusted = False
            self._dispatching.restart(self._known.waiting.values())
        else:
            self._dispatching.add(self._known.fresh, copied=False)
        self._known.fresh.clear()

    def _read(self) -> None:
        """Settle what workers said and what is due, then acknowledge."""
        arrivals = [arrived for _, arrived in self._unread]
        said: list[_Said] = []
        parked: dict[Tag, str] = {}
        for arrived in arrivals:
            try:
                said += self._heard(arrived)
            except MessageRefused as refused:
                parked[arrived.tag] = str(refused)
                self._dismiss(refused.stranger)
        said += (_Said(self._gone(execution, "lease ran out")) for execution in self._leases.take_ran_out())
        said += (_Said(self._gone(execution, "worker's key was revoked")) for execution in self._known.revoked())
        said += map(_Said, self._unfit)
        verdicts = self._settle([each.report for each in said])
        for each, verdict in zip(said, verdicts, strict=True):
            self._answer(each, verdict)
            if verdict is Verdict.INVALID and each.arrived is not None:
                parked[each.arrived.tag] = self._objection(each.report)
        self._unread.clear()
        self._unfit.clear()
        for arrived in arrivals:
            if arrived.tag in parked:
                self._park(arrived, parked[arrived.tag])
            else:
                self._broker.acknowledge(arrived.tag)
        self._dispatching.add(self._probes.take_missing(), copied=True)

    def _dismiss(self, key: str | None) -> None:
        """Have a worker told that its key does not count: it would take attempts and end none."""
        if key is not None and len(key) <= _LONGEST_KEY and len(self._strangers) < _MOST_DISMISSED:
            self._strangers.add(key)
            self._trust = None  # who has no list yet would not listen

    def _park(self, arrived: Arrived, why: str) -> None:
        self._token += 1
        self._tally.parked += 1
        self._broker.park(arrived.data, why, self._token)
        self._parking[self._token] = (arrived, why)

    def _objection(self, report: Report) -> str:
        """Say in words why nothing of a report may count."""
        run = self._known.runs.get(report.run_id)
        step = run.steps.get(report.step) if run is not None else None
        if report.worker and not may_work(self._known.keys.get(report.worker), step.plan.queue if step else None):
            return "The key of its worker does not count, or not for the queue of the step."
        if step is not None and step.dispatch != report.dispatch:
            return "It names another dispatch than that under which the attempt waits."
        return "The log cannot hold it."

    def _settle(self, reports: Sequence[Report]) -> Sequence[Verdict]:
        """Append what reports and the time bring about, and return the verdict on each report."""
        if not (reports or self._known.unsettled or self._known.retrying):
            return ()
        dispatch = self._new_id()
        workers = {report.worker for report in reports if report.worker is not None}
        while True:
            now = self._log.now()
            touched = sorted(self._known.unsettled | self._known.due(now))
            runs = {*touched, *(report.run_id for report in reports)}
            counted = [self._known.overtaken(report) for report in reports]
            decided = settled(self._known.runs, self._known.keys, counted, touched, now=now, dispatch=dispatch)
            try:
                if decided.events and not self._append(decided.events, boundary(sorted(runs), sorted(workers))):
                    continue
            except Unrecordable as error:
                return self._settle_apart(reports, str(error))
            self._known.unsettled -= runs
            if decided.events:
                self._catch_up()
            return decided.verdicts

    def _settle_apart(self, reports: Sequence[Report], why: str) -> Sequence[Verdict]:
        """Settle one report after the other, so that the one that the log cannot hold keeps no other from it."""
        if len(reports) > 1:
            return [verdict for report in reports for verdict in self._settle([report])]
        match reports:
            case [Ended() as report]:
                of = (report.run_id, report.step, report.attempt, report.dispatch)
                return self._settle([Unfit(*of, "WrongOutcome", why, report.execution, report.worker)])
            case [Claimed() | Vanished()]:
                return [Verdict.INVALID]
            case _:
                raise AssertionError(f"The log cannot hold what was decided here: {why}")

    def _append(self, events: Sequence[Event], depends: Boundary) -> bool:
        """Append, or learn what somebody else did who was first; say which of the two."""
        try:
            self._log.append(events, depends, self._known.position)
        except Conflict:
            self._catch_up()
            return False
        self._tally.appended(events)
        return True

    def _answer(self, said: _Said, verdict: Verdict) -> None:
        report = said.report
        if said.asks and verdict in (Verdict.EFFECTIVE, Verdict.REPEATED):
            self._leases.heard(said.asks, self._clock.monotonic())
            self._say(Grant(execution=said.asks))
        elif said.asks:
            self._say(Refusal(execution=said.asks))
        if verdict is not Verdict.INVALID:
            return
        waiting = self._known.waiting.get((report.run_id, report.step))
        if report.worker and not may_work(self._known.keys.get(report.worker), waiting.queue if waiting else None):
            self._dismiss(report.worker)
        if waiting is not None and waiting.position not in self._dispatching.under_way():
            # Whoever said it may have been the one who had it.
            self._dispatching.add([waiting], copied=True)

    def _record_confirmed(self) -> None:
        now = self._clock.monotonic()
        if now - self._recorded < self._pace.record_confirmed:
            return
        through = self._dispatching.through()
        if through <= self._known.confirmed:
            return
        self._recorded = now
        self._append_own(DispatchConfirmed(orchestrator_id=self._orchestrator_id, through=through))

    def _renew_topology(self) -> None:
        """Declare queues that are missing, after the log says that what was in them is to be sent again."""
        if not self._renew:
            return
        queues = tuple(sorted(self._renew))
        if not self._append_own(TopologyRenewed(orchestrator_id=self._orchestrator_id, queues=queues)):
            return
        self._broker.declare(queues)
        self._renew.clear()
        self._dispatching.restart(self._known.waiting.values())

    def _append_own(self, event: Event) -> bool:
        """Append what only the active coordinator says; if somebody else did, it will be said again."""
        depends = (item(fleet_tag(self._orchestrator_id), DispatchConfirmed, TopologyRenewed),)
        if not self._append((event,), depends):
            return False
        self._catch_up()
        return True

    # Messages

    def _heard(self, arrived: Arrived) -> Sequence[_Said]:
        """Return what a message reports, or raise MessageRefused; what is no report has its effect here."""
        message, key = opened(arrived.data, self._verifier, self._log_id)
        if arrived.dead:
            return self._dead(arrived, message)
        match message:
            case Claim(claim=claim):
                return (_Said(_claimed(claim, key), arrived, claim.execution),)
            case OutcomeOf():
                return (_Said(_ended(message, key), arrived),)
            case GivenBack():
                return (_Said(_given_back(message, key), arrived),)
            case Heartbeat():
                return tuple(
                    _Said(_claimed(each, key), None, each.execution)
                    for each in message.executions
                    if not self._goes_on(each, key)
                )
            case _:
                self._take_note(message, key)
                return ()

    def _take_note(self, message: Message, key: str) -> None:
        if self._known.keys[key].revoked:
            raise MessageRefused("Its key was revoked.", stranger=key)
        match message:
            case Echo():
                self._probes.echoed(message.queue, message.probe, self._clock.monotonic())
            case Marker():
                self._markers.came(message.marker)
            case Nudge():
                pass
            case Hello():
                if not may_work(self._known.keys.get(key), message.queue):
                    raise MessageRefused("Its key does not count for the queue that its worker serves.", stranger=key)
                self._trust, self._greeted = None, True
            case WhoIsThere():
                self._say(message)
                self._broker.answer(message.reply, self._sealed(self._presiding()))
            case _:
                raise MessageRefused(f"A {message.kind} does not belong into this queue.")

    def _presiding(self) -> Presiding:
        host, pid = self._place
        return Presiding(host=host, pid=pid, began=self._began_at, position=self._known.position)

    def _dead(self, arrived: Arrived, message: Message) -> Sequence[_Said]:
        """Return that an attempt vanished whose dispatch a step queue gave up."""
        if not isinstance(message, Dispatch):
            return ()  # a probe: another one follows
        ref = message.task.ref
        vanished = Vanished(ref.run_id, ref.step, ref.attempt, ref.dispatch, None, "delivered too often")
        return (_Said(vanished, arrived),)

    def _gone(self, execution: str, because: Because) -> Vanished:
        ref = self._known.held[execution].ref
        return Vanished(ref.run_id, ref.step, ref.attempt, ref.dispatch, execution, because)

    def _goes_on(self, execution: Taken, key: str) -> bool:
        """Note a sign of life of an execution that holds its claim, and that knows it."""
        held = self._known.held.get(execution.execution)
        if held is None or held.worker != key or execution.waiting:
            return False
        self._leases.heard(execution.execution, self._clock.monotonic())
        return True

    def _publish(self, waiting: Waiting, copied: bool) -> int | None:  # noqa: FBT001 - as `Publish` has it
        task, ref = self._task_of(self._known, waiting), waiting.ref
        try:
            data = self._sealed(Dispatch(task=task, copied=copied))
        except MessageTooLong as error:
            why = f"No worker can be told of it. {error} It has {len(task.inputs):,} inputs."
            self._unfit.append(Unfit(ref.run_id, ref.step, ref.attempt, ref.dispatch, "TooLarge", why))
            return None
        return self._sent(waiting.queue, data)

    def _put_marker(self) -> str:
        marker = self._new_id()
        self._sent(OUTCOMES, self._sealed(Marker(marker=marker)))
        return marker

    def _put_probe(self, queue: str) -> str:
        probe = self._new_id()
        self._sent(queue, self._sealed(Probe(probe=probe, queue=queue)))
        return probe

    def _sent(self, queue: str, data: bytes) -> int:
        self._token += 1
        self._broker.publish(queue, data, self._token)
        return self._token

    def _say(self, message: Message) -> None:
        if self._connected:
            self._broker.broadcast(self._sealed(message))

    def _sealed(self, message: Message) -> bytes:
        return sealed(message, self._signer, self._log_id)

    def _unconfirmed(self) -> list[Waiting]:
        return [each for each in self._known.waiting.values() if each.position > self._known.confirmed]


def _claimed(claim: Taken, key: str) -> Claimed:
    ref = claim.ref
    return Claimed(ref.run_id, ref.step, ref.attempt, ref.dispatch, claim.execution, key)


def _given_back(message: GivenBack, key: str) -> Vanished:
    ref = message.ref
    because: Because = "worker gave it back"
    return Vanished(ref.run_id, ref.step, ref.attempt, ref.dispatch, message.execution, because, key)


def _ended(message: OutcomeOf, key: str) -> Ended:
    ref, result = message.ref, message.result
    outcome = (
        FinishStep(ref.step, ref.attempt, result.outputs)
        if isinstance(result, Success)
        else FailStep(ref.step, ref.attempt, result.error, result.message, final=result.final)
    )
    by = Execution(id=message.execution, worker=key, began=message.began, ended=message.ended, log=message.log)
    return Ended(ref.run_id, ref.dispatch, outcome, by)
