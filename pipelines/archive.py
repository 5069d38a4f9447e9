"""The source tree of a run as an archive, for those who execute its steps on other machines."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stackledger.domain.errors import PipelineError
from stackledger.domain.names import visible
from stackledger.pipelines.archive_format import END, MAX_BYTES, MAX_FILES, Unfit, check_apart, header, padding
from stackledger.pipelines.code import is_installed

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

MANIFEST = ".stackledger/code.json"
"""The first file of every archive: which folders of it modules are found in, and what pip has to have installed."""

_REPOSITORY, _GIT = ".stackledger", ".git"
_LEFT_OUT = frozenset(
    {_REPOSITORY, _GIT, ".hg", ".svn", "__pycache__", "node_modules", ".ipynb_checkpoints", ".DS_Store", ".env"}
    | {".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".tox", ".nox"}
)
_SUFFIXES_LEFT_OUT = (".pyc", ".pyo")
_LARGEST = 5


class _Found(NamedTuple):
    name: str
    path: str
    size: int
    executable: bool


@dataclass(frozen=True, slots=True)
class CodeArchive:
    """The tree under `root` in bytes: the same tree has the same ones. `files` are the names in it."""

    root: Path
    paths: tuple[str, ...]
    files: frozenset[str]
    data: bytes = field(repr=False)

    def source_of(self, function: Callable[..., object]) -> str:
        """Return the dotted path by which a function is found in this tree, or raise PipelineError.

        What is defined in the program itself belongs to the module of that name.
        """
        name = getattr(function, "__qualname__", type(function).__qualname__)
        module = _module_of(function)
        what = f"{name!r} of the module {module!r}"
        if "<" in name:
            raise PipelineError(
                f"{what} is made inside of a function, where a worker cannot find it.",
                hint="Define it at the top of a module.",
            )
        file = getattr(sys.modules.get(function.__module__), "__file__", None)
        if file is None or file.startswith("<"):  # as <stdin> is
            raise PipelineError(
                f"{what} was typed in, and stands in no file that could be sent to a worker.",
                hint="Put it into a module.",
            )
        if is_installed(file):
            return f"{module}.{name}"
        stem = module.replace(".", "/")
        ends = [f"{stem}{end}{suffix}" for suffix in all_suffixes() for end in ("", "/__init__")]
        if not any(f"{path}/{end}".removeprefix("/") in self.files for path in self.paths for end in ends):
            raise PipelineError(
                f"{what} is in {visible(file)}, which is not among the files that are sent to workers from"
                f" {visible(str(self.root))}.",
                hint="Is it ignored by git, outside of this folder, or found by other means than sys.path?",
            )
        return f"{module}.{name}"


def packed(
    root: Path,
    *,
    search_path: Sequence[str] | None = None,
    max_bytes: int = MAX_BYTES,
) -> CodeArchive:
    """Return the tree under `root` but for what git ignores there, caches, environments and `.env`.

    Links to what is inside the tree are packed as what they lead to, other links are left out. `search_path` is where
    modules are found (sys.path if not given). Raises PipelineError for a tree that is too large, naming the largest
    files, and for names that not every system can keep.
    """
    root = root.resolve()
    found = sorted(_walk(root), key=lambda each: each.name)
    if (total := sum(each.size for each in found)) > max_bytes:
        raise _too_large(root, found, total, max_bytes)
    files = frozenset(each.name for each in found)
    paths = tuple(_paths(root, sys.path if search_path is None else search_path, files))
    manifest = json.dumps({"paths": paths}, ensure_ascii=False).encode()
    try:
        check_apart([MANIFEST, *(each.name for each in found)])
        members = [_member(each.name, Path(each.path).read_bytes(), executable=each.executable) for each in found]
    except Unfit as error:
        raise PipelineError(
            f"The source in {visible(str(root))} cannot be sent to workers: {visible(str(error))}",
            hint="Rename the file, or have it ignored by .gitignore.",
        ) from error
    except OSError as error:
        raise PipelineError(
            f"The source in {visible(str(root))} cannot be sent to workers:"
            f" {visible(str(error.filename))}: {error.strerror}."
        ) from error
    return CodeArchive(root, paths, files, b"".join([_member(MANIFEST, manifest, executable=False), *members, END]))


def source_root(start: Path | None = None) -> Path:
    """Return the folder whose tree belongs to a run: the repository around a folder, or else the folder itself.

    The folder is that of the program, or the working directory where there is no program. A repository is one of git,
    or one made by `stackledger init`; the nearest one counts.
    """
    if start is None:
        program = getattr(sys.modules.get("__main__"), "__file__", None)
        start = Path(program).resolve().parent if program else Path.cwd()
    around = (start, *start.parents)
    return next((folder for folder in around if any((folder / name).exists() for name in (_REPOSITORY, _GIT))), start)


def _module_of(function: Callable[..., object]) -> str:
    if function.__module__ != "__main__":
        return function.__module__
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)  # there is one where the program was started by `python -m`
    return spec.name if spec is not None else Path(getattr(main, "__file__", None) or "").stem


def _member(name: str, data: bytes, *, executable: bool) -> bytes:
    return header(name, len(data), executable=executable) + data + bytes(padding(len(data)))


def _paths(root: Path, search_path: Sequence[str], files: frozenset[str]) -> Iterator[str]:
    """Yield the folders of the tree, each once, that modules are found in."""
    known = set()
    for entry in search_path:
        folder = Path(entry or ".").resolve()
        if folder.is_relative_to(root):
            name = "" if folder == root else folder.relative_to(root).as_posix()
            # An environment inside of the tree is on the path too, and not packed.
            if name not in known and any(file.startswith(f"{name}/" if name else "") for file in files):
                known.add(name)
                yield name


def _walk(root: Path) -> Iterator[_Found]:
    for count, each in enumerate(_walked(str(root), "", _ignored_around(root), (os.path.realpath(root),))):
        if count >= MAX_FILES:
            raise PipelineError(
                f"There are more than {MAX_FILES:,} files in {visible(str(root))} that would be sent to workers.",
                hint="Have those that steps do not need ignored by .gitignore, or begin in a folder of the code alone.",
            )
        yield each


_Rules = tuple[tuple[str, "GitIgnoreSpec"], ...]
"""The rules of .gitignore files, innermost first, each with the folder that it counts for."""


def _walked(folder: str, name: str, rules: _Rules, above: tuple[str, ...]) -> Iterator[_Found]:
    rules = (*_rules_in(folder), *rules)
    for entry in _entries(folder):
        real = os.path.realpath(entry.path)
        try:
            found = os.stat(real)
        except OSError:  # a link to nothing, or removed meanwhile
            continue
        is_folder = stat.S_ISDIR(found.st_mode)
        # A link may lead to a folder that it is in, or out of the tree.
        if real in above or not real.startswith(f"{above[0]}{os.sep}"):
            continue
        if _is_ignored(f"{entry.path}/" if is_folder else entry.path, rules):
            continue
        if is_folder:
            yield from _walked(entry.path, f"{name}{entry.name}/", rules, (*above, real))
        elif stat.S_ISREG(found.st_mode):
            yield _Found(f"{name}{entry.name}", entry.path, found.st_size, bool(found.st_mode & stat.S_IXUSR))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise PipelineError(f"The folder {visible(folder)} cannot be read: {error.strerror}.") from error
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return []
    return [entry for entry in entries if entry.name not in _LEFT_OUT and not entry.name.endswith(_SUFFIXES_LEFT_OUT)]


def _ignored_around(root: Path) -> _Rules:
    """Return the rules of the folders around a tree that is a part of a repository."""
    repository = next((folder for folder in (root, *root.parents) if (folder / _GIT).exists()), None)
    if repository is None:
        return ()
    between = [folder for folder in root.parents if folder.is_relative_to(repository)]
    own = _rules_of(repository / _GIT / "info/exclude", str(repository))
    return (*(rule for folder in between for rule in _rules_in(str(folder))), *own)


def _rules_in(folder: str) -> _Rules:
    return _rules_of(Path(folder, ".gitignore"), folder)


def _rules_of(file: Path, folder: str) -> _Rules:
    try:
        lines = file.read_text("utf-8", "surrogateescape").splitlines()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ()
    except OSError as error:
        raise PipelineError(f"{visible(str(file))} cannot be read: {error.strerror}.") from error
    from pathspec import GitIgnoreSpec  # only where there are rules

    try:
        return ((f"{folder}{os.sep}", GitIgnoreSpec.from_lines(lines)),)
    except ValueError as error:
        raise PipelineError(f"{visible(str(file))} cannot be understood: {visible(str(error))}.") from error


def _is_ignored(path: str, rules: _Rules) -> bool:
    for folder, spec in rules:
        verdict = spec.check_file(path.removeprefix(folder)).include
        if verdict is not None:
            return verdict
    return False


def _too_large(root: Path, found: Sequence[_Found], total: int, most: int) -> PipelineError:
    largest = sorted(found, key=lambda each: -each.size)[:_LARGEST]
    named = ", ".join(f"{visible(each.name)} ({each.size:,} bytes)" for each in largest)
    return PipelineError(
        f"The source in {visible(str(root))} has {total:,} bytes, and at most {most:,} are sent to workers."
        f" The largest files: {named}.",
        hint="Have those that steps do not need ignored by .gitignore, and keep data in the artifact store.",
    )
