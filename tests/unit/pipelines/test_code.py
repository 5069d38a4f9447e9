from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import unittest.mock
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from stackledger.pipelines import code
from stackledger.pipelines.code import Git, code_digest, environment

STEPS = """
from stackledger.pipelines.step import step
from stackledger.pipelines.pipeline import pipeline
import json
import {helper}

RATE = 0.1
UNUSED = 1

def unused():
    return 1

def scale(value):
    return value * RATE

class Scaler:
    def apply(self, value):
        return scale(value)

@step
def train(value: float) -> float:
    return Scaler().apply(value)

@step
def other() -> str:
    return json.dumps({helper}.answer())

@pipeline
def training():
    train(1.0)
    other()
"""
HELPER = "def answer():\n    return 42\n"


class Project:
    """A module of somebody's project, written and imported anew after each edit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.edits = 0
        self.names: list[str] = []

    def digests(self, steps: str = STEPS, helper: str = HELPER) -> tuple[str, str, str]:
        self.edits += 1
        self._write("project_helper", self.folder / f"{self.edits}_helper.py", helper)
        module = self._write(
            "project_steps", self.folder / f"{self.edits}_steps.py", steps.replace("{helper}", "project_helper")
        )
        plan = module.training.plan()
        return module.train.digest, module.other.digest, plan.code.digest

    def _write(self, name: str, path: Path, text: str) -> ModuleType:
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        self.names.append(name)
        spec.loader.exec_module(module)
        return module


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    for name in made.names:
        sys.modules.pop(name, None)


def test_the_same_code_has_the_same_digest(project: Project) -> None:
    assert project.digests() == project.digests()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return Scaler().apply(value)", "return Scaler().apply(value) + 1"),
        ("return value * RATE", "return value / RATE"),
        ("return scale(value)", "return 2 * scale(value)"),
        ("RATE = 0.1", "RATE = 0.2"),
    ],
)
def test_a_change_that_a_step_reaches_changes_its_digest_alone(project: Project, old: str, new: str) -> None:
    train, other, whole = project.digests()
    train_after, other_after, whole_after = project.digests(STEPS.replace(old, new))
    assert train_after != train
    assert other_after == other
    assert whole_after != whole


def test_a_change_in_a_module_of_the_project_changes_the_digest(project: Project) -> None:
    train, other, whole = project.digests()
    train_after, other_after, whole_after = project.digests(helper=HELPER.replace("42", "43"))
    assert train_after == train
    assert other_after != other
    assert whole_after != whole


def test_what_no_step_refers_to_does_not_count(project: Project) -> None:
    assert project.digests() == project.digests(
        STEPS.replace("UNUSED = 1", "UNUSED = 2").replace("return 1\n", "return 2\n")
    )


def test_a_change_of_the_pipeline_alone_leaves_its_steps_as_they_are(project: Project) -> None:
    train, other, whole = project.digests()
    again = project.digests(STEPS.replace("train(1.0)", "train(2.0)"))
    assert again[:2] == (train, other)
    assert again[2] != whole


def test_code_without_source_has_a_digest_of_what_was_compiled() -> None:
    def made(text: str) -> str:
        names: dict[str, object] = {"__name__": "typed_in"}
        exec(text, names)  # noqa: S102 - as typed into an interpreter
        function = names["f"]
        assert callable(function)
        return code_digest(function)

    helped = "def g(): return {}\nclass C:\n    @staticmethod\n    def m(): return {}\ndef f(): return g(), C.m()"
    assert made(helped.format(1, 1)) == made(helped.format(1, 1))
    assert made(helped.format(1, 1)) != made(helped.format(2, 1))
    assert made("def f(): return [x + 1 for x in y]") == made("def f():\n    return [x + 1 for x in y]")
    assert made("def f(): return 1") != made("def f(): return 2")


TYPED_IN = """
from stackledger import step
class Scaler:
    @staticmethod
    def factor(): return {factor}
def helper(x): return x in {{"a", "b", "c", "d"}}
@step
def train() -> int: return Scaler.factor() + helper({helped!r})
print(train.digest)
"""


def typed_in(factor: int = 1, helped: str = "a", seed: str = "0") -> str:
    text = TYPED_IN.format(factor=factor, helped=helped)
    env = {**os.environ, "PYTHONHASHSEED": seed}
    return subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True, env=env).stdout


def test_what_is_typed_into_an_interpreter_counts_as_code_of_the_project() -> None:
    assert typed_in() == typed_in(seed="1")
    assert typed_in(factor=2) != typed_in()
    assert typed_in(helped="b") != typed_in()


def test_functions_of_one_name_all_count() -> None:
    def with_two(first: Callable[[], int], second: Callable[[], int]) -> str:
        def both() -> int:
            return first() + second()

        return code_digest(both)

    one, two, three = [eval(f"lambda: {number}") for number in (1, 2, 3)]  # noqa: S307 - as typed into an interpreter
    assert with_two(one, two) == with_two(one, two)
    assert with_two(one, two) != with_two(one, three)


class Proxy:
    """Answers as lazy objects and mocks do: anything, or nothing but an error."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("outside of a request")

    def __getattr__(self, name: str) -> object:
        return Proxy()

    def __call__(self) -> int:
        return 1


PROXY = Proxy()


def test_a_proxy_that_a_step_refers_to_is_not_asked_for_anything() -> None:
    def asks() -> object:
        return PROXY(), unittest.mock.call, unittest.mock.MagicMock

    assert code_digest(asks)


def test_a_file_that_is_no_python_any_more_is_no_obstacle(project: Project) -> None:
    project.digests()
    module = sys.modules["project_steps"]
    for broken in ("def train(value: (\n", "\n" * 30 + "class (\n", ""):
        Path(str(module.__file__)).write_text(broken)
        assert code_digest(module.train.function)


def test_what_a_class_inherits_counts(project: Project) -> None:
    steps = STEPS.replace("class Scaler:", "class Base:\n    rate = 1\n\nclass Scaler(Base):")
    assert project.digests(steps)[0] != project.digests(steps.replace("rate = 1", "rate = 2"))[0]


def test_a_closure_counts_with_what_it_holds() -> None:
    def adder(amount: int) -> str:
        def add(value: int) -> int:
            return value + amount

        return code_digest(add)

    assert adder(1) == adder(1)
    assert adder(1) != adder(2)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.invalid", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def git_state(folder: Path) -> tuple[str | None, bool]:
    return Git(folder).state


def test_a_run_knows_its_commit_and_whether_the_work_tree_differs(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    assert git_state(inside) == (None, False)
    git(tmp_path, "init", "-q")
    assert git_state(inside) == (None, False)
    (tmp_path / "run.py").write_text("1")
    git(tmp_path, "add", "run.py")
    git(tmp_path, "commit", "-q", "-m", "First")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    assert git_state(inside) == (commit, False)
    (tmp_path / "run.py").write_text("2")
    assert git_state(inside) == (commit, True)


def test_a_damaged_repository_and_a_missing_git_are_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").write_text("nonsense")
    assert git_state(tmp_path) == (None, False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) == (None, False)


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_a_git_that_does_not_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "git").write_text(f"#!{sys.executable}\nimport sys\nprint(1, flush=True)\nsys.stdin = open('pipe')\n")
    (tmp_path / "git").chmod(0o755)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(code, "GIT_SECONDS", 0.01)
    assert git_state(tmp_path) == (None, False)
    before = children()
    asked = Git(tmp_path)
    assert children() > before
    del asked  # nobody wants to know any more
    assert children() == before


def test_the_environment_names_python_and_the_platform() -> None:
    assert {"python", "platform", "pydantic"} <= environment().keys()
