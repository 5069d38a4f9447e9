"""Stackledger: a registry of ML stacks and a runner of pipelines on one append-only event log.

Names are imported when they are first used, so that `import stackledger` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stackledger.client import Client
    from stackledger.pipelines.context import get_step_context
    from stackledger.pipelines.pipeline import pipeline
    from stackledger.pipelines.resources import ResourceSettings
    from stackledger.pipelines.step import StepRetryConfig, step

__version__ = "0.1.0"

__all__ = ["Client", "ResourceSettings", "StepRetryConfig", "get_step_context", "pipeline", "step"]

_HOMES = {
    "Client": "stackledger.client",
    "ResourceSettings": "stackledger.pipelines.resources",
    "StepRetryConfig": "stackledger.pipelines.step",
    "get_step_context": "stackledger.pipelines.context",
    "pipeline": "stackledger.pipelines.pipeline",
    "step": "stackledger.pipelines.step",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stackledger' has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    if name == "pipeline":
        _bind_runner()
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _bind_runner() -> None:
    """Have pipelines run on the active stack of the home that is current when they are called."""
    from stackledger.pipelines.runner import bind

    def client() -> Client:
        from stackledger.client import Client

        return Client()

    bind(client)
