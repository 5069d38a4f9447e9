"""Queries as of moments at which there was little, or nothing yet."""

from __future__ import annotations

import json

import pytest

from tests.support.program import stackledger

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.both_logs]


@pytest.mark.parametrize("moment", ["0", "1", "2001-01-01", "2001-01-01T00:00:00+05:00"])
@pytest.mark.parametrize("listing", ["stack", "artifact-store", "secret", "run", "artifact", "pipeline"])
def test_lists_are_empty_before_anything_happened(listing: str, moment: str) -> None:
    done = stackledger(listing, "list", "--as-of", moment, "--output", "json")
    assert (done.status, json.loads(done.out)["items"]) == (0, [])


def test_a_component_is_listed_before_the_first_stack() -> None:
    done = stackledger("orchestrator", "list", "--as-of", "4", "--output", "json")
    assert [(item["name"], item["active"]) for item in json.loads(done.out)["items"]] == [("default", False)]


def test_what_the_environment_names_need_not_have_been_there() -> None:
    stackledger("stack", "copy", "default", "later")
    done = stackledger("stack", "list", "--as-of", "6", "--output", "json", env={"STACKLEDGER_ACTIVE_STACK": "later"})
    assert [(item["name"], item["active"]) for item in json.loads(done.out)["items"]] == [("default", True)]
