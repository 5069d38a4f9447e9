"""What a step is executed with, of what it and the pipelines around it say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stackledger.config import DockerSettings, ResourceSettings
from stackledger.domain.errors import PipelineError
from stackledger.pipelines.pipeline import Pipeline, pipeline
from stackledger.pipelines.settings import Settings
from stackledger.pipelines.step import Step, step


def nothing() -> None:
    pass


def around(*steps: Step, settings: Settings | None = None) -> Pipeline:
    @pipeline(settings=settings)
    def several() -> None:
        for each in steps:
            each()

    return several


def requiring(*requirements: str) -> Settings:
    return {"docker": DockerSettings(requirements=requirements)}


def required(planned: Pipeline) -> list[tuple[str, ...]]:
    return [each.planned.requirements for each in planned.plan().steps]


def test_the_plan_has_what_a_step_requires_each_once_in_its_order() -> None:
    assert required(around(step(settings=requiring("torch>=2", " pandas", "torch>=2"))(nothing))) == [
        ("torch>=2", "pandas")
    ]
    assert required(around(step(nothing))) == [()]


def test_they_may_be_given_as_a_mapping() -> None:
    assert required(around(step(settings={"docker": {"requirements": ["torch"]}})(nothing))) == [("torch",)]


def test_a_pipeline_says_what_its_steps_need_that_say_nothing_else() -> None:
    settings = {"resources": ResourceSettings(cpu_count=2, memory="1GB"), **requiring("pandas")}
    own = step(settings={"resources": ResourceSettings(gpu_count=1, memory="2GB"), **requiring("torch")})(nothing)
    with_its_own, without = around(own, step(nothing), settings=settings).plan().steps
    assert with_its_own.resources == ResourceSettings(cpu_count=2, gpu_count=1, memory="2GB")
    assert with_its_own.planned.requirements == ("torch",)
    assert without.resources == ResourceSettings(cpu_count=2, memory="1GB")
    assert without.planned.requirements == ("pandas",)


def test_a_step_may_say_that_it_requires_nothing() -> None:
    assert required(around(step(settings=requiring())(nothing), settings=requiring("pandas"))) == [()]


def test_options_of_a_copy_change_nothing_about_the_pipeline() -> None:
    first = around(step(nothing), settings=requiring("pandas"))
    second = first.with_options(settings={"resources": ResourceSettings(gpu_count=1)})
    third = second.with_options(run_name="third", settings=requiring("torch"))
    assert [
        (each.resources, each.planned.requirements) for one in (first, second, third) for each in one.plan().steps
    ] == [
        (None, ("pandas",)),
        (ResourceSettings(gpu_count=1), ("pandas",)),
        (ResourceSettings(gpu_count=1), ("torch",)),
    ]


def test_steps_of_a_pipeline_inside_another_have_the_inner_ones_settings_over_the_outer_ones() -> None:
    inner = around(step(nothing), settings=requiring("torch"))

    @pipeline(settings={"resources": ResourceSettings(cpu_count=4), **requiring("pandas")})
    def outer() -> None:
        step(name="before")(nothing)()
        inner()
        step(name="after")(nothing)()

    planned = {each.planned.name: each for each in outer.plan().steps}
    assert {name: each.planned.requirements for name, each in planned.items()} == {
        "before": ("pandas",),
        "nothing": ("torch",),
        "after": ("pandas",),
    }
    assert planned["nothing"].resources == ResourceSettings(cpu_count=4)


def test_a_file_of_requirements_is_read_when_the_plan_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reading = around(step(settings={"docker": DockerSettings(requirements="all.txt")})(nothing))
    (tmp_path / "all.txt").write_text(
        "# what it takes\n--index-url https://example.org/simple\n\n-r parts/more.txt\n"
        "numpy==2.4.0 \\\n  --hash=sha256:0123\nscipy>1 # a comment\npandas @ https://example.org/p.whl#sha1=1\n"
    )
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/more.txt").write_text("torch>=2; python_version >= '3'\n-r beside.txt")
    (tmp_path / "parts/beside.txt").write_text("tqdm")
    assert required(reading) == [
        (
            "torch>=2; python_version >= '3'",
            "tqdm",
            "numpy==2.4.0",
            "scipy>1",
            "pandas @ https://example.org/p.whl#sha1=1",
        )
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, r"The requirements of the step 'nothing' cannot be read from all\.txt: No such file"),
        ("-r all.txt", r"all\.txt includes itself"),
        ("-r more.txt", r"cannot be read from more\.txt: No such file"),
        ("-e ./here", r"The step 'nothing' requires '-e \./here', which is not a requirement that pip understands"),
        ("\xe4", "it is not UTF-8"),
    ],
)
def test_a_file_that_says_nothing_clear_is_refused(
    text: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "all.txt").write_text(text, "latin-1")
    with pytest.raises(PipelineError, match=told):
        around(step(settings={"docker": DockerSettings(requirements="all.txt")})(nothing)).plan()


def test_what_pip_does_not_understand_is_refused_before_anything_runs() -> None:
    with pytest.raises(PipelineError, match="The step 'nothing' requires 'torch=2', which is not"):
        around(step(nothing), settings=requiring("torch=2")).plan()


@pytest.mark.parametrize("wrong", [3, [3], {"torch": "2"}])
def test_what_is_no_list_of_requirements_is_refused(wrong: Any) -> None:
    with pytest.raises(PipelineError, match="are no requirements"):
        DockerSettings(requirements=wrong)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"dockr": DockerSettings()}, "pipeline 'several' has settings under 'dockr'.*Did you mean 'docker'"),
        ({"docker": {"requirement": []}}, "'requirement' in its DockerSettings.*Did you mean 'requirements'"),
        ({"docker": ["torch"]}, r"has \['torch'\] where DockerSettings belong"),
        ({"docker": ResourceSettings()}, "where DockerSettings belong"),
    ],
)
def test_settings_that_nothing_knows_are_refused(settings: Any, told: str) -> None:
    with pytest.raises(PipelineError, match=told):
        around(settings=settings)
