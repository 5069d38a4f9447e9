"""A writer that dies anywhere leaves whole objects only, and what was acknowledged survives a loss of power."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.artifact_stores import local_store
from tests.support.processes import ended, forked

CALLS = ("open", "write", "fsync", "replace", "close", "mkdir")
DATA = b"0123456789" * 1000


def dying_at(step: int, write: Callable[[int, bytes], int]) -> Callable[[], None]:
    """Return the work of a child that puts an object and is killed at its `step`-th call of the system."""

    def work() -> None:
        left = step

        def counted(name: str) -> Callable[..., object]:
            real: Callable[..., object] = write if name == "write" else getattr(os, name)

            def call(*arguments: object, **options: object) -> object:
                nonlocal left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return real(*arguments, **options)

            return call

        for name in CALLS:
            setattr(os, name, counted(name))
        local_store(Path("store")).put(DATA)

    return work


def test_kill_9_at_any_call_leaves_no_partial_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    real = os.write
    deaths = 0
    for step in range(1000):
        # Bytes go out in small pieces, so that there is much time to die in the middle.
        if ended(forked(dying_at(step, lambda descriptor, data: real(descriptor, data[:2500])))) == 0:
            break
        deaths += 1
        store = local_store(tmp_path / "store")
        for digest in store.digests():
            assert digest == hashlib.sha256(DATA).hexdigest()
            assert store.get(digest, len(DATA)) == DATA
            store.delete(digest)
    assert deaths > 10
    assert local_store(tmp_path / "store").sweep_temporary(2e9) > 0
    assert not any((tmp_path / "store" / "writing").iterdir())


class Disk:
    """What a loss of power would leave: bytes and names of files that were synced, followed call by call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, set[str]] = {}
        self.whole: set[int] = set()
        fsync, replace = os.fsync, os.replace

        def synced(descriptor: int) -> None:
            fsync(descriptor)
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            if os.path.isdir(path):
                self.names[path] = set(os.listdir(path))
            else:
                self.whole.add(os.fstat(descriptor).st_ino)

        def renamed(source: Path, target: Path) -> None:
            assert os.stat(source).st_ino in self.whole, "renamed before its bytes were synced"
            replace(source, target)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "replace", renamed)

    def has(self, path: Path, below: Path) -> bool:
        """Say whether every name from `below` to the path was synced."""
        steps = [path, *path.parents]
        return all(step.name in self.names.get(str(step.parent), ()) for step in steps[: steps.index(below)])


def test_what_was_acknowledged_survives_a_loss_of_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "deep" / "down" / "store"
    disk = Disk(monkeypatch)
    stored = local_store(root).put(DATA)
    assert disk.has(root / "sha256" / stored.digest, tmp_path)


def test_an_object_that_another_writer_left_unsynced_is_synced_before_it_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "store"
    stored = local_store(root).put(DATA)
    disk = Disk(monkeypatch)
    assert local_store(root).put(DATA) == stored
    assert disk.has(root / "sha256" / stored.digest, tmp_path)
