"""Where runs stand in traces: contexts as W3C Trace Context writes them, and ids that follow from what the log has.

Whoever tells of a run, a coordinator now or somebody who reads the log years later, gives the same span the same id.
So telling twice says nothing twice, and no id has to be carried anywhere.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
import hashlib
import re
from typing import NamedTuple

_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01


class TraceContext(NamedTuple):
    """A span as others refer to it: ids in hexadecimal; who is not `sampled` is told of to nobody."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """The context as a header or a variable of the environment has it."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"


def traced(traceparent: str | None) -> TraceContext | None:
    """Return the context in a `traceparent`, None where there is none or it is not well-formed."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or (found[1] == "00" and found[5]):
        return None
    return TraceContext(found[2], found[3], bool(int(found[4], 16) & _SAMPLED))


def run_context(run_id: str, caller: TraceContext | None) -> TraceContext:
    """Return the context of a run: within the trace of whoever called it, else in one of its own."""
    trace_id = _digest("trace", run_id)[:32] if caller is None else caller.trace_id
    return TraceContext(trace_id, _digest("run", run_id)[:16], caller is None or caller.sampled)


def step_span(run_id: str, step: str) -> str:
    """Return the id of the span of a step."""
    return _digest("step", run_id, step)[:16]


def attempt_span(run_id: str, step: str, attempt: int) -> str:
    """Return the id of the span of an attempt at a step."""
    return _digest("attempt", run_id, step, str(attempt))[:16]


def execution_span(execution: str) -> str:
    """Return the id of the span of an execution."""
    return _digest("execution", execution)[:16]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(("stackledger span", *parts)).encode()).hexdigest()
