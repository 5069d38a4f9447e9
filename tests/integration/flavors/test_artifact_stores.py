"""What every artifact store keeps to. A new implementation joins by one line in the fixture."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stackledger.domain.errors import ArtifactDamaged, ArtifactError, ArtifactMissing
from tests.support.artifact_stores import Opened, opened_in, opened_in_memory, opened_locally
from tests.support.processes import ended, forked

OPENERS = {"memory": opened_in_memory, "local": opened_locally}
ABSENT = "0" * 64
HOSTILE = [
    "",
    "../" * 10 + "etc/passwd",
    "a" * 63,
    "a" * 65,
    "A" * 64,
    "g" * 64,
    "a" * 63 + "\n",
    "\0" * 64,
    "/" * 64,
    "\u0661" * 64,
]


@pytest.fixture(params=[*OPENERS, "s3", "gcs", "azure"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    if request.param in OPENERS:
        return OPENERS[request.param](tmp_path / "store")
    return opened_in(request.getfixturevalue(request.param))


@pytest.mark.parametrize(
    "data", [b"", b"a", b"line\r\n\0", os.urandom(5_000_000)], ids=["empty", "one", "odd", "large"]
)
def test_what_was_put_is_got_under_its_digest(opened: Opened, data: bytes, tmp_path: Path) -> None:
    stored = opened.store.put(data)
    assert (stored.digest, stored.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert opened.store.get(stored.digest, stored.size) == data
    target = tmp_path / "target"
    opened.store.get_file(stored.digest, stored.size, target)
    assert target.read_bytes() == data


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_a_file_is_put_like_its_bytes(opened: Opened, size: int, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size))
    stored = opened.store.put_file(source)
    assert stored == opened.store.put(source.read_bytes())
    assert list(opened.store.digests()) == [stored.digest]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.binary(max_size=50)))
def test_the_digests_are_those_of_all_that_was_put(opened: Opened, blobs: list[bytes]) -> None:
    for digest in opened.store.digests():
        opened.store.delete(digest)
    stored = [opened.store.put(blob) for blob in blobs]
    assert sorted(opened.store.digests()) == sorted({each.digest for each in stored})
    assert [opened.store.get(each.digest, each.size) for each in stored] == blobs


def test_putting_again_changes_nothing(opened: Opened) -> None:
    assert opened.store.put(b"same") == opened.store.put(b"same")
    assert len(list(opened.store.digests())) == 1


def test_what_is_deleted_is_missing_and_may_come_back(opened: Opened) -> None:
    stored = opened.store.put(b"here")
    assert opened.store.exists(stored.digest)
    opened.store.delete(stored.digest)
    opened.store.delete(stored.digest)
    assert not opened.store.exists(stored.digest)
    with pytest.raises(ArtifactMissing):
        opened.store.get(stored.digest, stored.size)
    assert opened.store.put(b"here") == stored
    assert opened.store.exists(stored.digest)


def test_a_store_that_nothing_was_put_into_is_empty(opened: Opened, tmp_path: Path) -> None:
    assert list(opened.store.digests()) == []
    assert not opened.store.exists(ABSENT)
    opened.store.delete(ABSENT)
    assert opened.store.sweep_temporary(2e9) == 0
    with pytest.raises(ArtifactMissing):
        opened.store.get(ABSENT, 1)
    with pytest.raises(ArtifactMissing):
        opened.store.get_file(ABSENT, 1, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_objects_are_listed_with_size_and_the_time_by_the_clock_of_the_store(opened: Opened) -> None:
    before = opened.store.now()
    stored = [opened.store.put(data) for data in (b"", b"three")]
    found = sorted(opened.store.objects())
    assert [(each.digest, each.size) for each in found] == sorted(stored)
    # Some servers date to the second.
    assert all(before - 2 < each.changed < opened.store.now() + 2 for each in found)
    assert list(opened.store.unfinished()) == []


def test_what_is_set_aside_is_read_as_before_and_put_anew(opened: Opened, tmp_path: Path) -> None:
    stored = opened.store.put(b"garbage?")
    opened.store.set_aside(stored.digest, "c1")
    opened.store.set_aside(stored.digest, "c1")
    opened.store.set_aside(ABSENT, "c1")
    assert list(opened.store.objects()) == []
    assert [each[:2] for each in opened.store.aside()] == [(stored.digest, "c1")]
    assert opened.store.get(*stored) == b"garbage?"
    opened.store.get_file(*stored, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"garbage?"
    assert opened.store.exists(stored.digest)
    opened.store.put(b"garbage?")
    assert list(opened.store.digests()) == [stored.digest]
    opened.store.drop(stored.digest, "c1")
    opened.store.drop(stored.digest, "c1")
    assert list(opened.store.aside()) == []
    assert opened.store.get(*stored) == b"garbage?"


def test_what_is_dropped_is_missing(opened: Opened) -> None:
    stored = opened.store.put(b"garbage")
    opened.store.set_aside(stored.digest, "c1")
    opened.store.drop(stored.digest, "c2")
    assert opened.store.exists(stored.digest)
    opened.store.drop(stored.digest, "c1")
    assert not opened.store.exists(stored.digest)
    with pytest.raises(ArtifactMissing):
        opened.store.get(*stored)


@pytest.mark.parametrize("again", [False, True], ids=["missing", "put anew"])
def test_what_is_put_back_is_in_its_place_again(opened: Opened, *, again: bool) -> None:
    stored = opened.store.put(b"not garbage")
    opened.store.set_aside(stored.digest, "c1")
    if again:
        opened.store.put(b"not garbage")
    is_aside = opened.store.put_back(stored.digest, "c1")
    assert [each.digest for each in opened.store.aside()] == [stored.digest] * is_aside
    assert list(opened.store.digests()) == [stored.digest]
    opened.store.drop(stored.digest, "c1")
    opened.store.put_back(stored.digest, "c1")
    assert opened.store.get(*stored) == b"not garbage"
    assert list(opened.store.aside()) == []


def test_what_was_put_anew_is_not_replaced_by_what_is_put_back(opened: Opened) -> None:
    stored = opened.store.put(b"whole")
    opened.tamper(stored.digest, b"other")
    opened.store.set_aside(stored.digest, "c1")
    opened.store.put(b"whole")
    opened.store.put_back(stored.digest, "c1")
    assert opened.store.get(*stored) == b"whole"


def test_a_log_that_signs_in_is_known_to_be_the_first_where_nothing_was_there_before(opened: Opened) -> None:
    assert opened.store.users() == {}
    opened.store.sign_in("first")
    opened.store.put(b"of the first")
    opened.store.sign_in("first")
    opened.store.sign_in("second~1")
    assert opened.store.users() == {"first": True, "second~1": False}
    opened.store.claim("third")
    assert opened.store.users() == {"third": True}
    assert len(list(opened.store.objects())) == 1


def test_ids_that_are_paths_are_refused(opened: Opened) -> None:
    for attempt in (
        lambda: opened.store.set_aside(ABSENT, "../x"),
        lambda: opened.store.put_back(ABSENT, ""),
        lambda: opened.store.drop(ABSENT, "a/b"),
        lambda: opened.store.sign_in(".."),
    ):
        with pytest.raises(ArtifactError, match=r"is not the id of"):
            attempt()


@pytest.mark.parametrize("digest", HOSTILE)
def test_a_digest_that_is_none_is_refused_everywhere(opened: Opened, digest: str, tmp_path: Path) -> None:
    for attempt in (
        lambda: opened.store.get(digest, 1),
        lambda: opened.store.get_file(digest, 1, tmp_path / "target"),
        lambda: opened.store.exists(digest),
        lambda: opened.store.delete(digest),
        lambda: opened.store.set_aside(digest, "c1"),
        lambda: opened.store.put_back(digest, "c1"),
        lambda: opened.store.drop(digest, "c1"),
    ):
        with pytest.raises(ArtifactError, match=r"is not a SHA-256 digest"):
            attempt()


@pytest.mark.parametrize(
    "damage", [b"", b"orig", b"0riginal", b"original and more"], ids=["emptied", "cut", "changed", "longer"]
)
def test_damaged_bytes_are_never_handed_out_and_putting_again_mends_them(
    opened: Opened, damage: bytes, tmp_path: Path
) -> None:
    stored = opened.store.put(b"original")
    opened.tamper(stored.digest, damage)
    target = tmp_path / "target"
    target.write_bytes(b"before")
    with pytest.raises(ArtifactDamaged, match=stored.digest):
        opened.store.get(stored.digest, stored.size)
    with pytest.raises(ArtifactDamaged, match=stored.digest):
        opened.store.get_file(stored.digest, stored.size, target)
    assert target.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) in (["store", "target"], ["target"])
    opened.store.put(b"original")
    assert opened.store.get(stored.digest, stored.size) == b"original"


def test_swapped_objects_are_damaged_objects(opened: Opened) -> None:
    one, other = opened.store.put(b"one"), opened.store.put(b"two")
    opened.tamper(one.digest, b"two")
    opened.tamper(other.digest, b"one")
    for stored in (one, other):
        with pytest.raises(ArtifactDamaged):
            opened.store.get(stored.digest, stored.size)


def test_a_size_that_is_not_the_objects_is_refused(opened: Opened) -> None:
    stored = opened.store.put(b"four")
    for size in (3, 5, 0):
        with pytest.raises(ArtifactDamaged):
            opened.store.get(stored.digest, size)


def test_a_file_that_cannot_be_read_or_written_is_told(opened: Opened, tmp_path: Path) -> None:
    stored = opened.store.put(b"x")
    with pytest.raises(ArtifactError):
        opened.store.put_file(tmp_path / "absent")
    with pytest.raises(ArtifactError):
        opened.store.get_file(stored.digest, stored.size, tmp_path / "no folder" / "target")
    assert list(opened.store.digests()) == [stored.digest]


def test_racing_threads_all_see_the_same_whole_object(opened: Opened) -> None:
    blobs = [bytes([number]) * 200_000 for number in range(8)]
    barrier = threading.Barrier(8)
    results: list[list[str]] = []

    def write() -> None:
        barrier.wait()
        results.append([opened.store.put(blob).digest for blob in blobs])

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(result == results[0] for result in results)
    assert sorted(opened.store.digests()) == sorted(results[0])
    assert [opened.store.get(digest, 200_000) for digest in results[0]] == blobs


def test_racing_processes_all_see_the_same_whole_object(tmp_path: Path) -> None:
    blobs = [bytes([number]) * 100_000 for number in range(10)]

    def write() -> None:
        store = opened_locally(tmp_path / "store").store
        for blob in blobs:
            stored = store.put(blob)
            assert store.get(stored.digest, stored.size) == blob

    assert [ended(pid) for pid in [forked(write) for _ in range(4)]] == [0] * 4
    store = opened_locally(tmp_path / "store").store
    assert sorted(store.digests()) == sorted(hashlib.sha256(blob).hexdigest() for blob in blobs)
    assert list((tmp_path / "store" / "writing").iterdir()) == []
