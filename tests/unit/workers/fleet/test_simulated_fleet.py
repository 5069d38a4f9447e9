"""Thousands of fleets among faults: whatever dies, nothing is lost and nothing counts twice."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from tests.support.checkout import ROOT
from tests.support.fleet.checker import check, check_store
from tests.support.fleet.faults import FAULTY_FOR, GRACE, disturb
from tests.support.fleet.world import PACE, World, planned
from tests.support.soak import rounds

CHAIN = (planned("a"), planned("b", "a"), planned("c", "b"))
DIAMOND = (planned("a"), planned("b", "a"), planned("c", "a"), planned("d", "b", "c"))
WIDE = (*(planned(f"s{number}") for number in range(6)), planned("end", *(f"s{number}" for number in range(6))))

BATCHES = rounds(10, soak=1_000, ci=100)
SEEDS = 100
"""In each batch."""

COLLECTED = 0.25
"""How many of them have somebody who collects garbage."""
TOLD = f"""
from {__name__} import live

for seed in range(10):
    print([(recorded.envelope.time, recorded.event) for recorded in live(seed).log.events])
"""

UNPROBED = ("purge queue", "delete queue", "replace")
"""What takes a probe to be found."""


def live(seed: int) -> World:
    """Let a fleet live through the faults of a seed, and check what it did.

    Half of them have no probes: what a probe would find in the end must not have been lost before.
    """
    random = Random(seed)
    probing = seed % 2 == 0
    world = World(
        random,
        workers=random.randint(1, 3),
        slots=random.randint(1, 2),
        pace=PACE if probing else replace(PACE, probe_grace=float("inf")),
    )
    disturb(world, random.randrange(14), without=() if probing else UNPROBED)
    if random.random() < COLLECTED:
        world.bytes_of = lambda _, task: f"{task.ref.run_id}/{task.ref.step}"
        world.start_collector()
    for _ in range(5):
        world.timeline.after(random.random() * 30, partial(world.submit, random.choice((CHAIN, DIAMOND, WIDE))))
    world.timeline.run(FAULTY_FOR)
    for _ in range(2):
        world.submit(CHAIN)
    world.rest(GRACE)
    check(world)
    check_store(world)
    return world


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_fleet_loses_nothing_and_counts_nothing_twice(batch: int) -> None:
    for seed in range(batch * SEEDS, (batch + 1) * SEEDS):
        try:
            live(seed)
        except Exception as error:
            error.add_note(f"The fleet of seed {seed}: live({seed}) shows it again.")
            raise


def test_a_seed_shows_the_same_again() -> None:
    """In another process, where sets and dictionaries of strings have their elements in another order."""
    told = [
        subprocess.run(
            [sys.executable, "-c", TOLD],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert told[0]
    assert told[0] == told[1]
