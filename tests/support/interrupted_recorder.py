"""A recorder at whose appends something happens: others are first, or the answer is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self, TypeAlias

from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBReadResponse, DCBRecorder, DCBSubscription

from stackledger.domain.errors import AppendUnknown

Append: TypeAlias = Callable[[], int]
Fate: TypeAlias = Callable[[Append], int]


class InterruptedRecorder(DCBRecorder):
    """Each append meets the next of `fates`, and goes well when there are no more. `reads` are the reads' `after`."""

    def __init__(self, inner: DCBRecorder, *fates: Fate) -> None:
        self.inner = inner
        self.fates = list(fates)
        self.reads: list[int | None] = []

    def read(
        self, query: DCBQuery | None = None, *, after: int | None = None, limit: int | None = None
    ) -> DCBReadResponse:
        self.reads.append(after)
        return self.inner.read(query, after=after, limit=limit)

    def append(self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None) -> int:
        def append() -> int:
            return self.inner.append(events, condition)

        return self.fates.pop(0)(append) if self.fates else append()

    def subscribe(self, query: DCBQuery | None = None, *, after: int | None = None) -> DCBSubscription[Self]:
        raise NotImplementedError


def after(change: Callable[[], object]) -> Fate:
    """Somebody makes a change between the decision and the append."""

    def fate(append: Append) -> int:
        change()
        return append()

    return fate


def never_done(_append: Append) -> int:
    """The append does not happen, and nobody says so."""
    raise AppendUnknown("The connection ended.")


def answer_lost(append: Append) -> int:
    """The append happens, and nobody says so."""
    append()
    raise AppendUnknown("The connection ended.")
