"""What looking for garbage returns, and the JSON that is printed of it."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from typing import Any, Literal, NamedTuple

Action = Literal["keep", "condemn", "wait", "collect", "remove", "put back"]
"""What pruning does with something in a store that nothing in the log refers to.

`keep`: it is too young. `condemn`: it goes, unless something refers to it before it is due. `wait`: it is not due yet.
`collect`: it is deleted. `remove`: it is the leaving of a writer that died, or of pruning that was interrupted. `put
back`: pruning had set it aside, and was interrupted before it was decided on.
"""


class Garbage(NamedTuple):
    """Something in an artifact store that nothing in the log refers to, and what pruning does with it.

    `digest` is the name of an unfinished upload where it is none. `age` is in seconds, by the store's clock; `due` is
    from when on it may be collected, None where it was not condemned.
    """

    digest: str
    size: int | None
    age: int
    action: Action
    due: str | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return self._asdict()
