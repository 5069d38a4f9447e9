"""What a step needs of the machine that executes it, in ZenML's words."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from stackledger.domain.errors import PipelineError

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_MEMORY = re.compile(rf"([0-9]{{1,12}}) ?({'|'.join(_UNITS)})")


@dataclass(frozen=True, slots=True)
class ResourceSettings:
    """How many CPUs and GPUs a step needs, and how much memory, such as `8GB` or `512MiB`.

    On a fleet they choose the queue that the step waits in; elsewhere they have no effect.
    """

    cpu_count: float | None = None
    gpu_count: int | None = None
    memory: str | None = None

    def __post_init__(self) -> None:
        """Raise PipelineError for what no machine can have."""
        if not (self.cpu_count is None or (_is_number(self.cpu_count, int | float) and self.cpu_count > 0)):
            raise PipelineError(f"A step cannot need {self.cpu_count!r} CPUs.", hint="Say cpu_count=2, or 0.5.")
        if not (self.gpu_count is None or (_is_number(self.gpu_count, int) and self.gpu_count >= 0)):
            raise PipelineError(f"A step cannot need {self.gpu_count!r} GPUs.", hint="Say gpu_count=1.")
        if self.memory is not None:
            try:
                memory_bytes(self.memory)
            except (TypeError, ValueError) as error:
                raise PipelineError(f"A step cannot need {self.memory!r} of memory.", hint=_AS_IN) from error


_AS_IN = f'Say memory="8GB"; the units are {", ".join(_UNITS)}.'


def memory_bytes(text: str) -> int:
    """Return how many bytes `8GB` or `512MiB` are, or raise ValueError."""
    found = _MEMORY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not an amount of memory, as 8GB and 512MiB are")
    return int(found[1]) * _UNITS[found[2]]


def _is_number(value: object, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
