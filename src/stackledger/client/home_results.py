"""What queries about everything in a home but stacks, components, runs and the log return, and its JSON."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from typing import Any, NamedTuple


class Secret(NamedTuple):
    """A secret: the names of its keys, and its values where they were asked for, which are not shown by accident."""

    id: str
    name: str
    keys: list[str]
    owner: str
    secret_values: dict[str, str]

    def __repr__(self) -> str:
        """Return the secret without its values."""
        return f"Secret(id={self.id!r}, name={self.name!r}, keys={self.keys!r}, owner={self.owner!r})"

    def to_json(self) -> dict[str, Any]:
        """Return the secret as JSON, without its values."""
        return {"id": self.id, "name": self.name, "keys": self.keys, "owner": self.owner}


class Repository(NamedTuple):
    """A folder with an active stack of its own; `files` counts those of the template that it was made with."""

    id: str
    path: str
    active_stack: str
    files: int

    def to_json(self) -> dict[str, Any]:
        """Return the repository as JSON."""
        return self._asdict()


class Flavor(NamedTuple):
    """A flavor of the catalogue, or one that users registered."""

    name: str
    type: str
    source: str
    custom: bool
    summary: str

    def to_json(self) -> dict[str, Any]:
        """Return the flavor as JSON."""
        return self._asdict()


class DescribedFlavor(NamedTuple):
    """A flavor with what only its class knows: the `fields` of its configuration, and what `up` and `down` say."""

    name: str
    type: str
    source: str
    custom: bool
    summary: str
    fields: list[dict[str, Any]]
    provisioning: str

    def to_json(self) -> dict[str, Any]:
        """Return the flavor as JSON."""
        return self._asdict()


class Integration(NamedTuple):
    """Libraries that Stackledger works with where they are installed."""

    name: str
    summary: str
    requirements: list[str]
    installed: bool

    def to_json(self) -> dict[str, Any]:
        """Return the integration as JSON."""
        return self._asdict()


class Projection(NamedTuple):
    """How far a projection has got; `lag` counts positions behind the log, `skipped` events of unknown types."""

    name: str
    version: int
    position: int
    lag: int
    skipped: int
    checked_at: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the projection as JSON."""
        return self._asdict()
