"""Flavors of one's own, as a user writes them beside their pipelines."""

from __future__ import annotations

from pathlib import Path

from stackledger.domain.component_types import ComponentType

_SOURCE = """
from stackledger.domain.component_types import ComponentType
from stackledger.flavors.flavor import Flavor, FlavorConfig, secret_field


class Config(FlavorConfig):
    url: str
    token: str | None = secret_field(None, description="who tells")
    options: dict[str, int] | None = None
"""

_FLAVOR = '''

class {name}(Flavor):
    """tells people"""

    name = "mine"
    type = ComponentType.{kind}
    config_class = Config
    implementation = "{module}:{name}"
    provisioning = "Mine of the type {kind} waits for nobody."
'''


def write_own_flavors(folder: Path, module: str) -> dict[ComponentType, str]:
    """Write a module with a flavor `mine` of each type of component and return the dotted names of their classes.

    Tests in one process share what was imported, so each gives its module a name of its own.
    """
    names = {kind: f"Mine{kind.name.title().replace('_', '')}" for kind in ComponentType}
    flavors = "".join(_FLAVOR.format(name=name, kind=kind.name, module=module) for kind, name in names.items())
    (folder / f"{module}.py").write_text(_SOURCE + flavors, encoding="utf-8")
    return {kind: f"{module}.{name}" for kind, name in names.items()}


def write_alerter_flavor(folder: Path, module: str) -> str:
    """Write a module as `write_own_flavors` does and return the dotted name of the alerter flavor."""
    return write_own_flavors(folder, module)[ComponentType.ALERTER]
