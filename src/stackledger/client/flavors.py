"""The client's part about flavors, and about the libraries behind them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from stackledger.client.components import ComponentClient, registered_flavors
from stackledger.domain.component_types import MEANINGS, ComponentType
from stackledger.domain.errors import BuiltIn, StackledgerError
from stackledger.domain.names import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackledger.client.home_results import Flavor, Integration
    from stackledger.flavors.catalogue import FlavorEntry


_STDERR = 2


class FlavorClient(ComponentClient):
    """Flavors: the catalogue, and those that users add."""

    def list_flavors(self, component_type: str | None = None, *, as_of: str | int | None = None) -> list[Flavor]:
        """Return the flavors of a type, or of all types, without what only their classes know."""
        from stackledger.flavors import catalogue

        kind = ComponentType(component_type) if component_type else None
        return [_flavor(entry) for entry in catalogue.entries(kind, self._read(registered_flavors, as_of))]

    def find_flavor(self, component_type: str, name: str) -> Flavor:
        """Return a flavor without what only its class knows, which may be gone."""
        from stackledger.flavors import catalogue

        return _flavor(catalogue.find(ComponentType(component_type), name, self._read(registered_flavors)))

    def get_flavor(self, component_type: str, name: str, *, as_of: str | int | None = None) -> Flavor:
        """Return a flavor, the fields of its configuration, and what `up` and `down` say of its components."""
        from stackledger.flavors.validation import describe_fields

        entry, loaded = self._flavor(ComponentType(component_type), name, as_of=as_of)
        return _flavor(entry)._replace(
            fields=[field._asdict() for field in describe_fields(loaded)], provisioning=loaded.provisioning
        )

    def register_flavor(self, component_type: str, source: str) -> Flavor:
        """Add a flavor of one's own: `source` is the dotted name of a class that this Python can import."""
        from stackledger.domain import flavors
        from stackledger.domain.errors import FlavorError
        from stackledger.flavors import catalogue

        kind = ComponentType(component_type)
        loaded = catalogue.custom_flavor(source, self._search_path())
        if loaded.type is not kind:
            raise FlavorError(
                f"{quoted(source)} is a flavor of the type {loaded.type.words}, not {kind.words}.",
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

        kind = ComponentType(component_type)
        entry = catalogue.find(kind, name, self._read(registered_flavors))
        if not entry.custom:
            raise BuiltIn(
                f"The {kind.words} flavor {entry.name!r} comes with an installed package, so it cannot be deleted.",
                hint="Only flavors that were registered can: `flavor list` ticks them as CUSTOM.",
            )
        self._change(flavors.DECIDER, flavors.DeleteFlavor(type=kind, name=entry.name))

    def list_integrations(self) -> list[Integration]:
        """Return the libraries behind flavors and materializers, and whether they are installed."""
        from stackledger.client.home_results import Integration
        from stackledger.flavors import integrations

        return [
            Integration(each.name, each.summary, list(each.requirements), each.installed)
            for each in integrations.integrations()
        ]

    def integration_requirements(self, names: Sequence[str] | None = None) -> list[str]:
        """Return the packages that integrations need; those of all if none is named."""
        from stackledger.flavors import integrations

        return integrations.requirements_of(names or integrations.names())

    def integration_leftovers(self, names: Sequence[str] | None = None) -> list[str]:
        """Return the packages that nothing needs without these integrations; without any if none is named."""
        from stackledger.flavors import integrations

        return integrations.leftovers(names or integrations.names())

    def explain(self, component_type: str) -> str:
        """Return what components of a type are for."""
        return MEANINGS[ComponentType(component_type)]

    def install_packages(self, packages: Sequence[str]) -> None:
        """Install packages into this Python with pip."""
        _pip("install", *packages)

    def uninstall_packages(self, packages: Sequence[str]) -> None:
        """Remove packages from this Python with pip."""
        _pip("uninstall", "--yes", *packages)


def _flavor(entry: FlavorEntry) -> Flavor:
    from stackledger.client.home_results import Flavor

    return Flavor(
        name=entry.name,
        type=entry.type.value,
        source=entry.source,
        custom=entry.custom,
        summary=entry.summary,
        fields=[],
        provisioning=None,
    )


def _pip(*arguments: str) -> None:
    import shlex
    import subprocess

    # What pip tells is talk: it goes where talk goes.
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, check=False, stdout=_STDERR)  # noqa: S603 - our own arguments
    if done.returncode != 0:
        raise StackledgerError(
            f"pip {arguments[0]} failed with exit status {done.returncode}; what it said stands above.",
            hint=f"Try it yourself: {shlex.join(command)}",
        )
