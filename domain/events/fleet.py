"""Events about the fleet: what waits for a worker, who took it up, what got lost, and whose keys count."""

from __future__ import annotations

from typing import ClassVar, Literal

from stackledger.domain.event import Event
from stackledger.domain.events.runs import content_tag, run_tag, step_tag


def fleet_tag(orchestrator_id: str) -> str:
    """Return the tag on what concerns all runs of one orchestrator."""
    return f"fleet:{orchestrator_id}"


def key_tag(key_id: str) -> str:
    """Return the tag on the key's own events."""
    return f"key:{key_id}"


KEYS_TAG = "keys:all"
"""The tag on the events of all keys, by which a coordinator learns which count without reading the whole log."""


class StepQueued(Event):
    """An attempt at a step waits for a worker.

    `dispatch` is a random id. Whoever executes the attempt names it, so that what was sent before a log was
    restored, with other inputs perhaps, is never taken for an answer. `inputs` are as in StepStarted.
    """

    TYPE: ClassVar[str] = "step.queued/1"

    run_id: str
    step: str
    attempt: int
    queue: str
    dispatch: str
    inputs: dict[str, str]

    def tags(self) -> tuple[str, ...]:
        """Find it by run, step and the content it reads."""
        return (run_tag(self.run_id), step_tag(self.run_id, self.step), *map(content_tag, set(self.inputs.values())))


class StepClaimed(Event):
    """A worker took an attempt up for long: only its execution can end it now. `worker` is the id of its key."""

    TYPE: ClassVar[str] = "step.claimed/1"

    run_id: str
    step: str
    attempt: int
    execution: str
    worker: str

    def tags(self) -> tuple[str, ...]:
        """Find it by run and step."""
        return (run_tag(self.run_id), step_tag(self.run_id, self.step))


Because = Literal[
    "lease ran out",
    "delivered too often",
    "worker gave it back",
    "worker's key was revoked",
    "its message was parked",
    "what it kept was collected",
]
"""Why nobody will say how an attempt went."""


class StepLost(Event):
    """Nobody will say how an attempt went; the next one begins at `retry_at`, in microseconds.

    It spends none of the step's own retries: the step did nothing wrong.
    """

    TYPE: ClassVar[str] = "step.lost/1"

    run_id: str
    step: str
    attempt: int
    because: Because
    retry_at: int

    def tags(self) -> tuple[str, ...]:
        """Find it by run and step."""
        return (run_tag(self.run_id), step_tag(self.run_id, self.step))


class DispatchConfirmed(Event):
    """The broker has confirmed every attempt of this orchestrator that was queued up to the position `through`."""

    TYPE: ClassVar[str] = "dispatch.confirmed/1"

    orchestrator_id: str
    through: int

    def tags(self) -> tuple[str, ...]:
        """Find it by orchestrator."""
        return (fleet_tag(self.orchestrator_id),)


class TopologyRenewed(Event):
    """Queues were missing and are declared anew: what was queued before is dispatched again, if nobody claimed it."""

    TYPE: ClassVar[str] = "topology.renewed/1"

    orchestrator_id: str
    queues: tuple[str, ...]

    def tags(self) -> tuple[str, ...]:
        """Find it by orchestrator."""
        return (fleet_tag(self.orchestrator_id),)


class RunCancelled(Event):
    """Somebody ended the run. What still goes on in it has no effect."""

    TYPE: ClassVar[str] = "run.cancelled/1"

    run_id: str

    def tags(self) -> tuple[str, ...]:
        """Find it by run."""
        return (run_tag(self.run_id),)


KeyRole = Literal["coordinator", "worker", "submitter"]


class KeyEnrolled(Event):
    """A key counts from here on. `public` is the raw Ed25519 key in hexadecimal, `queues` what a worker may serve."""

    TYPE: ClassVar[str] = "key.enrolled/1"

    key_id: str
    role: KeyRole
    name: str
    public: str
    queues: tuple[str, ...]

    def tags(self) -> tuple[str, ...]:
        """Find it by key, and with all keys."""
        return (key_tag(self.key_id), KEYS_TAG)


class KeyRevoked(Event):
    """From here on the key has no effect any more, whatever it signed before."""

    TYPE: ClassVar[str] = "key.revoked/1"

    key_id: str

    def tags(self) -> tuple[str, ...]:
        """Find it by key, and with all keys."""
        return (key_tag(self.key_id), KEYS_TAG)


class TrustPublished(Event):
    """The root key says whose word is a coordinator's, to workers that know nothing but the root key.

    `root` and `coordinators` (by key id) are raw Ed25519 keys in hexadecimal. Of two lists the one with the higher
    `number` counts, until `expires`, in microseconds since 1970 UTC. `message` is the list as workers take it,
    signed, in hexadecimal. The first root key in a log is its root key for ever.
    """

    TYPE: ClassVar[str] = "trust.published/1"

    number: int
    expires: int
    root: str
    coordinators: dict[str, str]
    message: str

    def tags(self) -> tuple[str, ...]:
        """Find it with all keys."""
        return (KEYS_TAG,)
