"""Celery as it is held against the fleet: quorum queues, late acknowledgement, confirmed publishing, results by rpc.

All else is as Celery has it: tasks are persistent messages, workers prefork. With quorum queues it limits what each
worker prefetches on its channel (`worker_prefetch_multiplier`, 4 for each process).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen
from sys import executable

from celery import Celery, group

from bench.figures import process_environment

URL = "BENCH_BROKER_URL"

app = Celery("bench.floors.celery_tasks", broker=os.environ.get(URL), backend="rpc://")
app.conf.update(
    task_acks_late=True,
    task_default_queue="bench.celery",
    task_default_queue_type="quorum",
    worker_detect_quorum_queues=True,
    broker_transport_options={"confirm_publish": True},
)


@app.task  # type: ignore[untyped-decorator, unused-ignore]
def nothing() -> None:
    """Do nothing."""


def execute(tasks: int) -> None:
    """Have so many tasks executed at once, and wait for all results."""
    group(nothing.s() for _ in range(tasks))().get(timeout=120)


def execute_one() -> None:
    """Have a task executed, and wait for its result."""
    nothing.delay().get(timeout=120)


@contextmanager
def celery_workers(url: str, workers: int, processes: int, folder: Path) -> Iterator[None]:
    """Start workers with so many processes each, and wait until each answers."""
    app.conf.broker_url = url
    with ExitStack() as stack:
        for number in range(workers):
            stack.callback(_end, _worker(url, f"worker{number}@localhost", processes, folder))
        while len(app.control.ping(timeout=0.5)) < workers:
            pass
        yield
        app.close()


def _worker(url: str, name: str, processes: int, folder: Path) -> Popen[bytes]:
    command = [executable, "-m", "celery", "--app", "bench.floors.celery_tasks", "worker", "--hostname", name]
    command += ["--concurrency", str(processes), "--loglevel", "error"]
    repository = str(Path(__file__).parents[2])
    with (folder / f"{name}.log").open("wb") as output:
        environment = process_environment({URL: url, "PYTHONPATH": repository})
        return Popen(command, env=environment, cwd=folder, stdin=DEVNULL, stdout=output, stderr=output)


def _end(worker: Popen[bytes]) -> None:
    worker.terminate()
    worker.wait(30)
