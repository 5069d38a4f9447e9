"""A mapping that never changes: what is folded from very many events without copying at each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class _Value(Enum):
    MISSING = "missing"


class PersistentMap(Mapping[Key, Value]):
    """A mapping whose changes are other mappings: `put` and `without` take the same time however much it holds.

    That is so for the newest of a line, which has the one table. An earlier one knows what the next made different;
    it is copied when somebody looks at it again.
    """

    __slots__ = ("_newer", "_table", "_undo")

    def __init__(self) -> None:
        self._table: dict[Key, Value] = {}
        self._newer: PersistentMap[Key, Value] | None = None
        self._undo: tuple[Key, Value | _Value] | None = None

    def put(self, key: Key, value: Value) -> PersistentMap[Key, Value]:
        """Return this mapping with another value under the key."""
        return self._next(key, value)

    def without(self, key: Key) -> PersistentMap[Key, Value]:
        """Return this mapping without the key, which need not be there."""
        return self._next(key, _Value.MISSING) if key in self else self

    def __getitem__(self, key: Key) -> Value:
        """Return the value under the key."""
        return self._own()[key]

    def __iter__(self) -> Iterator[Key]:
        """Iterate over the keys."""
        return iter(self._own())

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._own())

    def _next(self, key: Key, value: Value | _Value) -> PersistentMap[Key, Value]:
        table, newer = self._own(), PersistentMap[Key, Value]()
        # An empty one gives nothing away: all folds, of all threads, begin with the same.
        if table:
            self._undo, self._newer, self._table = (key, table.get(key, _Value.MISSING)), newer, {}
            newer._table = table
        _set(newer._table, key, value)
        return newer

    def _own(self) -> dict[Key, Value]:
        if self._newer is not None:
            undone: list[tuple[Key, Value | _Value]] = []
            at: PersistentMap[Key, Value] = self
            while at._newer is not None and at._undo is not None:
                undone.append(at._undo)
                at = at._newer
            table = dict(at._table)  # noqa: SLF001 - a mapping itself would be copied a key at a time
            for key, value in reversed(undone):
                _set(table, key, value)
            self._table, self._newer, self._undo = table, None, None
        return self._table


def _set(table: dict[Key, Value], key: Key, value: Value | _Value) -> None:
    if isinstance(value, _Value):
        table.pop(key, None)
    else:
        table[key] = value
