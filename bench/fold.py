"""Folding a large log into the views against the least that this takes: scan, decode, write the same rows.

The floor reads the log with plain `sqlite3`, decodes each event with msgpack, and writes the very rows that the views
hold into the same tables and indexes with `executemany`, in the same journal mode and as many rows a commit. Then
`stack list` is read from these views, now and as of the middle of the log, also as whole
processes. STACKLEDGER_BENCH_EVENTS lowers the number of events.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import msgpack

from bench.commands import STACKLEDGER, floor
from bench.figures import Figure, Pair, paired, paired_processes, process_environment, took

EVENTS = int(os.environ.get("STACKLEDGER_BENCH_EVENTS", "1_000_000"))
ROUNDS = 51
_ROWS_PER_COMMIT = 10_000


def measure() -> Iterator[Figure]:
    # On the disk of the checkout: a temporary directory may be in memory.
    place = Path(__file__).parents[1] / ".bench"
    place.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=place) as folder:
        log, views = Path(folder) / "log.db", Path(folder) / "views.db"
        _in_child("logged", log, views)
        ours = _in_child("folded", log, views)
        floor = _in_child("written", log, views)
        pair = Pair(ours["seconds"], floor["seconds"])
        yield took(f"folding {EVENTS:,} events : scan, decode, executemany", pair, at_most=4)
        yield Figure("peak memory of that fold", "MiB", ours["mebibytes"], None, 200)
        yield took("data of stack list --as-of the middle : now", _stack_list(log, views), at_most=1.5)
        yield from _commands(Path(folder))


def logged(log: Path, _: Path) -> float:
    """Write the log. In a child too: on Linux a process's peak of memory begins at that of the one that started it."""
    from bench.histories import write_log

    write_log(log, EVENTS)
    return 0.0


def folded(log: Path, views: Path) -> float:
    """Build the views as the program does; return the seconds that it took."""
    from stackledger.eventlog.reader import SQLiteReader
    from stackledger.projections.folding import Writer

    start = time.perf_counter()
    Writer(views, SQLiteReader(log), lambda _: None).catch_up(discard=True)
    return time.perf_counter() - start


def written(log: Path, views: Path) -> float:
    """Do the least that building these views takes; return the seconds, without those for fetching the ready rows."""
    from stackledger.projections.folding import PROJECTIONS

    tables = [table for projection in PROJECTIONS for table in projection.tables]
    start, fetching = time.perf_counter(), 0.0
    with closing(sqlite3.connect(log)) as connection:
        for _, _, data in connection.execute("SELECT position, type, data FROM events ORDER BY position"):
            msgpack.unpackb(data)
    with (
        closing(sqlite3.connect(views)) as source,
        closing(sqlite3.connect(views.with_name("floor.db"), isolation_level=None)) as target,
    ):
        target.execute("PRAGMA journal_mode = WAL")
        target.execute("PRAGMA synchronous = NORMAL")
        for table in tables:
            for statement in table.ddl():
                target.execute(statement)
            rows = source.execute(f"SELECT * FROM {table.name} ORDER BY rowid")
            marks = ", ".join("?" * len(rows.description))
            while True:
                asked = time.perf_counter()
                chunk = rows.fetchmany(_ROWS_PER_COMMIT)
                fetching += time.perf_counter() - asked
                if not chunk:
                    break
                target.execute("BEGIN")
                target.executemany(f"INSERT INTO {table.name} VALUES ({marks})", chunk)
                target.execute("COMMIT")
    return time.perf_counter() - start - fetching


def _in_child(name: str, log: Path, views: Path) -> dict[str, float]:
    """Run one of the above in a process of its own; return its time in seconds and its peak of memory in MiB."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.fold", name, str(log), str(views)],
        cwd=Path(__file__).parents[1],
        env=process_environment({"STACKLEDGER_BENCH_EVENTS": str(EVENTS)}),
        check=True,
        stdout=subprocess.PIPE,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _commands(home: Path) -> Iterator[Figure]:
    """Compare whole processes over the large log, whose views are current now."""
    environment = {"STACKLEDGER_HOME": str(home)}
    now = [STACKLEDGER, "stack", "list"]
    table = floor("typer_table", "table", "--output", "table", "--rows", "20")
    what = f"stackledger stack list, page 1 of {EVENTS // 10:,}"
    yield took(f"{what} : minimal Typer and Rich table", paired_processes(now, table, ROUNDS, environment), at_most=1.5)
    then = paired_processes([*now, "--as-of", str(EVENTS // 2)], now, ROUNDS, environment)
    yield took("stackledger stack list --as-of the middle : now", then, at_most=1.5)


def _stack_list(log: Path, views: Path) -> Pair:
    from stackledger.eventlog.reader import SQLiteReader
    from stackledger.projections.asof import as_of
    from stackledger.projections.engine import Views
    from stackledger.projections.registry_queries import stacks

    opened = Views(views, SQLiteReader(log), lambda _: None)
    return paired(
        lambda: opened.read(lambda view: stacks(as_of(view, str(EVENTS // 2), now=0))),
        lambda: opened.read(stacks),
        ROUNDS,
    )


if __name__ == "__main__":
    seconds = {"logged": logged, "folded": folded, "written": written}[sys.argv[1]](
        Path(sys.argv[2]), Path(sys.argv[3])
    )
    # In KiB on Linux.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "mebibytes": peak}))
