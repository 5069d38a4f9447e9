"""Random commands through the real handler, and views read in between: they are what a fold from zero makes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis.stateful import rule

from stackledger.domain.component_types import ComponentType
from stackledger.eventlog.stored import StoredEvent
from stackledger.projections.engine import View, Views
from stackledger.projections.listing import MAX_SIZE, Asked
from stackledger.projections.registry_queries import components, secrets, stacks
from tests.support.memory_log import MemoryReader
from tests.support.registry_machine import Registry
from tests.support.views import dumped, folded_in_memory


class RegistryWithViews(Registry):
    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "views.db"
        self.reader = MemoryReader()
        self.views = Views(self.path, self.reader, lambda _: None)

    @rule()
    def read_the_views(self) -> None:
        self.reader.events = [
            StoredEvent(each.position, each.event.type, tuple(each.event.tags), each.event.data)
            for each in self.recorder.read()
        ]
        everything = Asked(size=MAX_SIZE)

        def ids(view: View) -> set[str]:
            return {
                *(row.id for row in stacks(view, everything).items),
                *(row.id for row in secrets(view, everything).items),
                *(row.id for kind in ComponentType for row in components(view, kind, everything).items),
            }

        assert self.views.read(ids) == {*self.model.stacks, *self.model.secrets, *self.model.components}

    def teardown(self) -> None:
        try:
            self.read_the_views()
            assert dumped(self.path) == folded_in_memory(self.reader.events)
        finally:
            self.folder.cleanup()


TestRegistryWithViews = RegistryWithViews.TestCase
TestRegistryWithViews.settings = settings(stateful_step_count=30)
