"""What is to be seen of a fleet at a glance, and the JSON that is printed of it."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from typing import Any, NamedTuple

from stackledger.client.worker_results import Worker


class QueueSeen(NamedTuple):
    """A queue on the broker: `steps` of a resource class, `outcomes` or `parked`; nothing but a name if it is missing.

    `waiting` are the messages that nobody has taken yet, a probe of the coordinator's among them, and `consumers` the
    slots or coordinators that take some.
    """

    name: str
    kind: str
    waiting: int | None
    consumers: int | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return self._asdict()


class CoordinatorSeen(NamedTuple):
    """The active coordinator: the name of its key, where it is and since when, and how far behind the log it is."""

    name: str
    host: str
    pid: int
    since: str | None
    position: int
    lag: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return self._asdict()


class StoreSeen(NamedTuple):
    """The artifact store of the stack; `trouble` says why it cannot be read from here, None if it can."""

    name: str
    flavor: str
    path: str | None
    trouble: str | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return self._asdict()


class FleetSeen(NamedTuple):
    """A fleet as its broker, its coordinator and its workers answer now; `broker` is None where that is away.

    `trouble` says what of these could not be looked at, and why. `runs` counts those that have not ended. `store` is
    None until it was looked at.
    """

    orchestrator: str
    place: str
    broker: str | None
    queues: list[QueueSeen]
    coordinator: CoordinatorSeen | None
    workers: list[Worker]
    runs: int
    trouble: str | None
    store: StoreSeen | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return self._asdict() | {
            "queues": [each.to_json() for each in self.queues],
            "coordinator": self.coordinator.to_json() if self.coordinator else None,
            "workers": [each.to_json() for each in self.workers],
            "store": self.store.to_json() if self.store else None,
        }
