from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from msgpack import unpackb

from bench.__main__ import measures, row
from bench.figures import Figure, Pair, paired, process_environment, rate, took
from bench.histories import write_log
from stackledger.eventlog.codec import decode, encode
from stackledger.eventlog.reader import SQLiteReader


def test_two_things_are_measured_in_turns_after_one_round_that_does_not_count() -> None:
    calls: list[str] = []
    paired(lambda: calls.append("ours"), lambda: calls.append("floor"), rounds=2)
    assert calls == ["ours", "floor"] * 3


def test_a_time_has_to_be_short_enough() -> None:
    figure = took("list : floor", Pair(0.26, 0.2), at_most=1.3)
    assert figure.met
    assert "260         200   ms  1.30 x" in row(figure)
    assert not replace(figure, ours=261).met


def test_a_rate_has_to_be_high_enough() -> None:
    figure = rate("append : sqlite3", Pair(0.2, 0.1), 100, at_least=0.5)
    assert (figure.ours, figure.floor, figure.ratio, figure.met) == (500, 1000, 0.5, True)
    assert not replace(figure, ours=490).met


def test_a_figure_without_a_floor_is_held_to_its_target() -> None:
    figure = Figure("peak memory", "MiB", ours=199, floor=None, target=200)
    assert figure.met
    assert row(replace(figure, ours=201)).endswith("<= 200    MISSED")


def test_measured_processes_use_bytecode_and_none_of_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("STACKLEDGER_USER", "ada")
    environment = process_environment({"STACKLEDGER_HOME": "/there"})
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert [name for name in environment if name.startswith("STACKLEDGER_")] == ["STACKLEDGER_HOME"]


def test_an_unknown_benchmark_is_told_with_those_there_are() -> None:
    with pytest.raises(SystemExit, match=r"No benchmark is called nothing. There are: .*commands"):
        measures(["nothing"])


def test_the_history_that_is_measured_has_events_as_they_are_written_today(tmp_path: Path) -> None:
    write_log(tmp_path / "log.db", 2_000)
    types = set()
    with closing(SQLiteReader(tmp_path / "log.db")) as reader:
        for stored in reader.scan():
            recorded = decode(stored)
            types.add(stored.type)
            assert stored.type == recorded.event.TYPE
            assert unpackb(encode(recorded.event, recorded.envelope)) == unpackb(stored.data)
    assert {"stack.updated/1", "run.started/3", "step.failed/2"} <= types
