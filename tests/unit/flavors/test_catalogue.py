"""Flavors are found by name without loading anything; what dotted names load is checked."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import FlavorError, NotFound
from stackledger.flavors import catalogue
from stackledger.flavors.catalogue import FlavorEntry

STORE = ComponentType.ARTIFACT_STORE
BUILT_IN = ["local", "s3", "gcs", "azure"]

PROJECT = """
from stackledger.domain.component_types import ComponentType
from stackledger.flavors.flavor import Flavor, FlavorConfig

class Shelf(Flavor):
    name = "shelf"
    type = ComponentType.ARTIFACT_STORE
    implementation = "shelf_library_that_is_missing:Store"
    requirements = ("shelf-library>=2",)

class Nameless(Flavor):
    type = ComponentType.ARTIFACT_STORE
    implementation = "a:B"

class BadlyNamed(Shelf):
    name = "../shelf"

class Typeless(Flavor):
    name = "typeless"
    implementation = "a:B"

class Unconfigured(Shelf):
    config_class = dict

class Unimplemented(Shelf):
    implementation = "just_a_module"

class Plain:
    pass

number = 7
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder with a user's flavors, importable for the length of a test only if it is on the search path."""
    (tmp_path / "shelf_project.py").write_text(PROJECT)
    (tmp_path / "shelf_broken.py").write_text("raise RuntimeError('no shelf')")
    (tmp_path / "shelf_leaving.py").write_text("raise SystemExit(3)")
    (tmp_path / "shelf_needy.py").write_text("import shelf_library_that_is_missing.deep")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("shelf_")]:
        del sys.modules[name]


def test_the_catalogue_lists_each_built_in_flavor_of_a_type() -> None:
    assert [(entry.type.value, entry.name) for entry in catalogue.entries()] == [
        ("orchestrator", "local"),
        ("orchestrator", "rabbitmq"),
        ("artifact_store", "local"),
        ("artifact_store", "s3"),
        ("artifact_store", "gcs"),
        ("artifact_store", "azure"),
        ("metadata_store", "sqlite"),
        ("container_registry", "default"),
    ]
    assert [entry.name for entry in catalogue.entries(STORE)] == BUILT_IN
    assert catalogue.entries(ComponentType.ALERTER) == []


def test_every_built_in_flavor_loads_and_says_what_it_says_in_the_list() -> None:
    for entry in catalogue.entries():
        flavor = catalogue.load(entry)
        assert (flavor.name, flavor.type, flavor.__doc__) == (entry.name, entry.type, entry.summary)


def test_looking_into_the_catalogue_loads_neither_pydantic_nor_the_list_of_what_is_installed() -> None:
    program = (
        "import sys\n"
        "from stackledger.flavors import catalogue\n"
        "from stackledger.domain.component_types import ComponentType\n"
        "catalogue.find(ComponentType.ARTIFACT_STORE, 'local')\n"
        "print(sorted({'pydantic', 'importlib.metadata', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_flavor_is_found_whatever_the_case_of_its_name() -> None:
    assert catalogue.find(STORE, "LOCAL").name == "local"


def test_an_unknown_flavor_is_not_found_and_near_names_are_offered() -> None:
    with pytest.raises(NotFound, match=r"no flavor 'lokal' of type artifact store.*'local'.*flavor list"):
        catalogue.find(STORE, "lokal")


def test_a_registered_flavor_is_listed_found_and_loaded(project: Path) -> None:
    registered = [(STORE, "shelf", "shelf_project.Shelf")]
    entry = catalogue.find(STORE, "Shelf", lambda: registered)
    assert entry.custom
    assert [found.name for found in catalogue.entries(STORE, registered)] == [*BUILT_IN, "shelf"]
    assert catalogue.load(entry, [project]).__name__ == "Shelf"


def test_a_registered_flavor_that_became_another_is_not_loaded(project: Path) -> None:
    entry = FlavorEntry(STORE, "case", "shelf_project.Shelf", "", custom=True)
    with pytest.raises(
        FlavorError, match=r"is the artifact store flavor 'shelf'.*registered as.*'case'.*Register it anew"
    ):
        catalogue.load(entry, [project])


def test_another_package_brings_flavors_by_entry_points(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    points = [
        importlib.metadata.EntryPoint("artifact_store.shelf", "shelf_project:Shelf", catalogue.GROUP),
        importlib.metadata.EntryPoint("artifact_store.local", "shelf_project:Plain", catalogue.GROUP),
        importlib.metadata.EntryPoint("kitchen.shelf", "shelf_project:Shelf", catalogue.GROUP),
        importlib.metadata.EntryPoint("shelf", "shelf_project:Shelf", catalogue.GROUP),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == catalogue.GROUP else [])
    assert [entry.name for entry in catalogue.entries(STORE)] == [*BUILT_IN, "shelf"]
    assert catalogue.find(STORE, "local").source.startswith("stackledger.")
    assert catalogue.load(catalogue.find(STORE, "shelf"), [project]).name == "shelf"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("shelf_project.Shel", r"has no 'Shel'.*'Shelf'"),
        ("shelf_project.number", r"is not a class"),
        ("shelf_project.Plain", r"does not derive from Flavor"),
        ("stackledger.flavors.flavor.Flavor", r"does not derive from Flavor"),
        ("shelf_project.Nameless", r"has no `name`"),
        ("shelf_project.BadlyNamed", r"a name that cannot be used"),
        ("shelf_project.Typeless", r"has no `type`.*orchestrator, artifact_store"),
        ("shelf_project.Unconfigured", r"`config_class`"),
        ("shelf_project.Unimplemented", r"`implementation`"),
        ("shelf_projekt.Shelf", r"no module 'shelf_projekt'.*'shelf_project'.*PYTHONPATH"),
        ("stackledger.flavours.Shelf", r"no module 'stackledger.flavours'.*'stackledger.flavors'"),
        ("shelf_broken.Shelf", r"failed: RuntimeError: no shelf"),
        ("shelf_leaving.Shelf", r"failed: SystemExit: 3"),
        (
            "shelf_needy.Shelf",
            r"needs the library 'shelf_library_that_is_missing'.*pip install shelf_library_that_is_missing`",
        ),
        ("Shelf", r"does not name a class.*module.Class"),
        ("", r"does not name a class"),
        ("../shelf.Shelf", r"does not name a class"),
        ("shelf\x1b[31m.Shelf", r"does not name a class"),
    ],
)
def test_what_is_not_a_flavor_is_refused(project: Path, source: str, message: str) -> None:
    with pytest.raises(FlavorError, match=message):
        catalogue.custom_flavor(source, [project])


def test_a_missing_library_of_an_implementation_is_named_with_the_way_to_install_it(project: Path) -> None:
    flavor = catalogue.custom_flavor("shelf_project:Shelf", [project])
    with pytest.raises(FlavorError, match=r'needs the library.*pip install "shelf-library>=2"'):
        catalogue.load_implementation(flavor)


def test_the_search_path_comes_last(project: Path) -> None:
    (project / "json.py").write_text("raise AssertionError('a project file must not stand in for a library')")
    catalogue.custom_flavor("shelf_project.Shelf", [project])
    assert sys.path[-1] == str(project)
