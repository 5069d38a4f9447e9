"""Private keys in files of their owner, and the lists that they sign."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stackledger.domain.errors import AlreadyExists, InvalidName, InvalidValue, KeyFileError, NotFound, UsageError
from stackledger.workers.fleet.trust.ed25519 import id_of, verified
from stackledger.workers.fleet.trust.folder import key_file
from stackledger.workers.fleet.trust.keys import (
    PublicKey,
    create_key,
    key_of,
    keys_in,
    public_key,
    read_key,
    role_of,
    signing_key,
)


def file_of(home: Path, name: str) -> Path:
    return key_file(home, key_of(home, name).key_id)


def test_a_key_signs_what_its_public_half_verifies_and_nothing_else(tmp_path: Path) -> None:
    key, other = create_key(tmp_path, "a", "worker"), create_key(tmp_path, "b", "worker")
    signature = key.sign(b"data")
    assert verified(key.shown.public, signature, b"data")
    assert not verified(key.shown.public, signature, b"date")
    assert not verified(other.shown.public, signature, b"data")
    assert not verified(key.shown.public, b"", b"data")
    assert not verified("no key", signature, b"data")
    assert read_key(file_of(tmp_path, "A")).sign(b"data") == signature
    assert key.key_id == id_of(key.shown.public) == key_of(tmp_path, key.key_id).key_id


def test_nobody_else_can_read_a_private_key_at_any_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0)
    modes = []
    replace = os.replace

    def looking(source: Path, target: Path) -> None:
        modes.append(os.stat(source).st_mode & 0o777)
        replace(source, target)

    monkeypatch.setattr(os, "replace", looking)
    try:
        create_key(tmp_path, "a", "root")
    finally:
        os.umask(before)
    assert modes == [0o600]
    assert os.stat(file_of(tmp_path, "a")).st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "keys").st_mode & 0o777 == 0o700
    assert [path.suffix for path in (tmp_path / "keys").iterdir()] == [".key"]


def test_a_private_half_shows_in_no_text(tmp_path: Path) -> None:
    key = create_key(tmp_path, "a", "worker")
    private = json.loads(file_of(tmp_path, "a").read_text())["private"]
    shown = f"{key!r} {key} {key.shown!r} {key.shown} {vars(key)!r} {keys_in(tmp_path)!r}"
    assert private not in shown
    assert key.shown.public in shown


def opened_to_others(file: Path) -> None:
    file.chmod(0o640)


def given_away(file: Path) -> None:
    os.chown(file, 12345, -1)


def linked(file: Path) -> None:
    file.rename(file.with_suffix(".moved"))
    file.symlink_to(file.with_suffix(".moved"))


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def truncated(file: Path) -> None:
    os.truncate(file, 40)


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def another_public_half(file: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | {"public": "ab" * 32}))


def no_hexadecimal(file: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | {"private": "zz" * 32}))


def another_role(file: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | {"role": "king"}))


def a_hostile_name(file: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | {"name": "\x1b[2J"}))


def not_text(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\0" * 50)


def a_list(file: Path) -> None:
    file.write_text("[1, 2]")


def gone(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    "spoil",
    [
        opened_to_others,
        *([given_away] if os.getuid() == 0 else []),
        linked,
        a_folder,
        truncated,
        emptied,
        another_public_half,
        no_hexadecimal,
        another_role,
        a_hostile_name,
        not_text,
        a_list,
        gone,
    ],
)
def test_a_key_file_that_is_not_sound_and_its_owners_alone_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    create_key(tmp_path, "a", "worker")
    file = file_of(tmp_path, "a")
    private = json.loads(file.read_text())["private"]
    spoil(file)
    with pytest.raises(KeyFileError) as refused:
        read_key(file)
    assert str(file) in str(refused.value)
    assert private not in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_a_name_is_taken_once_in_a_home_whoever_is_faster(tmp_path: Path) -> None:
    def create(name: str) -> str:
        try:
            return create_key(tmp_path, name, "worker").key_id
        except AlreadyExists as error:
            return error.message

    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(create, ["a", "A"] * 8))
    assert sum("already" in each for each in ended) == 15
    assert len(keys_in(tmp_path)) == 1


def test_what_somebody_left_who_died_while_writing_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "ab.new").write_text("{")
    assert keys_in(tmp_path) == []
    create_key(tmp_path, "a", "worker")


def test_a_home_has_one_root_key(tmp_path: Path) -> None:
    create_key(tmp_path, "a", "root")
    with pytest.raises(AlreadyExists, match="root key already"):
        create_key(tmp_path, "b", "root")


def test_the_key_to_sign_with_is_one_of_the_role_that_counts(tmp_path: Path) -> None:
    first, second = (create_key(tmp_path, name, "coordinator") for name in ("a", "b"))
    create_key(tmp_path, "c", "worker")
    worker = key_of(tmp_path, "c").key_id
    assert signing_key(tmp_path, "coordinator", {worker}) is None
    found = signing_key(tmp_path, "coordinator", {second.key_id, worker})
    assert found is not None
    assert found.shown == second.shown
    assert signing_key(tmp_path / "nowhere", "coordinator", {first.key_id}) is None


def test_a_public_key_travels_as_one_line() -> None:
    key = PublicKey("gpu-1", "worker", "ab" * 32)
    assert public_key(f" {key}\n") == key


@pytest.mark.parametrize(
    "line",
    ["", "worker:w", f"king:w:{'ab' * 32}", f"worker:w:{'AB' * 32}", f"worker:w:{'ab' * 31}", f"worker:w:x{'ab' * 32}"],
)
def test_what_is_no_public_key_is_refused(line: str) -> None:
    with pytest.raises(InvalidValue, match="no public key"):
        public_key(line)


def test_names_of_keys_are_names() -> None:
    with pytest.raises(InvalidName):
        public_key(f"worker:\x1b[2J:{'ab' * 32}")


def test_what_is_not_there_is_said_with_what_is_near(tmp_path: Path) -> None:
    create_key(tmp_path, "worker-1", "worker")
    with pytest.raises(NotFound, match="Did you mean 'worker-1'"):
        key_of(tmp_path, "worker-2")
    with pytest.raises(UsageError, match="Did you mean 'coordinator'"):
        role_of("cordinator")
