"""The client's part about flavors, and about the libraries behind them."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from stackledger.client import arguments
from stackledger.client.arguments import kind_of
from stackledger.client.components import ComponentClient, registered_flavors
from stackledger.domain.component_types import MEANINGS
from stackledger.domain.errors import Ambiguous, BuiltIn, NotFound, StackledgerError, near_names
from stackledger.domain.names import folded, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stackledger.client.home_results import DescribedFlavor, Flavor, Integration
    from stackledger.flavors.catalogue import FlavorEntry


_STDERR = 2


class FlavorClient(ComponentClient):
    """Flavors: the catalogue, and those that users add."""

    def list_flavors(self, type: str | None = None, *, as_of: str | int | None = None) -> list[Flavor]:  # noqa: A002
        """Return the flavors of a type of component, or of all types, without what only their classes know."""
        from stackledger.flavors import catalogue

        kind = None if type is None else kind_of(type)
        return [_flavor(entry) for entry in catalogue.entries(kind, self._read(registered_flavors, as_of))]

    def find_flavor(self, name: str, component_type: str | None = None) -> Flavor:
        """Return a flavor without what only its class knows, which may be gone."""
        return _flavor(self._entry(name, component_type))

    def get_flavor(
        self, name: str, component_type: str | None = None, *, as_of: str | int | None = None
    ) -> DescribedFlavor:
        """Return a flavor, the fields of its configuration, and what `up` and `down` say of its components.

        Raises Ambiguous where flavors of several types have the name, and none is given.
        """
        from stackledger.client.home_results import DescribedFlavor
        from stackledger.flavors.validation import describe_fields

        entry = self._entry(name, component_type, as_of=as_of)
        _, loaded = self._flavor(entry.type, entry.name, as_of=as_of)
        fields = [field._asdict() for field in describe_fields(loaded)]
        return DescribedFlavor(*_flavor(entry), fields=fields, provisioning=loaded.provisioning)

    def create_flavor(self, source: str, component_type: str) -> DescribedFlavor:
        """Add a flavor of one's own: `source` is the dotted name of a class that this Python can import."""
        from stackledger.domain import flavors
        from stackledger.domain.errors import FlavorError
        from stackledger.flavors import catalogue

        kind = kind_of(component_type)
        loaded = catalogue.custom_flavor(arguments.text(source, "The name of a class"), self._search_path())
        if loaded.type is not kind:
            raise FlavorError(
                f"{quoted(source)} is a flavor of the type {loaded.type.words}, not {kind.words}.",
                hint=f"Register it with `stackledger {loaded.type.group} flavor register {source}`.",
            )
        known = {entry.name: entry.origin for entry in catalogue.entries(kind)}
        command = flavors.RegisterFlavor(type=kind, name=loaded.name, source=source, catalogue=known)
        self._change(flavors.DECIDER, command)
        return self.get_flavor(loaded.name, kind)

    def delete_flavor(self, name: str, component_type: str | None = None) -> None:
        """Take a flavor of one's own away; no component may be of it."""
        from stackledger.domain import flavors

        entry = self._entry(name, component_type)
        if not entry.custom:
            raise BuiltIn(
                f"The {entry.type.words} flavor {entry.name!r} comes with {entry.origin}, so it cannot be deleted.",
                hint="Only flavors that were registered can: `flavor list` ticks them as CUSTOM.",
            )
        self._change(flavors.DECIDER, flavors.DeleteFlavor(type=entry.type, name=entry.name))

    def _entry(self, name: str, component_type: str | None, *, as_of: str | int | None = None) -> FlavorEntry:
        from stackledger.flavors import catalogue

        arguments.text(name, "The name of a flavor")
        registered = partial(self._read, registered_flavors, as_of)
        if component_type is not None:
            return catalogue.find(kind_of(component_type), name, registered)
        entries = catalogue.entries(None, registered())
        found = [entry for entry in entries if folded(entry.name) == folded(name)]
        if not found:
            raise NotFound(
                f"There is no flavor {quoted(name)}.", near=near_names(name, {entry.name for entry in entries})
            )
        if len(found) > 1:
            raise Ambiguous(
                f"There are flavors named {quoted(name)} of several types:"
                f" {', '.join(entry.type.value for entry in found)}.",
                hint="Give the component_type too.",
            )
        return found[0]

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
        return MEANINGS[kind_of(component_type)]

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
