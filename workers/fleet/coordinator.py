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
from stackledger.domain.events.fleet import Because, DispatchConfirmed, TopologyRenewed, fleet_tag
from stackledger.domain.events.runs import Execution
from stackledger.domain.fleet import Claimed, Ended, Report, Vanished, Verdict, boundary, settled
from stackledger.domain.runs import FailStep, FinishStep
from stackledger.workers.fleet.dispatching import Dispatching
from stackledger.workers.fleet.known import Known, Waiting
from stackledger.workers.fleet.leases import Leases, Markers, Probes
from stackledger.workers.fleet.messages import (
    Cancel,
    Claim,
    Dispatch,
    Echo,
    GivenBack,
    Grant,
    Heartbeat,
    Marker,
    Message,
    MessageRefused,
    Nudge,
    OutcomeOf,
    Probe,
    Refusal,
    Signer,
    Success,
    Taken,
    Task,
    Verifier,
    opened,
    sealed,
)
from stackledger.workers.fleet.ports import (
    OUTCOMES,
    PARKED,
    Arrived,
    Broker,
    Clock,
    Conflict,
    FleetLog,
    LogAway,
    Seen,
    Tag,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long the coordinator waits for what, in seconds, and how many dispatches may be unconfirmed."""

    silence: float = 45.0
    probe_every: float = 60.0
    probe_grace: float = 150.0
    record_confirmed: float = 1.0
    declare_every: float = 60.0
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
    ) -> None:
        self._orchestrator_id = orchestrator_id
        self._log_id = log_id
        self._log = log
        self._broker = broker
        self._signer = signer
        self._clock = clock
        self._new_id = new_id
        self._task_of = task_of
        self._pace = pace
        self._known = Known(orchestrator_id)
        self._verifier = verifier(self._known)
        self._markers = Markers(self._put_marker)
        self._leases = Leases(self._known, self._markers, pace.silence)
        self._probes = Probes(
            self._known, self._markers, self._put_probe, every=pace.probe_every, grace=pace.probe_grace
        )
        self._dispatching = Dispatching(self._known, self._publish, pace.window)
        self._token = 0
        self._parking: dict[int, Arrived] = {}
        self._unread: list[tuple[float, Arrived]] = []
        self._renew: set[str] = set()
        self._connected = False
        self._looked = clock.monotonic()
        self._recorded = self._declared = self._looked

    @property
    def known(self) -> Known:
        """What the coordinator knows from the log."""
        return self._known

    def activate(self) -> None:
        """Begin: learn from the log what is open. What was queued and maybe not sent is sent as copies."""
        self._fold(self._log.begin())
        self._leases.restart(self._clock.monotonic())
        self._dispatching.restart(self._unconfirmed())

    # What the broker tells

    def connected(self, missing: Sequence[str]) -> None:
        """A connection is there (again); `missing` are the step queues that are not declared."""
        self._connected = True
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
            self._broker.acknowledge(parked.tag)
        self._dispatching.confirmed(token)
        self._dispatching.pump()

    def returned(self, token: int, queue: str) -> None:
        """A message came back: its queue is not there."""
        parked = self._parking.pop(token, None)
        if parked is not None:
            self._broker.declare((PARKED,))
            self._park(parked)
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
        if self._known.cancelled and self._connected:
            self._say(Cancel(run_ids=tuple(self._known.cancelled)))
            self._known.cancelled.clear()

    def _fold(self, seen: Seen) -> None:
        for recorded in seen.events:
            self._known.fold(recorded)
        self._known.position = seen.position
        self._dispatching.add(self._known.fresh, copied=False)
        self._known.fresh.clear()

    def _read(self) -> None:
        """Settle what workers said and what is due, then acknowledge."""
        arrivals = [arrived for _, arrived in self._unread]
        said: list[_Said] = []
        parked: set[Tag] = set()
        for arrived in arrivals:
            try:
                said += self._heard(arrived)
            except MessageRefused:
                parked.add(arrived.tag)
        said += (_Said(self._gone(execution, "lease ran out")) for execution in self._leases.take_ran_out())
        said += (_Said(self._gone(execution, "worker's key was revoked")) for execution in self._known.revoked())
        verdicts = self._settle([each.report for each in said])
        for each, verdict in zip(said, verdicts, strict=True):
            self._answer(each, verdict)
            if verdict is Verdict.INVALID and each.arrived is not None:
                parked.add(each.arrived.tag)
        self._unread.clear()
        for arrived in arrivals:
            if arrived.tag in parked:
                self._park(arrived)
            else:
                self._broker.acknowledge(arrived.tag)
        self._dispatching.add(self._probes.take_missing(), copied=True)

    def _park(self, arrived: Arrived) -> None:
        self._parking[self._sent(PARKED, arrived.data)] = arrived

    def _settle(self, reports: Sequence[Report]) -> Sequence[Verdict]:
        """Append what reports and the time bring about, and return the verdict on each report."""
        dispatch = self._new_id()
        workers = {report.worker for report in reports if report.worker is not None}
        while True:
            now = self._log.now()
            touched = self._known.unsettled | self._known.due(now)
            runs = touched | {report.run_id for report in reports}
            decided = settled(self._known.runs, self._known.keys, reports, touched, now=now, dispatch=dispatch)
            if decided.events and not self._append(decided.events, boundary(sorted(runs), sorted(workers))):
                continue
            self._known.unsettled -= runs
            if decided.events:
                self._catch_up()
            return decided.verdicts

    def _append(self, events: Sequence[Event], depends: Boundary) -> bool:
        """Append, or learn what somebody else did who was first; say which of the two."""
        try:
            self._log.append(events, depends, self._known.position)
        except Conflict:
            self._catch_up()
            return False
        return True

    def _answer(self, said: _Said, verdict: Verdict) -> None:
        report = said.report
        if said.asks and verdict in (Verdict.EFFECTIVE, Verdict.REPEATED):
            self._leases.heard(said.asks, self._clock.monotonic())
            self._say(Grant(execution=said.asks))
        elif said.asks:
            self._say(Refusal(execution=said.asks))
        waiting = self._known.waiting.get((report.run_id, report.step))
        if verdict is Verdict.INVALID and waiting is not None and waiting.position not in self._dispatching.under_way():
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
            raise MessageRefused("Its key was revoked.")
        match message:
            case Echo():
                self._probes.echoed(message.queue, message.probe, self._clock.monotonic())
            case Marker():
                self._markers.came(message.marker)
            case Nudge():
                pass
            case _:
                raise MessageRefused(f"A {message.kind} does not belong into this queue.")

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

    def _publish(self, waiting: Waiting, copied: bool) -> int:  # noqa: FBT001 - as `Publish` has it
        task = self._task_of(self._known, waiting)
        return self._sent(waiting.queue, self._sealed(Dispatch(task=task, copied=copied)))

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
        else FailStep(ref.step, ref.attempt, result.error, result.message)
    )
    by = Execution(id=message.execution, worker=key, began=message.began, ended=message.ended, log=message.log)
    return Ended(ref.run_id, ref.dispatch, outcome, by)
