"""Keys of the fleet: whose word counts, and the list by which workers know coordinators.

Commands: EnrollKey, RevokeKey, RenewTrust. Whatever changes which coordinators there are publishes the next list in the
same append, signed by the root key: so the two never differ, and who has no root key changes nothing of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeAlias, assert_never

from stackledger.domain.decider import Decider
from stackledger.domain.errors import AlreadyExists, InvalidValue, NotFound, Refused
from stackledger.domain.event import Boundary, Event, Item, item
from stackledger.domain.events.fleet import KEYS_TAG, KeyEnrolled, KeyRevoked, KeyRole, TrustPublished, key_tag
from stackledger.domain.fleet import Key, Keys, evolve_keys
from stackledger.domain.names import folded, registry_name

MAX_COORDINATORS = 500
"""More would not fit into one message to the workers."""
SECOND = 1_000_000


class RootKey(Protocol):
    """Whoever can sign lists. What it makes follows from what it is given alone."""

    @property
    def public(self) -> str:
        """The raw public key, in hexadecimal."""

    def sealed(self, number: int, expires: int, coordinators: Mapping[str, str]) -> bytes:
        """Return the message with a list, signed."""


class Publishing(NamedTuple):
    """With what a list is published: by `root`, at `now`, for as long as `expires`; in microseconds since 1970 UTC."""

    root: RootKey
    now: int
    expires: int


class EnrollKey(NamedTuple):
    """Let a key count from now on. `queues` are what a worker may serve; a coordinator's needs `publishing`."""

    key_id: str
    role: KeyRole
    name: str
    public: str
    queues: tuple[str, ...] = ()
    publishing: Publishing | None = None


class RevokeKey(NamedTuple):
    """Let a key count for nothing from now on, and never again. A coordinator's needs `publishing`."""

    key_id: str
    publishing: Publishing | None = None


class RenewTrust(NamedTuple):
    """Publish a list with the same coordinators that expires later."""

    publishing: Publishing


KeyCommand: TypeAlias = EnrollKey | RevokeKey | RenewTrust


class State(NamedTuple):
    """All keys that were ever enrolled, by id, and the newest list."""

    keys: Keys = MappingProxyType({})
    trust: TrustPublished | None = None

    def get(self, key_id: str) -> Key:
        """Return a key that was enrolled, or raise NotFound."""
        key = self.keys.get(key_id)
        if key is None:
            raise NotFound(f"No key with the id {key_id!r} was enrolled.")
        return key


def key_item(key_id: str) -> Item:
    """Return the item for a key's own events."""
    return item(key_tag(key_id), KeyEnrolled, KeyRevoked)


def boundary(_command: KeyCommand) -> Boundary:
    """Depend on all keys: they are few, names are unique among them, and a list holds all coordinators."""
    return (item(KEYS_TAG, KeyEnrolled, KeyRevoked, TrustPublished),)


def decide(command: KeyCommand, state: State) -> list[Event]:
    """Decide a command about keys."""
    match command:
        case EnrollKey():
            return _enroll(command, state)
        case RevokeKey():
            return _revoke(command, state)
        case RenewTrust():
            return [_published(command.publishing, state, _coordinators(state.keys))]
        case _:
            assert_never(command)


def _enroll(command: EnrollKey, state: State) -> list[Event]:
    name = registry_name(command.name, "key")
    _refuse_known(state.keys.get(command.key_id))
    for key in state.keys.values():
        if folded(key.name) == folded(name) and not key.revoked:
            raise AlreadyExists(
                f"There is a key named {key.name!r} already, of a {key.role} (id {key.id}).",
                hint=f"Choose another name, or revoke that one first: `stackledger key revoke {key.name}`.",
            )
    enrolled = KeyEnrolled(
        key_id=command.key_id, role=command.role, name=name, public=command.public, queues=_queues(command)
    )
    if command.role != "coordinator":
        return [enrolled]
    listed = {**_coordinators(state.keys), command.key_id: command.public}
    return [enrolled, _published(command.publishing, state, listed)]


def _refuse_known(key: Key | None) -> None:
    if key is not None and key.revoked:
        raise Refused(
            f"The key {key.name!r} (id {key.id}) was revoked, and a revoked key never counts again.",
            hint="Make another one with `stackledger key create`.",
        )
    if key is not None:
        serves = f" for {', '.join(key.queues)}" if key.queues else ""
        raise AlreadyExists(
            f"The key is enrolled already, as {key.name!r} of a {key.role}{serves} (id {key.id}).",
            hint="What it is good for never changes: make another one with `stackledger key create`.",
        )


def _queues(command: EnrollKey) -> tuple[str, ...]:
    queues = tuple(dict.fromkeys(registry_name(queue, "queue") for queue in command.queues))
    if queues and command.role != "worker":
        raise InvalidValue(f"A {command.role} serves no queues.", hint="Queues are for keys of workers.")
    if not queues and command.role == "worker":
        raise InvalidValue("A worker's key is enrolled for the queues that it may serve, and none was given.")
    return queues


def _revoke(command: RevokeKey, state: State) -> list[Event]:
    key = state.get(command.key_id)
    if key.revoked:
        return []
    revoked = KeyRevoked(key_id=key.id)
    if key.role != "coordinator":
        return [revoked]
    listed = {key_id: public for key_id, public in _coordinators(state.keys).items() if key_id != key.id}
    return [revoked, _published(command.publishing, state, listed)]


def _coordinators(keys: Keys) -> dict[str, str]:
    return {key.id: key.public for key in keys.values() if key.role == "coordinator" and not key.revoked}


def _published(publishing: Publishing | None, state: State, coordinators: Mapping[str, str]) -> TrustPublished:
    """Return the next list. Its number grows with time, too, so that a log put back from a backup goes on above it."""
    if publishing is None:
        raise Refused(
            "Which coordinators there are is for the root key to say, and it is not in this home.",
            hint="Do it where the root key is; where there is none yet: `stackledger key create NAME --role root`.",
        )
    root, now, expires = publishing
    if state.trust is not None and state.trust.root != root.public:
        raise Refused(
            "The root key in this home is not the one that this log goes by.",
            hint="Do it in the home that the first coordinator's key was enrolled in.",
        )
    if expires <= now:
        raise InvalidValue("A list of coordinators that has expired already would be of no use.")
    if len(coordinators) > MAX_COORDINATORS:
        raise Refused(f"There are {MAX_COORDINATORS} coordinators' keys already.", hint="Revoke those of no use.")
    number = max(state.trust.number + 1 if state.trust is not None else 1, now // SECOND)
    return TrustPublished(
        number=number,
        expires=expires,
        root=root.public,
        coordinators=dict(coordinators),
        message=root.sealed(number, expires, coordinators).hex(),
    )


def newer_trust(trust: TrustPublished | None, published: TrustPublished) -> TrustPublished:
    """Return the list that counts after another one: of the root key that was first in the log, the last."""
    return published if trust is None or trust.root == published.root else trust


def evolve(state: State, event: Event) -> State:
    """Fold one event."""
    if isinstance(event, TrustPublished):
        return state._replace(trust=newer_trust(state.trust, event))
    return state._replace(keys=evolve_keys(state.keys, event))


DECIDER: Decider[KeyCommand, State] = Decider(initial=State(), boundary=boundary, decide=decide, evolve=evolve)
