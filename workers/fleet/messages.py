"""What coordinators, workers and clients say to each other over the broker: signed, versioned, below 64 KiB.

On the wire a message is the msgpack list `[protocol, key id, body, signature]`. The body is the msgpack map of one
of the classes here; the signature covers the protocol, the log's id and the body, so that nothing said about one
log counts for another.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import msgpack
from pydantic import Field, JsonValue, Strict, TypeAdapter, ValidationError

from stackledger.domain.event import Part
from stackledger.domain.events.fleet import KeyRole
from stackledger.domain.events.runs import Kept, PinnedComponent, Produced

PROTOCOL = 1
MAX_BYTES = 64 * 1024 - 1

Count = Annotated[int, Strict(), Field(ge=0)]
Flag = Annotated[bool, Strict()]


class Ref(Part):
    """Which attempt a message is about, and under which dispatch it was queued."""

    run_id: str
    step: str
    attempt: Count
    dispatch: str


# From the coordinator


class Task(Part):
    """An attempt at a step: all that a worker needs to execute it.

    `source` is the dotted path of the step's function in the archive `code`, or in what is installed where there is
    none; `store` the artifact store that holds the inputs and takes the outputs; `artifacts` are the names of outputs.
    `timeout` is in seconds.
    """

    ref: Ref
    run_name: str
    pipeline: str
    queue: str
    source: str
    parameters: dict[str, JsonValue]
    inputs: dict[str, Produced]
    artifacts: dict[str, str]
    store: PinnedComponent
    timeout: float | None = None
    code: Kept | None = None


class Dispatch(Part):
    """Execute an attempt. A copy may be one of several that are under way: it waits for its grant."""

    kind: Literal["dispatch"] = "dispatch"
    task: Task
    copied: Flag


class Probe(Part):
    """Echo this: so the coordinator learns that everything before it in the queue was delivered."""

    kind: Literal["probe"] = "probe"
    probe: str
    queue: str


class Grant(Part):
    """The attempt is this execution's."""

    kind: Literal["grant"] = "grant"
    execution: str


class Refusal(Part):
    """The attempt is not this execution's, or not any more: stop, and say nothing more about it."""

    kind: Literal["refusal"] = "refusal"
    execution: str


class Cancel(Part):
    """These runs have ended: nothing that is executed for them has any effect."""

    kind: Literal["cancel"] = "cancel"
    run_ids: tuple[str, ...]


class Marker(Part):
    """The coordinator's word to itself: what workers had said before it was put has been read when it comes."""

    kind: Literal["marker"] = "marker"
    marker: str


# From workers


class Taken(Part):
    """One worker's taking up of an attempt; `waiting` for its grant or going on."""

    ref: Ref
    execution: str
    waiting: Flag


class Claim(Part):
    """An execution takes long, or may not be the only one: it wants the attempt for itself."""

    kind: Literal["claim"] = "claim"
    claim: Taken


class Heartbeat(Part):
    """A worker's executions that hold or want a claim go on. Each stands for its claim, too."""

    kind: Literal["heartbeat"] = "heartbeat"
    executions: tuple[Taken, ...]


class Success(Part):
    """All outputs are in the artifact store."""

    kind: Literal["success"] = "success"
    outputs: tuple[Produced, ...]


class Failure(Part):
    """The step failed: `error` is the kind of failure."""

    kind: Literal["failure"] = "failure"
    error: str
    message: str


class OutcomeOf(Part):
    """How an execution ended. `began` and `ended` are in microseconds since 1970 UTC, by the worker's clock."""

    kind: Literal["outcome"] = "outcome"
    ref: Ref
    execution: str
    began: Count
    ended: Count
    log: Kept | None = None
    result: Annotated[Success | Failure, Field(discriminator="kind")]


class GivenBack(Part):
    """A worker that is to stop did not come to the end of an execution that it had claimed."""

    kind: Literal["given back"] = "given back"
    ref: Ref
    execution: str


class Echo(Part):
    """A probe came out of its queue."""

    kind: Literal["echo"] = "echo"
    probe: str
    queue: str


# From clients


class Nudge(Part):
    """A run was appended to the log: look now rather than soon."""

    kind: Literal["nudge"] = "nudge"
    run_id: str


Message = (
    Dispatch | Probe | Grant | Refusal | Cancel | Marker | Claim | Heartbeat | OutcomeOf | GivenBack | Echo | Nudge
)

SENDERS: dict[type[Message], frozenset[KeyRole]] = {
    **dict.fromkeys((Dispatch, Probe, Grant, Refusal, Cancel, Marker), frozenset[KeyRole]({"coordinator"})),
    **dict.fromkeys((Claim, Heartbeat, OutcomeOf, GivenBack, Echo), frozenset[KeyRole]({"worker"})),
    Nudge: frozenset[KeyRole]({"coordinator", "submitter"}),
}
"""Whose word each message can be."""


class MessageRefused(Exception):
    """Bytes that are no message of this fleet; the text says why, without repeating them."""


class Opened(NamedTuple):
    """A message whose signature holds, and the id of the key that signed it."""

    message: Message
    key: str


class Signer(Protocol):
    """Signs with a private key."""

    @property
    def key_id(self) -> str:
        """The id under which the key was enrolled."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature over the bytes."""


class Verifier(Protocol):
    """Knows which keys count."""

    def role(self, key_id: str) -> KeyRole | None:
        """Return what a key was enrolled for, None if it was not, or was revoked."""

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        """Say whether the key made the signature over the bytes."""


def sealed(message: Message, signer: Signer, log_id: str) -> bytes:
    """Return a message as it goes over the wire, or raise ValueError where it is too long."""
    body = msgpack.packb(message.model_dump(mode="python"))
    data = msgpack.packb([PROTOCOL, signer.key_id, body, signer.sign(_signed(log_id, body))])
    if len(data) > MAX_BYTES:
        raise ValueError(f"A message of {len(data):,} bytes is longer than {MAX_BYTES:,}.")
    return bytes(data)


def opened(data: bytes, verifier: Verifier, log_id: str) -> Opened:
    """Return the message in some bytes from the wire, or raise MessageRefused."""
    if len(data) > MAX_BYTES:
        raise MessageRefused(f"It has {len(data):,} bytes, more than the {MAX_BYTES:,} of a message.")
    match _unpacked(data):
        case [int() as protocol, str() as key_id, bytes() as body, bytes() as signature]:
            pass
        case _:
            raise MessageRefused("It is not the list of protocol, key, body and signature that a message is.")
    if protocol != PROTOCOL:
        raise MessageRefused(f"It is in version {protocol} of the protocol; this program speaks version {PROTOCOL}.")
    role = verifier.role(key_id)
    if role is None:
        raise MessageRefused("Its key is not enrolled, or was revoked.")
    if not verifier.verify(key_id, signature, _signed(log_id, body)):
        raise MessageRefused("Its signature is not that of its key over this message for this log.")
    try:
        message = _adapter().validate_python(_unpacked(body))
    except (ValidationError, RecursionError) as error:
        raise MessageRefused("Its body is none of the messages that this program knows.") from error
    if role not in SENDERS[type(message)]:
        raise MessageRefused(f"A {message.kind} is not the word of a {role}.")
    return Opened(message, key_id)


def _signed(log_id: str, body: bytes) -> bytes:
    return b"stackledger message %d\0%b\0%b" % (PROTOCOL, log_id.encode(), body)


def _unpacked(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data)
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise MessageRefused("It is not msgpack.") from error


@cache
def _adapter() -> TypeAdapter[Message]:
    return TypeAdapter(Annotated[Message, Field(discriminator="kind")])
