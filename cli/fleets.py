"""How a fleet is shown at a glance: a line each for what there is of it."""

from __future__ import annotations

from collections.abc import Iterator

from stackledger.cli.printing import JSON, Table
from stackledger.domain.wording import counted


def table_of(fleet: JSON) -> Table:
    """Return a fleet as `status` shows it."""
    return Table(
        ["WHAT", "HOW IT IS"], list(_rows(fleet)), title=f"Fleet of the orchestrator '{fleet['orchestrator']}'"
    )


def _rows(fleet: JSON) -> Iterator[list[str]]:
    yield ["BROKER", fleet["broker"] or f"{fleet['place'] or 'not known'}: away"]
    for queue in fleet["queues"]:
        yield _queue(queue)
    if fleet["trouble"]:
        yield ["TROUBLE", fleet["trouble"]]
    else:
        yield ["COORDINATOR", _coordinator(fleet["coordinator"])]
        yield ["WORKERS", "\n".join(map(_worker, fleet["workers"])) or "none answered"]
    yield ["ARTIFACT STORE", _store(fleet["store"])]
    yield ["OPEN RUNS", f"{fleet['runs']:,}"]


def _queue(queue: JSON) -> list[str]:
    title = {"steps": f"QUEUE {queue['name']}", "outcomes": "OUTCOMES", "parked": "DEAD LETTERS"}[queue["kind"]]
    if queue["waiting"] is None:
        return [title, "not there yet: a coordinator makes it"]
    if queue["kind"] == "parked":
        return [title, f"{queue['waiting']:,}"]
    return [title, f"{queue['waiting']:,} waiting, {counted(queue['consumers'], 'consumer')}"]


def _coordinator(coordinator: JSON | None) -> str:
    if coordinator is None:
        return "none answered: `stackledger stack up` starts one here"
    behind = f"{counted(coordinator['lag'], 'event')} behind the log" if coordinator["lag"] else "up to date"
    where = f"{coordinator['host']} (pid {coordinator['pid']})"
    return f"{coordinator['name']} on {where}, active since {coordinator['since']}, {behind}"


def _store(store: JSON) -> str:
    what = f"{store['name']} ({store['flavor']}{' at ' + store['path'] if store['path'] else ''})"
    return f"{what}: {store['trouble'] or 'it can be read from here'}"


def _worker(worker: JSON) -> str:
    where = f"{worker['host']} (pid {worker['pid']})"
    return (
        f"{worker['process'] or worker['name']} on {where}: {worker['status']},"
        f" {len(worker['executions'])} of {counted(worker['slots'], 'slot')} of the queue {worker['queue']} in use"
    )
