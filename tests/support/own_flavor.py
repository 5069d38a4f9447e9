"""A flavor of one's own, as a user writes it beside their pipelines."""

from __future__ import annotations

from pathlib import Path

_SOURCE = '''
from stackledger.domain.component_types import ComponentType
from stackledger.flavors.flavor import Flavor, FlavorConfig, secret_field


class Config(FlavorConfig):
    url: str
    token: str | None = secret_field(None, description="who tells")


class Mine(Flavor):
    """tells people"""

    name = "mine"
    type = ComponentType.ALERTER
    config_class = Config
    implementation = "{module}:Mine"
'''


def write_alerter_flavor(folder: Path, module: str) -> str:
    """Write a module with an alerter flavor `mine` and return the dotted name of its class.

    Tests in one process share what was imported, so each gives its module a name of its own.
    """
    (folder / f"{module}.py").write_text(_SOURCE.format(module=module), encoding="utf-8")
    return f"{module}.Mine"
