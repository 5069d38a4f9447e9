"""The file of a metadata store is made and checked when the store is registered."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import FlavorError
from stackledger.flavors import catalogue
from stackledger.flavors.sqlite_metadata_store import SqliteMetadataStore
from stackledger.flavors.validation import prepare, validated

FLAVOR = catalogue.load(catalogue.find(ComponentType.METADATA_STORE, "sqlite"))


def test_the_flavor_names_its_implementation() -> None:
    assert catalogue.load_implementation(FLAVOR) is SqliteMetadataStore


def test_the_file_is_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "metadata.db"
    prepare(FLAVOR, validated(FLAVOR, {"uri": str(path)}), tmp_path, "c1", dict[str, dict[str, str]]().__getitem__)
    assert path.is_file()


def test_without_a_path_it_has_a_file_of_its_own_at_home(tmp_path: Path) -> None:
    prepare(FLAVOR, {}, tmp_path, "c1", dict[str, dict[str, str]]().__getitem__)
    assert (tmp_path / "metadata" / "c1.db").is_file()


def test_a_database_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "m.db")) as connection:
        connection.execute("CREATE TABLE mine (x)")
    before = (tmp_path / "m.db").read_bytes()
    prepare(FLAVOR, {"uri": f"sqlite:///{tmp_path}/m.db"}, tmp_path, "c1", dict[str, dict[str, str]]().__getitem__)
    assert (tmp_path / "m.db").read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "words"), [("folder", "unable to open"), ("text", "not a database"), ("below a file", "File exists")]
)
def test_what_cannot_be_a_database_is_refused(tmp_path: Path, kind: str, words: str) -> None:
    path = tmp_path / "m.db"
    if kind == "folder":
        path.mkdir()
    else:
        path.write_text("no database at all" * 100)
    uri = f"sqlite:///{path / 'm.db' if kind == 'below a file' else path}"
    with pytest.raises(FlavorError, match=rf"cannot serve as a metadata store: .*{words}.*Name a new file"):
        prepare(FLAVOR, {"uri": uri}, tmp_path, "c1", dict[str, dict[str, str]]().__getitem__)
