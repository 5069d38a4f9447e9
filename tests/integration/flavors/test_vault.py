"""Secret values are kept encrypted, by one key, and never show up anywhere else."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stackledger.domain.errors import SecretError
from stackledger.flavors import vault_key
from stackledger.flavors.vault import Vault
from tests.support.processes import ended, forked

CANARY = "canary-17c5d0aa"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)


class MemoryKeyring:
    """A keyring as a desktop has it."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password


class NullKeyring(MemoryKeyring):
    """A keyring that forgets."""

    def set_password(self, service: str, username: str, password: str) -> None:
        pass


class FailingKeyring(MemoryKeyring):
    """A keyring that is locked."""

    def set_password(self, service: str, username: str, password: str) -> None:
        raise RuntimeError(f"cannot keep {password}")


class SilentKeyring(MemoryKeyring):
    """A keyring that asks its user something that nobody sees."""

    def get_password(self, service: str, username: str) -> str | None:
        threading.Event().wait()
        return None


def no_keyring() -> None:
    return None


def write(vault: Vault, secret_id: str, values: Mapping[str, str | None]) -> None:
    """Make a change that happens."""
    vault.stage(f"of {secret_id}", secret_id, values)
    vault.settle(f"of {secret_id}", happened=True)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "home", no_keyring)


@pytest.fixture
def database(tmp_path: Path, vault: Vault) -> Iterator[sqlite3.Connection]:
    write(vault, "one", {"key": CANARY, "other": "value"})
    write(vault, "two", {"key": "second value"})
    with closing(sqlite3.connect(tmp_path / "home" / "secrets.db", isolation_level=None)) as connection:
        yield connection


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.dictionaries(TEXT, TEXT, min_size=1, max_size=5))
def test_what_was_written_is_read(vault: Vault, values: dict[str, str]) -> None:
    write(vault, secret_id := str(len(vault.ids())), values)
    assert vault.read(secret_id) == values


def test_a_change_gives_values_forgets_them_and_leaves_other_keys_alone(vault: Vault) -> None:
    write(vault, "id", {"a": "1", "b": "2"})
    write(vault, "id", {"b": "3", "c": "4"})
    assert vault.read("id") == {"a": "1", "b": "3", "c": "4"}
    write(vault, "id", {"a": "5", "b": None})
    assert vault.read("id") == {"a": "5", "c": "4"}


def test_what_is_staged_is_read_when_its_change_has_happened(vault: Vault) -> None:
    assert vault.unsettled() == []
    write(vault, "id", {"a": "1"})
    vault.stage("first", "id", {"a": "2"})
    vault.stage("second", "id", {"a": None})
    assert vault.read("id") == {"a": "1"}
    assert vault.unsettled() == [("first", "id"), ("second", "id")]
    vault.settle("first", happened=True)
    vault.settle("second", happened=False)
    vault.settle("third", happened=True)
    assert vault.read("id") == {"a": "2"}
    assert vault.unsettled() == []


def test_what_is_deleted_is_not_here(vault: Vault) -> None:
    write(vault, "id", {"a": None})
    write(vault, "id", {"a": "1"})
    write(vault, "other", {"a": "1"})
    assert vault.ids() == ["id", "other"]
    write(vault, "id", {"a": None})
    assert vault.ids() == ["other"]
    with pytest.raises(SecretError, match=r"values of the secret id are not on this machine"):
        vault.read("id")


def test_reading_an_empty_home_makes_nothing(tmp_path: Path, vault: Vault) -> None:
    assert vault.ids() == []
    with pytest.raises(SecretError, match=r"not on this machine"):
        vault.read("id")
    assert not (tmp_path / "home").exists()


def test_no_file_holds_a_value_and_only_the_owner_can_read_the_files(tmp_path: Path, vault: Vault) -> None:
    write(vault, "id", {"key": CANARY})
    write(vault, "id", {"key": CANARY + "2"})
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ["secret.key", "secrets.db"]
    for path in files:
        assert CANARY.encode() not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert CANARY not in repr(vault)


def test_the_journal_of_an_open_transaction_has_the_mode_of_the_database(tmp_path: Path, vault: Vault) -> None:
    write(vault, "id", {"key": CANARY})
    with vault._changing() as connection:
        connection.execute("DELETE FROM value")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "home").iterdir()}
    assert set(modes.values()) == {0o600}
    assert "secrets.db-journal" in modes


def test_a_change_that_fails_changes_nothing(vault: Vault) -> None:
    write(vault, "id", {"key": "before"})
    with pytest.raises(SecretError, match=r"value of the key 'bad' is not text") as caught:
        write(vault, "id", {"key": "after", "bad": CANARY + "\ud800"})
    assert vault.read("id") == {"key": "before"}
    error: BaseException | None = caught.value
    while error is not None:
        assert CANARY not in repr(error)
        error = error.__context__


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_can_read_is_refused_with_the_way_to_mend_it(tmp_path: Path, vault: Vault, mode: int) -> None:
    write(vault, "id", {"key": CANARY})
    key = tmp_path / "home" / "secret.key"
    key.chmod(mode)
    for attempt in (lambda: vault.read("id"), lambda: write(vault, "id", {"a": "b"})):
        with pytest.raises(SecretError, match=rf"by others than its owner.*chmod 600 {key}"):
            attempt()
    key.chmod(0o600)
    assert vault.read("id") == {"key": CANARY}


@pytest.mark.parametrize("content", ["", "not a key", "ab" * 31, "ab" * 40, "é" * 64])
def test_a_damaged_key_is_told(tmp_path: Path, vault: Vault, content: str) -> None:
    write(vault, "id", {"key": CANARY})
    (tmp_path / "home" / "secret.key").write_text(content)
    with pytest.raises(SecretError, match=r"gone or damaged.*from a backup"):
        vault.read("id")


def test_a_lost_key_is_told_and_no_other_is_made_in_its_place(tmp_path: Path, vault: Vault) -> None:
    write(vault, "id", {"key": CANARY})
    (tmp_path / "home" / "secret.key").unlink()
    for attempt in (lambda: vault.read("id"), lambda: write(vault, "id", {"a": "b"})):
        with pytest.raises(SecretError, match=r"secret.key, is gone.*from a backup"):
            attempt()


def test_another_key_is_told(tmp_path: Path, vault: Vault) -> None:
    write(vault, "id", {"key": CANARY})
    (tmp_path / "home" / "secret.key").write_text("00" * 32)
    with pytest.raises(SecretError, match=r"not the one that they were encrypted with"):
        write(vault, "id", {"a": "b"})


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_not_a_file_is_not_a_key(tmp_path: Path, vault: Vault, kind: str) -> None:
    write(vault, "id", {"key": CANARY})
    key = tmp_path / "home" / "secret.key"
    key.rename(tmp_path / "moved")
    if kind == "link":
        key.symlink_to(tmp_path / "moved")
    else:
        os.mkfifo(key)
    with pytest.raises(SecretError):
        vault.read("id")


def test_a_changed_value_is_not_opened(database: sqlite3.Connection, vault: Vault) -> None:
    (sealed,) = database.execute("SELECT sealed FROM value WHERE secret_id = 'one' AND key = 'key'").fetchone()
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        database.execute("UPDATE value SET sealed = ? WHERE secret_id = 'one' AND key = 'key'", (bytes(changed),))
        with pytest.raises(SecretError, match=r"key 'key' of the secret one was changed"):
            vault.read("one")
    for cut in (b"", sealed[:11], sealed[:-1]):
        database.execute("UPDATE value SET sealed = ? WHERE secret_id = 'one' AND key = 'key'", (cut,))
        with pytest.raises(SecretError, match=r"was changed"):
            vault.read("one")


@pytest.mark.parametrize(("secret_id", "key"), [("one", "other"), ("two", "key")])
def test_a_value_in_the_place_of_another_is_not_opened(
    database: sqlite3.Connection, vault: Vault, secret_id: str, key: str
) -> None:
    database.execute(
        "UPDATE value SET sealed = (SELECT sealed FROM value WHERE secret_id = 'one' AND key = 'key')"
        " WHERE secret_id = ? AND key = ?",
        (secret_id, key),
    )
    with pytest.raises(SecretError, match=rf"key '{key}' of the secret {secret_id} was changed"):
        vault.read(secret_id)


def test_a_database_that_is_none_is_told(tmp_path: Path, vault: Vault) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secrets.db").write_bytes(b"no database at all" * 100)
    for attempt in (lambda: vault.read("id"), vault.ids, lambda: write(vault, "id", {"a": CANARY})):
        with pytest.raises(SecretError, match=r"cannot be read or kept: file is not a database"):
            attempt()


def test_a_newer_database_is_told(database: sqlite3.Connection, vault: Vault) -> None:
    database.execute("PRAGMA user_version = 2")
    with pytest.raises(SecretError, match=r"newer Stackledger"):
        vault.read("one")


def test_racing_processes_make_one_key(tmp_path: Path) -> None:
    for number in range(5):
        home = tmp_path / str(number)

        def race(home: Path = home) -> None:
            write(Vault(home, no_keyring), f"{os.getpid()}", {"key": CANARY})

        pids = [forked(race) for _ in range(4)]
        assert [ended(pid) for pid in pids] == [0] * 4
        vault = Vault(home, no_keyring)
        assert vault.ids() == sorted(map(str, pids))
        assert all(vault.read(str(pid)) == {"key": CANARY} for pid in pids)
        assert sorted(path.name for path in home.iterdir()) == ["secret.key", "secrets.db"]


def test_a_key_whose_maker_died_before_the_first_value_is_used(tmp_path: Path, vault: Vault) -> None:
    write(vault, "id", {"key": "x"})
    before = (tmp_path / "home" / "secret.key").read_text()
    (tmp_path / "home" / "secrets.db").unlink()
    write(vault, "id", {"key": "y"})
    assert (tmp_path / "home" / "secret.key").read_text() == before


def test_a_keyring_keeps_the_key_and_no_file_does(tmp_path: Path) -> None:
    keyring = MemoryKeyring()
    vault = Vault(tmp_path, lambda: keyring)
    write(vault, "id", {"key": CANARY})
    assert vault.read("id") == {"key": CANARY}
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.db"]
    assert len(keyring.kept) == 1


def test_where_the_key_is_does_not_change(tmp_path: Path) -> None:
    keyring = MemoryKeyring()
    write(Vault(tmp_path / "a", lambda: keyring), "id", {"key": CANARY})
    with pytest.raises(SecretError, match=r"in the keyring of the operating system, which cannot be asked"):
        write(Vault(tmp_path / "a", no_keyring), "id", {"key": CANARY})
    with pytest.raises(SecretError, match=r"in the keyring is gone"):
        Vault(tmp_path / "a", MemoryKeyring).read("id")
    write(Vault(tmp_path / "b", no_keyring), "id", {"key": CANARY})
    assert Vault(tmp_path / "b", MemoryKeyring).read("id") == {"key": CANARY}


@pytest.mark.parametrize("keyring", [NullKeyring, FailingKeyring, SilentKeyring])
def test_a_keyring_that_does_not_keep_is_not_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keyring: type[MemoryKeyring]
) -> None:
    monkeypatch.setattr(vault_key, "PATIENCE", 0.05)
    write(Vault(tmp_path, keyring), "id", {"key": CANARY})
    assert (tmp_path / "secret.key").exists()
    assert Vault(tmp_path, no_keyring).read("id") == {"key": CANARY}


def test_a_keyring_that_fails_later_is_told_without_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = MemoryKeyring()
    vault = Vault(tmp_path, lambda: keyring)
    write(vault, "id", {"key": CANARY})

    def fail(*_: str) -> str:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(keyring, "get_password", fail)
    with pytest.raises(SecretError, match=r"keyring of the operating system failed \(RuntimeError\)"):
        vault.read("id")


def test_a_machine_without_a_desktop_has_no_keyring_and_is_not_asked() -> None:
    program = (
        "import sys\n"
        "from stackledger.flavors.vault_key import usable_keyring\n"
        "print(usable_keyring({'DBUS_SESSION_BUS_ADDRESS': 'unix:path=/nowhere'}), 'keyring' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "False"]


@pytest.mark.parametrize("name", ["keyring.backends.fail.Keyring", "keyring.backends.null.Keyring"])
def test_a_backend_that_keeps_nothing_is_no_keyring(name: str) -> None:
    program = (
        "from stackledger.flavors.vault_key import usable_keyring\n"
        "print(usable_keyring({'DISPLAY': ':0', 'DBUS_SESSION_BUS_ADDRESS': 'unix:path=/nowhere'}))"
    )
    environment = os.environ | {"PYTHON_KEYRING_BACKEND": name}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "None"


def test_readers_see_what_was_before_while_a_writer_is_at_it(vault: Vault) -> None:
    write(vault, "id", {"key": "before"})
    with vault._changing() as connection:
        connection.execute("DELETE FROM value")
        assert vault.read("id") == {"key": "before"}
    assert vault.ids() == []
