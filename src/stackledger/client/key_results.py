"""What queries about the fleet's keys return, and its JSON."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from typing import Any, NamedTuple


class Key(NamedTuple):
    """A key, its public half: `status` is `created` before it was enrolled, then `enrolled`, at last `revoked`.

    `enrolled` is when, as ISO 8601 in UTC, `owner` by whom; `here` says that its private half is in this home.
    """

    id: str
    name: str
    role: str
    public: str
    queues: list[str]
    status: str
    enrolled: str | None
    owner: str | None
    here: bool

    @property
    def line(self) -> str:
        """What whoever enrolls the key is given."""
        return f"{self.role}:{self.name}:{self.public}"

    def to_json(self) -> dict[str, Any]:
        """Return the key as JSON."""
        return self._asdict()


class Trust(NamedTuple):
    """The newest list of coordinators that the root key signed; it is good until `expires`, ISO 8601 in UTC."""

    root: str
    number: int
    expires: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the list as JSON."""
        return self._asdict()
