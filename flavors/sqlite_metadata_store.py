"""The metadata store that is an SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from pydantic import field_validator

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import FlavorError
from stackledger.flavors.flavor import Flavor, FlavorConfig, clear_text_field
from stackledger.flavors.local_paths import absolute

_SCHEME = "sqlite:///"


class SqliteMetadataStoreConfig(FlavorConfig):
    """Where the file is."""

    uri: str | None = clear_text_field(
        None, description="path of the file, also as sqlite:///PATH; a file of its own in the home folder if not given"
    )

    @field_validator("uri")
    @classmethod
    def _is_local(cls, value: str | None) -> str | None:
        if value is None:
            return None
        return f"{_SCHEME}{absolute(value.removeprefix(_SCHEME), ComponentType.METADATA_STORE)}"


class SqliteMetadataStore:
    """The file, made when the component is registered; metadata is in the views until it is projected here."""

    def __init__(self, config: SqliteMetadataStoreConfig, *, home: Path, component_id: str) -> None:
        default = home / "metadata" / f"{component_id}.db"
        self.path = Path(config.uri.removeprefix(_SCHEME)) if config.uri else default

    def check(self) -> None:
        """Make the file if it is not there, or raise FlavorError if it cannot be an SQLite database to write to."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
                # Taking the write lock reads the header, and fails where nothing can be written.
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("PRAGMA user_version").fetchone()
                connection.execute("ROLLBACK")
        except (OSError, sqlite3.Error) as error:
            raise FlavorError(
                f"{self.path} cannot serve as a metadata store: {getattr(error, 'strerror', None) or error}.",
                hint="Name a new file or an SQLite database, in a folder that you can write to.",
            ) from error


class SqliteMetadataStoreFlavor(Flavor):
    """Names an SQLite file for metadata."""

    name = "sqlite"
    type = ComponentType.METADATA_STORE
    config_class = SqliteMetadataStoreConfig
    implementation = "stackledger.flavors.sqlite_metadata_store:SqliteMetadataStore"
    provisioning = "An SQLite file needs no server: there is nothing to start or stop."

    @classmethod
    def prepare(cls, config: FlavorConfig, home: Path, component_id: str) -> None:
        """Make and check the file."""
        assert isinstance(config, SqliteMetadataStoreConfig)
        SqliteMetadataStore(config, home=home, component_id=component_id).check()

    @classmethod
    def is_local(cls, config: FlavorConfig) -> bool:  # noqa: ARG003  wherever the file is
        """Say that a file is this machine's."""
        return True
