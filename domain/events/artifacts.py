"""Events about objects in artifact stores that nothing in the log refers to."""

from __future__ import annotations

from typing import ClassVar

from stackledger.domain.event import Event
from stackledger.domain.events.runs import Kept

COLLECTIONS_TAG = "collections:all"
"""The tag on every collection: whoever names objects in an event depends on what was collected meanwhile."""


def collected_as_tag(collection: str) -> str:
    """Return the tag on the event of this collection."""
    return f"collected-as:{collection}"


def garbage_tag(store_id: str, digest: str) -> str:
    """Return the tag on what was said about these bytes of a store while nothing referred to them."""
    return f"garbage:{store_id}/{digest}"


class ArtifactsCondemned(Event):
    """Nothing in the log refers to these objects of a store: unless something does by then, they go.

    They may be collected from `due` on, in microseconds since 1970 UTC.
    """

    TYPE: ClassVar[str] = "artifact.condemned/1"

    store_id: str
    objects: tuple[Kept, ...]
    due: int

    def tags(self) -> tuple[str, ...]:
        """Find it by store and digest."""
        return tuple(garbage_tag(self.store_id, each.digest) for each in self.objects)


class ArtifactsCollected(Event):
    """These objects were set aside as `collection`, nothing referred to them, and nothing can refer to them any more.

    An object of the same bytes that is there later was written anew, by an attempt or a run that began later.
    """

    TYPE: ClassVar[str] = "artifact.collected/1"

    store_id: str
    collection: str
    objects: tuple[Kept, ...]

    def tags(self) -> tuple[str, ...]:
        """Find it with all collections, by its id, and by store and digest."""
        return (
            COLLECTIONS_TAG,
            collected_as_tag(self.collection),
            *(garbage_tag(self.store_id, each.digest) for each in self.objects),
        )
