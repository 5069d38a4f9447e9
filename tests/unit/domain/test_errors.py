from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from stackledger.domain import errors
from stackledger.domain.errors import InUse, NotFound, StackledgerError, near_names


def every(error: type[StackledgerError] = StackledgerError) -> Iterator[type[StackledgerError]]:
    yield error
    for each in error.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from every(each)


@pytest.mark.parametrize("error", dict.fromkeys(every()), ids=lambda error: error.__name__)
def test_every_error_says_what_happened_what_may_have_been_meant_and_what_to_do(error: type[StackledgerError]) -> None:
    built = error("There is no 'x'.", hint="See `stackledger stack list`.", near=["y", "z"])
    assert str(built) == "There is no 'x'. Did you mean 'y' or 'z'? See `stackledger stack list`."
    assert (built.message, built.near) == ("There is no 'x'.", ("y", "z"))
    assert str(error("Alone.")) == "Alone."


@pytest.mark.parametrize("error", dict.fromkeys(every()), ids=lambda error: error.__name__)
def test_every_error_stands_in_the_tree_with_what_it_means(error: type[StackledgerError]) -> None:
    assert re.search(rf"^[│ ]*(?:[├└]── )?{error.__name__}\b", errors.__doc__ or "", re.MULTILINE)
    assert error.__doc__


def test_what_is_not_found_is_a_key_error_too() -> None:
    with pytest.raises(KeyError):
        raise NotFound("gone")


def test_what_stands_in_the_way_is_named_as_soon_as_somebody_knows_its_name() -> None:
    refused = InUse("It is used:", hint="Wait.", others=[*"gfedcba"])
    assert str(refused) == "It is used: 'a', 'b', 'c', 'd', 'e' and 2 more. Wait."
    named = refused.naming({"g": "0"})
    assert type(named) is InUse
    assert str(named) == "It is used: '0', 'a', 'b', 'c', 'd' and 2 more. Wait."


def test_near_names_ignore_case_and_come_best_first() -> None:
    assert near_names("PORD", ["prod", "produce", "test"]) == ("prod",)
    assert near_names("x", ["prod"]) == ()
    assert len(near_names("aaaa", [f"aaa{n}" for n in range(9)])) == 3


def test_what_a_name_begins_with_is_near_it() -> None:
    assert near_names("a_new", ["other", "A_new_local_stack", "a_new_one"]) == ("a_new_one", "A_new_local_stack")
    assert near_names("", ["prod"]) == ()
