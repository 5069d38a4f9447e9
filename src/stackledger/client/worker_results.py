"""What queries about workers return, and the JSON that is printed of it."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from typing import Any, NamedTuple


class Working(NamedTuple):
    """What a slot of a worker does. `status` is `running`, or `waiting` for the coordinator's leave to run."""

    run: str
    run_id: str
    step: str
    attempt: int
    execution: str
    status: str
    since: str | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return self._asdict()


class Worker(NamedTuple):
    """A worker that answered. `name` is that of its key; `process` what `stack up` on this machine called it, if any.

    `status` is `idle`, `working`, `stopping` or `unable`; `since` is when it started. `unable` says why it takes no
    steps.
    """

    name: str
    process: str | None
    host: str
    pid: int
    queue: str
    slots: int
    status: str
    since: str | None
    executions: list[Working]
    unable: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the worker as JSON."""
        return self._asdict() | {"executions": [each.to_json() for each in self.executions]}
