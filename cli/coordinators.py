"""`stackledger coordinator`: those who drive the runs of a fleet."""

from __future__ import annotations

from stackledger.cli.calls import Call
from stackledger.cli.fleet_options import (
    LivenessFile,
    LogFormatOption,
    MetricsHost,
    MetricsPort,
    Orchestrator,
    endpoint,
)
from stackledger.cli.groups import Group
from stackledger.cli.talk import Log, LogFormat

GROUP = Group("coordinator", "Drive the runs that workers execute.")


@GROUP.plain("start", example="stackledger coordinator start my_orchestrator")
def start(
    call: Call,
    orchestrator: Orchestrator = None,
    liveness_file: LivenessFile = None,
    log_format: LogFormatOption = LogFormat.TEXT,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
) -> None:
    """Coordinate the runs on an orchestrator, until it is told to end with SIGTERM or Ctrl-C.

    Any number of coordinators may run at once: one is active, the others stand by and take over within seconds.
    """
    log = Log("coordinator", log_format)
    with log.to_the_end():
        call.client.coordinate(
            orchestrator,
            log.news,
            trouble=log.trouble,
            liveness_file=liveness_file,
            metrics=endpoint(metrics_host, metrics_port),
        )
