"""What is said of runs and steps, in ZenML's words: in states, views, answers and on the command line alike.

The standard library alone: queries need it.
"""

from __future__ import annotations

from enum import StrEnum

DEAD = "dead"
"""What queries say of a run that has not ended and that nobody drives; the log does not know of it yet."""


class RunStatus(StrEnum):
    """Where a run is."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"


class StepStatus(StrEnum):
    """Where a step of a run is."""

    INITIALIZING = "initializing"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    STOPPED = "stopped"
    """What queries say of one that was open when its run ended without it; no event says it of a single step."""
