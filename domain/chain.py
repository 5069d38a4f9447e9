"""A growing sequence that shares its past: what is folded from very many events without copying at each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Link = TypeVar("Link")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Chain(Generic[Link]):
    """The newest link and all the older ones. None is the empty chain."""

    newest: Link
    older: Chain[Link] | None


def newest_first(chain: Chain[Link] | None) -> Iterator[Link]:
    """Yield the links of a chain, the newest first."""
    while chain is not None:
        yield chain.newest
        chain = chain.older
