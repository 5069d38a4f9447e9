"""The options that the groups of a fleet share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stackledger.cli.completion import components_of
from stackledger.cli.talk import LogFormat
from stackledger.domain.component_types import ComponentType

_WHICH = "The orchestrator, by name or id; else that of the active stack."
_orchestrators = components_of(ComponentType.ORCHESTRATOR)

Orchestrator = Annotated[
    str | None, typer.Argument(metavar="[ORCHESTRATOR]", autocompletion=_orchestrators, help=_WHICH)
]
OfOrchestrator = Annotated[
    str | None,
    typer.Option("--orchestrator", metavar="ORCHESTRATOR", autocompletion=_orchestrators, help=_WHICH),
]

# Of programs that run for long.
LivenessFile = Annotated[
    Path | None,
    typer.Option("--liveness-file", metavar="FILE", help="A file to touch every second while all is well."),
]

LogFormatOption = Annotated[
    LogFormat,
    typer.Option("--log-format", help="How to write its lines: for people, or each as an object of JSON."),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port", metavar="PORT", min=0, max=65_535, help="Where Prometheus may ask; 0 for any that is free."
    ),
]
MetricsHost = Annotated[
    str,
    typer.Option("--metrics-host", metavar="HOST", help="From where it may: 0.0.0.0 for from anywhere."),
]


def endpoint(host: str, port: int | None) -> tuple[str, int] | None:
    """Return where metrics can be had, if anywhere."""
    return None if port is None else (host, port)
