"""Which artifact store belongs with which metadata store.

A pairing arises when one stack has both stores, outlives the stack, and ends when it is decoupled or when
either store is deleted. There are no commands of its own: registering and deleting decide about it.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
from typing import Literal, NamedTuple, TypeAlias, assert_never

from stackledger.domain.errors import PairingConflict
from stackledger.domain.event import Item, item
from stackledger.domain.events.components import StoresPaired, StoresUnpaired, pairing_tag

PairingEvent: TypeAlias = StoresPaired | StoresUnpaired


class Pairings(NamedTuple):
    """The pairs (artifact store id, metadata store id) of the stores in the boundary."""

    pairs: frozenset[tuple[str, str]] = frozenset()

    def of(self, store_id: str) -> list[tuple[str, str]]:
        """Return the pairs that hold this store: one, or none."""
        return [pair for pair in self.pairs if store_id in pair]


def pairing_item(store_id: str) -> Item:
    """Return the item for all that pairs this store or ends its pairing."""
    return item(pairing_tag(store_id), StoresPaired, StoresUnpaired)


def unpaired(pairings: Pairings, store_id: str, because: Literal["decoupled", "deleted"]) -> list[StoresUnpaired]:
    """Return the end of the store's pairing, if it has one."""
    return [
        StoresUnpaired(artifact_store_id=artifact_store_id, metadata_store_id=metadata_store_id, because=because)
        for artifact_store_id, metadata_store_id in pairings.of(store_id)
    ]


def paired(
    pairings: Pairings, artifact_store: tuple[str, str], metadata_store: tuple[str, str], *, decouple: bool
) -> list[PairingEvent]:
    """Return what pairs two stores, each given as id and name, or raise PairingConflict.

    With `decouple` the pairings that stand in the way end first.
    """
    wanted = (artifact_store[0], metadata_store[0])
    if wanted in pairings.pairs:
        return []
    ended: list[PairingEvent] = []
    for words, (store_id, name), other in (
        ("artifact store", artifact_store, "metadata store"),
        ("metadata store", metadata_store, "artifact store"),
    ):
        old = unpaired(pairings, store_id, "decoupled")
        if old and not decouple:
            raise PairingConflict(
                f"Nothing was changed, because the {words} {name!r} is already paired with the {other}",
                others=[each for pair in pairings.of(store_id) for each in pair if each != store_id],
                hint=f"Use that {other}, or give `--decouple-stores` to end the old pairing.",
            )
        ended.extend(old)
    return [*ended, StoresPaired(artifact_store_id=wanted[0], metadata_store_id=wanted[1])]


def evolve_pairings(pairings: Pairings, event: PairingEvent) -> Pairings:
    """Fold one event about a pairing."""
    pair = {(event.artifact_store_id, event.metadata_store_id)}
    match event:
        case StoresPaired():
            return Pairings(pairings.pairs | pair)
        case StoresUnpaired():
            return Pairings(pairings.pairs - pair)
        case _:
            assert_never(event)
