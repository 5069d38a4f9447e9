"""What a step's function takes and puts out, read from its signature and annotations."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from stackledger.domain.errors import InvalidName, PipelineError
from stackledger.domain.names import title

RESERVED = ("id", "after")
"""Arguments of the call of a step, so that no step can have an argument of that name."""


@dataclass(frozen=True, slots=True)
class Output:
    """One value that a step puts out. `artifact` is the name that the user gave it, None where there is none."""

    name: str
    annotation: object
    artifact: str | None


@dataclass(frozen=True, slots=True)
class Signature:
    """Arguments in their order, with annotations resolved (Any where there is none), and outputs in theirs."""

    call: inspect.Signature
    annotations: Mapping[str, object]
    outputs: tuple[Output, ...]

    @property
    def words(self) -> str:
        """How it is called, in short: `(numbers, factor=1)`."""
        bare = [_bare(parameter) for parameter in self.call.parameters.values()]
        return str(self.call.replace(parameters=bare, return_annotation=inspect.Signature.empty))

    def bound(self, args: Sequence[object], kwargs: Mapping[str, object], what: str, name: str) -> dict[str, object]:
        """Return all arguments of a call by name, defaults too, or raise PipelineError; `what` is called as `name`."""
        try:
            bound = self.call.bind(*args, **kwargs)
        except TypeError as error:
            raise PipelineError(
                f"The {what} is called with the wrong arguments: {error}.", hint=f"It takes {name}{self.words}."
            ) from error
        bound.apply_defaults()
        return bound.arguments


def _bare(parameter: inspect.Parameter) -> inspect.Parameter:
    return parameter.replace(annotation=inspect.Parameter.empty)


def call_of(function: Callable[..., object], what: str) -> inspect.Signature:
    """Return how a function is called that is to be a step or a pipeline, or raise PipelineError if it can be none."""
    if any(
        is_lazy(function)
        for is_lazy in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    ):
        raise PipelineError(
            f"The {what} is a coroutine or a generator.", hint="Make it a function that returns its values."
        )
    try:
        call = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise PipelineError(
            f"The {what} says of itself not what it takes: {error}.", hint="Wrap it in a function."
        ) from error
    for parameter in call.parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            raise PipelineError(
                f"The {what} takes {_bare(parameter)}, so that its inputs have no names.", hint="Name each argument."
            )
        if parameter.name in RESERVED:
            raise PipelineError(
                f"The {what} has an argument {parameter.name!r}, which says how a step is placed in the graph.",
                hint="Give the argument another name.",
            )
    return call


def signature_of(function: Callable[..., object], call: inspect.Signature, what: str) -> Signature:
    """Return the signature of a function that is called so, or raise PipelineError for what its annotations say.

    A single output is called `output`, the members of an annotated tuple `output_0`, `output_1` …, unless
    `Annotated[T, "name"]` names them; None means no output, no annotation one of any type. What annotations name may
    not be there yet where the function is defined.
    """
    hints = _hints(function, what)
    returned = hints.pop("return", inspect.Signature.empty)
    return Signature(
        call=call,
        annotations={name: _input(parameter, hints.get(name, Any)) for name, parameter in call.parameters.items()},
        outputs=_outputs(returned, what),
    )


def _hints(function: Callable[..., object], what: str) -> dict[str, Any]:
    try:
        enclosing = inspect.getclosurevars(function).nonlocals
        return typing.get_type_hints(function, localns=dict(enclosing) or None, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError, ValueError) as error:
        raise PipelineError(
            f"An annotation of the {what} cannot be read: {error}.",
            hint="Import what it names at the top of the module, not only for type checking.",
        ) from error


def _input(parameter: inspect.Parameter, annotation: Any) -> object:
    # `depth: int = None` is widespread, and means what it says.
    return annotation | None if parameter.default is None and annotation is not Any else annotation


def _outputs(returned: object, what: str) -> tuple[Output, ...]:
    if returned is inspect.Signature.empty:
        return (Output("output", Any, None),)
    if returned is None or returned is type(None):
        return ()
    members = get_args(returned) if get_origin(returned) is tuple else ()
    if not members or Ellipsis in members:
        return (_output(returned, "output", what),)
    outputs = tuple(_output(member, f"output_{index}", what) for index, member in enumerate(members))
    names = [output.name for output in outputs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PipelineError(f"Two outputs of the {what} are named {twice!r}.", hint="Name each output differently.")
    return outputs


def _output(annotation: object, default: str, what: str) -> Output:
    if get_origin(annotation) is not Annotated:
        return Output(default, annotation, None)
    bare, *marks = get_args(annotation)
    chosen = next((mark for mark in marks if isinstance(mark, str)), None)
    if chosen is None:
        return Output(default, bare, None)
    try:
        name = title(chosen, "output")
    except InvalidName as error:
        raise PipelineError(f"An output of the {what} cannot be named so: {error.message}", hint=error.hint) from error
    return Output(name, bare, name)
