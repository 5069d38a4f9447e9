"""SIGKILL at any instant: no acknowledged event is lost, none is torn, the log is undamaged."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from stackledger.eventlog import sqlite
from tests.support.any_log import Where
from tests.support.killed_appenders import killed
from tests.support.soak import rounds

KILLS_BETWEEN_CHECKS = 10


@pytest.mark.parametrize("workers", [1, 4])
def test_a_killed_writer_loses_nothing_that_it_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    # A small write-ahead log, so that kills also meet checkpoints; workers open and close all the time.
    monkeypatch.setattr(sqlite, "WAL_BYTES", 256 * 1024)
    kill_writers(tmp_path / "log.db", workers, rounds(60, 10_000) // 2)


@pytest.mark.parametrize("workers", [1, 4])
def test_a_killed_client_of_a_server_loses_nothing_that_it_acknowledged(postgres_log: str, workers: int) -> None:
    kill_writers(postgres_log, workers, rounds(40, 4_000) // 2)


def kill_writers(where: Where, workers: int, kills: int) -> None:
    with killed(where, seed=workers) as appenders:
        chance = appenders.chance
        for _ in range(kills // KILLS_BETWEEN_CHECKS):
            for _ in range(KILLS_BETWEEN_CHECKS):
                while len(appenders.workers) < workers:
                    appenders.start()
                awaited = chance.randrange(1, 8)
                while awaited > 0:
                    awaited -= len(appenders.read_acknowledgements())
                instant = time.perf_counter() + chance.uniform(0, 0.003)
                while time.perf_counter() < instant:
                    pass  # any instant, not only those right behind an acknowledgement
                appenders.kill(chance.choice(list(appenders.workers)))
            appenders.kill_all()
            appenders.check()
