"""Which flavors there are, and the one place where a dotted name becomes code.

Looking into the catalogue imports nothing but this module. A flavor's own module comes in with `load`, the
library behind it not before `load_implementation`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import FlavorError, InvalidName, NotFound, near_names
from stackledger.domain.names import folded, quoted, registry_name, visible

if TYPE_CHECKING:
    from stackledger.flavors.flavor import Flavor

GROUP = "stackledger.flavors"
"""The group of entry points by which other packages bring flavors: `TYPE.NAME = "module:Class"`."""


class FlavorEntry(NamedTuple):
    """A flavor as the catalogue lists it. `source` is `module:Class`; `custom` says that a user registered it."""

    type: ComponentType
    name: str
    source: str
    summary: str
    custom: bool = False

    @property
    def origin(self) -> str:
        """Whose flavor it is, in words, if it is not custom."""
        return "Stackledger" if self in _BUILT_IN else "an installed package"


Registered = tuple[ComponentType, str, str]
"""A flavor that a user registered: type, name and source."""

_BUILT_IN = (
    FlavorEntry(
        ComponentType.ORCHESTRATOR,
        "local",
        "stackledger.flavors.local_orchestrator:LocalOrchestratorFlavor",
        "Runs the steps one after another in this process.",
    ),
    FlavorEntry(
        ComponentType.ORCHESTRATOR,
        "rabbitmq",
        "stackledger.flavors.rabbitmq_orchestrator:RabbitMQOrchestratorFlavor",
        "Has steps executed by workers on any number of machines, over RabbitMQ.",
    ),
    FlavorEntry(
        ComponentType.ARTIFACT_STORE,
        "local",
        "stackledger.flavors.local_artifact_store:LocalArtifactStoreFlavor",
        "Keeps artifacts in a folder of this machine.",
    ),
    FlavorEntry(
        ComponentType.ARTIFACT_STORE,
        "s3",
        "stackledger.flavors.object_stores:S3Flavor",
        "Keeps artifacts in S3, or in what speaks its language: MinIO, Ceph, R2.",
    ),
    FlavorEntry(
        ComponentType.ARTIFACT_STORE,
        "gcs",
        "stackledger.flavors.object_stores:GcsFlavor",
        "Keeps artifacts in Google Cloud Storage.",
    ),
    FlavorEntry(
        ComponentType.ARTIFACT_STORE,
        "azure",
        "stackledger.flavors.object_stores:AzureFlavor",
        "Keeps artifacts in Azure Blob Storage.",
    ),
    FlavorEntry(
        ComponentType.METADATA_STORE,
        "sqlite",
        "stackledger.flavors.sqlite_metadata_store:SqliteMetadataStoreFlavor",
        "Names an SQLite file for metadata.",
    ),
    FlavorEntry(
        ComponentType.CONTAINER_REGISTRY,
        "default",
        "stackledger.flavors.default_container_registry:DefaultContainerRegistryFlavor",
        "Names any container registry by its address.",
    ),
)


def entries(component_type: ComponentType | None = None, registered: Iterable[Registered] = ()) -> list[FlavorEntry]:
    """Return every flavor of the type, or of all types: the built-in ones, then the others by name."""
    added = sorted((*_custom(registered), *_installed()), key=lambda entry: (entry.type, folded(entry.name)))
    known: dict[tuple[ComponentType, str], FlavorEntry] = {}
    for entry in (*_BUILT_IN, *added):
        if component_type in (None, entry.type):
            known.setdefault((entry.type, folded(entry.name)), entry)
    return list(known.values())


def find(
    component_type: ComponentType | None, name: str, registered: Callable[[], Iterable[Registered]] = tuple
) -> FlavorEntry:
    """Return the flavor of that name ignoring case, the first of any type if none is given.

    Raises NotFound with the names that come near. `registered` says which flavors are users' own; it is asked where
    none of the built-in ones has the name.
    """
    # Other packages are asked last: reading what is installed takes longer than a whole query.
    for source in (lambda: _BUILT_IN, lambda: _custom(registered()), _installed):
        for entry in source():
            if component_type in (None, entry.type) and folded(entry.name) == folded(name):
                return entry
    names = [entry.name for entry in entries(component_type, registered())]
    group = f"{component_type.group} " if component_type else ""
    raise NotFound(
        f"There is no flavor {quoted(name)}{f' of type {component_type.words}' if component_type else ''}.",
        near=near_names(name, names),
        hint=f"`stackledger {group}flavor list` lists the flavors.",
    )


def load(entry: FlavorEntry, search_path: Sequence[Path] = ()) -> type[Flavor]:
    """Return the flavor's class, or raise FlavorError. `search_path` adds folders to import from, after all others."""
    if entry in _BUILT_IN:
        flavor: type[Flavor] = _loaded(entry.source)
        return flavor
    flavor = custom_flavor(entry.source, search_path)
    if (flavor.type, folded(flavor.name)) != (entry.type, folded(entry.name)):
        raise FlavorError(
            f"{entry.source!r} is the {flavor.type.words} flavor {flavor.name!r},"
            f" but it was registered as the {entry.type.words} flavor {entry.name!r}.",
            hint=f"Register it anew: `stackledger {flavor.type.group} flavor register {entry.source}`.",
        )
    return flavor


def custom_flavor(source: str, search_path: Sequence[Path] = ()) -> type[Flavor]:
    """Return the class of a user's own flavor (`module.Class`), loaded and checked, or raise FlavorError."""
    from stackledger.flavors.flavor import Flavor, FlavorConfig  # pydantic: only where a flavor is loaded

    found = _loaded(source, search_path)
    what = quoted(source)
    hint = "A flavor is a class that derives from stackledger.flavors.flavor.Flavor; its documentation shows one."
    if not isinstance(found, type):
        raise FlavorError(f"{what} is not a class.", hint=hint)
    if not issubclass(found, Flavor) or found is Flavor:
        raise FlavorError(f"{what} does not derive from Flavor.", hint=hint)
    name, kind, config, implementation = (
        getattr(found, attribute, None) for attribute in ("name", "type", "config_class", "implementation")
    )
    if not isinstance(name, str):
        raise FlavorError(f"{what} has no `name`.", hint=hint)
    try:
        registry_name(name, "flavor")
    except InvalidName as error:
        raise FlavorError(f"{what} has a name that cannot be used. {error}") from error
    if not isinstance(kind, ComponentType):
        raise FlavorError(f"{what} has no `type`.", hint=f"It is one of ComponentType: {', '.join(ComponentType)}.")
    if not (isinstance(config, type) and issubclass(config, FlavorConfig)):
        raise FlavorError(f"The `config_class` of {what} does not derive from FlavorConfig.", hint=hint)
    if not isinstance(implementation, str) or not all(implementation.partition(":")):
        raise FlavorError(f"The `implementation` of {what} is not a name like 'module:Class'.", hint=hint)
    return found


def load_implementation(flavor: type[Flavor]) -> type:
    """Return the class that does the flavor's work, or raise FlavorError naming the library that is missing."""
    implementation = _loaded(flavor.implementation, requirements=flavor.requirements)
    if not isinstance(implementation, type):
        raise FlavorError(f"{flavor.implementation!r} of the flavor {flavor.name!r} is not a class.")
    return implementation


def _custom(registered: Iterable[Registered]) -> Iterator[FlavorEntry]:
    for component_type, name, source in registered:
        yield FlavorEntry(component_type, name, source, f"your own: {visible(source)}", custom=True)


def _installed() -> Iterator[FlavorEntry]:
    # A name that is not TYPE.NAME is passed over: another package's mistake must not break every listing.
    from importlib.metadata import entry_points  # reading what is installed is slow: only when it is asked for

    types = {component_type.value for component_type in ComponentType}
    for point in entry_points(group=GROUP):
        kind, _, name = point.name.partition(".")
        if kind in types and name:
            package = point.dist.name if point.dist else point.module
            yield FlavorEntry(ComponentType(kind), name, point.value, f"from the package {visible(package)}")


def _loaded(source: str, search_path: Sequence[Path] = (), requirements: Sequence[str] = ()):  # type: ignore[no-untyped-def]  # noqa: ANN202  whatever a name stands for
    module_name, _, class_name = source.partition(":") if ":" in source else source.rpartition(".")
    if not (
        module_name and class_name and all(part.isidentifier() for part in f"{module_name}.{class_name}".split("."))
    ):
        raise FlavorError(f"{quoted(source)} does not name a class.", hint="Give it as module.Class.")
    for folder in map(str, search_path):
        if folder not in sys.path:
            # Last, so that a file of the user's project cannot take the place of an installed library.
            sys.path.append(folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if not requirements and (module_name == missing or module_name.startswith(f"{missing}.")):
            raise _no_module(module_name, missing) from error
        raise _no_library(source, missing, requirements) from error
    except (Exception, SystemExit) as error:
        raise FlavorError(
            f"Importing {quoted(module_name)} failed: {type(error).__name__}: {visible(str(error))}.",
            hint=f'`python -c "import {module_name}"` shows where.',
        ) from error
    found = module
    for part in class_name.split("."):
        if not hasattr(found, part):
            raise FlavorError(
                f"The module {quoted(module_name)} has no {quoted(class_name)}.",
                near=near_names(part, _classes(found)),
            )
        found = getattr(found, part)
    return found


def _classes(namespace: ModuleType | type) -> list[str]:
    return [name for name, value in vars(namespace).items() if isinstance(value, type)]


def _no_module(module_name: str, missing: str) -> FlavorError:
    import pkgutil

    parent, _, last = missing.rpartition(".")
    searched = list(sys.modules[parent].__path__) if parent in sys.modules else sys.path
    near = near_names(last, (module.name for module in pkgutil.iter_modules(searched)))
    return FlavorError(
        f"There is no module {quoted(missing)}."
        if missing == module_name
        else f"There is no module {quoted(missing)} for {quoted(module_name)}.",
        near=[f"{parent}.{name}" if parent else name for name in near],
        hint="Give the command in the folder that holds it, or put that folder on PYTHONPATH.",
    )


def _no_library(source: str, missing: str, requirements: Sequence[str]) -> FlavorError:
    needed = " ".join(f'"{requirement}"' for requirement in requirements) or missing.partition(".")[0]
    return FlavorError(
        f"{quoted(source)} needs the library {quoted(missing)}, which is not installed.",
        hint=f"Install it: `pip install {needed}`.",
    )
