"""Steps that do nothing on a fleet of this machine, against Celery and against pika alone, all on one private broker.

Every part of the fleet is a process of its own, as `stack up` starts it: a coordinator with the log in SQLite, two
workers with keepers and warm children, everything signed, on quorum queues. Runs are begun by an append to the log, as
`python run.py` begins them, and a step counts when its outcome is committed there.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figures import Figure, Pair, in_turns, rate, run, took
from bench.floors.celery_tasks import celery_workers, execute, execute_one
from bench.floors.pika_loop import PikaLoop
from stackledger.domain.events.runs import PlannedStep, RunFailed, RunStarted, RunSucceeded, run_tag
from stackledger.domain.fleet import START_ON_FLEET
from stackledger.domain.runs import StartRun
from stackledger.eventlog.codec import decode
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.seat import FileListener
from stackledger.wiring import Ledger
from tests.support.fleet.local import LocalFleet, local_fleet
from tests.support.postgres import Databases, log_for, private_server, programs
from tests.support.rabbitmq import private_node

WORKERS = 2
SLOTS = 16
STEPS = 1_000
MANY = 10_000
ROUNDS = 5
ONE_BY_ONE = 40
IDLE_SECONDS = 10.0

PROJECT = """
from stackledger import pipeline, step

@step
def nothing() -> None:
    pass

@pipeline
def first() -> None:
    nothing()

if __name__ == "__main__":
    first()
"""


def measure() -> Iterator[Figure]:
    if shutil.which("epmd") is None:
        print("RabbitMQ is not installed: no figures of the fleet.", file=sys.stderr)
        return
    with private_node() as node:
        yield from idle(node.url)
        with fleet(node.url, WORKERS, SLOTS) as ours:
            yield from against_others(node.url, ours)
            yield from many_steps(ours)
            yield from on_postgresql(node.url, ours)


def idle(url: str) -> Iterator[Figure]:
    """Measure a worker of two slots that has executed something, and waits for more."""
    with fleet(url, 1, 2) as ours:
        ours.execute([ours.step(f"s{number}") for number in range(20)])
        (worker,) = (each.pid for each in ours.local.processes if each.name.startswith("worker"))
        began, used = time.perf_counter(), cpu_seconds(worker)
        time.sleep(IDLE_SECONDS)
        share = (cpu_seconds(worker) - used) / (time.perf_counter() - began)
        yield Figure("Worker idle with 2 warm children, PSS", "MiB", pss(worker) / 2**20, None, 60)
        yield Figure("Worker idle with 2 warm children, of a core", "%", 100 * share, None, 0.5)


def against_others(url: str, ours: Ours) -> Iterator[Figure]:
    """Measure many steps at once, and one after the other."""
    workers = f"{WORKERS} workers of {SLOTS} slots"
    loop = PikaLoop(url)
    with TemporaryDirectory() as folder, celery_workers(url, WORKERS, SLOTS, Path(folder)):
        steps = [ours.step(f"s{number}") for number in range(STEPS)]
        calls: list[Callable[[], object]] = [
            lambda: ours.execute(steps),
            lambda: execute(STEPS),
            lambda: loop.exchange(STEPS),
        ]
        mine, celery, pika = in_turns(calls, ROUNDS)
        yield rate(f"Fleet, no-op steps on {workers} : Celery", Pair(mine, celery), STEPS, at_least=2)
        yield rate(f"Fleet, no-op steps on {workers} : pika alone", Pair(mine, pika), STEPS, at_least=0.15)
        one = steps[:1]
        mine, celery = in_turns([lambda: ours.execute(one), execute_one], ONE_BY_ONE)
        yield took("Fleet, a single step, submitted to committed : Celery", Pair(mine, celery), at_most=2)
    loop.end()


def many_steps(ours: Ours) -> Iterator[Figure]:
    """Measure a run whose steps all need the first, and whose last needs all of them."""

    def fan(steps: int) -> list[PlannedStep]:
        middle = [f"s{number}" for number in range(steps - 2)]
        return [
            ours.step("first"),
            *(ours.step(name, "first") for name in middle),
            ours.step("last", *middle),
        ]

    few, many = fan(STEPS), fan(MANY)
    began = time.perf_counter()
    run_id = ours.execute(many)
    large = time.perf_counter() - began
    commits = ours.commits(run_id)
    (small,) = in_turns([lambda: ours.execute(few)], 3)
    per_step = Pair(large / MANY, small / STEPS)
    yield took(f"Fleet, a step of a fan of {MANY:,} : of {STEPS:,}", per_step, at_most=1.3)
    yield Figure(f"Fleet, commits for a step of {MANY:,}", "", commits / MANY, None, 0.05)
    peak = peak_memory(ours.local.pid("coordinator"))
    yield Figure(f"Fleet, coordinator's greatest memory with {MANY:,} steps", "MiB", peak / 2**20, None, 150)


def on_postgresql(url: str, in_file: Ours) -> Iterator[Figure]:
    """Measure many steps at once with a log on PostgreSQL, beside the same with one in SQLite."""
    if programs() is None:
        print("PostgreSQL is not installed: no figure of a fleet with a log there.", file=sys.stderr)
        return
    with private_server() as server, fleet(url, WORKERS, SLOTS, Databases(server.admin)) as on_server:
        calls = [partial(each.execute, [each.step(f"s{n}") for n in range(STEPS)]) for each in (on_server, in_file)]
        yield rate(
            "Fleet, no-op steps, log on PostgreSQL : in SQLite", Pair(*in_turns(calls, ROUNDS)), STEPS, at_least=0
        )


class Ours:
    """A fleet, and how runs are begun on it: as one that was begun by a program of a user's, with other steps."""

    def __init__(self, local: LocalFleet) -> None:
        self.local = local
        self._listener = FileListener(local.home / "log.db")
        self._ledger = Ledger(local.home, lambda _: None, {**os.environ, **local.environment})
        self._reader = self._ledger.reader
        self._first = next(
            recorded.event for recorded in map(decode, self._reader.scan()) if isinstance(recorded.event, RunStarted)
        )
        self._numbers = count(1)

    def close(self) -> None:
        """Let go of the log."""
        self._listener.close()
        self._ledger.close()

    def step(self, name: str, *after: str) -> PlannedStep:
        """Return a step that does nothing."""
        return self._first.steps[0].model_copy(update={"name": name, "upstream": after})

    def execute(self, steps: Sequence[PlannedStep]) -> str:
        """Run these steps, and wait until the log says that the run has succeeded; return its id."""
        run_id, first = new_id(), self._first
        command = StartRun(
            run_id=run_id,
            name=f"{run_id}-{next(self._numbers)}",
            pipeline=first.pipeline,
            stack=first.stack,
            code=first.code,
            parameters={},
            steps=tuple(steps),
            environment=first.environment,
        )
        position = self._ledger.handler.handle(
            START_ON_FLEET, command, self._ledger.context(reason=None, ticket=None)
        ).known.position
        while True:
            for stored in self._reader.scan_back(tags=(run_tag(run_id),)):
                if stored.position > position and stored.type == RunSucceeded.TYPE:
                    return run_id
                if stored.type == RunFailed.TYPE:
                    raise RuntimeError("A run of steps that do nothing failed.")
                break
            # Where it is about one step, whoever asks looks at once; where it is about many, they are not disturbed.
            if len(steps) == 1:
                self._listener.wait(0.1)
            else:
                time.sleep(0.01)

    def commits(self, run_id: str) -> int:
        """Return how many appends there were since a run began: what one appends has one cause."""
        of_run = self._reader.scan(tags=(run_tag(run_id),))
        first = next(of_run).position
        since = map(decode, self._reader.scan(after=first))
        return len({recorded.envelope.causation for recorded in since})


@contextmanager
def fleet(url: str, workers: int, slots: int, databases: Databases | None = None) -> Iterator[Ours]:
    """Bring up a fleet in a home of its own, with its log in one of the databases if there are any."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        log = stack.enter_context(log_for(Path(folder) / "home", databases)) if databases is not None else None
        settings = (f"--workers={workers}", f"--slots={slots}")
        local = stack.enter_context(local_fleet(Path(folder), url, *settings, log=log))
        done = local.command("stack", "up")
        assert done.status == 0, done.err
        (local.project / "run.py").write_text(PROJECT, encoding="utf-8")
        run([sys.executable, str(local.project / "run.py")], local.environment)
        ours = Ours(local)
        stack.callback(ours.close)
        yield ours


def family(pid: int) -> Iterator[Path]:
    """Yield what the system shows of a process, and of all below it."""
    yield Path(f"/proc/{pid}")
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text("ascii").split():
            yield from family(int(child))


def pss(pid: int) -> int:
    """Return the bytes that a process and those below it take up, with their parts of what is shared."""
    return sum(_kilobytes(each / "smaps_rollup", "Pss:") for each in family(pid)) * 1024


def peak_memory(pid: int) -> int:
    """Return the most bytes that a process has had in memory."""
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmHWM:") * 1024


def cpu_seconds(pid: int) -> float:
    """Return for how long a process and those below it have been on a processor."""
    threads = (thread for each in family(pid) for thread in (each / "task").iterdir())
    return sum(int((thread / "schedstat").read_text("ascii").split()[0]) for thread in threads) / 1e9


def _kilobytes(file: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in file.read_text("ascii").splitlines() if line.startswith(name))
