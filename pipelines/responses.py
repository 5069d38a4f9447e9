"""A run as Python gets it: its steps, and their outputs, which load when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from stackledger.domain.errors import PipelineError


@dataclass(frozen=True, slots=True)
class ArtifactResponse:
    """An artifact that a step put out. `digest` is the SHA-256 of its bytes in the artifact store.

    `version` counts up under the name. Older ZenML has one artifact for each output, newer ZenML a list: so that code
    written for either works, an artifact is also the list that has itself in it.
    """

    id: str
    name: str
    version: int
    digest: str
    size: int
    materializer: str
    data_type: str
    loader: Callable[[], object] = field(repr=False, compare=False)

    def load(self) -> object:
        """Return the value, from bytes that still have the digest that the log knows."""
        return self.loader()

    def __len__(self) -> int:
        """Be a list of one."""
        return 1

    def __getitem__(self, index: int) -> ArtifactResponse:
        """Return this artifact for 0 and -1."""
        return (self,)[index]


@dataclass(frozen=True, slots=True)
class StepResponse:
    """A step of a run; `status` is one of StepStatus."""

    name: str
    status: str
    attempt: int
    outputs: Mapping[str, ArtifactResponse]

    @property
    def output(self) -> ArtifactResponse:
        """The only output."""
        if len(self.outputs) != 1:
            raise PipelineError(
                f"The step {self.name!r} has {len(self.outputs)} outputs.",
                hint='Choose one by its name: `.outputs["name"]`.',
            )
        return next(iter(self.outputs.values()))


@dataclass(frozen=True)
class RunResponse:
    """A run; `status` is one of RunStatus, or dead. Its steps are read when they are asked for."""

    id: str
    name: str
    pipeline: str
    status: str
    read_steps: Callable[[], Mapping[str, StepResponse]] = field(repr=False, compare=False)

    @cached_property
    def steps(self) -> Mapping[str, StepResponse]:
        """The steps by their names, in the order of the plan."""
        return self.read_steps()
