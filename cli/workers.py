"""`stackledger worker`: those who execute the steps of a fleet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from stackledger.cli.calls import Call, Done
from stackledger.cli.fleet_options import (
    LivenessFile,
    LogFormatOption,
    MetricsHost,
    MetricsPort,
    OfOrchestrator,
    Orchestrator,
    endpoint,
)
from stackledger.cli.groups import Group
from stackledger.cli.options import finite
from stackledger.cli.printing import JSON, Column, Details, Listing
from stackledger.cli.talk import Log, LogFormat
from stackledger.domain.errors import UsageError

GROUP = Group("worker", "Execute the steps of runs, and see who does.")


@GROUP.plain("start", example="stackledger worker start --join join.json --slots 4 --queue gpu")
def start(
    call: Call,
    orchestrator: Orchestrator = None,
    join: Annotated[
        Path | None, typer.Option("--join", metavar="FILE", help="What to join, from `worker join-file`, anywhere.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="The worker's key, if this home has several.")
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option("--slots", metavar="N", min=1, max=1000, help="Steps at once; as configured if not given."),
    ] = None,
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="QUEUE", help="The queue to serve; the first one if not given.")
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            "--grace", metavar="SECONDS", min=0.0, callback=finite, help="What steps have left when it is told to end."
        ),
    ] = 25.0,
    max_steps: Annotated[
        int,
        typer.Option("--max-steps-per-process", metavar="N", min=1, help="After so many steps a child is made anew."),
    ] = 1_000,
    memory: Annotated[
        str | None,
        typer.Option("--memory", metavar="SIZE", help="The most a step's process may have, as 8GB or 512MiB."),
    ] = None,
    step_timeout: Annotated[
        float | None,
        typer.Option(
            "--step-timeout",
            metavar="SECONDS",
            min=0.1,
            callback=finite,
            help="End steps after this, if not the run sooner.",
        ),
    ] = None,
    idle_timeout: Annotated[
        float | None,
        typer.Option(
            "--idle-timeout",
            metavar="SECONDS",
            min=0.1,
            callback=finite,
            help="End when there was nothing to do for so long.",
        ),
    ] = None,
    liveness_file: LivenessFile = None,
    log_format: LogFormatOption = LogFormat.TEXT,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
) -> None:
    """Execute steps, until SIGTERM or Ctrl-C; a second one ends it at once.

    Without --join it is a worker of this home's log. With it nothing is read here but the key: values of secrets are
    taken from the environment, {{NAME.KEY}} from STACKLEDGER_SECRET_NAME_KEY.
    """
    if join is not None and orchestrator is not None:
        raise UsageError("Give a join file or an orchestrator, not both: the file says which one.")

    with Log("worker", log_format).to_the_end():
        call.client.work(
            orchestrator,
            join_file=join,
            key=key,
            queue=queue,
            slots=slots,
            grace=grace,
            max_steps=max_steps,
            memory=memory,
            step_timeout=step_timeout,
            idle_timeout=idle_timeout,
            liveness_file=liveness_file,
            metrics=endpoint(metrics_host, metrics_port),
            log_format=log_format,
        )


@GROUP.listing("list", example="stackledger worker list", as_of=False)
def list_workers(call: Call, orchestrator: OfOrchestrator = None) -> Listing:
    """List the workers that answer now, on any machine."""
    items = [worker.to_json() for worker in call.client.list_workers(orchestrator)]
    columns = [
        Column("WORKER", "name"),
        Column("PROCESS", "process", shown=any(item["process"] for item in items)),
        Column("HOST", "host"),
        Column("PID", "pid"),
        Column("QUEUE", "queue"),
        Column("SLOTS", "slots"),
        Column("STATUS", "status"),
        Column("SINCE", "since"),
        Column("EXECUTES", "executions", show=_executions),
        Column("TAKES NO STEPS", "unable", shown=any(item["unable"] for item in items)),
    ]
    return Listing(items, columns, nothing="No worker answered.")


@GROUP.plain("stop", example="stackledger worker stop worker-default-1")
def stop(
    call: Call,
    name: Annotated[
        str | None, typer.Argument(metavar="[PROCESS]", help="The process that `stack up` started on this machine.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All that `stack up` started on this machine.")] = False,
    orchestrator: OfOrchestrator = None,
) -> None:
    """End workers in the background of this machine; their steps have time to end."""
    if (name is None) != everyone:
        raise UsageError("Give the name of a process, or --all.", hint="`stackledger worker list` shows the names.")
    call.client.stop_workers(name, orchestrator=orchestrator)


@GROUP.query("join-file", example="stackledger worker join-file --file join.json", as_of=False)
def join_file(
    call: Call,
    orchestrator: Orchestrator = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", metavar="FILE", help="Where to; standard output if not given.")
    ] = None,
) -> Details | Done:
    """Write what a worker on another machine has to know.

    That is where the broker is, and the root key to go by. There is no secret in it, but who can change it can have a
    worker execute anything: bring it there safely.
    """
    from stackledger.cli.files import write_new

    item = call.client.join_file(orchestrator)
    text = json.dumps(item, indent=2, ensure_ascii=False)
    if file is None:
        return Details(item, [text])
    write_new(file, f"{text}\n")
    file.chmod(0o600)
    return Done(
        f"Wrote {file}. On the other machine: `stackledger key create NAME --role worker`, have the key enrolled here"
        f" with `stackledger key enroll`, and `stackledger worker start --join {file.name}`.",
        {"file": str(file), **item},
    )


def _executions(executions: list[JSON]) -> str:
    return "\n".join(_execution(each) for each in executions)


def _execution(execution: dict[str, Any]) -> str:
    attempt = f" (attempt {execution['attempt']})" if execution["attempt"] > 1 else ""
    waits = ", waiting to begin" if execution["status"] == "waiting" else ""
    return f"{execution['run']}: {execution['step']}{attempt} since {execution['since']}{waits}"
