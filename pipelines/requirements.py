"""What has to be installed where a step runs, as pip takes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stackledger.domain.errors import PipelineError
from stackledger.domain.names import visible


@dataclass(frozen=True, slots=True)
class DockerSettings:
    """What has to be installed where a step runs: `["torch>=2", "pandas"]`, or the path of a requirements file.

    The name is ZenML's, which installs it into an image. Nothing is installed here: it is looked at before the step
    runs, on the machine that is to execute it.
    """

    requirements: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Raise PipelineError for what is neither a path nor a list of requirements."""
        given = self.requirements
        if given is None or isinstance(given, str):
            return
        if not isinstance(given, Sequence) or not all(isinstance(each, str) for each in given):
            raise PipelineError(
                f"{given!r} are no requirements.", hint='Say requirements=["torch>=2"], or name a requirements file.'
            )
        object.__setattr__(self, "requirements", tuple(given))


def pinned_requirements(settings: DockerSettings | None, what: str) -> tuple[str, ...]:
    """Return the requirements of the step or pipeline `what`, each once, or raise PipelineError.

    Only now is a file read: whoever imports the step elsewhere needs none.
    """
    given = None if settings is None else settings.requirements
    if given is None:
        return ()
    found = tuple(dict.fromkeys(_in_file(Path(given), what) if isinstance(given, str) else map(str.strip, given)))
    _check(found, what)
    return found


def _check(requirements: Iterable[str], what: str) -> None:
    from packaging.requirements import InvalidRequirement, Requirement

    for each in requirements:
        try:
            Requirement(each)
        except InvalidRequirement as error:
            raise PipelineError(
                f"The {what} requires {each!r}, which is not a requirement that pip understands.",
                hint="Give the name of a package, and which versions will do: torch>=2,<3.",
            ) from error


def _in_file(path: Path, what: str, around: tuple[Path, ...] = ()) -> Iterator[str]:
    """Yield what a requirements file and those that it includes require; where pip finds it makes no difference."""
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PipelineError(
            f"The requirements of the {what} cannot be read from {visible(str(path))}: {why}.",
            hint='A single requirement stands in a list: requirements=["torch>=2"].',
        ) from error
    for line in text.replace("\\\n", " ").splitlines():
        said = f" {line} ".split(" #", 1)[0].split(" --", 1)[0].strip()
        option, _, rest = said.partition(" ")
        if option == "-r":
            if path in around:
                raise PipelineError(f"The requirements file {visible(str(path))} includes itself.")
            yield from _in_file(path.parent / rest.strip(), what, (*around, path))
        elif said:
            yield said
