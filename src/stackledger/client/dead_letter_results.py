"""What queries about dead letters return, and the JSON that is printed of it."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from typing import Any, NamedTuple


class DeadLetter(NamedTuple):
    """A message of a fleet that nobody could do anything with, and that was parked for people to look at.

    `id` is the SHA-256 of its bytes, `copies` how often these are there. All else is what is said, by the message or
    by whoever parked it: `came_from` is the queue that it was in, `key` the name, or else the id, of the key that it
    names. It is None where nothing is said, or nothing that can be read. `run` is the name of a run that the log has.
    """

    id: str
    reason: str
    kind: str | None
    key: str | None
    came_from: str | None
    parked: str | None
    run: str | None
    run_id: str | None
    step: str | None
    attempt: int | None
    size: int
    copies: int

    def to_json(self) -> dict[str, Any]:
        """Return the dead letter as JSON."""
        return self._asdict()


class OpenedDeadLetter(NamedTuple):
    """A dead letter with what is in it: its `message`, where it can be read, and its bytes in hexadecimal."""

    letter: DeadLetter
    message: Any
    bytes: str

    def to_json(self) -> dict[str, Any]:
        """Return the dead letter as JSON."""
        return self.letter.to_json() | {"message": self.message, "bytes": self.bytes}
