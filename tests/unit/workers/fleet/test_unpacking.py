from __future__ import annotations

import contextlib
import gzip
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackledger.domain.errors import ArtifactMissing, PipelineError, StackledgerError
from stackledger.domain.events.runs import Kept
from stackledger.flavors.local_artifact_store import LocalArtifactStore, LocalArtifactStoreConfig
from stackledger.pipelines.archive import MANIFEST, packed
from stackledger.pipelines.archive_format import BLOCK, END, Unfit, check_apart, header, padding
from stackledger.workers.fleet.execution import unpacking
from stackledger.workers.fleet.execution.unpacking import CodeCache, unpack

_SAYS = json.dumps({"paths": [""]}).encode()


def _member(name: str, data: bytes = b"", *, executable: bool = False) -> bytes:
    return header(name, len(data), executable=executable) + data + bytes(padding(len(data)))


def _archive(*members: bytes, manifest: bytes = _SAYS) -> bytes:
    return b"".join([_member(MANIFEST, manifest), *members, END])


_part = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\"), min_size=1, max_size=12
).filter(lambda part: part not in {".", ".."})
_files = st.dictionaries(
    st.lists(_part, min_size=1, max_size=4).map("/".join),
    st.tuples(st.binary(max_size=1500), st.booleans()),
    max_size=8,
)


def _fits(names: list[str]) -> bool:
    try:
        check_apart([MANIFEST, *names])
    except Unfit:
        return False
    return True


@given(_files.filter(lambda files: _fits(list(files))))
def test_every_tree_comes_out_as_it_was_packed(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, tuple[bytes, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    members = [_member(name, data, executable=executable) for name, (data, executable) in sorted(files.items())]
    unpacked = unpack(_archive(*members), folder / "out")
    found = {
        path.relative_to(folder / "out").as_posix(): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in (folder / "out").rglob("*")
        if path.is_file()
    }
    assert found == files
    assert unpacked == (folder / "out",)


def test_what_is_packed_is_unpacked(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "src/pkg").mkdir(parents=True)
    (root / "src/pkg/__init__.py").write_text("x = 1")
    (root / "run.sh").write_text("#!/bin/sh")
    (root / "run.sh").chmod(0o755)
    archive = packed(root, search_path=[str(root), str(root / "src")])
    unpacked = unpack(archive.data, tmp_path / "out")
    assert unpacked == (tmp_path / "out", tmp_path / "out/src")
    assert (tmp_path / "out/src/pkg/__init__.py").read_text() == "x = 1"
    assert packed(tmp_path / "out", search_path=[str(path) for path in unpacked]).data == archive.data


def _foreign(change: Callable[[tarfile.TarInfo], None], data: bytes = b"") -> bytes:
    """Return a member as Python's own writer makes it."""
    info = tarfile.TarInfo("name")
    info.size = len(data)
    change(info)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(padding(len(data)))


def _of_type(kind: bytes, target: str = "") -> bytes:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, target

    return _foreign(change)


def _raw(name: str) -> bytes:
    """Return a member of a name that no header is made for."""
    return _foreign(lambda info: setattr(info, "name", name))


def _damaged() -> bytes:
    member = bytearray(_member("name", b"data"))
    member[130] ^= 1
    return bytes(member)


_HOSTILE = {
    "symbolic link": _archive(_of_type(tarfile.SYMTYPE, "/etc/passwd")),
    "hard link": _archive(_of_type(tarfile.LNKTYPE, "/etc/passwd")),
    "character device": _archive(_of_type(tarfile.CHRTYPE)),
    "block device": _archive(_of_type(tarfile.BLKTYPE)),
    "pipe": _archive(_of_type(tarfile.FIFOTYPE)),
    "folder": _archive(_of_type(tarfile.DIRTYPE)),
    "sparse file": _archive(_of_type(tarfile.GNUTYPE_SPARSE)),
    "long name of GNU": _archive(_of_type(tarfile.GNUTYPE_LONGNAME)),
    "extended header": _archive(_of_type(tarfile.XHDTYPE)),
    "absolute name": _archive(_raw("/etc/cron.d/x")),
    "way up": _archive(_raw("../x")),
    "way up in the middle": _archive(_raw("a/../../x")),
    "dot": _archive(_raw("./x")),
    "empty part": _archive(_raw("a//b")),
    "no name": _archive(_raw("")),
    "backslash": _archive(_raw("..\\x")),
    "escape sequence": _archive(_raw("\x1b[31m")),
    "owner": _archive(_foreign(lambda info: setattr(info, "uid", 0o777))),
    "set-uid": _archive(_foreign(lambda info: setattr(info, "mode", 0o4755))),
    "time": _archive(_foreign(lambda info: setattr(info, "mtime", 1))),
    "name that ends in NUL and more": _archive(_member("name").replace(b"name\0\0", b"name\0x", 1)),
    "twice the same": _archive(_member("a"), _member("a")),
    "twins but for case": _archive(_member("Name"), _member("name")),
    "twins of composition": _archive(_member("e\u0301"), _member("\u00e9")),
    "folders that are twins of a file": _archive(_member("A/b"), _member("a")),
    "file in the place of a folder": _archive(_member("a"), _member("a/b")),
    "not sorted": _archive(_member("b"), _member("a")),
    "second manifest": _archive(_member(MANIFEST, _SAYS)),
    "damaged header": _archive(_damaged()),
    "hidden bytes": _archive(_member("a", b"x")[:-1] + b"y"),
    "bytes after the end": _archive() + bytes(BLOCK),
    "cut off": _archive(_member("a", b"x" * 1000))[:-600],
    "no end": _archive()[: -len(END)],
    "nothing": b"",
    "only an end": END,
    "no tar": b"PK\x03\x04" + bytes(2000),
    "compressed": gzip.compress(_archive()),
    "size beyond the end": header(MANIFEST, 8**11 - 1, executable=False) + END,
    "no manifest": _member("a") + END,
    "manifest that is no JSON": _archive(manifest=b"{"),
    "manifest nested deeply": _archive(manifest=b"[" * 100_000),
    "manifest of something else": _archive(manifest=b'{"paths": [1]}'),
    "manifest that says more": _archive(manifest=b'{"paths": [], "run": "x"}'),
    "path out of the tree": _archive(manifest=b'{"paths": ["../.."]}'),
    "absolute path": _archive(manifest=b'{"paths": ["/tmp"]}'),
}


@pytest.mark.parametrize("data", _HOSTILE.values(), ids=_HOSTILE.keys())
def test_a_hostile_archive_is_refused_before_anything_is_written(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(PipelineError, match="none of ours"):
        unpack(data, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_too_many_and_too_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MAX_FILES", 2)
    assert unpack(_archive(_member("a"), _member("b")), tmp_path / "fits")
    with pytest.raises(PipelineError, match="more than 2 files"):
        unpack(_archive(_member("a"), _member("b"), _member("c")), tmp_path / "out")
    monkeypatch.setattr(unpacking, "MAX_BYTES", 100)
    monkeypatch.setattr(unpacking, "_MAX_MANIFEST", 100)
    with pytest.raises(PipelineError, match="more than 100 bytes"):
        unpack(_archive(_member("a", b"x" * 200)), tmp_path / "out")


@given(st.binary(max_size=3000), st.data())
def test_no_bytes_write_outside_of_the_folder_or_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, data: st.DataObject
) -> None:
    whole = bytearray(_archive(_member("a/b", noise), _member("c")))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("mutated")
    with contextlib.suppress(StackledgerError):
        unpack(bytes(whole), folder / "out")
    assert {path.name for path in folder.iterdir()} <= {"out"}


class TestCache:
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalArtifactStore:
        return LocalArtifactStore(
            LocalArtifactStoreConfig(path=str(tmp_path / "store")), home=tmp_path, component_id="x"
        )

    def test_an_archive_is_fetched_once(self, tmp_path: Path, store: LocalArtifactStore) -> None:
        kept = Kept(**store.put(_archive())._asdict())
        cache = CodeCache(tmp_path / "cache")
        assert cache.archive(kept, store) == _archive()
        store.delete(kept.digest)
        assert cache.archive(kept, store) == _archive()
        with pytest.raises(ArtifactMissing):
            CodeCache(tmp_path / "other").archive(kept, store)

    def test_a_copy_that_somebody_changed_is_fetched_again(self, tmp_path: Path, store: LocalArtifactStore) -> None:
        kept = Kept(**store.put(_archive())._asdict())
        cache = CodeCache(tmp_path / "cache")
        cache.archive(kept, store)
        (copy,) = (tmp_path / "cache").iterdir()
        copy.write_bytes(_archive(_member("evil.py")))
        assert cache.archive(kept, store) == _archive()
        assert copy.read_bytes() == _archive()

    def test_only_the_archives_that_were_used_last_are_kept(
        self, tmp_path: Path, store: LocalArtifactStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unpacking, "_ARCHIVES_KEPT", 2)
        cache = CodeCache(tmp_path / "cache")
        for name in "abc":
            cache.archive(Kept(**store.put(_archive(_member(name)))._asdict()), store)
        assert len(list((tmp_path / "cache").iterdir())) == 2

    def test_an_archive_larger_than_any_is_not_even_fetched(self, tmp_path: Path, store: LocalArtifactStore) -> None:
        with pytest.raises(PipelineError, match="more than"):
            CodeCache(tmp_path / "cache").archive(Kept(digest="0" * 64, size=10**12), store)
