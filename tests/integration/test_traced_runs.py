"""Runs that a process executes itself, as a collector receives them: each run is a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.otlp import Received, Receiver, receiver
from tests.support.program import Finished, process

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OK, ERROR = 1, 2

PROJECT = """
import sys
from stackledger import pipeline, step

@step
def read() -> int:
    from opentelemetry import trace
    with trace.get_tracer("project").start_as_current_span("reading", attributes={"rows": 3, "of": ["a", "b"]}) as span:
        span.add_event("half")
    return 1

@step
def check(number: int) -> int:
    from opentelemetry import trace
    with trace.get_tracer("project").start_as_current_span("checking"):
        raise ValueError("no good")

@pipeline
def good():
    read()

@pipeline
def bad():
    check(read())
"""


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with receiver() as received:
        yield received


@pytest.fixture
def project(home: Path) -> Path:
    folder = home.parent / "project"
    folder.mkdir()
    (folder / "project.py").write_text(textwrap.dedent(PROJECT))
    return folder


def python(project: Path, program: str, **env: str) -> Finished:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def asking(url: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url}


def named(collector: Receiver) -> dict[str, Received]:
    spans = {span.name: span for span in collector.spans}
    assert len(spans) == len(collector.spans), collector.spans
    return spans


def test_a_run_is_one_trace_with_what_its_steps_add(project: Path, collector: Receiver) -> None:
    done = python(project, "import project; project.good()", **asking(collector.url))
    assert done.status == 0, done.err
    spans = named(collector)
    assert set(spans) == {"run good", "step read", "attempt 1", "reading"}
    for child, parent in (("step read", "run good"), ("attempt 1", "step read"), ("reading", "attempt 1")):
        assert spans[child].parent_id == spans[parent].span_id
        assert spans[parent].start <= spans[child].start <= spans[child].end <= spans[parent].end
    assert len({span.trace_id for span in spans.values()}) == 1
    assert {span.service for span in spans.values()} == {"stackledger"}
    assert spans["run good"].parent_id == ""
    assert spans["run good"].status == OK
    assert spans["reading"].attributes["rows"] == 3
    assert spans["reading"].events == ["half"]


def test_what_went_wrong_is_said_where_it_went_wrong(project: Path, collector: Receiver) -> None:
    done = python(project, "import project; project.bad()", **asking(collector.url))
    assert done.status == 1
    assert "no good" in done.err
    wrong = {span.name: span.message for span in collector.spans if span.status == ERROR}
    assert wrong == {
        "run bad": "steps failed: check",
        "step check": "ValueError: no good",
        "attempt 1": "ValueError: no good",
        "checking": "ValueError: no good",
    }


def test_the_trace_of_whoever_began_the_process_is_continued(project: Path, collector: Receiver) -> None:
    caller = {"TRACEPARENT": f"00-{TRACE}-{SPAN}-01"}
    assert python(project, "import project; project.good()", **caller, **asking(collector.url)).status == 0
    spans = named(collector)
    assert {span.trace_id for span in spans.values()} == {TRACE}
    assert spans["run good"].parent_id == SPAN


def test_the_span_that_goes_on_in_the_process_comes_before_that_which_it_was_begun_in(
    project: Path, collector: Receiver
) -> None:
    program = """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        import project
        trace.set_tracer_provider(TracerProvider())
        with trace.get_tracer("mine").start_as_current_span("calling") as span:
            project.good()
        print(f"{span.context.trace_id:032x} {span.context.span_id:016x}")
    """
    before = {"TRACEPARENT": f"00-{TRACE}-{SPAN}-01"}
    done = python(project, textwrap.dedent(program), **before, **asking(collector.url))
    assert done.status == 0, done.err
    spans = named(collector)
    # The project's own provider sends the project's spans, or, as here, does not.
    assert set(spans) == {"run good", "step read", "attempt 1"}
    assert [spans["run good"].trace_id, spans["run good"].parent_id] == done.out.split()


def test_the_log_has_it_and_gives_the_same_spans_again_and_again(project: Path, collector: Receiver) -> None:
    caller = {"TRACEPARENT": f"00-{TRACE}-{SPAN}-01"}
    assert python(project, "import project; project.good()", **caller, **asking(collector.url)).status == 0
    live = {_comparable(span) for span in collector.spans if span.name != "reading"}
    for _ in range(2):
        with receiver() as other:
            done = process("run", "trace", "good", "--otlp", other.url)
            assert done.status == 0, done.err
            assert "3 spans" in done.err
            assert set(map(_comparable, other.spans)) == live
            assert len(other.spans) == len(live)
    (resource,) = process("run", "trace", "good", "--output=json").json["resourceSpans"]
    (scope,) = resource["scopeSpans"]
    assert {
        (each["traceId"], each["spanId"], each.get("parentSpanId", ""), each["name"], int(each["startTimeUnixNano"]))
        for each in scope["spans"]
    } == {span[:5] for span in live}


def _comparable(span: Received) -> tuple[object, ...]:
    return (*span[:6], json.dumps(span.attributes, sort_keys=True), span.status, span.message)


def test_a_run_that_was_never_traced_can_be_told_of_later(project: Path, collector: Receiver) -> None:
    assert python(project, "import project; project.bad()").status == 1
    shown = process("run", "trace", "bad")
    assert shown.status == 0
    assert [word in shown.out for word in ("run bad", "step read", "attempt 1", "ValueError: no good")] == [True] * 4
    assert process("run", "trace", "bad", "--otlp", f"{collector.url}/").status == 0
    assert sorted(span.name for span in collector.spans) == [
        "attempt 1",
        "attempt 1",
        "run bad",
        "step check",
        "step read",
    ]


def test_a_collector_that_does_not_take_them_is_an_error_of_whoever_sends_by_hand(
    project: Path, collector: Receiver
) -> None:
    assert python(project, "import project; project.good()").status == 0
    collector.status = 400
    done = process("run", "trace", "good", "--otlp", collector.url)
    assert done.status == 1
    assert "400" in done.err
    assert "4318" in done.err


def test_a_caller_who_is_not_sampled_is_told_of_by_hand_only(project: Path, collector: Receiver) -> None:
    caller = {"TRACEPARENT": f"00-{TRACE}-{SPAN}-00"}
    assert python(project, "import project; project.good()", **caller, **asking(collector.url)).status == 0
    assert collector.spans == []
    assert process("run", "trace", "good", "--otlp", collector.url).status == 0
    assert {span.trace_id for span in collector.spans} == {TRACE}


def test_the_sampler_of_the_environment_is_asked(project: Path, collector: Receiver) -> None:
    sampler = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.0"}
    assert python(project, "import project; project.good()", **sampler, **asking(collector.url)).status == 0
    assert collector.spans == []


def test_the_environments_other_variables_count(project: Path, collector: Receiver) -> None:
    more = {
        "OTEL_SERVICE_NAME": "training",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-token=secret",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    }
    assert python(project, "import project; project.good()", **more, **asking(collector.url)).status == 0
    assert {span.service for span in collector.spans} == {"training"}
    assert {each["x-token"] for each in collector.headers} == {"secret"}


@pytest.fixture(params=["nobody there", "refusing", "unavailable", "silent"])
def useless(request: pytest.FixtureRequest, collector: Receiver) -> Iterator[str]:
    """Return where a collector should be."""
    match request.param:
        case "nobody there":
            yield "http://127.0.0.1:9"  # the port for what is discarded
        case "silent":
            with socket.create_server(("127.0.0.1", 0)) as server:
                yield f"http://127.0.0.1:{server.getsockname()[1]}"
        case answer:
            collector.status = 400 if answer == "refusing" else 503
            yield collector.url


def test_no_run_fails_for_a_collector_and_its_trouble_is_said_once(
    project: Path, collector: Receiver, useless: str
) -> None:
    done = python(project, "import project; project.good(); project.good()", **asking(useless))
    assert done.status == 0, done.err
    assert done.err.count("Spans of traces are dropped") == 1
    assert "Traceback" not in done.err
    assert "Transient error" not in done.err
    assert collector.spans == []


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_SDK_DISABLED", "true", ""),
        ("OTEL_TRACES_EXPORTER", "none", ""),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "they go by http/protobuf only"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "zebra", "OTEL_SPAN_EVENT_COUNT_LIMIT"),
    ],
)
def test_what_the_environment_forbids_or_spells_wrong_is_not_sent(
    project: Path, collector: Receiver, variable: str, value: str, said: str
) -> None:
    done = python(project, "import project; project.good()", **{variable: value}, **asking(collector.url))
    assert done.status == 0, done.err
    assert collector.requests == 0
    assert ("No traces are sent" in done.err) is bool(said)
    assert said in done.err


def test_without_the_library_a_run_goes_on_and_is_told_what_to_install(project: Path, collector: Receiver) -> None:
    program = """
        import sys
        sys.modules["opentelemetry"] = None
        from stackledger import pipeline, step
        @step
        def one() -> int:
            return 1
        @pipeline
        def single():
            one()
        single()
    """
    done = python(project, textwrap.dedent(program), **asking(collector.url))
    assert done.status == 0, done.err
    assert 'pip install "stackledger[traces]"' in done.err


def test_who_asks_for_no_traces_loads_nothing_of_it(project: Path) -> None:
    program = """
        import sys
        from stackledger import pipeline, step
        @step
        def one() -> int:
            return 1
        @pipeline
        def single():
            one()
        single()
        print([name for name in sys.modules if name.startswith(("opentelemetry", "google.protobuf", "requests"))])
    """
    done = python(project, textwrap.dedent(program))
    assert done.status == 0, done.err
    assert done.out.splitlines()[-1] == "[]"


def test_a_secret_that_a_step_asked_for_is_in_no_span(project: Path, collector: Receiver) -> None:
    assert process("secret", "create", "store", "--key=tell-nobody").status == 0
    program = """
        from opentelemetry import trace
        from stackledger import Client, pipeline, step
        @step
        def careless() -> int:
            value = Client().get_secret("store").secret_values["key"]
            with trace.get_tracer("project").start_as_current_span(f"with {value}", attributes={"a": value}):
                raise ValueError(value)
        @pipeline
        def single():
            careless()
        single()
    """
    done = python(project, textwrap.dedent(program), **asking(collector.url))
    assert done.status == 1
    assert "with ***" in {span.name for span in collector.spans}
    assert "tell-nobody" not in repr(collector.spans)
