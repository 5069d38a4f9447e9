"""Events about components, flavors of one's own, secrets, and the pairing of stores."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import JsonValue

from stackledger.domain.component_types import ComponentType
from stackledger.domain.event import Event
from stackledger.domain.names import folded


def component_tag(component_id: str) -> str:
    """Return the tag on the component's own events, and on nothing else."""
    return f"component:{component_id}"


def component_name_tag(component_type: ComponentType, name: str) -> str:
    """Return the tag on every event that takes or gives back this name."""
    return f"component-name:{component_type}/{folded(name)}"


def references_tag(secret_id: str) -> str:
    """Return the tag on every event that makes or ends a component's reference to the secret."""
    return f"references:{secret_id}"


def flavor_tag(component_type: ComponentType, name: str) -> str:
    """Return the tag on the own events of a flavor that users registered."""
    return f"flavor:{component_type}/{folded(name)}"


def flavored_tag(component_type: ComponentType, name: str) -> str:
    """Return the tag on the events that begin or end a component of a flavor that users registered."""
    return f"flavored:{component_type}/{folded(name)}"


def secret_tag(secret_id: str) -> str:
    """Return the tag on the secret's own events."""
    return f"secret:{secret_id}"


def secret_name_tag(name: str) -> str:
    """Return the tag on every event that takes or gives back this name."""
    return f"secret-name:{folded(name)}"


def pairing_tag(component_id: str) -> str:
    """Return the tag on every event that pairs this store with another or ends the pairing."""
    return f"pairing:{component_id}"


class ComponentRegistered(Event):
    """A component came to be: a configured instance of a flavor. Its owner is the event's actor.

    `custom_flavor` says that users registered the flavor; `secrets` are the ids of the secrets that the
    configuration refers to, `built_in` marks the components of the default stack.
    """

    TYPE: ClassVar[str] = "component.registered/1"

    component_id: str
    type: ComponentType
    name: str
    flavor: str
    custom_flavor: bool
    configuration: dict[str, JsonValue]
    labels: dict[str, str]
    shared: bool
    built_in: bool
    secrets: tuple[str, ...]

    def tags(self) -> tuple[str, ...]:
        """Find it by component, name, secrets and, if users registered it, flavor."""
        flavored = (flavored_tag(self.type, self.flavor),) if self.custom_flavor else ()
        return (
            component_tag(self.component_id),
            component_name_tag(self.type, self.name),
            *flavored,
            *map(references_tag, self.secrets),
        )


class ComponentUpdated(Event):
    """Configuration or labels changed; both are given whole, as they were and as they are."""

    TYPE: ClassVar[str] = "component.updated/1"

    component_id: str
    configuration: dict[str, JsonValue]
    labels: dict[str, str]
    secrets: tuple[str, ...]
    previous_configuration: dict[str, JsonValue]
    previous_labels: dict[str, str]
    previous_secrets: tuple[str, ...]

    def tags(self) -> tuple[str, ...]:
        """Find it by component and by the secrets referred to before or after."""
        return (
            component_tag(self.component_id),
            *map(references_tag, {*self.secrets, *self.previous_secrets}),
        )


class ComponentRenamed(Event):
    """A component has another name and the same id."""

    TYPE: ClassVar[str] = "component.renamed/1"

    component_id: str
    type: ComponentType
    name: str
    previous_name: str

    def tags(self) -> tuple[str, ...]:
        """Find it by component and by both names."""
        return (
            component_tag(self.component_id),
            component_name_tag(self.type, self.name),
            component_name_tag(self.type, self.previous_name),
        )


class ComponentShared(Event):
    """A component was marked as shared."""

    TYPE: ClassVar[str] = "component.shared/1"

    component_id: str

    def tags(self) -> tuple[str, ...]:
        """Find it by component."""
        return (component_tag(self.component_id),)


class ComponentUnshared(Event):
    """A component was marked as private."""

    TYPE: ClassVar[str] = "component.unshared/1"

    component_id: str

    def tags(self) -> tuple[str, ...]:
        """Find it by component."""
        return (component_tag(self.component_id),)


class ComponentDeleted(Event):
    """A component is gone; its name is free again."""

    TYPE: ClassVar[str] = "component.deleted/1"

    component_id: str
    type: ComponentType
    name: str
    flavor: str
    custom_flavor: bool
    secrets: tuple[str, ...]

    def tags(self) -> tuple[str, ...]:
        """Find it by all that its registration and updates were found by."""
        flavored = (flavored_tag(self.type, self.flavor),) if self.custom_flavor else ()
        return (
            component_tag(self.component_id),
            component_name_tag(self.type, self.name),
            *flavored,
            *map(references_tag, self.secrets),
        )


class FlavorRegistered(Event):
    """A user registered a flavor of their own; `source` is the dotted path of its class."""

    TYPE: ClassVar[str] = "flavor.registered/1"

    type: ComponentType
    name: str
    source: str

    def tags(self) -> tuple[str, ...]:
        """Find it by type and name."""
        return (flavor_tag(self.type, self.name),)


class FlavorDeleted(Event):
    """A user took a flavor of their own away."""

    TYPE: ClassVar[str] = "flavor.deleted/1"

    type: ComponentType
    name: str

    def tags(self) -> tuple[str, ...]:
        """Find it by type and name."""
        return (flavor_tag(self.type, self.name),)


class SecretCreated(Event):
    """A secret came to be. The log knows the names of its keys; the values are kept outside."""

    TYPE: ClassVar[str] = "secret.created/1"

    secret_id: str
    name: str
    keys: tuple[str, ...]

    def tags(self) -> tuple[str, ...]:
        """Find it by secret and name."""
        return (secret_tag(self.secret_id), secret_name_tag(self.name))


class SecretUpdated(Event):
    """Keys came, went or got new values; `changed` names those whose value is new."""

    TYPE: ClassVar[str] = "secret.updated/1"

    secret_id: str
    keys: tuple[str, ...]
    previous_keys: tuple[str, ...]
    changed: tuple[str, ...]

    def tags(self) -> tuple[str, ...]:
        """Find it by secret."""
        return (secret_tag(self.secret_id),)


class SecretRenamed(Event):
    """A secret has another name and the same id."""

    TYPE: ClassVar[str] = "secret.renamed/1"

    secret_id: str
    name: str
    previous_name: str

    def tags(self) -> tuple[str, ...]:
        """Find it by secret and by both names."""
        return (secret_tag(self.secret_id), secret_name_tag(self.name), secret_name_tag(self.previous_name))


class SecretDeleted(Event):
    """A secret is gone; its name is free again."""

    TYPE: ClassVar[str] = "secret.deleted/1"

    secret_id: str
    name: str

    def tags(self) -> tuple[str, ...]:
        """Find it by secret and name."""
        return (secret_tag(self.secret_id), secret_name_tag(self.name))


class StoresPaired(Event):
    """An artifact store and a metadata store belong together from now on."""

    TYPE: ClassVar[str] = "stores.paired/1"

    artifact_store_id: str
    metadata_store_id: str

    def tags(self) -> tuple[str, ...]:
        """Find it by either store."""
        return (pairing_tag(self.artifact_store_id), pairing_tag(self.metadata_store_id))


class StoresUnpaired(Event):
    """A pairing ended, by wish or because one of the stores was deleted."""

    TYPE: ClassVar[str] = "stores.unpaired/1"

    artifact_store_id: str
    metadata_store_id: str
    because: Literal["decoupled", "deleted"]

    def tags(self) -> tuple[str, ...]:
        """Find it by either store."""
        return (pairing_tag(self.artifact_store_id), pairing_tag(self.metadata_store_id))
