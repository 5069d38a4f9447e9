"""Folding the events about runs, steps and artifacts into the tables of runs.

Statuses are ZenML's words. A run is `running` until it is `completed`, `failed` or `stopped`. A step is
`initializing` until its first attempt, then `running`, on a fleet first `queued`, and `completed`, `failed` or
`skipped` in the end; between an attempt that failed or got lost and the next one it is `retrying`. What was open when
its run ended without it is left as it was here: queries call it `stopped`.
"""

from __future__ import annotations

from typing import Any

from stackledger.domain.names import folded
from stackledger.domain.run_status import RunStatus, StepStatus
from stackledger.projections.columns import TEXTS, MapOf, encoded
from stackledger.projections.rows import Fact, Projection, Rows
from stackledger.projections.schema import (
    ARTIFACTS,
    RUN_COUNTS,
    RUN_STATES,
    RUN_TABLES,
    RUNS,
    RUNS_VIEW,
    STEP_STATES,
)

_STACK = {"components": [{"id": str, "type": str, "name": str, "flavor": str, "configuration": dict}]}
_STEPS = [{"name": str, "upstream": TEXTS, "parameters": dict, "requirements": TEXTS}]


def _counted(rows: Rows, kind: str) -> int:
    """Count one more of a kind, and return how many there are now."""
    held = rows.get(RUN_COUNTS, (kind,))
    live: int = (held["live"] if held else 0) + 1
    rows.put(RUN_COUNTS, (kind,), {"live": live})
    return live


def _run_started(rows: Rows, fact: Fact) -> None:
    body = fact.body
    stack = body["stack"]
    rows.put(
        RUNS,
        (body["run_id"],),
        {
            "name": body["name"],
            "folded": folded(body["name"]),
            "pipeline": body["pipeline"],
            "pipeline_folded": folded(body["pipeline"]),
            "stack_id": stack["id"],
            "stack_name": stack["name"],
            "stack": encoded(stack, _STACK),
            "parameters": encoded(body["parameters"]),
            "code": encoded(body["code"]),
            "environment": encoded(body["environment"], MapOf(str)),
            "plan": encoded(body["steps"], _STEPS),
            "retry_of": body["retry_of"],
            "owner": fact.envelope["actor"],
            "started": fact.envelope["time"],
        },
    )
    rows.put(RUN_STATES, (body["run_id"],), {"status": RunStatus.RUNNING.value, "ended": None, "because": None})
    _counted(rows, "run")


def _ended(rows: Rows, fact: Fact, status: RunStatus, because: str | None) -> None:
    rows.put(
        RUN_STATES,
        (fact.body["run_id"],),
        {"status": status.value, "ended": fact.envelope["time"], "because": because},
    )


def _run_succeeded(rows: Rows, fact: Fact) -> None:
    _ended(rows, fact, RunStatus.COMPLETED, None)


def _run_failed(rows: Rows, fact: Fact) -> None:
    _ended(rows, fact, RunStatus.FAILED, fact.body["because"])


def _run_cancelled(rows: Rows, fact: Fact) -> None:
    _ended(rows, fact, RunStatus.STOPPED, fact.envelope["reason"])


_NEW_STEP: dict[str, Any] = dict.fromkeys(STEP_STATES.columns)


def _step(rows: Rows, fact: Fact, status: StepStatus, *, fresh: bool = False, **values: Any) -> None:
    key = (fact.body["run_id"], fact.body["step"])
    held = None if fresh else rows.get(STEP_STATES, key)
    rows.put(STEP_STATES, key, {**(held or _NEW_STEP), "status": status.value, **values})


def _step_started(rows: Rows, fact: Fact) -> None:
    _step(
        rows,
        fact,
        StepStatus.RUNNING,
        fresh=True,
        attempt=fact.body["attempt"],
        started=fact.envelope["time"],
        inputs=encoded(fact.body["inputs"], MapOf(str)),
    )


def _step_queued(rows: Rows, fact: Fact) -> None:
    _step(
        rows,
        fact,
        StepStatus.QUEUED,
        fresh=True,
        attempt=fact.body["attempt"],
        queued=fact.envelope["time"],
        queue=fact.body["queue"],
        inputs=encoded(fact.body["inputs"], MapOf(str)),
    )


def _step_claimed(rows: Rows, fact: Fact) -> None:
    body = fact.body
    _step(
        rows,
        fact,
        StepStatus.RUNNING,
        started=fact.envelope["time"],
        execution=body["execution"],
        worker=body["worker"],
    )


def _step_lost(rows: Rows, fact: Fact) -> None:
    body = fact.body
    _step(
        rows,
        fact,
        StepStatus.RETRYING,
        ended=fact.envelope["time"],
        error="Lost",
        message=body["because"],
        retry_at=body["retry_at"],
    )


def _executed(fact: Fact) -> dict[str, Any]:
    """Return who executed an attempt, and when it began there, if a worker of a fleet did."""
    by = fact.body["execution"]
    return {} if by is None else {"started": by["began"], "execution": by["id"], "worker": by["worker"]}


def _step_succeeded(rows: Rows, fact: Fact) -> None:
    body, envelope = fact.body, fact.envelope
    _step(rows, fact, StepStatus.COMPLETED, attempt=body["attempt"], ended=envelope["time"], **_executed(fact))
    for produced in body["outputs"]:
        name = folded(produced["artifact"])
        rows.put(
            ARTIFACTS,
            (produced["artifact_id"],),
            {
                "name": produced["artifact"],
                "folded": name,
                "version": _counted(rows, f"version/{name}"),
                "run_id": body["run_id"],
                "step": body["step"],
                "output": produced["output"],
                "digest": produced["digest"],
                "size": produced["size"],
                "layout": produced["layout"],
                "materializer": produced["materializer"],
                "data_type": produced["data_type"],
                "owner": envelope["actor"],
                "created": envelope["time"],
            },
        )


def _step_failed(rows: Rows, fact: Fact) -> None:
    body = fact.body
    _step(
        rows,
        fact,
        StepStatus.FAILED if body["retry_at"] is None else StepStatus.RETRYING,
        attempt=body["attempt"],
        ended=fact.envelope["time"],
        error=body["error"],
        message=body["message"],
        retry_at=body["retry_at"],
        **_executed(fact),
    )


def _step_skipped(rows: Rows, fact: Fact) -> None:
    _step(rows, fact, StepStatus.SKIPPED, ended=fact.envelope["time"], because=encoded(fact.body["because"], TEXTS))


PROJECTION = Projection(
    name=RUNS_VIEW,
    tables=RUN_TABLES,
    handlers={
        "run.started/3": _run_started,
        "run.succeeded/1": _run_succeeded,
        "run.failed/1": _run_failed,
        "step.started/1": _step_started,
        "step.succeeded/2": _step_succeeded,
        "step.failed/2": _step_failed,
        "step.skipped/1": _step_skipped,
        "run.cancelled/1": _run_cancelled,
        "step.queued/1": _step_queued,
        "step.claimed/1": _step_claimed,
        "step.lost/1": _step_lost,
    },
)
