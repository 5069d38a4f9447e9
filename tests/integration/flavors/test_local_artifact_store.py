"""What the store in a folder makes of files, of disks that fail, and of strange things in its folder."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from pathlib import Path

import pytest

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import ArtifactDamaged, ArtifactError, ArtifactMissing
from stackledger.flavors import catalogue
from stackledger.flavors.local_artifact_store import LocalArtifactStore, LocalArtifactStoreConfig
from stackledger.flavors.validation import prepare
from tests.support.artifact_stores import local_store
from tests.support.processes import ended, forked


def files_of(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_a_store_without_a_path_has_a_folder_of_its_own_at_home(tmp_path: Path) -> None:
    flavor = catalogue.load(catalogue.find(ComponentType.ARTIFACT_STORE, "local"))
    assert catalogue.load_implementation(flavor) is LocalArtifactStore
    store = LocalArtifactStore(LocalArtifactStoreConfig(), home=tmp_path, component_id="c1")
    stored = store.put(b"data")
    assert files_of(tmp_path) == [f"artifacts/c1/sha256/{stored.digest}"]


def test_a_folder_that_is_not_on_this_machine_is_said(tmp_path: Path) -> None:
    flavor = catalogue.load(catalogue.find(ComponentType.ARTIFACT_STORE, "local"))
    located = flavor.located({}, tmp_path / "home", "c1")
    assert located == {"path": str(tmp_path / "home/artifacts/c1")}
    assert flavor.located(located, tmp_path / "another home", "c1") == located
    elsewhere = local_store(Path(located["path"]))
    with pytest.raises(ArtifactMissing, match="is not here: there is no such folder"):
        elsewhere.get("0" * 64, 1)
    elsewhere.put(b"data")
    with pytest.raises(ArtifactMissing, match="has no object"):
        elsewhere.get("0" * 64, 1)


def test_preparing_makes_the_folder_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    flavor = catalogue.load(catalogue.find(ComponentType.ARTIFACT_STORE, "local"))
    prepare(flavor, {"path": str(tmp_path / "deep" / "store")}, tmp_path, "c1", dict[str, dict[str, str]]().__getitem__)
    assert (tmp_path / "deep" / "store").is_dir()
    assert files_of(tmp_path) == []


def test_preparing_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    flavor = catalogue.load(catalogue.find(ComponentType.ARTIFACT_STORE, "local"))
    with pytest.raises(ArtifactError, match=r"cannot make the store's folder: Not a directory\. A file stands where"):
        prepare(
            flavor, {"path": str(tmp_path / "file" / "store")}, tmp_path, "c1", dict[str, dict[str, str]]().__getitem__
        )


def test_objects_are_read_only(tmp_path: Path) -> None:
    stored = local_store(tmp_path).put(b"data")
    mode = stat.S_IMODE((tmp_path / "sha256" / stored.digest).stat().st_mode)
    assert mode & 0o333 == 0
    assert mode & stat.S_IRUSR


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "The disk is full: make room"),
        (errno.EDQUOT, "quota"),
        (errno.EIO, "The disk fails"),
        (errno.EROFS, "read-only"),
    ],
)
def test_a_failing_disk_is_told_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, words: str
) -> None:
    store = local_store(tmp_path / "store")
    store.put(b"before")
    source = tmp_path / "source"
    source.write_bytes(b"from a file")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as failing:
        failing.setattr(os, call, fail)
        with pytest.raises(ArtifactError, match=words):
            store.put(b"after")
        with pytest.raises(ArtifactError, match=words):
            store.put_file(source)
    assert len(files_of(tmp_path / "store")) == 1
    assert store.get(store.put(b"after").digest, 5) == b"after"


def test_short_writes_are_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, write = local_store(tmp_path), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    stored = store.put(b"0123456789")
    assert store.get(stored.digest, stored.size) == b"0123456789"


def test_a_limit_of_the_system_on_file_sizes_is_told(tmp_path: Path) -> None:
    def write() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        store = local_store(tmp_path)
        with pytest.raises(ArtifactError, match=r"larger than a file may be"):
            store.put(b"x" * 200_000)
        assert files_of(tmp_path) == []

    assert ended(forked(write)) == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_folder_of_somebody_else_is_told(tmp_path: Path) -> None:
    local_store(tmp_path / "store").put(b"x")
    for folder in (tmp_path, *tmp_path.parents[:-1]):
        folder.chmod(folder.stat().st_mode | 0o055)

    def write() -> None:
        os.setuid(65534)
        store = local_store(tmp_path / "store")
        with pytest.raises(ArtifactError, match=r"Permission denied\. Give yourself the right"):
            store.put(b"y")

    assert ended(forked(write)) == 0


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "dangling link"])
def test_what_is_not_a_file_in_the_place_of_an_object_is_damage(tmp_path: Path, kind: str) -> None:
    store = local_store(tmp_path / "store")
    stored = store.put(b"secret of somebody")
    path = tmp_path / "store" / "sha256" / stored.digest
    path.rename(tmp_path / "moved")
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link":
            path.symlink_to(tmp_path / "moved")
        case _:
            path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ArtifactDamaged):
        store.get(stored.digest, stored.size)


def test_foreign_files_are_not_objects(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    stored = store.put(b"x")
    for name in (".DS_Store", stored.digest + ".tmp", stored.digest.upper() + "x"):
        (tmp_path / "sha256" / name).write_text("")
    assert list(store.digests()) == [stored.digest]


def test_a_sweep_takes_only_what_is_old(tmp_path: Path) -> None:
    store = local_store(tmp_path)
    stored = store.put(b"x")
    for name, time in (("old", 1_000), ("new", 3_000)):
        (tmp_path / "writing" / name).write_text("")
        os.utime(tmp_path / "writing" / name, (time, time))
    assert store.sweep_temporary(older_than=2_000) == 1
    assert files_of(tmp_path) == [f"sha256/{stored.digest}", "writing/new"]


def test_an_object_larger_than_memory_should_be_is_streamed(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.truncate(300_000_000)

    def copy() -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, used + 50_000_000))
        store = local_store(tmp_path / "store")
        stored = store.put_file(source)
        store.get_file(stored.digest, stored.size, target)

    assert ended(forked(copy)) == 0
    assert target.stat().st_size == 300_000_000
