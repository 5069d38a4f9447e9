"""Secrets: names and keys are in the log, values are kept outside.

Commands: CreateSecret, UpdateSecret, RenameSecret, DeleteSecret. Configurations refer to a secret by name
(`{{name.key}}`), so what is referred to can be neither renamed nor taken away.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
import re
from collections.abc import Collection, Mapping
from typing import NamedTuple, TypeAlias, assert_never, get_args

from stackledger.domain.chain import Chain, newest_first
from stackledger.domain.decider import Decider
from stackledger.domain.errors import AlreadyExists, InUse, InvalidName, InvalidValue, NotFound, near_names
from stackledger.domain.event import Boundary, Event, Item, item
from stackledger.domain.events.components import (
    ComponentDeleted,
    ComponentRegistered,
    ComponentUpdated,
    SecretCreated,
    SecretDeleted,
    SecretRenamed,
    SecretUpdated,
    references_tag,
    secret_name_tag,
    secret_tag,
)
from stackledger.domain.names import folded, quoted, registry_name, visible
from stackledger.domain.persistent_map import PersistentMap
from stackledger.domain.references import SecretReference, secret_references
from stackledger.domain.wording import counted, listed

_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")


class CreateSecret(NamedTuple):
    """Make a secret's name and keys known, under a new id. Keep the values first, so that none is ever missing."""

    secret_id: str
    name: str
    keys: tuple[str, ...]


class UpdateSecret(NamedTuple):
    """Say which keys got a new value (`put`, old keys or new ones) and which are gone (`remove`)."""

    secret_id: str
    put: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class RenameSecret(NamedTuple):
    """Give a secret another name."""

    secret_id: str
    name: str


class DeleteSecret(NamedTuple):
    """Take a secret away; its name is free again."""

    secret_id: str


SecretCommand: TypeAlias = CreateSecret | UpdateSecret | RenameSecret | DeleteSecret
SecretEvent: TypeAlias = SecretCreated | SecretUpdated | SecretRenamed | SecretDeleted
ReferenceEvent: TypeAlias = ComponentRegistered | ComponentUpdated | ComponentDeleted


class Secret(NamedTuple):
    """A secret as the log knows it."""

    id: str
    name: str
    keys: tuple[str, ...]
    deleted: bool = False


class Secrets(NamedTuple):
    """The secrets in the boundary by id, and who holds which name (folded)."""

    by_id: PersistentMap[str, Secret] = PersistentMap()
    holders: PersistentMap[str, str] = PersistentMap()

    def get(self, secret_id: str) -> Secret:
        """Return a secret that is there, or raise NotFound."""
        secret = self.by_id.get(secret_id)
        if secret is None:
            raise NotFound(f"There is no secret with the id {secret_id!r}.")
        if secret.deleted:
            raise NotFound(f"The secret {secret.name!r} was deleted.")
        return secret

    def resolved(self, configuration: object, ids: Mapping[str, str]) -> tuple[str, ...]:
        """Return the ids of all secrets that a configuration refers to, or raise NotFound for what is missing.

        `ids` says which secret the caller found under a name.
        """
        by_name = {folded(name): secret_id for name, secret_id in ids.items()}
        found = (self._resolved(each, by_name.get(folded(each.name))) for each in secret_references(configuration))
        return tuple(dict.fromkeys(found))

    def _resolved(self, reference: SecretReference, secret_id: str | None) -> str:
        name, key = visible(reference.name), visible(reference.key)
        secret = self.by_id.get(secret_id) if secret_id else None
        if secret is None or secret.deleted or folded(secret.name) != folded(reference.name):
            raise NotFound(
                f"There is no secret named {name!r}, which the configuration refers to as {{{{{name}.{key}}}}}.",
                hint=f"Create it with `stackledger secret create {name} --{key}=@file`.",
            )
        if reference.key not in secret.keys:
            raise NotFound(
                f"The secret {secret.name!r} has no key {key!r}, which the configuration refers to.",
                near=near_names(reference.key, secret.keys),
                hint=f"Add it with `stackledger secret update {secret.name} --{key}=@file`.",
            )
        return secret.id


class State(NamedTuple):
    """The secrets in the boundary, and what components did with references to them."""

    secrets: Secrets = Secrets()
    references: Chain[ReferenceEvent] | None = None

    def users(self, secret_id: str, keys: Collection[str]) -> list[str]:
        """Return the ids of the components that refer to any of these keys of the secret."""
        name = folded(self.secrets.by_id[secret_id].name)
        settled: set[str] = set()
        using = []
        for event in newest_first(self.references):
            if event.component_id in settled:
                continue
            settled.add(event.component_id)
            if not isinstance(event, ComponentDeleted) and any(
                folded(reference.name) == name and reference.key in keys
                for reference in secret_references(event.configuration)
            ):
                using.append(event.component_id)
        return using


def secret_item(secret_id: str) -> Item:
    """Return the item for a secret's own events."""
    return item(secret_tag(secret_id), *get_args(SecretEvent))


def _name_item(name: str) -> Item:
    return item(secret_name_tag(registry_name(name, "secret")), SecretCreated, SecretRenamed, SecretDeleted)


def _references_item(secret_id: str) -> Item:
    return item(references_tag(secret_id), *get_args(ReferenceEvent))


def boundary(command: SecretCommand) -> Boundary:
    """Depend on the secret, on the name it takes, and on the references to it where they forbid the change."""
    match command:
        case CreateSecret():
            return (_name_item(command.name),)
        case UpdateSecret(remove=()):
            return (secret_item(command.secret_id),)
        case UpdateSecret() | DeleteSecret():
            return (secret_item(command.secret_id), _references_item(command.secret_id))
        case RenameSecret():
            return (secret_item(command.secret_id), _name_item(command.name), _references_item(command.secret_id))
        case _:
            assert_never(command)


def decide(command: SecretCommand, state: State) -> list[Event]:
    """Decide a command about a secret."""
    match command:
        case CreateSecret():
            return _create(command, state)
        case UpdateSecret():
            return _update(command, state)
        case RenameSecret():
            return _rename(command, state)
        case DeleteSecret():
            secret = state.secrets.get(command.secret_id)
            _refuse_while_used(state, secret, secret.keys, "be deleted")
            return [SecretDeleted(secret_id=secret.id, name=secret.name)]
        case _:
            assert_never(command)


def _create(command: CreateSecret, state: State) -> list[Event]:
    name = registry_name(command.name, "secret")
    _refuse_taken(state, name, command.secret_id)
    return [SecretCreated(secret_id=command.secret_id, name=name, keys=_keys(name, command.keys))]


def _update(command: UpdateSecret, state: State) -> list[Event]:
    secret = state.secrets.get(command.secret_id)
    for key in command.remove:
        if key not in secret.keys:
            raise NotFound(f"The secret {secret.name!r} has no key {quoted(key)}.", near=near_names(key, secret.keys))
        if key in command.put:
            raise InvalidValue(f"The key {key!r} cannot get a value and be removed at once.")
    _refuse_while_used(state, secret, command.remove, f"lose {listed(command.remove, {})}")
    if not command.put and not command.remove:
        return []
    keys = _keys(secret.name, [key for key in (*secret.keys, *command.put) if key not in command.remove])
    changed = tuple(dict.fromkeys(command.put))
    return [SecretUpdated(secret_id=secret.id, keys=keys, previous_keys=secret.keys, changed=changed)]


def _rename(command: RenameSecret, state: State) -> list[Event]:
    secret = state.secrets.get(command.secret_id)
    name = registry_name(command.name, "secret")
    if name == secret.name:
        return []
    _refuse_taken(state, name, secret.id)
    # Configurations refer to it by name ignoring case, so another spelling of the same name is no danger.
    if folded(name) != folded(secret.name):
        _refuse_while_used(state, secret, secret.keys, "be renamed")
    return [SecretRenamed(secret_id=secret.id, name=name, previous_name=secret.name)]


def _keys(name: str, keys: Collection[str]) -> tuple[str, ...]:
    if not keys:
        raise InvalidValue(f"The secret {name!r} would have no key.", hint="Give at least one: --key=@file.")
    for key in keys:
        if not _KEY.fullmatch(key):
            raise InvalidName(
                f"{quoted(key[:128])} cannot be a key of the secret {name!r}.",
                hint="Keys have 1 to 128 characters: letters from a to z, digits, '_' and '-'.",
            )
    return tuple(dict.fromkeys(keys))


def _refuse_taken(state: State, name: str, secret_id: str) -> None:
    holder = state.secrets.holders.get(folded(name), secret_id)
    if holder != secret_id:
        raise AlreadyExists(
            f"There is a secret named {name!r} already (id {holder}).",
            hint=f"Choose another name, or change that one with `stackledger secret update {name}`.",
        )


def _refuse_while_used(state: State, secret: Secret, keys: Collection[str], what: str) -> None:
    users = state.users(secret.id, keys)
    if users:
        raise InUse(
            f"The secret {secret.name!r} cannot {what}, because {counted(len(users), 'component')}"
            f" refer{'s' if len(users) == 1 else ''} to it:",
            others=users,
            hint="Update their configurations first.",
        )


def evolve_secrets(secrets: Secrets, event: SecretEvent) -> Secrets:
    """Fold one event about a secret."""
    by_id, holders = secrets.by_id, secrets.holders
    known = by_id.get(event.secret_id)
    match event:
        case SecretCreated():
            by_id = by_id.put(event.secret_id, Secret(id=event.secret_id, name=event.name, keys=event.keys))
            holders = holders.put(folded(event.name), event.secret_id)
        case SecretUpdated():
            if known:
                by_id = by_id.put(known.id, known._replace(keys=event.keys))
        case SecretRenamed():
            if known:
                by_id = by_id.put(known.id, known._replace(name=event.name))
            holders = holders.without(folded(event.previous_name)).put(folded(event.name), event.secret_id)
        case SecretDeleted():
            if known:
                by_id = by_id.put(known.id, known._replace(deleted=True))
            holders = holders.without(folded(event.name))
        case _:
            assert_never(event)
    return Secrets(by_id=by_id, holders=holders)


def evolve(state: State, event: Event) -> State:
    """Fold one event."""
    if isinstance(event, SecretEvent):
        return state._replace(secrets=evolve_secrets(state.secrets, event))
    if isinstance(event, ReferenceEvent):
        return state._replace(references=Chain(event, state.references))
    return state


DECIDER: Decider[SecretCommand, State] = Decider(initial=State(), boundary=boundary, decide=decide, evolve=evolve)
