from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.program import stackledger

pytestmark = pytest.mark.usefixtures("home")


def test_the_beginning_of_an_id_is_free_as_a_name(tmp_path: Path) -> None:
    there = json.loads(stackledger("artifact-store", "describe", "default", "--output", "json").out)
    store = {"name": there["id"][:6], "flavor": "local", "configuration": {"path": str(tmp_path / "store")}}
    file = tmp_path / "stack.yaml"
    file.write_text(
        json.dumps(
            {
                "stackledger_stack": 1,
                "name": "imported",
                "components": {
                    "orchestrator": [{"name": "default", "flavor": "local"}],
                    "artifact_store": [store],
                },
            }
        ),
        encoding="utf-8",
    )
    done = stackledger("stack", "import", "imported", "-f", str(file), "--output", "json")
    assert done.status == 0, done.err
    (imported,) = json.loads(done.out)["components"]["artifact_store"]
    assert (imported["name"], imported["id"] != there["id"]) == (store["name"], True)
