"""A persistent map is a mapping that never changes, and its changes share what they have in common."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackledger.domain import component_state, secrets, stack_state
from stackledger.domain.decider import Decider
from stackledger.domain.event import Event
from stackledger.domain.events.components import SecretCreated, SecretDeleted
from stackledger.domain.persistent_map import PersistentMap
from tests.support.registry import component, gone, stack, stack_gone

CHANGES = st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers())), max_size=30)


@given(CHANGES, st.data())
def test_every_version_of_it_stays_what_it_was(changes: list[tuple[int, int | None]], data: st.DataObject) -> None:
    versions: list[tuple[PersistentMap[int, int], dict[int, int]]] = [(PersistentMap(), {})]
    for key, value in changes:
        # Mostly the newest goes on, sometimes an earlier one.
        versions_back = data.draw(st.sampled_from([1, 1, 1, len(versions), (len(versions) + 1) // 2]))
        known, expected = versions[-versions_back]
        if value is None:
            versions.append((known.without(key), {each: held for each, held in expected.items() if each != key}))
        else:
            versions.append((known.put(key, value), {**expected, key: value}))
    for known, expected in data.draw(st.permutations(versions)):
        assert dict(known) == expected
        assert len(known) == len(expected)
        assert all((key in known) == (key in expected) for key in range(6))


def test_an_empty_one_is_shared_by_all_and_stays_empty() -> None:
    empty: PersistentMap[str, int] = PersistentMap()
    assert dict(empty.put("a", 1)) == {"a": 1}
    assert dict(empty.put("b", 2)) == {"b": 2}
    assert not empty


def _components(number: int) -> list[Event]:
    registered = component(f"c{number}", name="one")
    return [registered, gone(registered)]


def _stacks(number: int) -> list[Event]:
    registered = stack(f"s{number}", name="one")
    return [registered, stack_gone(registered)]


def _secrets(number: int) -> list[Event]:
    secret_id = f"x{number}"
    return [SecretCreated(secret_id=secret_id, name="one", keys=("k",)), SecretDeleted(secret_id=secret_id, name="one")]


@pytest.mark.parametrize(
    ("decider", "life"),
    [
        (component_state, _components),
        (stack_state, _stacks),
        (stack_state, _components),
        (secrets, _secrets),
    ],
)
def test_what_a_name_was_used_for_is_never_copied_while_it_is_folded(
    decider: Decider[object, object], life: Callable[[int], list[Event]]
) -> None:
    """All states that a fold goes through take memory by the number of events, not by its square."""

    def taken(lives: int) -> int:
        events = [event for number in range(lives) for event in life(number)]
        states: list[object] = [decider.State()]  # type: ignore[attr-defined]
        tracemalloc.start()
        for event in events:
            states.append(decider.evolve(states[-1], event))
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size

    assert taken(400) < 3 * taken(200)
