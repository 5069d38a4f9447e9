"""What the decisions are made of: chains, wording, labels, and boundaries that stay small."""

from __future__ import annotations

import pytest

from stackledger.domain import components, stacks
from stackledger.domain.chain import Chain, newest_first
from stackledger.domain.errors import InUse, InvalidValue
from stackledger.domain.events.stacks import StackRegistered
from stackledger.domain.labels import checked_labels
from stackledger.domain.wording import counted, listed
from tests.support.given import specification, within
from tests.support.registry import ARTIFACT_STORE, DEFAULT_PARTS, FRESH, component, stack


def test_a_chain_yields_the_newest_first_and_may_be_very_long() -> None:
    chain: Chain[int] | None = None
    for number in range(200_000):
        chain = Chain(number, chain)
    assert list(newest_first(chain)) == list(range(199_999, -1, -1))
    assert list(newest_first(None)) == []


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ((), ""),
        (("a",), "'one'"),
        (("b", "a"), "'b' and 'one'"),
        (("c", "b", "a"), "'b', 'c' and 'one'"),
        (tuple("bcdefgh"), "'b', 'c', 'd', 'e', 'f' and 2 more"),
    ],
)
def test_many_things_are_named_in_few_words(ids: tuple[str, ...], words: str) -> None:
    assert listed(ids, {"a": "one"}) == words


def test_a_count_agrees_with_its_noun() -> None:
    assert (counted(1, "stack"), counted(0, "stack"), counted(2_000, "stack")) == (
        "1 stack",
        "0 stacks",
        "2,000 stacks",
    )


@pytest.mark.parametrize("labels", [{}, {"team": "x"}, {"\xe9 a": ""}, {"a": "b=c"}, {"k" * 128: "v" * 1_024}])
def test_labels_are_short_texts(labels: dict[str, str]) -> None:
    assert checked_labels(labels) == labels


@pytest.mark.parametrize(
    "labels",
    [
        {"": "v"},
        {"a=b": "v"},
        {"a\x1b": "v"},
        {"a\nb": "v"},
        {"a": "v\nw"},
        {"a": "\u202e"},
        {"k" * 129: "v"},
        {"a": "v" * 1_025},
        {"a": "\ud800"},
    ],
)
def test_a_label_that_no_list_could_show_is_refused(labels: dict[str, str]) -> None:
    with pytest.raises(InvalidValue, match="label"):
        checked_labels(labels)


def many(number: int) -> list[StackRegistered]:
    return [stack(f"s{each}", parts={**DEFAULT_PARTS, ARTIFACT_STORE: ("a",)}) for each in range(number)]


def test_a_new_stack_reads_nothing_of_the_others_on_its_components() -> None:
    boundary = stacks.DECIDER.boundary(
        stacks.RegisterStack(stack_id="s", name="mine", components={**DEFAULT_PARTS, ARTIFACT_STORE: ("a",)})
    )
    assert not any(within(boundary, event) for event in many(100))


def test_a_component_with_very_many_users_is_refused_like_any_other() -> None:
    given = specification(components.DECIDER)
    given(*FRESH, component("a"), *many(20_000)).when(components.DeleteComponent(component_id="a")).then_raises(
        InUse, "20,000 stacks use it: .* and 19,995 more"
    )
