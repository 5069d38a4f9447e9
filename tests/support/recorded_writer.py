"""The program that the power-loss test records: `python recorded_writer.py LOG SYNCHRONOUS`.

It makes a log, appends, dies without closing, opens it again, appends and closes, opens it once more; the
write-ahead log is small, so that it begins anew and is cut several times. Each acknowledged append is said.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent

from stackledger.eventlog import sqlite
from stackledger.eventlog.sqlite import SQLiteRecorder
from tests.support.appenders import under


def batches() -> list[list[DCBEvent]]:
    """Return what is appended, one list at a time; always the same."""
    chance = random.Random(7)
    return [
        [
            DCBEvent(type="t/1", data=chance.randbytes(chance.choice([20, 300, 6000])), tags=["all", f"tag:{number}"])
            for _ in range(chance.choice([1, 1, 1, 4]))
        ]
        for number in range(30)
    ]


def append(path: Path, synchronous: str, some: list[list[DCBEvent]], *, close: bool) -> None:
    recorder = SQLiteRecorder(path)
    recorder._live().execute(f"PRAGMA synchronous = {synchronous}")
    for batch in some:
        position = recorder.append(batch, DCBAppendCondition(under("other")))
        os.write(1, f"{position}\n".encode())
    if close:
        recorder.close()


def main() -> None:
    path, synchronous = Path(sys.argv[1]), sys.argv[2]
    sqlite.WAL_BYTES = 100_000
    todo = batches()
    pid = os.fork()
    if pid == 0:
        append(path, synchronous, todo[:12], close=False)
        os._exit(0)
    os.waitpid(pid, 0)
    append(path, synchronous, todo[12:20], close=True)
    append(path, synchronous, todo[20:], close=True)


if __name__ == "__main__":
    main()
