"""Lists show what meets the filters, and a filter that nothing can meet is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.program import stackledger

pytestmark = pytest.mark.usefixtures("home")


def names(*arguments: str) -> list[str]:
    done = stackledger(*arguments, "--output=json")
    assert done.status == 0, done.err
    return [item["name"] for item in done.json["items"]]


def test_stacks_are_found_by_the_flavor_of_any_of_their_components(tmp_path: Path) -> None:
    for command in (
        "metadata-store register runs --flavor=sqlite",
        f"artifact-store register store --flavor=local --path={tmp_path / 'store'}",
        "stack register plain -o default -a default",
        "stack register counted -o default -a store -m runs",
    ):
        assert stackledger(*command.split()).status == 0
    before = stackledger("log", "stats", "--output=json").json["position"]
    assert names("stack", "list", "--flavor=sqlite") == ["counted"]
    assert names("stack", "list", "--flavor=local") == ["default", "plain", "counted"]
    assert names("stack", "list", "--flavor=local", "--name=contains:n") == ["plain", "counted"]
    assert names("stack", "list", "--flavor=s3") == names("artifact-store", "list", "--flavor=S3") == []
    assert names("stack", "list", "--flavor=SQLite") == ["counted"]
    assert names("metadata-store", "list", "--flavor=SQLITE") == ["runs"]
    assert stackledger("stack", "update", "counted", "--label=a=b").status == 0
    assert stackledger("stack", "remove-component", "counted", "-m").status == 0
    assert names("stack", "list", "--flavor=sqlite") == []
    assert names("stack", "list", "--flavor=sqlite", f"--as-of={before}") == ["counted"]


def test_a_flavor_that_there_is_not_is_told_with_near_names() -> None:
    done = stackledger("stack", "list", "--flavor=sqlit")
    assert (done.status, done.out) == (1, "")
    assert "There is no flavor 'sqlit'. Did you mean 'sqlite'? `stackledger flavor list` lists the flavors." in done.err
