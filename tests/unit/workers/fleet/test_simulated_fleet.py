"""Thousands of fleets among faults: whatever dies, nothing is lost and nothing counts twice."""

from __future__ import annotations

import pytest

from stackledger.domain.events.runs import PlannedStep
from tests.support.fleet.checker import check
from tests.support.fleet.faults import FAULTY_FOR, GRACE, disturb
from tests.support.fleet.world import World, planned

CHAIN = (planned("a"), planned("b", "a"), planned("c", "b"))
DIAMOND = (planned("a"), planned("b", "a"), planned("c", "a"), planned("d", "b", "c"))
WIDE = (*(planned(f"s{number}") for number in range(6)), planned("end", *(f"s{number}" for number in range(6))))


def live(seed: int, faults: int) -> World:
    world = World(seed)
    disturb(world, faults)
    graphs: tuple[tuple[PlannedStep, ...], ...] = (CHAIN, DIAMOND, WIDE)
    for _ in range(3):
        graph = world.random.choice(graphs)
        world.timeline.after(world.random.random() * 20, lambda graph=graph: world.submit(graph))  # type: ignore[misc]
    world.timeline.run(FAULTY_FOR)
    for _ in range(2):
        world.submit(CHAIN)
    world.timeline.run(FAULTY_FOR + GRACE)
    check(world)
    return world


@pytest.mark.parametrize("seed", range(300))
def test_a_fleet_loses_nothing_and_counts_nothing_twice(seed: int) -> None:
    live(seed, faults=seed % 12)
