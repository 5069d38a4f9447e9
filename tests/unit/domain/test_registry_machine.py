from __future__ import annotations

from hypothesis import settings

from tests.support.registry_machine import Registry

TestRegistry = Registry.TestCase
TestRegistry.settings = settings(stateful_step_count=50)
