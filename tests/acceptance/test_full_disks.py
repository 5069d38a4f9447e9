"""Where nothing can be written, what can be made again goes, and nothing else."""

from __future__ import annotations

import resource
from pathlib import Path

from tests.support.processes import ended, forked
from tests.support.program import stackledger


def test_clean_leaves_no_half_made_views_on_a_disk_that_is_full(home: Path) -> None:
    assert stackledger("stack", "copy", "default", "mine").status == 0
    (home / "views.db").unlink()

    def clean() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
        done = stackledger("clean")
        assert (done.status, "cannot be built" in done.err) == (1, True), done

    assert ended(forked(clean)) == 0
    assert not list(home.glob("views.db*"))
    assert stackledger("clean").status == 0
    assert [stack["name"] for stack in stackledger("stack", "list", "--output=json").json["items"]] == [
        "default",
        "mine",
    ]
