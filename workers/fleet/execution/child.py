"""A child: the process that executes the steps of a slot, one after another, and imports the code of projects."""

from __future__ import annotations

import faulthandler
import hashlib
import importlib
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple, NoReturn, TextIO

import msgpack

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import ArtifactDamaged, PipelineError
from stackledger.domain.events.runs import Kept, PinnedComponent, Produced, Retry
from stackledger.domain.names import quoted
from stackledger.domain.ports import ArtifactStore
from stackledger.domain.runs import FinishStep
from stackledger.eventlog.ids import new_id
from stackledger.flavors import catalogue
from stackledger.flavors.resolving import Redactor
from stackledger.flavors.validation import configured
from stackledger.pipelines import runner
from stackledger.pipelines.context import PipelineInfo, PipelineRunInfo, StepContext, StepRunInfo
from stackledger.pipelines.signature import Signature
from stackledger.pipelines.step import Step
from stackledger.workers.execute import Executor, Log, failed
from stackledger.workers.fleet.execution import told_spans
from stackledger.workers.fleet.execution.keeper import Settings, received, sent
from stackledger.workers.fleet.execution.own_secrets import own_secret
from stackledger.workers.fleet.execution.processes import flush_c_streams, has_children
from stackledger.workers.fleet.execution.told_spans import ToldSpans
from stackledger.workers.fleet.execution.unpacking import CodeCache, unpack
from stackledger.workers.fleet.protocol.messages import Failure, Success, Task
from stackledger.workers.requirements import MissingRequirements, check_installed

_MAX_RESULT = 48 * 1024
"""Bytes of an outcome: it goes through the broker in one message with more around it."""
_KILLED_FIRST = b"500"


class Found(NamedTuple):
    """A step as it was found by its dotted path."""

    function: Callable[..., object]
    signature: Signature
    artifacts: Mapping[str, str]


def load() -> None:
    """Load what every child needs, before it is forked."""
    importlib.import_module("stackledger.pipelines.pipeline")
    for model in (Task, PinnedComponent, Produced, Retry, Success, Failure):
        model.model_rebuild()
    # What the store of one machine needs others need as well, and no library of a cloud's is among it.
    local = catalogue.load(catalogue.find(ComponentType.ARTIFACT_STORE, "local"))
    catalogue.load_implementation(local)
    told_spans.load()


def live(channel: socket.socket, folder: Path, settings: Settings) -> NoReturn:
    """Execute what the keeper sends, until it is gone."""
    _settle(folder, settings)
    child = _Child(channel, folder, settings)
    process = os.getpid()
    while True:
        match received(channel):
            case ["execute", dict(task)]:
                result = child.execute(Task.model_validate(task))
                if os.getpid() != process:
                    os._exit(0)  # a fork that a module made when it was imported, and that came back here
                may_go_on = isinstance(result, Success) and child.is_alone()
                sent(channel, "ended", result.model_dump(mode="python"), may_go_on)
            case ["keep", dict(store), str(path)]:
                sent(channel, "kept", *child.kept(PinnedComponent.model_validate(store), Path(path)))
            case _:
                os._exit(0)


def _settle(folder: Path, settings: Settings) -> None:
    """Make a process of its own out of a fork."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.enable()
    # The nursery's streams may have been files.
    sys.stdout = sys.__stdout__ = _stream(1)  # type: ignore[assignment, misc]
    sys.stderr = sys.__stderr__ = _stream(2)  # type: ignore[assignment, misc]
    # Where memory runs out, the system takes the step rather than those who look after it.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_KILLED_FIRST)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if settings.memory:
        resource.setrlimit(resource.RLIMIT_DATA, (settings.memory, settings.memory))
    temporary = folder / "tmp"
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)
    sys.dont_write_bytecode = True
    os.chdir(folder)
    # Projects come in through the front door, which binds its own runner at the first use: that has to be before ours.
    _ = importlib.import_module("stackledger").pipeline
    runner.bind(_no_runner)


def _stream(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _no_runner() -> runner.Runner:
    raise PipelineError(
        "A worker runs single steps, but the code that it imports runs a whole pipeline.",
        hint='Put what runs the pipeline below `if __name__ == "__main__":`.',
    )


class _Told(Redactor):
    """Tells the keeper each secret that this process learns, so that no log holds it."""

    def __init__(self, channel: socket.socket) -> None:
        super().__init__()
        self._channel = channel

    def learn(self, value: str) -> None:
        """Hide the value from now on, everywhere."""
        super().learn(value)
        sent(self._channel, "secret", value)


class _Child:
    """What a child has by now. It knows one version of one project."""

    def __init__(self, channel: socket.socket, folder: Path, settings: Settings) -> None:
        self._redactor = _Told(channel)
        self._folder = folder
        self._home = Path(settings.home)
        self._cache = CodeCache(self._home / "worker/code")
        self._stores: dict[bytes, ArtifactStore] = {}
        self._steps: dict[str, Step] = {}
        self._has_code = False
        self._threads = threading.active_count()
        self._environment = _environment().copy()
        self._place = str(folder)
        self._spans = ToldSpans(channel, self._redactor.redacted)

    def execute(self, task: Task) -> Success | Failure:
        """Execute an attempt to its outcome, whatever the step does that a process survives."""
        context, final = _context(task), False
        with _to_descriptors() as log:
            try:
                check_installed(task.requirements, f"The step {quoted(task.ref.step)}")
                store = self._store(task.store)
                task = _with_parameters(task, store)
                context = _context(task)
                self._unpack(task.code, store)
                step = self._found(task)
                executor = Executor(store=store, new_id=new_id, redactor=self._redactor)
                outcome = executor.execute(step, task.inputs, context, self._spans.beneath(task.traceparent, log))
            except BaseException as error:  # noqa: BLE001 - modules and stores are anybody's code
                outcome = failed(error, context, log, self._redactor)
                final = isinstance(error, MissingRequirements)  # another attempt would find it missing as well
        self._tidy()
        if not isinstance(outcome, FinishStep):
            return Failure(error=outcome.outcome.error, message=outcome.outcome.message, final=final)
        success = Success(outputs=outcome.outputs)
        if len(msgpack.packb(success.model_dump(mode="python"))) > _MAX_RESULT:
            message = f"The step has {len(outcome.outputs):,} outputs, and that is more than a message can name."
            return Failure(error="PipelineError", message=message)
        return success

    def _found(self, task: Task) -> Found:
        known = self._steps.get(task.source)
        if known is None:
            known = self._steps[task.source] = imported(task.source)
            self._environment = _environment().copy()  # what modules set when they are imported stays
        return fitting(known, task)

    def is_alone(self) -> bool:
        """Say whether nothing that the step began goes on in this process or below it."""
        return threading.active_count() == self._threads and not has_children()

    def _tidy(self) -> None:
        """Undo what a step changed for all that come after it."""
        with suppress(OSError):  # it removed its own folder
            os.chdir(self._place)
        if _environment() != self._environment:
            os.environb.clear()
            os.environb.update(self._environment)

    def kept(self, component: PinnedComponent, path: Path) -> tuple[dict[str, Any] | None, str]:
        """Put a log into the artifact store; return what is kept, or what stood in the way."""
        try:
            return self._store(component).put_file(path)._asdict(), ""
        except Exception as error:  # noqa: BLE001 - stores are anybody's code, and no log is worth a step
            return None, self._redactor.redacted(f"{type(error).__name__}: {error}")

    def _store(self, component: PinnedComponent) -> ArtifactStore:
        key = msgpack.packb(component.model_dump(mode="python"))
        if key not in self._stores:
            self._stores[key] = self._opened(component)
        return self._stores[key]

    def _opened(self, component: PinnedComponent) -> ArtifactStore:
        flavor = catalogue.load(catalogue.find(ComponentType.ARTIFACT_STORE, component.flavor))
        check_installed(flavor.requirements, f"The {flavor.type.words} {quoted(component.name)}")
        config = configured(flavor, component.configuration, own_secret, self._redactor)
        implementation = catalogue.load_implementation(flavor)
        store: ArtifactStore = implementation(config, home=self._home, component_id=component.id)
        return store

    def _unpack(self, code: Kept | None, store: ArtifactStore) -> None:
        """Have the project's files here, and its modules found; the keeper sends tasks of one archive only."""
        if self._has_code or code is None:
            return
        paths = unpack(self._cache.archive(code, store), self._folder / "code")
        self._place = str(self._folder / "code")
        os.chdir(self._place)
        sys.path[:0] = map(str, paths)
        self._has_code = True


def _environment(variables: Any = os.environb) -> dict[bytes, bytes]:
    """Return the variables of this process as they are now."""
    # The mappings of `os` decode and encode each of them several times to be compared: longer than many a step takes.
    known: dict[bytes, bytes] = variables._data  # noqa: SLF001 - it has been there in all versions of Python 3
    return known


def _context(task: Task) -> StepContext:
    return StepContext(
        PipelineInfo(task.pipeline),
        PipelineRunInfo(task.ref.run_id, task.run_name),
        StepRunInfo(task.ref.step, task.ref.attempt, task.parameters),
    )


def _with_parameters(task: Task, store: ArtifactStore) -> Task:
    """Return a task with the parameters that were too many for a message."""
    kept = task.kept_parameters
    if kept is None:
        return task
    data = store.get(kept.digest, kept.size)
    if hashlib.sha256(data).hexdigest() != kept.digest:
        raise ArtifactDamaged(f"The artifact store returned other parameters than those of the digest {kept.digest}.")
    return task.model_copy(update={"parameters": msgpack.unpackb(data)})


def imported(source: str) -> Step:
    """Return the step that a dotted path leads to, or raise PipelineError."""
    parts = source.split(".")
    if len(parts) < 2 or not all(parts):  # noqa: PLR2004 - a module and a name
        raise PipelineError(f"{quoted(source)} is not the dotted path of a function.")
    module, rest = importlib.import_module(parts[0]), parts[1:]
    while len(rest) > 1 and hasattr(module, "__path__") and find_spec(f"{module.__name__}.{rest[0]}"):
        module, rest = importlib.import_module(f"{module.__name__}.{rest[0]}"), rest[1:]
    thing: Any = module
    for part in rest:
        if not hasattr(thing, part):
            raise PipelineError(
                f"The module {quoted(module.__name__)} has no {quoted('.'.join(rest))} on this machine."
            )
        thing = getattr(thing, part)
    if isinstance(thing, FunctionType):
        return Step(thing)
    if not isinstance(thing, Step):
        raise PipelineError(f"{quoted(source)} is a {type(thing).__qualname__}, not a step.")
    return thing


def fitting(step: Step, task: Task) -> Found:
    """Return a step for a task, or raise PipelineError if it is another than the one that was planned.

    The task has names for its artifacts by default: those that the step itself gives them count.
    """
    signature = step.signature
    outputs = {output.name for output in signature.outputs}
    if outputs != set(task.artifacts) or set(signature.annotations) != set(task.inputs) | set(task.parameters):
        raise PipelineError(
            f"The step {quoted(task.ref.step)} takes or puts out something else here, where it is"
            f" {step.name}{signature.words}, than where the run was started.",
            hint="Have the same version of the code installed on workers, or send it with the run.",
        )
    artifacts = {output.name: output.artifact or task.artifacts[output.name] for output in signature.outputs}
    return Found(step.function, signature, artifacts)


class _Descriptors:
    """The log of an attempt whose keeper reads whatever this process writes to standard output and error."""

    def __init__(self) -> None:
        self._last = ""

    def end_with(self, text: str) -> None:
        """Have the log end with a text."""
        self._last = text

    def close(self) -> None:
        """Write what is held back."""
        flush_c_streams()
        data = memoryview(self._last.encode("utf-8", "backslashreplace"))
        with suppress(OSError):  # the step closed it
            while data:
                data = data[os.write(2, data) :]


@contextmanager
def _to_descriptors() -> Iterator[Log]:
    """Have the step write to the descriptors, and put standard streams of its own away afterwards."""
    before = sys.stdout, sys.stderr
    log = _Descriptors()
    try:
        yield log
    finally:
        for stream in (sys.stdout, sys.stderr, *before):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        sys.stdout, sys.stderr = before
        log.close()
