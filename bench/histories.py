"""A large log of plausible events, written as bulk rows: what a registry looks like after years."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import msgpack

from stackledger.domain.events import EVENT_TYPES
from stackledger.eventlog.sqlite import SQLiteRecorder

START = 1_790_000_000_000_000
_CHUNK = 10_000
_TYPES = {name.partition("/")[0]: name for name in EVENT_TYPES}
_STEPS = ("load", "split", "train", "evaluate", "compare")

Said = tuple[str, dict[str, Any]]
"""An event's type, without version, and its body."""


def write_log(path: Path, events: int) -> None:
    """Write a log with `events` events: a tenth are stacks that are still there, seven tenths belong to runs.

    Only the events are written, not what finds them by tag: views are folded, and read, without it.
    """
    SQLiteRecorder(path).close()
    rows = _rows(events)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        while chunk := list(islice(rows, _CHUNK)):
            with connection:
                connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", chunk)


def _rows(events: int) -> Iterator[tuple[int, str, str, bytes]]:
    for position, (name, body) in enumerate(islice(_bodies(events), events), start=1):
        time = START + position * 1_000_000
        stored = {
            "id": _id(position, 0),
            "time": time,
            "actor": f"user-{position % 50}",
            "host": "host-1",
            "reason": None,
            "ticket": None,
            "correlation": _id(position, 1),
            "causation": _id(position, 1),
            "body": body,
        }
        tags = json.dumps([f"actor:user-{position % 50}", "host:host-1"])
        yield position, _TYPES[name], tags, msgpack.packb(stored)


def _id(number: int, kind: int) -> str:
    return f"{0x0195 << 32 | number:012x}-7{kind:03x}-8000-0000{number:08x}"[:36]


def _bodies(events: int) -> Iterator[Said]:
    chance = random.Random(2)
    yield "log.created", {"log_id": _id(0, 2)}
    for user in range(50):
        yield "subject.enrolled", {"subject_id": f"user-{user}", "kind": "user", "commitment": "00" * 32}
    components: dict[str, list[dict[str, Any]]] = {}
    for number in range(200):
        for index, kind in enumerate(("orchestrator", "artifact_store", "container_registry", "experiment_tracker")):
            component = {
                "component_id": _id(1000 * index + number, 3),
                "type": kind,
                "name": f"{kind}-{number}" if number else "default",
                "flavor": "local",
                "custom_flavor": False,
                "configuration": {"path": f"/srv/stackledger/{number}"},
                "labels": {},
                "shared": not number,
                "built_in": not number,
                "secrets": [],
            }
            components.setdefault(kind, []).append(component)
            yield "component.registered", component
    stacks: list[dict[str, Any]] = []
    runs = 0
    for number in range(events):
        stack = {
            "stack_id": _id(number, 4),
            "name": f"stack-{number}" if number else "default",
            "components": {kind: [chance.choice(several)["component_id"]] for kind, several in components.items()},
            "labels": {"team": f"team-{number % 20}"},
            "shared": not number,
            "built_in": not number,
        }
        stacks.append(stack)
        yield "stack.registered", stack
        yield from _changed(stack, number, chance)
        if number % 5 == 0:
            yield "stack.activated", {"stack_id": stack["stack_id"], "scope": "user", "scope_id": f"user-{number % 50}"}
        if number % 5 < 3:
            runs += 1
            yield from _run(runs, chance.choice(stacks), components)


def _changed(stack: dict[str, Any], number: int, chance: random.Random) -> Iterator[Said]:
    if number % 4 == 1:
        name = f"renamed-{number}"
        renamed = {"stack_id": stack["stack_id"], "name": name, "previous_name": stack["name"], "uses": []}
        yield "stack.renamed", renamed
        stack["name"] = name
    elif number % 4 == 2:
        yield "stack.shared", {"stack_id": stack["stack_id"]}
    elif number % 4 == 3:
        updated = {
            "stack_id": stack["stack_id"],
            "components": stack["components"],
            "labels": {"team": f"team-{chance.randrange(20)}", "stage": "production"},
            "previous_components": stack["components"],
            "previous_labels": stack["labels"],
        }
        yield "stack.updated", updated


def _run(number: int, stack: dict[str, Any], components: dict[str, list[dict[str, Any]]]) -> Iterator[Said]:
    run_id = _id(number, 5)
    pinned = [
        {key: component[key] for key in ("type", "name", "flavor", "configuration")} | {"id": component["component_id"]}
        for component in (several[0] for several in components.values())
    ]
    yield (
        "run.started",
        {
            "run_id": run_id,
            "name": f"training-{number}",
            "pipeline": f"pipeline-{number % 30}",
            "stack": {"id": stack["stack_id"], "name": stack["name"], "position": number, "components": pinned},
            "code": {"digest": f"{number:064x}", "commit": None, "dirty": False, "archive": None},
            "parameters": {"rate": 0.1, "epochs": 3},
            "steps": [
                {
                    "name": step,
                    "source": f"project.steps.{step}",
                    "digest": f"{number:064x}",
                    "upstream": list(_STEPS[max(0, index - 1) : index]),
                    "inputs": {},
                    "parameters": {},
                    "outputs": ["output"],
                    "retry": {"max_retries": 0, "delay": 0.0, "backoff": 1.0},
                    "queue": "default",
                    "timeout": None,
                    "requirements": [],
                    "kept_parameters": None,
                }
                for index, step in enumerate(_STEPS)
            ],
            "environment": {"python": "3.11.7", "platform": "linux"},
            "retry_of": None,
        },
    )
    for index, step in enumerate(_STEPS):
        of_step = {"run_id": run_id, "step": step, "attempt": 1}
        yield "step.started", {**of_step, "inputs": {"data": f"{number:064x}"}}
        if number % 20 == 0 and step == "evaluate":
            failed = {**of_step, "error": "ValueError", "message": "no", "retry_at": None, "execution": None}
            yield "step.failed", failed
            yield "run.failed", {"run_id": run_id, "because": "steps failed", "steps": [step]}
            return
        produced = {
            "output": "output",
            "artifact_id": _id(number * len(_STEPS) + index, 6),
            "artifact": f"pipeline-{number % 30}::{step}::output",
            "digest": f"{number * len(_STEPS) + index:064x}",
            "size": 1234,
            "layout": "file",
            "materializer": "numpy/1",
            "data_type": "numpy.ndarray",
        }
        yield "step.succeeded", {**of_step, "outputs": [produced], "execution": None}
    yield "run.succeeded", {"run_id": run_id}
