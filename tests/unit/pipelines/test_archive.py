from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from stackledger.domain.errors import PipelineError
from stackledger.pipelines.archive import MANIFEST, packed, source_root


def _tree(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_same_tree_has_the_same_bytes_wherever_and_whenever_it_was_made(tmp_path: Path) -> None:
    first = _tree(tmp_path / "first", **{"b.py": "2", "a/c.py": "1", "tool.sh": "#!"})
    second = _tree(tmp_path / "second", **{"tool.sh": "#!", "a/c.py": "1", "b.py": "2"})
    os.utime(second / "b.py", (1, 1))
    assert packed(first, search_path=[str(first)]).data == packed(second, search_path=[str(second)]).data


def test_an_archive_is_a_plain_tar_file(tmp_path: Path) -> None:
    root = _tree(tmp_path, **{"b.py": "x" * 600, f"{'long/' * 25}name.py": "1", "ü.txt": ""})
    (root / "b.py").chmod(0o755)
    with tarfile.open(fileobj=io.BytesIO(packed(root).data)) as tar:
        assert tar.getnames() == [MANIFEST, "b.py", f"{'long/' * 25}name.py", "ü.txt"]
        assert [member.mode for member in tar] == [0o644, 0o755, 0o644, 0o644]
        file = tar.extractfile("b.py")
        assert file is not None
        assert file.read() == b"x" * 600


def test_what_git_ignores_is_left_out_as_git_leaves_it_out(tmp_path: Path) -> None:
    root = _tree(
        tmp_path,
        **{
            ".gitignore": "*.csv\n!keep.csv\n/build\ndata/\n# words\n\\#odd\nsub/**/deep.txt\n",
            "sub/.gitignore": "!again.csv\nown.txt\n",
            "sub/again.csv": "",
            "sub/own.txt": "",
            "sub/x/y/deep.txt": "",
            "sub/build": "",
            "build/made.txt": "",
            "data/keep.csv": "",
            "other/data": "",
            "keep.csv": "",
            "lost.csv": "",
            "#odd": "",
            "own.txt": "",
            ".github/workflow.yml": "",
        },
    )
    subprocess.run(["git", "init", "-q", root], check=True)
    (root / ".git/info/exclude").write_text("excluded.txt\n")
    (root / "excluded.txt").touch()
    listed = subprocess.run(
        ["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"], check=True, capture_output=True, text=True
    ).stdout
    assert packed(root).files == set(listed.split("\0")) - {""}
    in_git = {name.removeprefix("sub/") for name in listed.split("\0") if name.startswith("sub/")}
    assert packed(root / "sub").files == in_git


def test_environments_caches_and_settings_with_secrets_are_left_out(tmp_path: Path) -> None:
    left_out = {".env": "", "env/pyvenv.cfg": "", "env/lib.py": "", "__pycache__/a.pyc": "", ".git/config": ""}
    root = _tree(tmp_path, **left_out, **{"a.py": "", "sub/.stackledger/config.yaml": ""})
    assert packed(root).files == {"a.py"}


def test_links_inside_the_tree_are_followed_and_links_out_of_it_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    root = _tree(tmp_path / "tree", **{"rooms/a.py": "1"})
    (root / "src").mkdir()
    (root / "src/rooms").symlink_to("../rooms")
    (root / "src/loop").symlink_to("..")
    (root / "alias.py").symlink_to("rooms/a.py")
    (root / "out").symlink_to("../secret")
    (root / "nowhere").symlink_to("nothing")
    os.mkfifo(root / "pipe")
    files = packed(root).files
    assert files == {"rooms/a.py", "src/rooms/a.py", "alias.py"}
    assert b"secret" not in packed(root).data


def test_a_tree_that_is_too_large_is_refused_and_the_largest_files_named(tmp_path: Path) -> None:
    root = _tree(tmp_path, **{"small.py": "1", "large.bin": "x" * 900, "larger.bin": "x" * 1000})
    with pytest.raises(PipelineError, match=r"1,901 bytes.*1,000.*larger.bin \(1,000 bytes\), large.bin") as refused:
        packed(root, max_bytes=1000)
    assert ".gitignore" in refused.value.hint


@pytest.mark.parametrize(
    "names", [("a.txt", "A.txt"), ("\u00e9", "e\u0301"), ("x" * 101,), ("new\nline",), ("back\\slash",)]
)
def test_names_that_not_every_system_can_keep_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(PipelineError, match="cannot be sent to workers"):
        packed(_tree(tmp_path, **dict.fromkeys(names, "")))


def test_the_source_root_is_the_repository_around_the_program_or_its_folder(tmp_path: Path) -> None:
    inner = tmp_path / "project/examples"
    inner.mkdir(parents=True)
    assert source_root(inner) == inner
    (tmp_path / "project/.git").mkdir()
    assert source_root(inner) == tmp_path / "project"
    (inner / ".stackledger").mkdir()
    assert source_root(inner) == inner


_PROGRAM = """
import json, sys
sys.path.insert(0, "lib")
from pathlib import Path
import helper, inside.deep
from stackledger.pipelines.archive import packed, source_root
def mine(): ...
class Kind:
    def method(self): ...
def maker():
    def made(): ...
    return made
archive = packed(source_root())
def told(function):
    try:
        return archive.source_of(function)
    except Exception as error:
        return str(error)
import stackledger.pipelines.step
functions = [mine, Kind.method, helper.help, inside.deep.step, maker(), stackledger.pipelines.step.step]
print(json.dumps([list(archive.paths), *map(told, functions)]))
"""


@pytest.mark.parametrize(("how", "name"), [(["examples/run.py"], "run"), (["-m", "examples.run"], "examples.run")])
def test_functions_are_found_in_the_tree_as_the_program_finds_them(tmp_path: Path, how: list[str], name: str) -> None:
    import json

    root = _tree(tmp_path, **{"examples/run.py": _PROGRAM, "lib/helper.py": "def help(): ..."})
    _tree(root, **{"lib/inside/__init__.py": "", "lib/inside/deep.py": "def step(): ...", ".git/HEAD": ""})
    done = subprocess.run([sys.executable, *how], cwd=root, capture_output=True, text=True, check=True)
    paths, mine, method, helper, deep, made, ours = json.loads(done.stdout)
    assert paths == ["lib", "examples" if name == "run" else ""]
    assert (mine, method) == (f"{name}.mine", f"{name}.Kind.method")
    assert (helper, deep) == ("helper.help", "inside.deep.step")
    assert "inside of a function" in made
    assert ours == "stackledger.pipelines.step.step"


def test_a_function_whose_file_is_not_packed_is_refused(tmp_path: Path) -> None:
    archive = packed(_tree(tmp_path, **{"a.py": ""}), search_path=[str(tmp_path)])
    with pytest.raises(PipelineError, match="not among the files that are sent to workers"):
        archive.source_of(_tree)
