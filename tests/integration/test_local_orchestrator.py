# ruff: noqa: T201 - steps print, and that is what is tested
from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pytest

from stackledger.domain.errors import ArtifactError, PipelineError, Refused, RunFailed
from stackledger.domain.events.runs import RunStarted, StepFailed, StepStarted
from stackledger.domain.run_status import RunStatus
from stackledger.domain.runs import RUN, EndRun
from stackledger.pipelines.context import get_step_context
from stackledger.pipelines.pipeline import pipeline
from stackledger.pipelines.step import StepRetryConfig, step
from stackledger.workers.local import end_dead_run
from stackledger.workers.run_files import dead_runs, driving, is_driven, lock_file
from tests.support.local_runs import LocalHome, bound

CALLS: list[str] = []


@pytest.fixture
def local(home: Path) -> Iterator[LocalHome]:
    CALLS.clear()
    made = LocalHome(home)
    yield made
    made.close()


def planned(function: Callable[..., object]) -> Any:
    return pipeline(function).plan()


@step
def load() -> Annotated[list[int], "numbers"]:
    CALLS.append("load")
    return [1, 2, 3]


@step
def total(numbers: list[int], factor: int = 1) -> int:
    CALLS.append("total")
    numbers.append(100)
    return sum(numbers) * factor


@step
def both(first: int, second: int) -> tuple[int, Annotated[str, "text"]]:
    return first + second, str(first)


@step
def silent(number: int) -> None:
    CALLS.append(f"silent {number}")


@step
def broken(numbers: object = None) -> list[int]:
    raise ZeroDivisionError("by nothing")


def summing() -> None:
    numbers = load()
    number, _ = both(total(numbers), total(numbers, factor=2))
    silent(number)


def test_a_pipeline_runs_and_returns_what_its_steps_put_out(local: LocalHome) -> None:
    with bound(lambda: local):
        run = pipeline(summing)()
    assert (run.name, run.pipeline, run.status) == ("summing-2026_11_18-11_06_40_000000", "summing", "completed")
    assert run.steps["load"].output.load() == [1, 2, 3]
    assert run.steps["both"].outputs["output_0"].load() == 106 * 3
    assert run.steps["both"].outputs["text"].load() == "106"
    assert run.steps["silent"].outputs == {}
    with pytest.raises(PipelineError, match="has 2 outputs"):
        _ = run.steps["both"].output
    assert CALLS == ["load", "total", "total", "silent 318"]
    assert local.story() == [
        *("started", "load 1", "load ok", "total 1", "total ok", "total_2 1", "total_2 ok"),
        *("both 1", "both ok", "silent 1", "silent ok", "succeeded"),
    ]


def test_what_is_not_installed_is_named_before_the_run_begins(local: LocalHome) -> None:
    needing = step(name="needing", settings={"docker": {"requirements": ["no-such-package>=2", "pydantic>=1000"]}})

    @pipeline(settings={"docker": {"requirements": ["pydantic>=2", "no-such-package>=2"]}})
    def several() -> None:
        needing(free)()
        step(name="other")(free)()

    with pytest.raises(PipelineError) as refused:
        local.run(several.plan())
    assert "no-such-package>=2 for 'needing' and 'other'; pydantic>=1000 (there is 2." in str(refused.value)
    assert str(refused.value).endswith(" for 'needing'. pip install 'no-such-package>=2' 'pydantic>=1000'")
    assert local.story() == []


def free() -> None:
    CALLS.append("free")


def test_what_is_installed_is_not_in_the_way(local: LocalHome) -> None:
    @pipeline(settings={"docker": {"requirements": ["pydantic>=2", "no-such-package; python_version < '3'"]}})
    def single() -> None:
        step(free)()

    local.run(single.plan())
    assert CALLS == ["free"]


def test_each_change_of_state_is_one_append(local: LocalHome) -> None:
    appends: list[int] = []
    append = local.recorder.append

    def counted(events: Any, condition: Any = None) -> int:
        appends.append(len(events))
        return append(events, condition)

    local.recorder.append = counted  # type: ignore[method-assign]
    local.run(planned(summing))
    assert appends == [1, 1, 2, 2, 2, 2, 2]


def test_every_event_is_told_as_it_came_into_the_log(local: LocalHome) -> None:
    local.run(planned(summing))
    assert local.seen == local.recorded()
    assert len({recorded.envelope.correlation for recorded in local.seen}) == 1


def test_a_run_pins_inputs_and_artifacts_by_their_digests(local: LocalHome) -> None:
    finished = local.finish(planned(summing))
    numbers = (finished.run.steps["load"].outputs or {})["numbers"]
    assert numbers.artifact == "numbers"
    assert (finished.run.steps["total"].outputs or {})["output"].artifact == "summing::total::output"
    starts = [one.event for one in local.recorded() if isinstance(one.event, StepStarted)]
    assert starts[1].inputs == {"numbers": numbers.digest}
    assert local.store.get(numbers.digest, numbers.size)
    started = local.recorded()[0].event
    assert isinstance(started, RunStarted)
    assert started.steps[1].parameters == {"factor": 1}


def failing() -> None:
    numbers = load()
    number = total(broken(numbers))
    silent(number)
    silent(3, id="independent")


def test_a_failed_step_skips_its_dependents_and_no_others(local: LocalHome) -> None:
    with pytest.raises(
        RunFailed, match="failed at 'broken', and 2 more could not run: ZeroDivisionError: by nothing"
    ) as caught:
        local.run(planned(failing))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert CALLS == ["load", "silent 3"]
    assert local.story()[3:] == [
        *("broken 1", "broken ZeroDivisionError", "total skipped", "silent skipped"),
        *("independent 1", "independent ok", "steps failed"),
    ]


def test_a_traceback_goes_to_the_log_of_the_step_and_not_into_the_event(local: LocalHome) -> None:
    local.finish(planned(failing))
    assert "Traceback" in local.logs()["broken.1"]
    [failure] = [one.event for one in local.recorded() if isinstance(one.event, StepFailed)]
    assert (failure.error, failure.message) == ("ZeroDivisionError", "by nothing")


TRIES: list[str] = []


@step(retry=StepRetryConfig(max_retries=3, delay=2, backoff=3))
def flaky() -> int:
    TRIES.append(f"try {get_step_context().step_run.attempt}")
    print(TRIES[-1])
    if len(TRIES) < 4:
        raise OSError("not yet")
    return len(TRIES)


def retrying() -> None:
    silent(flaky())
    silent(5, id="meanwhile")


def test_a_failed_attempt_is_tried_again_after_a_growing_delay(local: LocalHome) -> None:
    TRIES.clear()
    local.run(planned(retrying))
    assert TRIES == ["try 1", "try 2", "try 3", "try 4"]
    assert local.waits == [2.0, 6.0, 18.0]
    assert local.story()[1:6] == ["flaky 1", "flaky OSError", "meanwhile 1", "meanwhile ok", "flaky 2"]
    assert {name: text.splitlines()[0] for name, text in local.logs().items()} == {
        f"flaky.{number}": f"try {number}" for number in (1, 2, 3, 4)
    }


def test_a_clock_that_is_set_back_while_waiting_makes_no_wait_longer(local: LocalHome) -> None:
    TRIES.clear()

    def wait(seconds: float) -> None:
        local.waits.append(seconds)
        local.now -= 3600 * 1_000_000

    local.wait = wait  # type: ignore[method-assign]
    local.run(planned(retrying))
    assert local.waits == [2.0, 6.0, 18.0]


@step
def exits() -> int:
    sys.exit(3)


@step
def raises_odd() -> int:
    class Odd(BaseException):
        def __str__(self) -> str:
            raise ValueError

    raise Odd


@step
def too_many() -> int:
    return 1, 2  # type: ignore[return-value]


@step
def too_few() -> tuple[int, int, int]:
    return 1, 2  # type: ignore[return-value]


@step
def not_a_tuple() -> tuple[int, int]:
    return 5  # type: ignore[return-value]


@step
def unannounced() -> None:
    return 5  # type: ignore[return-value]


@step
def wrong_type() -> int:
    return "five"  # type: ignore[return-value]


@step
def cannot_be_kept() -> object:
    return threading.Lock()


@step
def half_unicode() -> int:
    raise ValueError("\ud800 and \x00 and " + "x" * 5000)


@pytest.mark.parametrize(
    ("failing_step", "error", "words"),
    [
        (exits, "SystemExit", "called sys.exit(3)"),
        (raises_odd, "raises_odd.<locals>.Odd", ""),
        (too_many, "PipelineError", "'output' of the step 'too_many' is of the type tuple, not int"),
        (too_few, "PipelineError", "announced 3 outputs (output_0, output_1, output_2) and returned 2 values"),
        (not_a_tuple, "PipelineError", "announced 2 outputs (output_0, output_1) and returned one int"),
        (unannounced, "PipelineError", "announced no output and returned a value of the type int"),
        (wrong_type, "PipelineError", "is of the type str, not int"),
        (cannot_be_kept, "MaterializerError", ""),
        (half_unicode, "ValueError", "\\ud800 and \x00 and x"),
    ],
)
def test_whatever_a_step_does_wrong_fails_it_with_clear_words(
    local: LocalHome, failing_step: Any, error: str, words: str
) -> None:
    def one() -> None:
        failing_step()
        silent(1)

    finished = local.finish(planned(one))
    assert finished.run.status is RunStatus.FAILED
    [failure] = [recorded.event for recorded in local.recorded() if isinstance(recorded.event, StepFailed)]
    assert failure.error == error
    assert words in failure.message
    assert len(failure.message) <= 2000
    assert CALLS == ["silent 1"]
    with pytest.raises(RunFailed):
        finished.raise_if_failed()


@step
def anything(what: str) -> Any:
    return {"text": "five", "number": 5, "nothing": None, "list": [1]}[what]


@step
def takes(value: float) -> None: ...


@step
def takes_if_any(value: float = None) -> None:  # type: ignore[assignment]  # noqa: RUF013
    ...


@step
def takes_several(value: tuple[int, ...]) -> None: ...


@pytest.mark.parametrize(
    ("what", "taker", "words"),
    [
        ("number", takes, None),
        ("nothing", takes_if_any, None),
        ("list", takes_several, None),
        ("text", takes, "The input 'value' is 'one::anything::output', which is of the type str, not float."),
        ("nothing", takes, "which is of the type NoneType, not float."),
        ("number", takes_several, "which is of the type int, not tuple[int, ...]."),
    ],
)
def test_an_input_that_turns_out_to_be_of_another_type_fails_its_step(
    local: LocalHome, what: str, taker: Any, words: str | None
) -> None:
    def one() -> None:
        taker(anything(what))

    local.finish(planned(one))
    failures = [recorded.event for recorded in local.recorded() if isinstance(recorded.event, StepFailed)]
    assert [words is not None and words in failure.message for failure in failures] == [True] * (words is not None)


@step
def interrupted() -> int:
    raise KeyboardInterrupt


def test_an_interrupt_ends_the_run_and_goes_on_its_way(local: LocalHome) -> None:
    def one() -> None:
        silent(interrupted())

    with pytest.raises(KeyboardInterrupt):
        local.run(planned(one))
    assert local.story() == ["started", "interrupted 1", "interrupted Interrupted", "interrupted"]
    assert not list((local.home / "runs").glob("*.lock"))


def test_an_interrupt_between_two_steps_ends_the_run(local: LocalHome) -> None:
    happened = local.happened

    def stop(recorded: Any) -> None:
        happened(recorded)
        if len(local.seen) == 3:
            raise KeyboardInterrupt

    local.happened = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        local.run(planned(summing))
    assert local.story()[-2:] == ["total Interrupted", "interrupted"]


@step
def chatty() -> int:
    print("to stdout")
    print("to stderr", file=sys.stderr)
    logging.getLogger("somebody").warning("to the log")
    thread = threading.Thread(target=lambda: print("from a thread"))
    thread.start()
    thread.join()
    return 1


def test_what_a_step_prints_is_kept_and_still_shown(local: LocalHome, capsys: pytest.CaptureFixture[str]) -> None:
    streams = sys.stdout, sys.stderr

    def one() -> None:
        chatty()

    local.run(planned(one))
    assert (sys.stdout, sys.stderr) == streams
    shown = capsys.readouterr()
    assert shown.out == "to stdout\nfrom a thread\n"
    assert "to stderr\n" in shown.err
    kept = local.logs()["chatty.1"]
    assert "to stdout\n" in kept
    assert "to stderr\n" in kept
    assert "from a thread\n" in kept


def test_a_step_that_prints_nothing_has_no_log(local: LocalHome) -> None:
    def one() -> None:
        silent(1)

    local.run(planned(one))
    assert local.logs() == {}


@step
def logs_through_a_handler() -> None:
    logging.getLogger("project").warning("through a handler")


def test_log_handlers_write_to_the_log_once_and_are_put_back(local: LocalHome) -> None:
    handler = logging.StreamHandler(sys.stderr)
    logger = logging.getLogger("project")
    logger.addHandler(handler)
    try:

        def one() -> None:
            logs_through_a_handler()

        local.run(planned(one))
        assert handler.stream is sys.stderr
    finally:
        logger.removeHandler(handler)
    assert local.logs()["logs_through_a_handler.1"] == "through a handler\n"


@step
def configures_logging() -> None:
    logging.basicConfig(level=logging.INFO, force=True)
    logging.info("configured")  # noqa: LOG015 - as scripts do


def test_logging_that_a_step_sets_up_goes_on_after_it(local: LocalHome, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:

        def one() -> None:
            configures_logging()

        local.run(planned(one))
        logging.info("after the run")  # noqa: LOG015 - as scripts do
    finally:
        root.handlers[:], root.level = before, level
    assert "after the run" in capsys.readouterr().err
    assert local.logs()["configures_logging.1"] == "INFO:root:configured\n"


BOTH = threading.Barrier(2, timeout=30)


@step
def meets(last: bool) -> None:  # noqa: FBT001 - steps take their arguments by name
    BOTH.wait()
    print("last" if last else "first")
    BOTH.wait()
    if last:
        LEFT.wait(30)


LEFT = threading.Event()


def test_runs_of_two_threads_keep_logs_of_their_own_and_leave_the_streams_as_they_were(local: LocalHome) -> None:
    streams = sys.stdout, sys.stderr

    def one(last: bool) -> None:  # noqa: FBT001
        meets(last=last)

    def first() -> None:
        local.finish(pipeline(name="first")(one).plan(last=False))
        LEFT.set()

    LEFT.clear()
    thread = threading.Thread(target=first)
    thread.start()
    local.finish(pipeline(name="last")(one).plan(last=True))
    thread.join()
    assert (sys.stdout, sys.stderr) == streams
    texts = {path.read_text() for path in (local.home / "runs").glob("*/*.log")}
    assert texts == {"first\n", "last\n"}


@step
def verbose() -> None:
    for _ in range(1000):
        sys.stdout.write("x" * 10_239 + "\n")


def test_ten_megabytes_of_output_are_kept(local: LocalHome, monkeypatch: pytest.MonkeyPatch) -> None:
    def one() -> None:
        verbose()

    with open(os.devnull, "w") as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        local.run(planned(one))
    assert len(local.logs()["verbose.1"]) == 10_240_000


def test_a_log_that_cannot_be_written_fails_no_step(local: LocalHome, capsys: pytest.CaptureFixture[str]) -> None:
    def one() -> None:
        chatty()

    plan = planned(one)
    (local.home / "runs").mkdir()
    blocked = local.happened

    def block(recorded: Any) -> None:
        blocked(recorded)
        if isinstance(recorded.event, RunStarted):
            (local.home / "runs" / recorded.event.run_id).write_text("a file in the place of the folder")

    local.happened = block  # type: ignore[method-assign]
    assert local.run(plan).status == "completed"
    assert "to stdout" in capsys.readouterr().out


@step
def betrays() -> int:
    print("the password is hunter2")
    raise ValueError("cannot connect with hunter2")


def test_no_secret_reaches_the_event_or_the_log(home: Path) -> None:
    local = LocalHome(home, "hunter2")

    def one() -> None:
        betrays()

    local.finish(planned(one))
    local.close()
    for path in home.rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path


@step
def betrays_a_url(text: str) -> None:
    url = text.replace("!", "@")
    print(url)
    raise type(f"Wrong{url}", (ValueError,), {})(f"cannot reach {url}")


def test_no_password_in_a_url_is_kept_of_a_failure_or_of_what_a_step_prints(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    local = LocalHome(home)

    def one() -> None:
        betrays_a_url("https://me:hunter2!host/")

    finished = local.finish(planned(one))
    local.close()
    assert finished.failures["betrays_a_url"].outcome.message == "cannot reach https://me:***@host/"
    for path in home.rglob("*"):
        assert not path.is_file() or b"hunter2@" not in path.read_bytes(), path
    assert "https://me:***@host/" in local.logs()["betrays_a_url.1"]


@step
def betrays_in_pieces(how: str) -> int:
    match how:
        case "writes":
            sys.stdout.write("hun")
            sys.stdout.write("ter2\n")
        case "characters":
            for character in "a hunter2!\n":
                print(character, end="", flush=True)
        case "between":
            sys.stdout.write("hun")
            sys.stderr.write("meanwhile\n")
            sys.stdout.write("ter2")
        case "lines":
            print("first line")
            print("  second line")
        case "thread":
            sys.stdout.write("hun")
            thread = threading.Thread(target=lambda: print("ter2"))
            thread.start()
            thread.join()
        case "last":
            sys.stdout.write("hun")
            sys.stderr.write("ter2")
        case "traceback":
            print("Trace", end="")
            raise ValueError("hunter2")
        case _:
            print("hunt", end="")
    return 1


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ("writes", "***\n"),
        ("characters", "a ***!\n"),
        ("between", "meanwhile\n***"),
        ("lines", "***\n"),
        ("thread", "***\n"),
        ("last", "***"),
        ("ends", "hunt"),
    ],
)
def test_a_secret_that_a_step_writes_in_pieces_is_neither_kept_nor_shown(
    home: Path, capsys: pytest.CaptureFixture[str], how: str, kept: str
) -> None:
    local = LocalHome(home, "hunter2", "first line\n  second line", "ter2 and more")

    def one() -> None:
        betrays_in_pieces(how)

    local.finish(planned(one))
    local.close()
    assert local.logs()["betrays_in_pieces.1"] == kept
    shown = capsys.readouterr()
    assert all("hunter2" not in text for text in shown)
    if how != "last":  # two streams that end with half of it each
        assert shown.err + shown.out == kept


@step
def betrays_live() -> list[str]:
    out: Any = sys.stdout
    seen = []
    for piece in ("\r 1 of 2", "\r 2 of 2", " hunt", "er2 and hunt", "ed\n", "hun"):
        print(piece, end="", flush=True)
        seen.append(out.shown.getvalue())
    return seen


def test_of_what_a_step_prints_only_what_may_begin_a_secret_waits_to_be_shown(
    local: LocalHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    local.redactor.learn("hunter2")

    def one() -> None:
        betrays_live()

    seen = local.run(planned(one)).steps["betrays_live"].output.load()
    until = ["\r 1 of 2", "\r 1 of 2\r 2 of 2", "\r 1 of 2\r 2 of 2 "]
    assert seen == [*until, f"{until[-1]}*** and ", *[f"{until[-1]}*** and hunted\n"] * 2]
    assert shown.getvalue() == f"{until[-1]}*** and hunted\nhun"


@step
def betrays_later() -> None:
    stream = sys.stdout

    def later() -> None:
        LEFT.wait(30)
        print("hunter2", file=stream)
        LEFT_SAID.set()

    threading.Thread(target=later).start()


LEFT_SAID = threading.Event()


def test_what_a_thread_prints_after_its_step_has_no_secret_either(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    local = LocalHome(home, "hunter2")

    def one() -> None:
        betrays_later()

    LEFT.clear()
    LEFT_SAID.clear()
    local.run(planned(one))
    local.close()
    LEFT.set()
    assert LEFT_SAID.wait(30)
    assert capsys.readouterr().out == "***\n"


def test_an_error_that_tells_a_secret_is_not_handed_on_but_its_message_without_the_secret(home: Path) -> None:
    local = LocalHome(home, "hunter2")

    def one() -> None:
        betrays()

    with pytest.raises(RunFailed, match=r"cannot connect with \*\*\*") as failed:
        local.run(planned(one))
    local.close()
    assert "hunter2" not in "".join(traceback.format_exception(failed.value))


def test_what_waits_for_more_comes_before_the_traceback(home: Path) -> None:
    local = LocalHome(home, "Trace of it", "hunter2")

    def one() -> None:
        betrays_in_pieces("traceback")

    local.finish(planned(one))
    local.close()
    log = local.logs()["betrays_in_pieces.1"]
    assert log.startswith("TraceTraceback (most recent call last):")
    assert log.endswith("ValueError: ***\n")


def test_what_a_step_prints_is_in_its_log_at_once(home: Path) -> None:
    local = LocalHome(home, "hunter2")
    seen: list[str] = []

    @step
    def looks() -> None:
        print("half a line", end="")
        seen.append(local.logs()["looks.1"])

    def one() -> None:
        looks()

    local.run(planned(one))
    local.close()
    assert seen == ["half a line"]


@step
def context_of() -> dict[str, object]:
    context = get_step_context()
    return {
        "pipeline": context.pipeline.name,
        "run": context.pipeline_run.name,
        "id": context.pipeline_run.id,
        "step": context.step_name,
    }


def test_a_step_knows_where_it_is(local: LocalHome) -> None:
    def one() -> None:
        context_of(id="there")

    run = local.run(planned(one))
    assert run.steps["there"].output.load() == {"pipeline": "one", "run": run.name, "id": run.id, "step": "there"}
    with pytest.raises(PipelineError, match="No step is being executed"):
        get_step_context()


@step
def frame() -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})


@step
def array(data: pd.DataFrame) -> np.ndarray[Any, Any]:
    return np.asarray(data["a"], dtype=np.float32)


@step
def fit(values: np.ndarray[Any, Any]) -> Annotated[Any, "model"]:
    from sklearn.linear_model import LinearRegression

    return LinearRegression().fit(values.reshape(-1, 1), values * 2)


@step
def predict(model: Any, values: np.ndarray[Any, Any]) -> float:
    return model.predict(values.reshape(-1, 1))[2]  # type: ignore[no-any-return]


def science() -> None:
    values = array(frame())
    predict(fit(values), values)


def test_tables_arrays_and_models_go_from_step_to_step(local: LocalHome) -> None:
    run = local.run(planned(science))
    assert run.steps["predict"].output.load() == pytest.approx(6.0)


def test_a_changed_object_fails_the_step_that_reads_it(local: LocalHome) -> None:
    happened = local.happened

    def damage(recorded: Any) -> None:
        happened(recorded)
        if len(local.seen) == 3:
            for path in (local.store.root / "sha256").iterdir():
                path.chmod(0o600)
                path.write_bytes(b"x" * path.stat().st_size)

    local.happened = damage  # type: ignore[method-assign]
    finished = local.finish(planned(summing))
    assert isinstance(finished.failures["total"].error, ArtifactError)


def test_two_runs_of_one_name_are_refused(local: LocalHome) -> None:
    named = pipeline(summing).with_options(run_name="nightly")
    local.run(named.plan())
    with pytest.raises(Exception, match="run named 'nightly' is there already"):
        local.run(named.plan())
    assert not list((local.home / "runs").glob("*.lock"))


# Death and locks.


@step
def dies() -> int:
    print("last words")
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


def dying() -> None:
    silent(dies())


def run_in_child(home: Path, function: Callable[..., object]) -> int:
    """Run a pipeline in a process of its own; return how that ended."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            child = LocalHome(home)
            child.run(planned(function))
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def test_a_run_whose_process_died_is_found_dead_and_ended(home: Path) -> None:
    assert os.WTERMSIG(run_in_child(home, dying)) == signal.SIGKILL
    local = LocalHome(home)
    run = local.state()
    assert run.status is RunStatus.RUNNING
    assert dead_runs(home, [run.id]) == (run.id,)
    told = [type(one.event).TYPE for one in end_dead_run(local.handler, home, run.id, local.context())]
    assert told == ["step.failed/2", "run.failed/1"]
    assert local.story() == ["started", "dies 1", "dies ProcessDied", "process died"]
    assert end_dead_run(local.handler, home, run.id, local.context()) == ()
    assert local.logs() == {"dies.1": "last words\n"}
    assert not lock_file(home, run.id).exists()
    local.close()


def test_a_run_that_goes_on_is_not_dead(local: LocalHome) -> None:
    happened = local.happened
    found: list[object] = []

    def look(recorded: Any) -> None:
        happened(recorded)
        run = local.state()
        found.append((is_driven(local.home, run.id), dead_runs(local.home, [run.id])))
        if run.status is RunStatus.RUNNING:
            found.append(end_dead_run(local.handler, local.home, run.id, local.context()))

    local.happened = look  # type: ignore[method-assign]
    local.run(planned(summing))
    assert set(found) == {(True, ()), ()}


def test_who_was_declared_dead_cannot_go_on(local: LocalHome) -> None:
    happened = local.happened

    def declare(recorded: Any) -> None:
        happened(recorded)
        if len(local.seen) == 2:
            local.handler.handle(RUN, EndRun(local.state().id, "process died"), local.context())

    local.happened = declare  # type: ignore[method-assign]
    with pytest.raises(Refused, match="nothing more can happen"):
        local.run(planned(summing))
    assert local.story()[-1] == "process died"


def test_two_who_look_at_once_do_not_disturb_each_other(local: LocalHome) -> None:
    import fcntl

    with driving(local.home, "some-run"):
        pass
    with open(lock_file(local.home, "some-run")) as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert not is_driven(local.home, "some-run")


def test_a_child_of_a_step_that_outlives_it_does_not_hold_the_lock(home: Path) -> None:
    script = """
import os, sys, pathlib
from stackledger.workers.run_files import driving
ready, alive = map(int, sys.argv[2:])
with driving(pathlib.Path(sys.argv[1]), "some-run"):
    if not os.fork():
        os.write(ready, b"x")
        os.read(alive, 1)
        os._exit(0)
    os.read(alive, 1)
"""
    ready_read, ready_write = os.pipe()
    alive_read, alive_write = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", script, str(home), str(ready_write), str(alive_read)],
        pass_fds=(ready_write, alive_read),
    ) as parent:
        assert os.read(ready_read, 1) == b"x"
        assert is_driven(home, "some-run")
        parent.kill()
        parent.wait()
        assert not is_driven(home, "some-run")
    for fd in (ready_read, ready_write, alive_read, alive_write):
        os.close(fd)


@pytest.mark.parametrize("run_id", ["../../etc", "", "a/b", "x\x00", "-"])
def test_ids_of_runs_that_would_leave_the_folder_are_refused(home: Path, run_id: str) -> None:
    with pytest.raises(Exception, match="is not the id of a run"):
        is_driven(home, run_id)


def test_hostile_and_long_names_of_steps_have_logs_of_their_own(local: LocalHome) -> None:
    names = ["a" * 128, "A" * 128, "数" * 128, "with: colon and space", "a.b", "CON"]

    def one() -> None:
        for name in names:
            chatty(id=name)

    local.run(planned(one))
    assert len(list((local.home / "runs").glob("*/*.log"))) == len(names)
