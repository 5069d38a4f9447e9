"""Executing one attempt at a step in this process: inputs from the store, the function, outputs into the store."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import sys
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from stackledger.domain.errors import ArtifactDamaged, PipelineError
from stackledger.domain.events.runs import Produced
from stackledger.domain.ports import ArtifactStore
from stackledger.domain.runs import MAX_ERROR, MAX_MESSAGE, FailStep, FinishStep
from stackledger.domain.wording import counted
from stackledger.flavors.resolving import Redactor
from stackledger.pipelines.context import StepContext, executing
from stackledger.pipelines.fitting import fits, may_be, words
from stackledger.pipelines.materializers import dump_value, load_value
from stackledger.pipelines.parameters import restored_parameter
from stackledger.pipelines.signature import Signature


class Executable(Protocol):
    """A step as it is executed here. `artifacts` are the names under which its outputs are kept, by output."""

    @property
    def function(self) -> Callable[..., object]:
        """What is called."""

    @property
    def signature(self) -> Signature:
        """What it takes and puts out."""

    @property
    def artifacts(self) -> Mapping[str, str]:
        """What its outputs are called."""


class Log(Protocol):
    """Takes what an attempt says."""

    def end_with(self, text: str) -> None:
        """Have the log end with a text, which is not shown."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed, and what it raised: None where that would tell a secret to whoever prints it."""

    outcome: FailStep
    error: BaseException | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Executes steps. `redactor` takes secrets out of what is kept of an exception."""

    store: ArtifactStore
    new_id: Callable[[], str]
    redactor: Redactor

    def execute(
        self,
        step: Executable,
        inputs: Mapping[str, Produced],
        context: StepContext,
        logging: AbstractContextManager[Log],
    ) -> FinishStep | Failure:
        """Execute an attempt to its outcome. Whatever a step raises fails it, but KeyboardInterrupt goes on its way.

        `inputs` are artifacts that the log knows, by argument. While the step runs, `logging` keeps what it says; the
        traceback of a failure comes last.
        """
        name, attempt = context.step_run.name, context.step_run.attempt
        with logging as log, executing(context):
            try:
                value = self._called(step, inputs, context)
                outputs = self._kept(step, value, name)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - a step may raise anything
                return failed(error, context, log, self.redactor)
        return FinishStep(name, attempt, outputs)

    def _called(self, step: Executable, inputs: Mapping[str, Produced], context: StepContext) -> object:
        arguments: dict[str, object] = {}
        for argument, annotation in step.signature.annotations.items():
            if argument in inputs:
                arguments[argument] = self._input(step, argument, inputs[argument])
            else:
                arguments[argument] = restored_parameter(context.step_run.parameters[argument], annotation)
        bound = inspect.BoundArguments(step.signature.call, OrderedDict(arguments))
        driver = os.getpid()
        try:
            value = step.function(*bound.args, **bound.kwargs)
        except BaseException as error:
            _end_child_of(driver, error)
            raise
        _end_child_of(driver, None)
        return value

    def _input(self, step: Executable, argument: str, produced: Produced) -> object:
        """Return an input's value; what the graph could not tell of its type is looked at by the same rule."""
        value, annotation = load(self.store, produced), step.signature.annotations[argument]
        is_default = value is None and step.signature.call.parameters[argument].default is None
        if not (is_default or fits(value, annotation) or may_be(type(value), annotation)):
            raise PipelineError(
                f"The input {argument!r} is {produced.artifact!r}, which is of the type {type(value).__qualname__}, not"
                f" {words(annotation)}.",
                hint="Correct the annotation, or convert the value in a step between them.",
            )
        return value

    def _kept(self, step: Executable, value: object, name: str) -> tuple[Produced, ...]:
        values = _outputs(step.signature, value, name)
        return tuple(
            self._stored(output.name, step.artifacts[output.name], one)
            for output, one in zip(step.signature.outputs, values, strict=True)
        )

    def _stored(self, output: str, artifact: str, value: object) -> Produced:
        dumped = dump_value(value)
        stored = self.store.put(dumped.data)
        return Produced(
            output=output,
            artifact_id=self.new_id(),
            artifact=artifact,
            digest=stored.digest,
            size=stored.size,
            layout=dumped.layout,
            materializer=dumped.materializer,
            data_type=dumped.data_type,
        )


def failed(error: BaseException, context: StepContext, log: Log, redactor: Redactor) -> Failure:
    """Return the failure of an attempt by what was raised, and have the attempt's log end with the traceback."""
    told = _asked(error, _traceback)
    log.end_with(told)

    def kept(text: str, most: int) -> str:
        # What the log keeps is Unicode, and cut after redaction, so that no half of a secret is left at the end.
        return redactor.redacted(text).encode("utf-8", "backslashreplace").decode()[:most]

    kind = kept(_asked(error, _kind) or "Exception", MAX_ERROR)
    outcome = FailStep(
        context.step_run.name, context.step_run.attempt, kind, kept(_asked(error, _message), MAX_MESSAGE)
    )
    return Failure(outcome, error if redactor.redacted(told) == told else None)


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _kind(error: BaseException) -> str:
    return type(error).__qualname__


def _message(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"The step called sys.exit({error.code!r}); return from its function instead."
    return str(error)


def _asked(error: BaseException, question: Callable[[BaseException], str]) -> str:
    """Return what an exception says of itself, nothing if it fails at that: its class is anybody's code."""
    try:
        return question(error)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - the same
        return ""


def _end_child_of(driver: int, error: BaseException | None) -> None:
    """End this process if the step forked it and let it come back here: its parent alone goes on with the run."""
    if os.getpid() == driver:
        return
    status = 0 if error is None else 1
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        traceback.print_exception(error)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status & 0xFF)


def load(store: ArtifactStore, produced: Produced) -> object:
    """Return the value of an artifact that the log knows, from verified bytes; each call returns one of its own."""
    data = store.get(produced.digest, produced.size)
    # Stores verify what they return, but who writes a flavor may forget it, and many may write to one store.
    if hashlib.sha256(data).hexdigest() != produced.digest:
        raise ArtifactDamaged(
            f"The artifact store returned other bytes for {produced.artifact!r} than those of the digest in the log,"
            f" {produced.digest}.",
            hint="Running the step again that made it writes it anew, if the step gives the same result.",
        )
    # Code may be loaded here, because the digest is in the log: the bytes are those that a step of ours put out.
    return load_value(produced.materializer, produced.data_type, data, allow_code=True)


def _outputs(signature: Signature, value: object, name: str) -> tuple[object, ...]:
    """Return the values of the step's outputs, or raise PipelineError where they are not what it announced."""
    outputs = signature.outputs
    if not outputs:
        if value is not None:
            raise PipelineError(
                f"The step {name!r} announced no output and returned a value of the type {type(value).__qualname__}.",
                hint="Annotate what it returns.",
            )
        return ()
    values = (value,) if len(outputs) == 1 else value
    if not isinstance(values, tuple | list) or len(values) != len(outputs):
        one = f"one {type(values).__qualname__}"
        returned = counted(len(values), "value") if isinstance(values, tuple | list) else one
        raise PipelineError(
            f"The step {name!r} announced {len(outputs)} outputs ({', '.join(output.name for output in outputs)}) and"
            f" returned {returned}.",
        )
    for output, one in zip(outputs, values, strict=True):
        if not fits(one, output.annotation):
            raise PipelineError(
                f"The output {output.name!r} of the step {name!r} is of the type {type(one).__qualname__}, not"
                f" {words(output.annotation)}.",
                hint="Correct the annotation or the value.",
            )
    return tuple(values)
