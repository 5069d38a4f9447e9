"""A run is killed before and after every call that it makes to the log and to the artifact store, one by one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from stackledger.domain.events.runs import RunFailed, RunSucceeded, StepFailed, StepStarted, StepSucceeded
from stackledger.domain.run_state import evolve
from stackledger.domain.run_status import RunStatus, StepStatus
from stackledger.pipelines.context import get_step_context
from stackledger.pipelines.pipeline import Pipeline
from stackledger.pipelines.step import StepRetryConfig, step
from stackledger.workers.local import end_dead_run
from stackledger.workers.run_files import dead_runs, is_driven
from tests.support.local_runs import LocalHome

CALLS = ("recorder.read", "recorder.append", "store.put", "store.get")
DONE = 17


def witness(home: Path, line: str) -> None:
    with (home / "witness").open("a") as file:
        file.write(f"{line}\n")


def told() -> str:
    context = get_step_context().step_run
    return f"{context.name} {context.attempt}"


@step
def load(home: str) -> list[int]:
    witness(Path(home), told())
    return [1, 2, 3]


@step(retry=StepRetryConfig(max_retries=1, delay=1))
def flaky(home: str, numbers: list[int]) -> int:
    witness(Path(home), told())
    if get_step_context().step_run.attempt == 1:
        raise ValueError("not yet")
    return sum(numbers)


@step
def report(home: str, number: int) -> str:
    witness(Path(home), told())
    return f"{number}"


@step
def broken(home: str, numbers: list[int]) -> int:
    witness(Path(home), told())
    return numbers[9]


def forked(home: Path) -> None:
    numbers = load(str(home))
    report(str(home), flaky(str(home), numbers))
    report(str(home), broken(str(home), numbers))
    load(str(home), after="flaky")


def run_and_be_killed(home: Path, at: int, *, before: bool) -> int:
    """Run in a child that kills itself at its `at`-th call, before or after it is made; return how the child ended."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            local = LocalHome(home)
            calls = count(1)
            for name in CALLS:
                part, _, method = name.partition(".")
                owner = getattr(local, part)
                setattr(owner, method, deadly(getattr(owner, method), calls, at, before=before))
            local.finish(Pipeline(forked).plan(home))
            status = DONE
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def deadly(call: Callable[..., Any], calls: Any, at: int, *, before: bool) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        dies = next(calls) == at
        if dies and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*args, **kwargs)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return called


@pytest.mark.parametrize("before", [True, False])
def test_a_run_killed_at_any_call_is_found_dead_and_ended_honestly(tmp_path: Path, before: bool) -> None:  # noqa: FBT001
    for at in count(1):
        home = tmp_path / str(at)
        home.mkdir()
        status = run_and_be_killed(home, at, before=before)
        local = LocalHome(home)
        try:
            check(local)
        finally:
            local.close()
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == DONE
            assert at > 15, "the calls were counted"
            return
        assert os.WTERMSIG(status) == signal.SIGKILL


def check(local: LocalHome) -> None:
    home = local.home
    events = [recorded.event for recorded in local.recorded()]
    if not events:
        return
    run = local.state()
    assert not is_driven(home, run.id)
    if run.status is RunStatus.RUNNING:
        assert dead_runs(home, [run.id]) == (run.id,)
        assert end_dead_run(local.handler, home, run.id, local.context())
        events = [recorded.event for recorded in local.recorded()]
        run = local.state()
    assert end_dead_run(local.handler, home, run.id, local.context()) == ()
    assert not list((home / "runs").glob("*.lock"))

    ends = [index for index, event in enumerate(events) if isinstance(event, RunSucceeded | RunFailed)]
    assert ends == [len(events) - 1], "one end, and nothing after it"
    starts = [(event.step, event.attempt) for event in events if isinstance(event, StepStarted)]
    outcomes = [(event.step, event.attempt) for event in events if isinstance(event, StepSucceeded | StepFailed)]
    assert sorted(starts) == sorted(outcomes), "every attempt has one outcome"
    assert len(set(starts)) == len(starts)
    succeeded = [event for event in events if isinstance(event, StepSucceeded)]
    assert len({event.step for event in succeeded}) == len(succeeded)
    for event in succeeded:
        for output in event.outputs:
            assert local.store.get(output.digest, output.size), "every output is whole in the store"
    check_order(events)
    assert not any(step.status is StepStatus.RUNNING for step in run.steps.values())

    path = home / "witness"
    executed = path.read_text().splitlines() if path.exists() else []
    assert len(set(executed)) == len(executed), "no attempt was executed twice"
    assert set(executed) <= {f"{name} {attempt}" for name, attempt in starts}, "only what the log knows was executed"


def check_order(events: list[Any]) -> None:
    run = None
    for event in events:
        if isinstance(event, StepStarted):
            assert run is not None
            for parent in run.steps[event.step].plan.upstream:
                assert run.steps[parent].status is StepStatus.COMPLETED, "a step starts after its parents"
        run = evolve(run, event)
