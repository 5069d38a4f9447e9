from __future__ import annotations

import inspect

from stackledger.domain.event import Event
from stackledger.domain.events import EVENT_TYPES, artifacts, components, fleet, log, runs, stacks


def test_every_event_is_found_by_its_own_type_name() -> None:
    assert {name: event_type.TYPE for name, event_type in EVENT_TYPES.items()} == {name: name for name in EVENT_TYPES}


def test_no_event_is_left_out() -> None:
    defined = {
        value
        for module in (artifacts, components, fleet, log, runs, stacks)
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Event) and value is not Event
    }
    assert set(EVENT_TYPES.values()) == defined
