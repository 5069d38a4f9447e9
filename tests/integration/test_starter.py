from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import stackledger.pipelines
from tests.support.local_runs import LocalHome

ROOT = Path(__file__).parents[2]
TEMPLATE = Path(stackledger.pipelines.__file__).parent / "templates" / "starter"

# The project's own `run.py`, on a home of the test's.
DRIVER = """
import pathlib, runpy, sys
sys.path.append({root!r})
from tests.support.local_runs import LocalHome
import stackledger
from stackledger.pipelines import runner
_ = stackledger.pipeline  # the front door binds its own runner with the first name that is used
local = LocalHome(pathlib.Path(sys.argv.pop(1)))
runner.bind(lambda: local)
sys.path.insert(0, "")
runpy.run_path("run.py", run_name="__main__")
local.close()
"""


def run(project: Path, home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", DRIVER.format(root=str(ROOT)), str(home), *options]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def test_the_starter_trains_and_keeps_the_better_model(tmp_path: Path) -> None:
    project, home = tmp_path / "project", tmp_path / "home"
    shutil.copytree(TEMPLATE, project)
    first = run(project, home, "--training-pipeline")
    assert first.returncode == 0, first.stderr
    assert "Accuracy of the better model: 0.9" in first.stdout
    local = LocalHome(home)
    state = local.state()
    assert state.status == "completed"
    assert list(state.steps) == [
        *("load_data", "split_data", "train_sgd", "train_forest", "evaluate_sgd", "evaluate_forest", "choose_best"),
    ]
    kept = {output.artifact for step in state.steps.values() for output in (step.outputs or {}).values()}
    assert {"dataset", "train_set", "test_set", "sgd_model", "forest_model", "best_model", "best_accuracy"} <= kept
    digests = [output.digest for step in state.steps.values() for output in (step.outputs or {}).values()]
    local.close()

    again = run(project, tmp_path / "another", "--training-pipeline")
    assert again.stdout == first.stdout
    other = LocalHome(tmp_path / "another")
    repeated = other.state()
    other.close()
    assert [output.digest for step in repeated.steps.values() for output in (step.outputs or {}).values()] == digests, (
        "the same seed gives the same bytes"
    )


def test_the_starter_says_what_it_can_do(tmp_path: Path) -> None:
    project, home = tmp_path / "project", tmp_path / "home"
    shutil.copytree(TEMPLATE, project)
    nothing = run(project, home)
    assert nothing.returncode == 2
    assert "--training-pipeline" in nothing.stderr
    features = run(project, home, "--feature-pipeline", "--test-share=0.25")
    assert features.returncode == 0, features.stderr
    assert "426 rows for training, 143 for testing." in features.stdout
