from __future__ import annotations

import pytest

from stackledger.domain.errors import NotFound, Refused
from stackledger.domain.event import Event
from stackledger.domain.events.fleet import RunCancelled, StepClaimed, StepLost, StepQueued
from stackledger.domain.events.runs import RunFailed, StepFailed, StepSucceeded
from stackledger.domain.fleet import MAX_LOST
from stackledger.domain.requeueing import REQUEUE, RequeueAttempt
from stackledger.domain.run_state import Run, evolve, ready
from tests.support.given import specification
from tests.support.run_plans import RUN_ID, output_of, started

NOW = 7_000_000
START = started({"a": (), "z": ()})


def queued(attempt: int = 1, dispatch: str = "d1") -> StepQueued:
    return StepQueued(run_id=RUN_ID, step="a", attempt=attempt, queue="default", dispatch=dispatch, inputs={})


def lost(attempt: int = 1) -> StepLost:
    because = "its message was parked"
    return StepLost(run_id=RUN_ID, step="a", attempt=attempt, because=because, retry_at=NOW)


def requeue(attempt: int = 1, dispatch: str = "d1", step: str = "a") -> RequeueAttempt:
    return RequeueAttempt(run_id=RUN_ID, step=step, attempt=attempt, dispatch=dispatch, now=NOW)


CLAIMED = StepClaimed(run_id=RUN_ID, step="a", attempt=1, execution="e", worker="w")
SUCCEEDED = StepSucceeded(run_id=RUN_ID, step="a", attempt=1, outputs=(output_of("a"),))
FAILED = StepFailed(run_id=RUN_ID, step="a", attempt=1, error="E", message="", retry_at=NOW)


def test_an_attempt_that_waits_for_a_worker_is_followed_by_another_at_once() -> None:
    specification(REQUEUE)(START, queued()).when(requeue()).then(lost())
    run: Run | None = None
    for event in (START, queued(), lost()):
        run = evolve(run, event)
    assert run is not None
    assert ("a", 2) in [(each.step, each.number) for each in ready(run, NOW)]


@pytest.mark.parametrize(
    ("history", "command", "words"),
    [
        ((), requeue(), "'a' is initializing, and goes on"),
        ((queued(),), requeue(dispatch="d0"), "'a' is not waiting under the dispatch"),
        ((queued(),), requeue(attempt=2), "'a' is not waiting under the dispatch"),
        ((queued(), lost(), queued(2, "d2")), requeue(), "has come to attempt 2"),
        ((queued(), CLAIMED), requeue(), "a worker executes the step 'a'"),
        ((queued(), FAILED), requeue(), "'a' is retrying"),
        ((queued(), SUCCEEDED), requeue(), "the step 'a' is completed"),
        ((queued(), RunCancelled(run_id=RUN_ID)), requeue(), "'first run' has been cancelled"),
        ((queued(), RunFailed(run_id=RUN_ID, because="interrupted", steps=())), requeue(), "'first run' has failed"),
        ((queued(),), requeue(step="b"), "has no such step"),
    ],
)
def test_any_other_is_refused(history: tuple[Event, ...], command: RequeueAttempt, words: str) -> None:
    specification(REQUEUE)(START, *history).when(command).then_raises(Refused, words)


def test_a_run_that_is_not_there_is_not_found() -> None:
    specification(REQUEUE)().when(requeue()).then_raises(NotFound, RUN_ID)


def test_a_person_may_ask_more_often_than_attempts_may_get_lost() -> None:
    history = [event for number in range(1, MAX_LOST + 2) for event in (queued(number, f"d{number}"), lost(number))]
    last = MAX_LOST + 2
    specification(REQUEUE)(START, *history, queued(last, "d")).when(requeue(last, "d")).then(lost(last))
