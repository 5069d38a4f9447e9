"""What a benchmark returns, and how two things are measured against each other."""

from __future__ import annotations

import gc
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True)
class Pair:
    """Medians in seconds of two things measured in turns."""

    ours: float
    floor: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report. The ratio `ours : floor`, or `ours` itself where there is no floor, has a target."""

    name: str
    unit: str
    ours: float
    floor: float | None
    target: float
    at_least: bool = False

    @property
    def ratio(self) -> float | None:
        """That of the two numbers which are printed before it."""
        return None if self.floor is None else self.ours / self.floor

    @property
    def met(self) -> bool:
        """Say whether the target is met."""
        value = self.ours if self.ratio is None else self.ratio
        return value >= self.target if self.at_least else value <= self.target


def took(name: str, pair: Pair, *, at_most: float) -> Figure:
    """Return the figure for how long something takes, in milliseconds, against its floor."""
    return Figure(name, "ms", pair.ours * 1e3, pair.floor * 1e3, at_most)


def rate(name: str, pair: Pair, count: int, *, at_least: float) -> Figure:
    """Return the figure for how many of something are done in a second, against its floor."""
    return Figure(name, "/s", count / pair.ours, count / pair.floor, at_least, at_least=True)


def paired(ours: Callable[[], object], floor: Callable[[], object], rounds: int) -> Pair:
    """Time two things in turns, after one round that does not count.

    In turns, because a machine that gets slower or faster meanwhile then does so to both.
    """
    return Pair(*in_turns([ours, floor], rounds))


def in_turns(calls: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Return the medians in seconds of things measured in turns, as `paired` does it for two."""
    for call in calls:
        call()
    turns = [[_seconds(call) for call in calls] for _ in range(rounds)]
    return [median(times) for times in zip(*turns, strict=True)]


def paired_processes(
    ours: Sequence[str], floor: Sequence[str], rounds: int, environment: Mapping[str, str] | None = None
) -> Pair:
    """Time two whole processes in turns, from starting one to its end."""
    return paired(lambda: run(ours, environment), lambda: run(floor, environment), rounds)


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a process to its end and throw away what it prints, unless it fails."""
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[1],
        env=process_environment(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command} exited with {done.returncode}:\n{done.stderr.decode()}")


def process_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a measured process: ours, less what is about Stackledger, and `more`."""
    # Without bytecode every start would compile again, and the figure would be about that.
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith("STACKLEDGER_")
        },
        **(more or {}),
    }


def _seconds(call: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
