"""What an attempt at a step needs to be executed elsewhere, and what of it goes by way of the artifact store."""

from __future__ import annotations

import hashlib

import msgpack

from stackledger.domain.component_types import ComponentType
from stackledger.domain.events.runs import Kept, OutputOfStep, PlannedStep
from stackledger.domain.run_state import produced
from stackledger.workers.fleet.protocol.known import Known, Waiting
from stackledger.workers.fleet.protocol.messages import Task

MAX_PARAMETERS = 16 * 1024
"""Bytes of parameters that a message carries itself."""


def kept_parameters(step: PlannedStep) -> bytes | None:
    """Return the parameters of a step as whoever starts a run puts them into its artifact store; None for few.

    They are the same bytes wherever they are made from the event: so its digest names them, and nobody has to ask.
    """
    data = bytes(msgpack.packb(step.parameters))
    return data if len(data) > MAX_PARAMETERS else None


def task_of(known: Known, waiting: Waiting) -> Task:
    """Return an attempt that waits as a worker is told of it."""
    ref = waiting.ref
    run, started = known.runs[ref.run_id], known.started[ref.run_id]
    plan = run.steps[ref.step].plan
    data = kept_parameters(plan)
    inputs = {
        argument: produced(run, source) for argument, source in plan.inputs.items() if isinstance(source, OutputOfStep)
    }
    return Task(
        ref=ref,
        run_name=run.name,
        pipeline=run.pipeline,
        queue=waiting.queue,
        source=plan.source,
        parameters=plan.parameters if data is None else {},
        kept_parameters=None if data is None else Kept(digest=hashlib.sha256(data).hexdigest(), size=len(data)),
        inputs=inputs,
        artifacts={output: f"{run.pipeline}::{ref.step}::{output}" for output in plan.outputs},
        store=next(each for each in started.stack.components if each.type is ComponentType.ARTIFACT_STORE),
        timeout=plan.timeout,
        code=started.code.archive,
        traceparent=known.callers.get(ref.run_id),
        requirements=plan.requirements,
    )
