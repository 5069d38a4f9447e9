from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
import math
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Tuple  # noqa: UP035 - projects still write Tuple

import pandas as pd
import pydantic
import pytest

from stackledger.domain.errors import InvalidName, LiteralSecret, PipelineError, StackledgerError
from stackledger.domain.events.runs import OutputOfStep, Retry
from stackledger.pipelines.parameters import restored_parameter
from stackledger.pipelines.pipeline import Pipeline, pipeline
from stackledger.pipelines.plan import PipelinePlan
from stackledger.pipelines.step import Step, StepRetryConfig, step


@step
def load() -> int:
    return 1


@step
def split(number: int, share: float = 0.5) -> tuple[Annotated[int, "left"], Annotated[int, "right"]]:
    return int(number * share), int(number * (1 - share))


@step
def add(left: int, right: int) -> int:
    return left + right


@step
def report(number: int) -> None:
    del number


def plan(function: Callable[..., object], *args: object, **kwargs: object) -> PipelinePlan:
    return pipeline(function).plan(*args, **kwargs)


def outputs(function: Callable[..., object]) -> list[tuple[str, object, str | None]]:
    return [(output.name, output.annotation, output.artifact) for output in step(function).signature.outputs]


def test_calls_make_the_graph() -> None:
    def training(share: float = 0.25) -> None:
        left, right = split(load(), share)
        report(add(left, right))

    made = plan(training, share="0.75")
    assert made.name == "training"
    assert made.parameters == {"share": 0.75}
    assert [entry.planned.name for entry in made.steps] == ["load", "split", "add", "report"]
    by_name = {entry.planned.name: entry.planned for entry in made.steps}
    assert by_name["split"].inputs == {"number": OutputOfStep(step="load", output="output")}
    assert by_name["split"].parameters == {"share": 0.75}
    assert by_name["split"].outputs == ("left", "right")
    assert by_name["add"].upstream == ("split",)
    assert by_name["add"].inputs == {
        "left": OutputOfStep(step="split", output="left"),
        "right": OutputOfStep(step="split", output="right"),
    }
    assert by_name["report"].outputs == ()
    assert by_name["report"].source == f"{__name__}.report"


def test_the_decorators_work_with_and_without_parentheses() -> None:
    assert step()(len_of).name == step(len_of).name == "len_of"
    assert step(name="other")(len_of).name == "other"
    assert pipeline()(len_of).name == pipeline(len_of).name == "len_of"
    assert pipeline(name="My pipeline")(len_of).name == "My pipeline"


def len_of(text: str) -> int:
    return len(text)


def test_a_step_outside_of_a_pipeline_is_its_function() -> None:
    assert add(1, right=2) == 3
    with pytest.raises(PipelineError, match="outside of a pipeline"):
        add(1, 2, after=["load"])


def test_outputs_are_named_by_their_annotations() -> None:
    def nothing() -> None: ...
    def one() -> int:
        raise NotImplementedError

    def named() -> Annotated[int, "accuracy"]:
        raise NotImplementedError

    def unnamed() -> tuple[int, str]:
        raise NotImplementedError

    def mixed() -> Tuple[Annotated[int, "a"], str]:  # noqa: UP006 - projects still write Tuple
        raise NotImplementedError

    def sequence() -> tuple[int, ...]:
        raise NotImplementedError

    def one_tuple() -> Annotated[tuple[int, int], "pair"]:
        raise NotImplementedError

    def marked() -> Annotated[int, 3]:
        raise NotImplementedError

    assert outputs(nothing) == []
    assert outputs(one) == [("output", int, None)]
    assert outputs(named) == [("accuracy", int, "accuracy")]
    assert outputs(unnamed) == [("output_0", int, None), ("output_1", str, None)]
    assert outputs(mixed) == [("a", int, "a"), ("output_1", str, None)]
    assert outputs(sequence) == [("output", tuple[int, ...], None)]
    assert outputs(one_tuple) == [("pair", tuple[int, int], "pair")]
    assert outputs(marked) == [("output", int, None)]
    assert outputs(lambda_named("free", lambda: 1)) == [("output", Any, None)]


def lambda_named(name: str, function: Callable[..., object]) -> Callable[..., object]:
    function.__name__ = name
    return function


def test_artifacts_are_named_by_pipeline_step_and_output_or_by_choice() -> None:
    def training() -> None:
        split(load(id="first"))

    made = plan(training)
    assert made.steps[0].artifacts == {"output": "training::first::output"}
    assert made.steps[1].artifacts == {"left": "left", "right": "right"}


def test_a_step_used_twice_gets_a_number() -> None:
    def twice() -> None:
        add(load(), load())
        load(id="third")
        load()

    assert [entry.planned.name for entry in plan(twice).steps] == ["load", "load_2", "add", "third", "load_3"]


def test_two_steps_of_one_id_are_refused() -> None:
    def twice() -> None:
        load(id="x")
        load(id="x")

    with pytest.raises(PipelineError, match="Two steps have the id 'x'"):
        plan(twice)


def test_after_orders_steps_that_pass_nothing_on() -> None:
    def ordered() -> None:
        first = load(after="later")
        load(id="later")
        load(id="last", after=[first, "later"])

    made = plan(ordered)
    assert [entry.planned.name for entry in made.steps] == ["later", "load", "last"]
    assert made.steps[2].planned.upstream == ("load", "later")


def test_after_takes_the_name_of_a_step_called_once_under_another_id() -> None:
    def named() -> None:
        report(1, after=["load"])
        load(id="elsewhere")

    assert [entry.planned.name for entry in plan(named).steps] == ["elsewhere", "report"]

    def ambiguous() -> None:
        load(id="a")
        load(id="b")
        report(1, after="load")

    with pytest.raises(PipelineError, match="called 2 times: a, b"):
        plan(ambiguous)


def test_an_unknown_step_in_after_offers_near_names() -> None:
    def lost() -> None:
        load()
        report(1, after="laod")

    with pytest.raises(PipelineError, match=r"no step here\. Did you mean 'load'"):
        plan(lost)


def test_after_takes_whatever_a_call_returned() -> None:
    def ordered() -> None:
        silent = report(1)
        number = load()
        both = split(2)
        report(2, after=silent, id="after_silent")
        report(2, after=[silent, "after_silent"], id="after_list")
        report(2, after=(number, silent), id="after_tuple")
        report(2, after=both, id="after_several")
        report(2, after=[both, number, both[0], "load"], id="after_all")
        report(2, after=[], id="after_nothing")
        report(2, after=None, id="after_none")

    parents = {entry.planned.name: entry.planned.upstream for entry in plan(ordered).steps}
    assert parents == {
        "report": (),
        "load": (),
        "split": (),
        "after_nothing": (),
        "after_none": (),
        "after_silent": ("report",),
        "after_list": ("report", "after_silent"),
        "after_tuple": ("load", "report"),
        "after_several": ("split",),
        "after_all": ("split", "load"),
    }


def test_a_step_without_output_gives_no_value() -> None:
    def shown() -> None:
        assert repr(report(1)) == "<step 'report', which has no output>"

    def computed() -> None:
        report(1) + 1

    def passed() -> None:
        add(report(1), 2)

    def passed_inside() -> None:
        take_any([report(1)])

    assert len(plan(shown).steps) == 1
    with pytest.raises(PipelineError, match=r"'report' has no output, so .* Annotate what it returns"):
        plan(computed)
    with pytest.raises(PipelineError, match="'left' of the step 'add' is the step 'report', which has no output"):
        plan(passed)
    with pytest.raises(PipelineError, match="inside a list"):
        plan(passed_inside)


def test_a_step_of_another_pipeline_is_no_parent() -> None:
    kept: list[Any] = []

    def first() -> None:
        kept.append(report(1))

    def second() -> None:
        report(1, after=kept[0])

    plan(first)
    with pytest.raises(PipelineError, match="of another pipeline"):
        plan(second)


@pytest.mark.parametrize("after", [3, [3], {"load"}, [None], [[]], [()], ["load", None], b"load", load, [["load"]]])
def test_an_after_that_names_no_step_is_refused(after: Any) -> None:
    def odd() -> None:
        load()
        report(1, after=after)

    with pytest.raises(PipelineError, match="is to come after"):
        plan(odd)


def test_a_cycle_is_named() -> None:
    def circle() -> None:
        load()
        load(id="a", after="c")
        load(id="b", after="a")
        load(id="c", after="b")

    with pytest.raises(PipelineError, match="wait for each other: ") as caught:
        plan(circle)
    assert caught.value.message.endswith("a → b → c → a.")

    def alone() -> None:
        load(id="a", after="a")

    with pytest.raises(PipelineError, match="a → a"):
        plan(alone)


def test_a_long_chain_is_put_together() -> None:
    def chain() -> None:
        value = load()
        for _ in range(3000):
            value = add(value, 1)

    assert len(plan(chain).steps) == 3001


def test_wrong_arguments_are_refused_before_anything_runs() -> None:
    def too_few() -> None:
        add(1)

    def too_many() -> None:
        add(1, 2, 3)

    def unknown() -> None:
        add(1, 2, factor=3)

    for function in (too_few, too_many, unknown):
        with pytest.raises(PipelineError, match=r"wrong arguments: .*It takes add\(left, right\)\."):
            plan(function)


def test_wrong_arguments_of_a_pipeline_are_refused() -> None:
    def training(share: float) -> None:
        load()

    with pytest.raises(PipelineError, match="'training' is called with the wrong arguments"):
        plan(training)
    with pytest.raises(PipelineError, match="parameter 'share' of the pipeline 'training' is 'much'"):
        plan(training, "much")


def test_a_pipeline_without_steps_is_refused() -> None:
    with pytest.raises(PipelineError, match="'empty' has no steps"):
        plan(lambda_named("empty", lambda: None))


@pytest.mark.parametrize(
    "use",
    [
        bool,
        int,
        range,
        list,
        lambda output: output + 1,
        lambda output: output == 1,
        lambda output: output != 1,
        lambda output: f"{output}",
        lambda output: output.size,
        lambda output: output[0],
    ],
)
def test_an_output_has_no_value_while_the_pipeline_is_put_together(use: Callable[[Any], object]) -> None:
    def one() -> None:
        use(load())

    with pytest.raises(PipelineError, match="has no value yet"):
        plan(one)


def test_an_output_can_be_shown_and_kept_in_collections() -> None:
    def one() -> None:
        output = load()
        assert repr(output) == str(output) == "<output 'output' of the step 'load'>"
        assert {output: "kept"}[output] == "kept"
        assert not hasattr(output, "__array__")

    plan(one)


@step
def text() -> str:
    return ""


@step
def table(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


def test_what_can_never_fit_is_refused_naming_both_steps() -> None:
    def mistaken() -> None:
        table(text())

    with pytest.raises(
        PipelineError,
        match="'frame' of the step 'table' is to be DataFrame, but the output 'output' of the step 'text' is str",
    ):
        plan(mistaken)


def test_an_output_inside_a_list_is_refused() -> None:
    def nested() -> None:
        take_any([load()])

    with pytest.raises(PipelineError, match="inside a list"):
        plan(nested)


def test_an_output_of_another_pipeline_is_refused() -> None:
    kept: list[Any] = []

    def first() -> None:
        kept.append(load())

    def second() -> None:
        report(kept[0])

    plan(first)
    with pytest.raises(PipelineError, match="of another pipeline"):
        plan(second)


def test_a_pipeline_inside_a_pipeline_adds_its_steps() -> None:
    inner = pipeline(loading)

    def outer() -> None:
        report(inner())

    assert [entry.planned.name for entry in plan(outer).steps] == ["load", "report"]


def test_a_pipeline_that_calls_itself_for_ever_is_refused() -> None:
    @pipeline
    def endless() -> None:
        load()
        endless()

    @pipeline
    def counted(times: int = 3) -> None:
        load()
        if times:
            counted(times - 1)

    with pytest.raises(PipelineError, match="'endless' does not come to an end"):
        endless.plan()
    assert len(counted.plan().steps) == 4


def loading() -> Any:
    return load()


def test_the_graph_is_left_when_putting_it_together_fails() -> None:
    def broken() -> None:
        load()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        plan(broken)
    assert load() == 1


class Colour(enum.Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    depth: int


@dataclasses.dataclass
class Options:
    path: Path
    when: dt.date


@step
def take_any(value: Any) -> None: ...
@step
def take_unannotated(value) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001 - people write such
@step
def take_int(value: int) -> None: ...
@step
def take_colour(value: Colour) -> None: ...
@step
def take_model(value: Model) -> None: ...
@step
def take_options(value: Options) -> None: ...
@step
def take_iterator(value: Iterator[int]) -> None: ...
@step
def take_plain(value: Plain) -> None: ...


class Plain:
    pass


@step
def take_depth(depth: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013 - people write such


def test_a_default_of_none_may_stay_none() -> None:
    def one() -> None:
        take_depth()
        take_depth("3")

    assert [entry.planned.parameters for entry in plan(one).steps] == [{"depth": None}, {"depth": 3}]


@pytest.mark.parametrize(
    ("taker", "value", "stored"),
    [
        (take_any, {"a": [1, 2.5, None, True, "x"]}, {"a": [1, 2.5, None, True, "x"]}),
        (take_unannotated, (1, 2), [1, 2]),
        (take_int, "3", 3),
        (take_colour, Colour.RED, "red"),
        (take_colour, "red", "red"),
        (take_model, Model(depth=3), {"depth": 3}),
        (take_model, {"depth": "3"}, {"depth": 3}),
        (take_options, Options(Path("/x"), dt.date(2026, 11, 20)), {"path": "/x", "when": "2026-11-20"}),
    ],
)
def test_parameters_are_kept_as_their_annotation_asks(taker: Step, value: object, stored: object) -> None:
    def one() -> None:
        taker(value)

    assert plan(one).steps[0].planned.parameters == {"value": stored}


HOLDS_ITSELF: list[object] = []
HOLDS_ITSELF.append(HOLDS_ITSELF)


@pytest.mark.parametrize(
    ("taker", "value", "words"),
    [
        (take_int, "many", "argument 'value' of the step 'take_int' is 'many', which is not int"),
        (take_any, Plain(), "value of the type Plain, which is neither JSON"),
        (take_plain, "text", "is 'text', not Plain"),
        (take_plain, Plain(), "neither JSON"),
        (take_any, {1, 2}, "neither JSON"),
        (take_any, {1: 2}, "has the key 1; only texts"),
        (take_any, math.nan, "nan, which JSON cannot say"),
        (take_any, [math.inf], r"\[0\] is inf"),
        (take_any, 2**63, "does not fit into 64 bits"),
        (take_any, "\ud800", "not Unicode"),
        (take_any, HOLDS_ITSELF, "nested more than 100"),
        (take_any, b"bytes", "neither JSON"),
        (take_any, load, "type Step, which is neither JSON"),
    ],
)
def test_what_cannot_be_a_parameter_is_refused_with_its_place(taker: Step, value: object, words: str) -> None:
    def one() -> None:
        taker(value)

    with pytest.raises(PipelineError, match=words):
        plan(one)


@step
def take_numbers(value: list[int]) -> None: ...
@step
def take_bytes(value: bytes) -> None: ...
@step
def take_secret(value: pydantic.SecretStr) -> None: ...
@step
def take_aliased(value: Aliased) -> None: ...
@step
def take_login(value: Login) -> None: ...


class Aliased(pydantic.BaseModel):
    depth: int = pydantic.Field(alias="Depth")


class Login(pydantic.BaseModel):
    user: str
    password: pydantic.SecretStr


URL = "https://u:hunter2@h/"


@step
def pin(s: object = URL) -> None: ...


@pytest.mark.parametrize("given", [(), (URL,), ([{"a": URL}],), ({URL: 1},)])
def test_a_url_with_a_password_is_no_parameter_and_is_not_repeated(given: tuple[object, ...]) -> None:
    def one() -> None:
        pin(*given)

    with pytest.raises(LiteralSecret, match=r"The argument 's'.* of the step 'pin'.* a URL with a pass") as refused:
        plan(one)
    assert "hunter2" not in str(refused.value)
    assert "get_secret" in refused.value.hint

    def another(s: object = URL) -> None:
        report(load())

    with pytest.raises(LiteralSecret, match=r"'s'.* of the pipeline"):
        plan(another, *given)


@pytest.mark.parametrize("name", [URL, f"x {URL}"])
def test_no_message_about_a_name_repeats_a_password(name: str) -> None:
    for refusal in (lambda: step(name=name)(len.__class__), lambda: pipeline(name=name)(lambda: None)):
        with pytest.raises(StackledgerError) as refused:
            refusal()
        assert "hunter2" not in str(refused.value)


def test_a_parameter_that_a_model_reads_under_another_name_comes_back() -> None:
    def one() -> None:
        take_aliased(Aliased(Depth=3))

    (entry,) = plan(one).steps
    assert restored_parameter(entry.planned.parameters["value"], Aliased) == Aliased(Depth=3)


@pytest.mark.parametrize(
    ("taker", "value", "words"),
    [
        (take_numbers, ["a"], r"type list, which is not list\[int\]: \[0\]: Input should be a valid integer"),
        (take_bytes, b"\xff", "cannot be kept as JSON and read back: 'utf-8' codec"),
        pytest.param(take_any, 10**5000, "does not fit into 64 bits", id="more digits than Python prints"),
        (take_secret, "canary", "holds a secret, and parameters are kept in the log"),
        (take_login, {"user": "u", "password": "canary"}, "holds a secret"),
    ],
)
def test_what_would_not_come_back_from_the_log_is_refused(taker: Step, value: object, words: str) -> None:
    def one() -> None:
        taker(value)

    with pytest.raises(PipelineError, match=words) as caught:
        plan(one)
    assert "canary" not in str(caught.value)


def test_only_functions_are_steps_and_pipelines() -> None:
    for thing in (3, int, load, functools.partial(print, 1), Plain().__str__, "text"):
        with pytest.raises(PipelineError, match=r"cannot be a step\. Put @step above a function"):
            step(thing)  # type: ignore[arg-type]
        with pytest.raises(PipelineError, match="cannot be a pipeline"):
            pipeline(thing)  # type: ignore[arg-type]
    assert repr(load) == "<step 'load'>"


def test_functions_that_can_be_no_steps_are_refused_where_they_are_decorated() -> None:
    def variable(*values: int) -> None: ...
    def keywords(**values: int) -> None: ...
    def reserved(after: int) -> None: ...
    def generator() -> Iterator[int]:
        yield 1

    async def coroutine() -> int:
        raise NotImplementedError

    async def asynchronous() -> AsyncIterator[int]:
        yield 1

    refused: tuple[tuple[Callable[..., object], str], ...] = (
        (asynchronous, "is a coroutine or a generator"),
        (generator, "is a coroutine or a generator"),
        (coroutine, "is a coroutine"),
        (variable, r"takes \*values"),
        (keywords, r"takes \*\*values"),
        (reserved, "argument 'after'"),
    )
    for function, words in refused:
        for make in (step, pipeline):
            with pytest.raises(PipelineError, match=words):
                make(function)


def test_annotations_that_cannot_be_meant_are_refused_before_anything_runs() -> None:
    def unknown() -> Nowhere:  # type: ignore[name-defined]  # noqa: F821 - that is what is tested
        raise NotImplementedError

    def twice() -> tuple[Annotated[int, "a"], Annotated[int, "a"]]:
        raise NotImplementedError

    def hostile() -> Annotated[int, "../a"]:
        raise NotImplementedError

    def invisible() -> Annotated[int, "\x1b[0m"]:
        raise NotImplementedError

    for function, words in (
        (unknown, "cannot be read: name 'Nowhere' is not defined"),
        (twice, "Two outputs of the step 'twice' are named 'a'"),
        (hostile, "cannot be named so"),
        (invisible, r"cannot be named so: The name '\\u001b"),
    ):
        calling = pipeline(_calling(step(function)))
        with pytest.raises(PipelineError, match=words):
            calling.plan()


def _calling(called: Step) -> Callable[[], None]:
    def one() -> None:
        called()

    return one


def test_a_function_whose_name_is_none_for_a_step_can_be_given_one() -> None:
    for make, what in ((step, "step"), (pipeline, "pipeline")):
        with pytest.raises(InvalidName, match=r"'<lambda>' of the \w+") as refused:
            make(lambda: None)
        assert refused.value.hint == f'Choose another one: {what}(name="…")(function).'
        assert make(name="chosen")(lambda: None).name == "chosen"


@pytest.mark.parametrize("name", ["../up", "", "a/b", "\x1b[31m", "-x", "a" * 129, "a\x00"])
def test_hostile_names_are_refused(name: str) -> None:
    def one() -> None:
        load(id=name)

    with pytest.raises(InvalidName):
        step(name=name)(len_of)
    with pytest.raises(InvalidName):
        pipeline(name=name)(len_of)
    with pytest.raises(InvalidName):
        plan(one)


def test_a_leading_underscore_is_no_part_of_a_name() -> None:
    assert step(_private).name == "private"


def _private() -> None: ...


@pytest.mark.parametrize("thing", [3, int, load])
def test_only_functions_are_steps(thing: Any) -> None:
    with pytest.raises(PipelineError, match="cannot be a step"):
        step(thing)
    with pytest.raises(PipelineError, match="cannot be a pipeline"):
        pipeline(thing)


def test_options_make_a_copy_and_configure_changes_in_place() -> None:
    patient = load.with_options(name="patient", retry=StepRetryConfig(max_retries=3, delay=2, backoff=0))
    assert (patient.name, patient.retry) == ("patient", Retry(max_retries=3, delay=2, backoff=1))
    assert (load.name, load.retry) == ("load", Retry())
    again = patient.with_options(name="again")
    assert again.retry == patient.retry
    assert again.configure(name="changed") is again
    assert again.name == "changed"
    with pytest.raises(PipelineError, match="StepRetryConfig"):
        load.with_options(retry={"max_retries": 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="enable_cache"):
        load.with_options(enable_cache=False)  # type: ignore[call-arg]


def test_names_of_runs_are_dated() -> None:
    made = pipeline(loading).plan()
    time = int(dt.datetime(2026, 11, 20, 12, 30, 1, 5, tzinfo=dt.UTC).timestamp() * 1_000_000)
    assert made.name_of_run(time) == "loading-2026_11_20-12_30_01_000005"
    chosen = pipeline(loading).with_options(run_name="nightly {date}").plan()
    assert chosen.name_of_run(time) == "nightly 2026_11_20"
    long = Pipeline(loading, name="x" * 128).plan()
    assert len(long.name_of_run(time)) == 128


def test_a_pipeline_can_be_planned_twice() -> None:
    once = pipeline(loading)
    assert once.plan() == once.plan()
