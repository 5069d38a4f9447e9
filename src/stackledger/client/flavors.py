"""The client's part about flavors, and about the libraries behind them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from stackledger.client.components import ComponentClient, registered_flavors
from stackledger.client.results import Flavor, Integration
from stackledger.domain.component_types import MEANINGS, ComponentType
from stackledger.domain.errors import StackledgerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackledger.flavors.catalogue import FlavorEntry


class FlavorClient(ComponentClient):
    """Flavors: the catalogue, and those that users add."""

    def list_flavors(self, component_type: str | None = None) -> list[Flavor]:
        """Return the flavors of a type, or of all types, without their fields."""
        from stackledger.flavors import catalogue

        kind = ComponentType(component_type) if component_type else None
        return [_flavor(entry, []) for entry in catalogue.entries(kind, self._read(registered_flavors))]

    def get_flavor(self, component_type: str, name: str) -> Flavor:
        """Return a flavor and the fields of its configuration."""
        from stackledger.flavors.validation import describe_fields

        entry, loaded = self._flavor(ComponentType(component_type), name)
        return _flavor(entry, [asdict(field) for field in describe_fields(loaded)])

    def register_flavor(self, component_type: str, source: str) -> Flavor:
        """Add a flavor of one's own: `source` is the dotted name of a class that this Python can import."""
        from stackledger.domain import flavors
        from stackledger.domain.errors import FlavorError
        from stackledger.flavors import catalogue

        kind = ComponentType(component_type)
        loaded = catalogue.custom_flavor(source, self._search_path())
        if loaded.type is not kind:
            raise FlavorError(
                f"{source!r} is a flavor of the type {loaded.type.words}, not {kind.words}.",
                hint=f"Register it with `stackledger {loaded.type.group} flavor register {source}`.",
            )
        known = frozenset(entry.name for entry in catalogue.entries(kind))
        command = flavors.RegisterFlavor(type=kind, name=loaded.name, source=source, catalogue=known)
        self._change(flavors.DECIDER, command)
        return self.get_flavor(kind, loaded.name)

    def delete_flavor(self, component_type: str, name: str) -> None:
        """Take a flavor of one's own away; no component may be of it."""
        from stackledger.domain import flavors
        from stackledger.flavors import catalogue
        from stackledger.projections.registry_queries import components

        kind = ComponentType(component_type)
        entry = catalogue.find(kind, name, self._read(registered_flavors))
        of_it = self._read(lambda view: components(view, kind.value, filters=self._filters({"flavor": entry.name})))
        command = flavors.DeleteFlavor(
            type=kind, name=entry.name, names={component.id: component.name for component in of_it.items}
        )
        self._change(flavors.DECIDER, command)

    def list_integrations(self) -> list[Integration]:
        """Return the libraries behind flavors and materializers, and whether they are installed."""
        from stackledger.flavors import integrations

        return [
            Integration(each.name, each.summary, list(each.requirements), each.installed)
            for each in integrations.integrations()
        ]

    def integration_requirements(self, names: Sequence[str] | None = None) -> list[str]:
        """Return the packages that integrations need; those of all if none is named."""
        from stackledger.flavors import integrations

        chosen = names or [integration.name for integration in integrations.integrations()]
        return list(dict.fromkeys(package for name in chosen for package in integrations.requirements(name)))

    def explain(self, component_type: str) -> str:
        """Return what components of a type are for."""
        return MEANINGS[ComponentType(component_type)]

    def install_packages(self, packages: Sequence[str]) -> None:
        """Install packages into this Python with pip."""
        _pip("install", *packages)

    def uninstall_packages(self, packages: Sequence[str]) -> None:
        """Remove packages from this Python with pip."""
        from packaging.requirements import Requirement

        _pip("uninstall", "--yes", *(Requirement(package).name for package in packages))


def _flavor(entry: FlavorEntry, fields: list[dict[str, object]]) -> Flavor:
    return Flavor(
        name=entry.name,
        type=entry.type.value,
        source=entry.source,
        custom=entry.custom,
        summary=entry.summary,
        fields=fields,
    )


def _pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], check=False)  # noqa: S603 - our own arguments
    if done.returncode != 0:
        raise StackledgerError(f"pip {arguments[0]} failed with exit status {done.returncode}.")
