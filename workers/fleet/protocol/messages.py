"""What coordinators, workers and clients say to each other over the broker: signed, versioned, below 64 KiB.

On the wire a message is the msgpack list `[protocol, key id, body, signature]`. The body is the msgpack map of one
of the classes here; the signature covers the protocol, what the log is called and the body, so that nothing said about
one log, or about an earlier incarnation of it, counts for another. The root key speaks for all incarnations of a log.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import msgpack
from pydantic import Field, JsonValue, Strict, TypeAdapter, ValidationError

from stackledger.domain.event import Part
from stackledger.domain.events.fleet import KeyRole
from stackledger.domain.events.runs import Kept, PinnedComponent, Produced
from stackledger.domain.incarnations import log_of

PROTOCOL = 1
MAX_BYTES = 64 * 1024 - 1

Role = KeyRole | Literal["root"]
"""What a key can be for. The root key is in no list: it signs the one that workers go by, and nothing else."""

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
    `timeout` is in seconds; `requirements` have to be installed before it runs. Where there are too many parameters for
    a message, `kept_parameters` are their msgpack in the store, and `parameters` is empty. `traceparent` is that of the
    span that the run was begun in, if it was in one; of the execution where a worker that sends traces tells its child.
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
    kept_parameters: Kept | None = None
    requirements: tuple[str, ...] = ()
    traceparent: str | None = None


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


class Dismissal(Part):
    """These keys do not count, or not any more: whoever works with one of them takes nothing more, and ends."""

    kind: Literal["dismissal"] = "dismissal"
    keys: tuple[str, ...]


class Presiding(Part):
    """The active coordinator's answer to who is there: a process of a host that is active since `began`.

    `position` is how far it has read the log. It goes to whoever asked, and nothing is kept of it.
    """

    kind: Literal["presiding"] = "presiding"
    host: str
    pid: Count
    began: Count
    position: Count


class Marker(Part):
    """The coordinator's word to itself: what workers had said before it was put has been read when it comes."""

    kind: Literal["marker"] = "marker"
    marker: str


# From whoever keeps the root key; the coordinator passes it on


class TrustList(Part):
    """Whose word is a coordinator's: raw public keys in hexadecimal, by key id.

    The list with the highest number counts, until it expires, in microseconds since 1970 UTC.
    """

    kind: Literal["trust"] = "trust"
    number: Count
    expires: Count
    coordinators: dict[str, str]


# From workers


class Hello(Part):
    """A worker serves a queue, and wants to hear what it may have missed: the newest list, cancelled runs."""

    kind: Literal["hello"] = "hello"
    queue: str


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
    """The step failed: `error` is the kind of failure. A `final` one would only come again: nothing is retried."""

    kind: Literal["failure"] = "failure"
    error: str
    message: str
    final: Flag = False


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
    """A worker that is to stop, or whose machine is at fault, did not come to the end of an execution."""

    kind: Literal["given back"] = "given back"
    ref: Ref
    execution: str


class Echo(Part):
    """A probe came out of its queue."""

    kind: Literal["echo"] = "echo"
    probe: str
    queue: str


class Doing(Part):
    """What a slot of a worker does. `began` is in microseconds since 1970 UTC, by the worker's clock."""

    taken: Taken
    began: Count


class Present(Part):
    """A worker's answer to who is there: a process of a host that serves a queue, since `began`, and what it does.

    `unable` is why it takes no work although it is there. It goes to whoever asked, and nothing is kept of it.
    """

    kind: Literal["present"] = "present"
    host: str
    pid: Count
    queue: str
    slots: Count
    began: Count
    stopping: Flag
    executions: tuple[Doing, ...]
    unable: str | None = None


# From clients


class WhoIsThere(Part):
    """Somebody wants to know which workers there are.

    The coordinator says it on to all of them, as its own word, and answers as they do: straight into the queue `reply`,
    which the broker named: no queue of a fleet can be called so.
    """

    kind: Literal["who is there"] = "who is there"
    reply: Annotated[str, Field(pattern=r"^amq\.gen-[0-9A-Za-z_-]{1,64}$")]


class Nudge(Part):
    """A run was appended to the log: look now rather than soon."""

    kind: Literal["nudge"] = "nudge"
    run_id: str


Message = (
    Dispatch
    | Probe
    | Grant
    | Refusal
    | Cancel
    | Dismissal
    | Presiding
    | Marker
    | TrustList
    | Hello
    | Claim
    | Heartbeat
    | OutcomeOf
    | GivenBack
    | Echo
    | Present
    | WhoIsThere
    | Nudge
)

SENDERS: dict[type[Message], frozenset[Role]] = {
    **dict.fromkeys(
        (Dispatch, Probe, Grant, Refusal, Cancel, Dismissal, Presiding, Marker), frozenset[Role]({"coordinator"})
    ),
    TrustList: frozenset[Role]({"root"}),
    **dict.fromkeys((Hello, Claim, Heartbeat, OutcomeOf, GivenBack, Echo, Present), frozenset[Role]({"worker"})),
    **dict.fromkeys((WhoIsThere, Nudge), frozenset[Role]({"coordinator", "submitter"})),
}
"""Whose word each message can be."""


class MessageRefused(Exception):
    """Bytes that are no message of this fleet; the text says why, without repeating them.

    `stranger` is the id of the key that is said to have signed them, if nothing is known of that key.
    """

    def __init__(self, why: str, *, stranger: str | None = None) -> None:
        self.stranger = stranger
        super().__init__(why)


class UnknownKey(MessageRefused):
    """Nothing is known here of the key that is said to have signed it; others may have heard of it already."""

    def __init__(self, key_id: str) -> None:
        super().__init__("Its key is not enrolled, or not listed.", stranger=key_id)


class MessageTooLong(Exception):
    """What is to be said does not fit into a message."""


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
    """Knows the keys of those who may speak."""

    def role(self, key_id: str) -> Role | None:
        """Return what a key is for, None where it is not known."""

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        """Say whether the key made the signature over the bytes."""


class Trust(Verifier, Protocol):
    """What a worker goes by: the root key, and the newest list of coordinators that it signed."""

    def take(self, offered: TrustList, data: bytes) -> bool:
        """Go by a list that the root key signed, or raise MessageRefused for an older one; `data` is its message.

        Say whether it is another one than before.
        """

    def holds(self, now: int) -> bool:
        """Say whether there is a list that has not expired; `now` is in microseconds since 1970 UTC."""


def sealed(message: Message, signer: Signer, log: str) -> bytes:
    """Return a message as it goes over the wire, or raise MessageTooLong; `log` is what the log is called."""
    body = msgpack.packb(message.model_dump(mode="python"))
    spoken_of = log_of(log) if isinstance(message, TrustList) else log
    data = msgpack.packb([PROTOCOL, signer.key_id, body, signer.sign(_signed(spoken_of, body))])
    if len(data) > MAX_BYTES:
        raise MessageTooLong(f"It takes {len(data):,} bytes, and a message has at most {MAX_BYTES:,}.")
    return bytes(data)


def opened(data: bytes, verifier: Verifier, log: str) -> Opened:
    """Return the message in some bytes from the wire, or raise MessageRefused, UnknownKey where only that is wrong."""
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
        raise UnknownKey(key_id)
    if not verifier.verify(key_id, signature, _signed(log_of(log) if role == "root" else log, body)):
        raise MessageRefused("Its signature is not that of its key over this message for this log.")
    try:
        message = _adapter().validate_python(_unpacked(body))
    except (ValidationError, RecursionError) as error:
        raise MessageRefused("Its body is none of the messages that this program knows.") from error
    if role not in SENDERS[type(message)]:
        raise MessageRefused(f"A {message.kind} is not the word of a {role}.")
    return Opened(message, key_id)


def _signed(log: str, body: bytes) -> bytes:
    return b"stackledger message %d\0%b\0%b" % (PROTOCOL, log.encode(), body)


def _unpacked(data: bytes) -> Any:
    try:
        return msgpack.unpackb(data)
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise MessageRefused("It is not msgpack.") from error


def load() -> None:
    """Make what messages are checked by, which is made at its first use otherwise."""
    _adapter()
    for model in SENDERS:
        model.model_rebuild()


@cache
def _adapter() -> TypeAdapter[Message]:
    return TypeAdapter(Annotated[Message, Field(discriminator="kind")])
