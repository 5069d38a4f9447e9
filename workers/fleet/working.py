"""A worker as a process: takes steps from one queue, and ends in order when it is asked to."""

from __future__ import annotations

import os
import pickle
import platform
import sys
import time
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, NoReturn

from stackledger.domain.errors import BrokerError, InvalidValue, NotFound, Refused, near_names
from stackledger.domain.events.runs import Kept
from stackledger.domain.names import quoted
from stackledger.eventlog.ids import new_id
from stackledger.flavors.rabbitmq_orchestrator import RabbitMQOrchestratorConfig
from stackledger.pipelines.resources import memory_bytes
from stackledger.workers.fleet.broker.configured import broker_address, topology
from stackledger.workers.fleet.broker.loops import run_worker_loop
from stackledger.workers.fleet.broker.told import Inbox
from stackledger.workers.fleet.broker.worker_line import WorkerLine
from stackledger.workers.fleet.execution.children import WarmChildren
from stackledger.workers.fleet.execution.keeper import MAX_STEPS
from stackledger.workers.fleet.execution.nursery import Nursery
from stackledger.workers.fleet.joining import Join
from stackledger.workers.fleet.liveness import LifeSign, life_sign
from stackledger.workers.fleet.metrics import Endpoint, exposed, of_worker
from stackledger.workers.fleet.protocol import messages
from stackledger.workers.fleet.protocol.messages import Failure, Success
from stackledger.workers.fleet.protocol.ports import Unable
from stackledger.workers.fleet.protocol.tally import WorkerTally
from stackledger.workers.fleet.protocol.worker import Habits, Place, Worker
from stackledger.workers.fleet.signals import stopped_by_signals
from stackledger.workers.fleet.system_clock import SystemClock
from stackledger.workers.fleet.telling import Tell
from stackledger.workers.fleet.trust.keys import SigningKey
from stackledger.workers.fleet.trust.trusting import Trusted
from stackledger.workers.tracing import sending

GRACE = 25.0
"""Seconds for which a worker that is to stop goes on with what it executes, if nothing else is asked for."""

_AGAIN = 60.0
"""Seconds after which the same trouble is told again."""


class Service(NamedTuple):
    """How a worker serves. `grace` and `step_timeout` are in seconds, `memory` in bytes, 0 for any number.

    With an `idle_timeout`, in seconds, it ends by itself once it had nothing to do for so long.
    `alive` is a file that is touched every second while all is well, `metrics` where Prometheus may ask.
    """

    queue: str
    slots: int
    grace: float = GRACE
    max_steps: int = MAX_STEPS
    memory: int = 0
    step_timeout: float | None = None
    idle_timeout: float | None = None
    alive: Path | None = None
    metrics: Endpoint | None = None


def load() -> None:
    """Load what every worker needs sooner or later: so it shares that, too, with what is forked of it then."""
    messages.load()
    for name in ("cryptography.hazmat.primitives.asymmetric.ed25519", "encodings.idna"):
        import_module(name)


class Handed(NamedTuple):
    """What the program of a worker is handed. In `config` are secrets; of the key, which is read there, only its id."""

    join: Join
    config: RabbitMQOrchestratorConfig
    key_id: str
    service: Service
    home: Path
    log_format: str


_PROGRAM = "stackledger.worker_process"


def become(handed: Handed, environment: Mapping[str, str]) -> NoReturn:
    """Have this process be the program of a worker from here on, in the environment in which steps find themselves.

    It is lean, and knows nothing that steps must not when it begins: it forks what executes them first.
    """
    descriptor = os.memfd_create("handed", 0)
    with open(descriptor, "wb", closefd=False) as file:
        pickle.dump(handed, file)
    sys.stdout.flush()
    sys.stderr.flush()
    # -P keeps modules of the working directory out.
    os.execve(sys.executable, [sys.executable, "-P", "-m", _PROGRAM, str(descriptor)], environment)  # noqa: S606


def handed(descriptor: int) -> Handed:
    """Return what the program of a worker was handed, which is gone then."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        given: Handed = pickle.load(file)  # noqa: S301 - this very process wrote it, before it was this program
        return given


def chosen_queue(config: RabbitMQOrchestratorConfig, name: str | None) -> str:
    """Return the queue of that name, the first one if none is named, or raise NotFound."""
    if name is None:
        return config.queue_names[0]
    if name not in config.queue_names:
        raise NotFound(
            f"The orchestrator has no queue {quoted(name)}; it has {', '.join(config.queue_names)}.",
            near=near_names(name, config.queue_names),
        )
    return name


def memory_limit(text: str | None) -> int:
    """Return how many bytes an amount such as 8GB is, 0 for none given, or raise InvalidValue."""
    try:
        return 0 if text is None else memory_bytes(text)
    except ValueError as error:
        raise InvalidValue(f"{error}.".capitalize()) from error


def work(
    join: Join,
    config: RabbitMQOrchestratorConfig,
    key: SigningKey,
    service: Service,
    *,
    home: Path,
    tell: Tell,
    trouble: Tell,
    nursery: Nursery | None = None,
) -> None:
    """Work until SIGTERM or SIGINT, which lets what runs come to its end within the grace period; a second one kills.

    Or until there was nothing to do for the idle time-out.

    Raises Refused where a coordinator says that the key does not count. Only for the main thread of a process; `tell`
    gets what a person may want to know, line by line, `trouble` what of that is wrong. The log is never opened. See
    WarmChildren for `nursery`.
    """
    known = {"worker": key.shown.name, "orchestrator": join.orchestrator}
    tell, trouble = partial(tell, **known), partial(trouble, **known)
    inbox: Inbox = SimpleQueue()
    address = broker_address(config)
    line = WorkerLine(
        address,
        topology(config, join.log, join.orchestrator_id),
        inbox,
        queue=service.queue,
        slots=service.slots,
    )
    with (
        stopped_by_signals(inbox, tell, meanwhile="; what runs has its grace period"),
        life_sign(service.alive) as sign,
        sending(trouble) as tracing,
    ):
        tell(
            f"Worker {key.shown.name} (pid {os.getpid()}): {service.slots} slots for the queue {service.queue!r} of"
            f" {join.orchestrator!r}, broker at {address.place}."
        )
        children = WarmChildren(
            home,
            service.slots,
            inbox.put,
            max_steps=service.max_steps,
            memory=service.memory,
            tracing=tracing,
            nursery=nursery,
        )
        tally = WorkerTally()
        try:
            worker = _TellingWorker(
                join.log,
                slots=service.slots,
                broker=line,
                children=children,
                signer=key,
                trust=Trusted(join.log_id, join.root, kept=_kept_list(home, join, key)),
                clock=SystemClock(),
                new_id=new_id,
                habits=Habits(
                    lease_after=config.lease_after,
                    heartbeat=config.heartbeat,
                    grace=service.grace,
                    step_timeout=service.step_timeout,
                ),
                place=Place(host=platform.node(), pid=os.getpid(), queue=service.queue),
                tally=tally,
            )
            worker.tell_to(tell, trouble, sign, Idleness(service.idle_timeout, time.monotonic()))
            measured = partial(of_worker, worker, tally, service.slots, join.orchestrator, service.queue)
            with exposed(measured, service.metrics, tell):
                run_worker_loop(worker, line, inbox, grace=service.grace, trouble=worker.troubled)
        finally:
            children.close()
    if worker.is_dismissed:
        raise Refused(
            f"A coordinator says that the key {key.shown.name!r} (id {key.key_id}) does not count here: it was never"
            f" enrolled, or not for the queue {service.queue!r}, or was revoked.",
            hint=f"Where the log is: stackledger key enroll {key.shown} --queue {service.queue}",
        )
    tell("Stopped.")


class Idleness:
    """Since when there is nothing to do, and whether that is long enough to end; never without a time-out."""

    def __init__(self, timeout: float | None, now: float) -> None:
        self._timeout = timeout
        self._since = now

    def is_enough(self, now: float, *, idle: bool) -> bool:
        """Say whether that is so, once; without being `idle` it begins anew."""
        if not idle:
            self._since = now
        if self._timeout is None or now - self._since < self._timeout:
            return False
        self._timeout = None
        return True


class _TellingWorker(Worker):
    """A worker that tells people what becomes of it, shows that it goes on, and ends where it is of no use."""

    def tell_to(self, tell: Tell, trouble: Tell, sign: LifeSign, idleness: Idleness) -> None:
        """Say to whom, and by what sign; and when to end by itself."""
        self._idleness = idleness
        self._tell = tell
        self._tell_trouble = trouble
        self._sign = sign
        self._told: tuple[str, float] = ("", 0.0)
        self._served: bool | None = None
        self._was_unable: str | None = None

    def connected(self) -> None:
        super().connected()
        self._told = ("", 0.0)
        self._served = None
        self._tell("Connected to the broker.")

    def troubled(self, error: BrokerError) -> None:
        """Tell of trouble with the broker, the same now and then only; it is tried again and again."""
        text, now = str(error), time.monotonic()
        if text != self._told[0] or now - self._told[1] >= _AGAIN:
            self._told = (text, now)
            self._tell_trouble(f"{text} Trying again.")

    def ended(self, number: int, execution: str, result: Success | Failure | Unable, log: Kept | None = None) -> None:
        work = self._slots[number].work
        if work is not None and work.execution == execution:
            ref, seconds = work.task.ref, self._clock.monotonic() - work.began
            came_to = "was given back" if isinstance(result, Unable) else "succeeded"
            if isinstance(result, Failure):
                came_to = f"failed ({result.error})"
            self._tell(
                f"{work.task.run_name}: {ref.step}, attempt {ref.attempt}, {came_to} after {seconds:.1f} s.",
                run=ref.run_id,
                step=ref.step,
                attempt=ref.attempt,
                execution=execution,
            )
        super().ended(number, execution, result, log)
        self._idleness.is_enough(time.monotonic(), idle=False)

    def tick(self) -> None:
        super().tick()
        serves = self._trust.holds(self._clock.time())
        if self._connected and serves is not self._served:
            self._served = serves
            self._tell(
                "Taking steps."
                if serves
                else "Waiting for the list of coordinators that the root key signed: see that a coordinator is active,"
                " and that `stackledger key list` shows no expired list."
            )
        if self.unable != self._was_unable:
            self._was_unable = self.unable
            if self.unable is None:
                self._tell("Steps can be executed here again.")
            else:
                self._tell_trouble(f"Taking no steps until they can be executed here. {self.unable}")
        if self._idleness.is_enough(time.monotonic(), idle=self.is_idle):
            self._tell("There was nothing to do for long enough: stopping.")
            self.stop()
        self._sign.show()


def _kept_list(home: Path, join: Join, key: SigningKey) -> Path:
    return home / f"worker/trust-{join.log_id}-{key.key_id}"
