"""People use a fleet while all that it is made of is killed, frozen and cut off at random: nothing lost, nothing twice.

Broker, server, coordinators, workers, children of workers, and those who begin the runs are processes as users have
them. What is promised is read off the log, the store, the broker, and what executions wrote outside of all of them.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from stackledger.domain.event import Event
from stackledger.domain.events.fleet import StepLost
from stackledger.domain.events.runs import RunFailed, RunStarted, RunSucceeded, StepFailed, StepSucceeded
from stackledger.domain.run_status import RunStatus
from stackledger.eventlog.codec import decode
from stackledger.projections.engine import Views
from tests.conftest import SOAK
from tests.support.any_log import reader_at
from tests.support.eventually import eventually
from tests.support.fleet.chaos import LAST, STEPS, Chaos, chaos
from tests.support.fleet.checker import TERMINAL, check_runs
from tests.support.soak import rounds
from tests.support.views import dumped

pytestmark = [pytest.mark.xdist_group("fleets"), pytest.mark.timeout(1_200)]

RUNS = 5_000
REST = 600.0
"""Seconds in which everything has ended after the last fault. A dispatch that got lost is found after three minutes."""
PAUSES, LONGEST = ((5.0, 40.0), 45.0) if SOAK else ((0.5, 4.0), 12.0)


@pytest.mark.parametrize("log", ["file", "server"])
def test_a_fleet_among_faults_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path, log: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = time.time_ns() % 1_000_000
    tell(f"Seed {seed}, log: {log}.", capsys)
    with chaos(tmp_path, log, seed, users=6 if SOAK else 4, pauses=PAUSES, longest=LONGEST) as found:
        began = time.monotonic()
        found.go_on(enough(found, began))
        found.come_to_rest(REST)
        eventually(lambda: is_quiet(found), REST)
        events = events_of(found)
        tell(summary(found, events, time.monotonic() - began), capsys)
        check_runs(events)
        check_effects(found, events)
        check_store(found, events)
        check_views(found, tmp_path)
        found.stop()


def enough(found: Chaos, began: float) -> Callable[[], bool]:
    if SOAK:
        return lambda: len(found.lines("done")) >= RUNS
    return lambda: time.monotonic() - began > rounds(15, 0, ci=50)


def events_of(found: Chaos) -> list[Event]:
    with closing(reader_at(found.where)) as reader:
        positions = [stored.position for stored in reader.scan()]
        assert positions == sorted(set(positions))
        return [decode(stored).event for stored in reader.scan()]


def is_quiet(found: Chaos) -> bool:
    """Say whether every run has ended, and nothing waits in a queue or with somebody."""
    events = events_of(found)
    ended = {event.run_id for event in events if isinstance(event, TERMINAL)}
    if {event.run_id for event in events if isinstance(event, RunStarted)} - ended:
        return False
    rows = found.node.control("list_queues", "messages").split()
    return all(row == "0" for row in rows if row.isdigit())


def check_effects(found: Chaos, events: list[Event]) -> None:
    """What executions did, what the log says, and what the store holds fit together."""
    keys = {event.run_id: str(event.parameters["key"]) for event in events if isinstance(event, RunStarted)}
    assert len(set(keys.values())) == len(keys), "a run began twice"
    succeeded = {keys[event.run_id] for event in events if isinstance(event, RunSucceeded)}
    assert set(found.lines("done")) <= succeeded, "somebody was told of a success that is not in the log"
    assert set(keys.values()) <= set(found.lines("asked"))
    last = [key for key in succeeded if "-last-" in key]
    assert len(last) >= LAST, "what was begun after the last fault did not succeed"
    executed = Counter(found.lines("executed"))
    ended = [event for event in events if isinstance(event, StepSucceeded)]
    done = Counter(f"{keys[event.run_id]} {event.step}" for event in ended)
    assert set(done) <= set(executed), "a step succeeded that nobody executed"
    assert set(done.values()) <= {1}
    store = found.fleet.client()._store(found.fleet.client().describe_pipeline_run(next(iter(keys))).stack)
    for event in ended:
        (output,) = event.outputs
        words = " ".join(STEPS[: STEPS.index(event.step) + 1])
        assert f"{keys[event.run_id]} {words}".encode() in store.get(output.digest, output.size)


def check_store(found: Chaos, events: list[Event]) -> None:
    """What is in the store is referred to, or found as garbage; collecting takes the one and leaves the other."""
    client = found.fleet.client()
    stack = client.describe_pipeline_run(next(event.run_id for event in events if isinstance(event, RunStarted))).stack
    (store_id,) = (each["id"] for each in stack["components"] if each["type"] == "artifact_store")
    store = client._store(stack)
    referred = {tag.removeprefix("content:") for event in events for tag in event.tags() if tag.startswith("content:")}
    there = set(store.digests())
    garbage = {each.digest for each in client.find_garbage(store_id, grace=0)}
    assert referred <= there <= referred | garbage
    assert not referred & garbage
    # Members of the fleet reach the server at addresses of their own, so it cannot be told that it is one.
    for _ in range(2):
        client.prune_artifacts(store_id, grace=0, not_shared=True)
    left = set(store.digests())
    assert referred <= left
    assert not left & garbage


def check_views(found: Chaos, folder: Path) -> None:
    """The views that everybody kept up to date are those that are built anew."""
    client = found.fleet.client()
    assert not client.list_pipeline_runs(status=RunStatus.RUNNING).items
    with closing(reader_at(found.where)) as reader:
        Views(folder / "anew.db", reader, lambda _: None).read(lambda view: view.position)
    assert dumped(found.fleet.home / "views.db") == dumped(folder / "anew.db")


def summary(found: Chaos, events: list[Event], seconds: float) -> str:
    """Return how much there was of what. That steps are executed more than once is no failure."""
    counts = Counter(type(event) for event in events)
    executed = Counter(found.lines("executed"))
    faults = ", ".join(f"{what} {times}" for what, times in sorted(found.done.items()))
    return (
        f"{counts[RunStarted]} runs in {seconds:.0f} s, {counts[RunSucceeded]} succeeded, {counts[RunFailed]} failed;"
        f" {counts[StepSucceeded]} steps, {executed.total()} executions of which {executed.total() - len(executed)}"
        f" were not the first; {counts[StepLost]} attempts lost, {counts[StepFailed]} failed;"
        f" {found.done.total()} faults: {faults}."
    )


def tell(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Print for whoever looks into a failure, and at once for whoever waits for a long soak."""
    with capsys.disabled() if SOAK else nullcontext():
        print(line, file=sys.stderr)  # noqa: T201
