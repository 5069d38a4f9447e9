"""The values of secrets, outside the log: each encrypted and bound to the secret and the key that it belongs to.

`secrets.db` in the home folder holds ciphertext. The key to it is in the keyring of the operating system where
there is one, else in `secret.key`; which of the two is written down when the first value is, and stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from stackledger.domain.errors import SecretError
from stackledger.flavors import vault_key
from stackledger.flavors.vault_key import Keyring, usable_keyring

_FORMAT = 1
_BUSY_SECONDS = 30.0
_NONCE_BYTES = 12
_PROOF = b"the key fits"
# EXTRA also syncs the folder: a value that was written is there after a loss of power.
_PRAGMAS = ("synchronous=EXTRA", "secure_delete=ON", "trusted_schema=OFF")
_TABLES = """
CREATE TABLE IF NOT EXISTS vault (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    kept_in TEXT NOT NULL CHECK (kept_in IN ('keyring', 'file')),
    account TEXT NOT NULL,
    proof BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS value (
    secret_id TEXT NOT NULL,
    key TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (secret_id, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS staged (
    change TEXT NOT NULL,
    secret_id TEXT NOT NULL,
    key TEXT NOT NULL,
    sealed BLOB,
    PRIMARY KEY (change, key)
) WITHOUT ROWID;
"""


class Vault:
    """The values of secrets by the secrets' ids. What fails raises SecretError, which never holds a value."""

    def __init__(self, home: Path, find_keyring: Callable[[], Keyring | None] = usable_keyring) -> None:
        self._home = home
        self._path = home / "secrets.db"
        self._find_keyring = find_keyring

    def stage(self, change: str, secret_id: str, values: Mapping[str, str | None]) -> None:
        """Keep in readiness what a change is to do to a secret: give keys these values, or forget them where None.

        Nobody reads the values before `settle` puts them into their place. `change` is an id of its own.
        """
        with self._changing() as connection:
            seal = self._seal(connection) if any(value is not None for value in values.values()) else None
            connection.executemany(
                "INSERT INTO staged (change, secret_id, key, sealed) VALUES (?, ?, ?, ?)",
                [
                    (change, secret_id, key, seal.sealed(secret_id, key, value) if seal and value is not None else None)
                    for key, value in values.items()
                ],
            )

    def unsettled(self) -> list[tuple[str, str]]:
        """Return each change that is staged, and the id of the secret that it is about."""
        with self._reading() as connection:
            return list(connection.execute("SELECT DISTINCT change, secret_id FROM staged") if connection else ())

    def settle(self, change: str, *, happened: bool) -> None:
        """Do what was staged for the change if it happened, forget it if not; nothing to do where nothing is staged."""
        with self._changing() as connection:
            if happened:
                connection.execute(
                    "DELETE FROM value WHERE (secret_id, key) IN (SELECT secret_id, key FROM staged WHERE change = ?)",
                    (change,),
                )
                connection.execute(
                    "INSERT INTO value SELECT secret_id, key, sealed FROM staged WHERE change = ? AND sealed NOT NULL",
                    (change,),
                )
            connection.execute("DELETE FROM staged WHERE change = ?", (change,))

    def read(self, secret_id: str) -> dict[str, str]:
        """Return the values of the secret by key, or raise SecretError if they are not here."""
        with self._reading() as connection:
            rows = connection and connection.execute(
                "SELECT key, sealed FROM value WHERE secret_id = ? ORDER BY key", (secret_id,)
            )
            found = list(rows or ())
            if connection is None or not found:
                raise SecretError(
                    f"The values of the secret {secret_id} are not on this machine.",
                    hint="Values stay where they were created: `stackledger secret update` gives them here, too.",
                )
            seal = self._seal(connection)
            return {key: seal.opened(secret_id, key, sealed) for key, sealed in found}

    def ids(self) -> list[str]:
        """Return the ids of all secrets that have values here."""
        with self._reading() as connection:
            rows = connection and connection.execute("SELECT DISTINCT secret_id FROM value ORDER BY secret_id")
            return [secret_id for (secret_id,) in rows or ()]

    def has_half_made_key(self) -> bool:
        """Say whether somebody makes the file with the key just now, or died at it."""
        return vault_key.half_made(self._key_file).exists()

    def forget_half_made_key(self) -> None:
        """Remove what somebody left who died while making the file with the key: nothing was sealed with it."""
        with self._errors():
            vault_key.half_made(self._key_file).unlink(missing_ok=True)

    def _seal(self, connection: sqlite3.Connection) -> _Seal:
        """Return what seals and opens values; the key to it is made within the first transaction that needs it."""
        row = connection.execute("SELECT kept_in, account, proof FROM vault").fetchone()
        if row is None:
            return self._first_seal(connection)
        kept_in, account, proof = row
        key = (
            vault_key.read_from_keyring(self._find_keyring(), account)
            if kept_in == "keyring"
            else vault_key.read_key_file(self._key_file)
        )
        seal = _Seal(key)
        if not seal.made(proof, account):
            raise SecretError(
                "The key to the secrets is not the one that they were encrypted with.",
                hint="Put the right one back from a backup, or remove secrets.db and create the secrets anew.",
            )
        return seal

    def _first_seal(self, connection: sqlite3.Connection) -> _Seal:
        account, key = os.urandom(16).hex(), os.urandom(vault_key.KEY_BYTES)
        keyring = self._find_keyring()
        if keyring is not None and vault_key.keep_in_keyring(keyring, account, key):
            kept_in = "keyring"
        else:
            kept_in, key = "file", vault_key.create_key_file(self._key_file, key)
        seal = _Seal(key)
        connection.execute("INSERT INTO vault VALUES (1, ?, ?, ?)", (kept_in, account, seal.proof(account)))
        return seal

    @property
    def _key_file(self) -> Path:
        return self._home / "secret.key"

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._errors():
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made before SQLite would make it with the modes of any file; its journal takes over the mode.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            with contextlib.closing(self._connected()) as connection:
                connection.execute("BEGIN IMMEDIATE")
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for statement in _TABLES.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {_FORMAT}")
                # Closing takes back what is not committed.
                yield connection
                connection.execute("COMMIT")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        with self._errors():
            if not self._path.exists():
                yield None
                return
            with contextlib.closing(self._connected()) as connection:
                connection.execute("BEGIN")
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                yield connection if version else None

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > _FORMAT:
                raise SecretError(f"{self._path} was written by a newer Stackledger.", hint="Upgrade this one.")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise SecretError(
                f"The secrets in {self._path} cannot be read or kept: {error}.",
                hint="See that the folder is there, that you may write to it, and that the disk has room.",
            ) from error


class _Seal:
    """Authenticated encryption under one key: AES-256-GCM, each value with a nonce of its own."""

    def __init__(self, key: bytes) -> None:
        # Slow to import, and only those who meet a secret need it.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)
        self._invalid = InvalidTag

    def sealed(self, secret_id: str, key: str, value: str) -> bytes:
        """Return the value encrypted, to be opened only as the value of this key of this secret."""
        return self._encrypted(_utf8(key, value), _place(secret_id, key))

    def opened(self, secret_id: str, key: str, sealed: bytes) -> str:
        """Return the value, or raise SecretError if anything but the value of this key of this secret is sealed."""
        value = self._decrypted(sealed, _place(secret_id, key))
        if value is None:
            raise SecretError(
                f"The value of the key {key!r} of the secret {secret_id} was changed behind Stackledger's back.",
                hint="Put secrets.db back from a backup, or give the value anew with `stackledger secret update`.",
            )
        return value.decode()

    def proof(self, account: str) -> bytes:
        """Return what shows later that a key is this one."""
        return self._encrypted(_PROOF, account.encode())

    def made(self, proof: bytes, account: str) -> bool:
        """Say whether the proof was made with this key."""
        return self._decrypted(proof, account.encode()) == _PROOF

    def _encrypted(self, data: bytes, place: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, place)

    def _decrypted(self, sealed: bytes, place: bytes) -> bytes | None:
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)
        except (self._invalid, ValueError):
            return None


def _place(secret_id: str, key: str) -> bytes:
    return json.dumps([secret_id, key]).encode()


def _utf8(key: str, value: str) -> bytes:
    # Python's own exception would carry the value.
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise SecretError(f"The value of the key {key!r} is not text in UTF-8.", hint="Encode it, say in base64.")
    return value.encode()
