"""The invariants of a fleet, read off its log and its broker when everything has come to rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from stackledger.domain.event import Event
from stackledger.domain.events.fleet import KeyEnrolled, KeyRevoked, RunCancelled, StepClaimed, StepLost, StepQueued
from stackledger.domain.events.runs import (
    Execution,
    RunFailed,
    RunStarted,
    RunSucceeded,
    StepFailed,
    StepSkipped,
    StepSucceeded,
)
from tests.support.fleet.world import World

TERMINAL = (RunSucceeded, RunFailed, RunCancelled)


def check(world: World) -> None:
    """Raise AssertionError for the first promise that was broken."""
    check_runs(recorded.event for recorded in world.log.events)
    check_keys(recorded.event for recorded in world.log.events)
    assert world.broker.is_quiet(), "messages are left in queues, or unacknowledged"


def check_store(world: World) -> None:
    """Raise AssertionError where the log refers to an object that is gone."""
    for recorded in world.log.events:
        if isinstance(recorded.event, StepSucceeded):
            for each in recorded.event.outputs:
                assert world.store.holds(each.digest), f"the object {each.digest} is gone"


def check_keys(events: Iterable[Event]) -> None:
    """Raise AssertionError where the word of somebody counted who had no key for it, or none any more."""
    counting: set[str] = set()
    for event in events:
        match event:
            case KeyEnrolled(role="worker"):
                counting.add(event.key_id)
            case KeyRevoked():
                counting.discard(event.key_id)
            case (
                StepClaimed(worker=worker)
                | StepSucceeded(execution=Execution(worker=worker))
                | StepFailed(execution=Execution(worker=worker))
            ):
                assert worker in counting, f"the word of {worker} counted, whose key did not"
            case _:
                pass


def check_runs(events: Iterable[Event]) -> None:
    """Raise AssertionError for the first promise that was broken about the runs in a log."""
    runs: dict[str, list[Event]] = {}
    for event in events:
        run_id = getattr(event, "run_id", None)
        if run_id is not None:
            runs.setdefault(run_id, []).append(event)
    for run in runs.values():
        _check_run(run)


def _check_run(events: Sequence[Event]) -> None:
    started, last = events[0], events[-1]
    assert isinstance(started, RunStarted)
    assert isinstance(last, TERMINAL), f"the run {started.run_id} never ended"
    assert sum(isinstance(event, TERMINAL) for event in events) == 1, "something happened after the end of a run"
    succeeded = Counter(event.step for event in events if isinstance(event, StepSucceeded))
    assert all(number == 1 for number in succeeded.values()), "a step succeeded twice"
    queued = Counter((event.step, event.attempt) for event in events if isinstance(event, StepQueued))
    assert all(number == 1 for number in queued.values()), "an attempt was queued twice"
    ended = Counter(
        (event.step, event.attempt) for event in events if isinstance(event, StepSucceeded | StepFailed | StepLost)
    )
    assert all(number == 1 for number in ended.values()), "an attempt ended twice"
    assert set(ended) <= set(queued), "an attempt ended that was never queued"
    claimed = Counter((event.step, event.attempt) for event in events if isinstance(event, StepClaimed))
    assert all(number == 1 for number in claimed.values()), "an attempt was claimed twice"
    claimers = {(event.step, event.attempt): event.execution for event in events if isinstance(event, StepClaimed)}
    for event in events:
        if isinstance(event, StepSucceeded | StepFailed) and event.execution is not None:
            claimer = claimers.get((event.step, event.attempt), event.execution.id)
            assert claimer == event.execution.id, "an attempt was ended by another execution than had claimed it"
    done: set[str] = set()
    parents = {step.name: step.upstream for step in started.steps}
    for event in events:
        if isinstance(event, StepQueued):
            assert done >= set(parents[event.step]), "a step was queued before its parents had succeeded"
        elif isinstance(event, StepSucceeded):
            done.add(event.step)
    if isinstance(last, RunSucceeded):
        assert done == set(parents), "a run succeeded without one of its steps"
    if isinstance(last, RunFailed):
        lost = {event.step for event in events if isinstance(event, StepSkipped)}
        lost |= {event.step for event in events if isinstance(event, StepFailed) and event.retry_at is None}
        assert done | lost == set(parents), "a run failed while a step of it was open"
