"""Which code runs: a digest over the source that a function reaches, and the state of the git repository."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from tokenize import TokenError
from types import CodeType, FunctionType, ModuleType
from typing import NamedTuple
from weakref import finalize

GIT_SECONDS = 2.0
"""How long git may take before the run goes on without it."""

_CODE = (FunctionType, type, ModuleType)
_PLAIN = (str, int, float, bool, bytes, type(None))
_MOST_WRAPPERS = 100


class GitState(NamedTuple):
    """The commit that is checked out, None where there is no repository, no commit or no git, or git takes too long.

    `dirty` says whether the work tree differs from the commit.
    """

    commit: str | None
    dirty: bool


NO_STATE = GitState(None, dirty=False)


def code_digest(function: Callable[..., object]) -> str:
    """Return the SHA-256, in hexadecimal, over the source of a function and of all of the project that it refers to.

    Functions and classes count with their source, modules with their file, and simple global values with their
    value; what is installed does not count.
    """
    hashed = hashlib.sha256()
    for name, source in sorted(_reached(function)):
        hashed.update(f"{name}\0{len(source)}\0{source}\0".encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def combined(digests: Iterable[str]) -> str:
    """Return one digest over several, in their order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def environment() -> dict[str, str]:
    """Return the Python, the platform, and the versions of the libraries whose values steps pass on."""
    import platform  # slow to import, needed once per run

    versions: dict[str, str] = {
        name: str(getattr(sys.modules[name], "__version__", ""))
        for name in ("numpy", "pandas", "pyarrow", "sklearn", "cloudpickle", "pydantic")
        if name in sys.modules
    }
    return {"python": platform.python_version(), "platform": platform.platform(), **versions}


def _reached(function: Callable[..., object]) -> set[tuple[str, str]]:
    """Return the name and source of everything that `function` refers to, directly or not."""
    found: set[tuple[str, str]] = set()
    waiting: list[object] = [function]
    seen: set[int] = set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        name = _name(thing)
        found.add((name, _source(thing)))
        for key, value in _references(thing):
            if issubclass(type(value), _CODE):
                if _is_of_project(value):
                    waiting.append(value)
            elif issubclass(type(value), _PLAIN):
                found.add((f"{name}:{key}", repr(value)))
    return found


def _references(thing: object) -> Iterator[tuple[str, object]]:
    if isinstance(thing, type):
        for base in thing.__bases__:
            yield base.__name__, base
        for method in _methods(thing):
            yield from _references(method)
    elif isinstance(thing, FunctionType):
        for name, value in _enclosed(thing):
            yield name, _unwrapped(value)
        for name in sorted(_names(thing.__code__)):
            if name in thing.__globals__:
                yield name, _unwrapped(thing.__globals__[name])


def _methods(cls: type) -> Iterator[FunctionType]:
    for member in vars(cls).values():
        parts: tuple[object, ...] = (member,)
        if isinstance(member, property):
            parts = (member.fget, member.fset, member.fdel)
        elif isinstance(member, staticmethod | classmethod):
            parts = (member.__func__,)
        yield from (part for part in parts if isinstance(part, FunctionType))


def _enclosed(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        # A cell is empty until its variable is assigned.
        with contextlib.suppress(ValueError):
            yield name, cell.cell_contents


def _unwrapped(value: object) -> object:
    """Return the function behind a step, a cache or another wrapper."""
    for _ in range(_MOST_WRAPPERS):
        # A proxy may answer any question, or fail: the value itself is not asked.
        inner = inspect.getattr_static(value, "__wrapped__", None)
        if inner is None:
            break
        value = inner
    return value


def _names(code: CodeType) -> set[str]:
    nested = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names, nested))


def _name(thing: object) -> str:
    if isinstance(thing, ModuleType):
        return thing.__name__
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def _source(thing: object) -> str:
    try:
        if isinstance(thing, ModuleType):
            return Path(str(thing.__file__)).read_text("utf-8", "surrogateescape")
        if _is_made(thing):
            return _compiled(thing)
        return inspect.getsource(thing)  # type: ignore[arg-type]  # what has no source raises TypeError
    except (OSError, TypeError, SyntaxError, TokenError):
        # Typed in, made by exec, or edited meanwhile into what is no Python: what was compiled has to do.
        return _compiled(thing)


def _is_made(thing: object) -> bool:
    """Say whether exec made it: since Python 3.13 `inspect` takes the program of `python -c` for its source."""
    functions = _methods(thing) if isinstance(thing, type) else (thing,)
    return any(isinstance(each, FunctionType) and each.__code__.co_filename == "<string>" for each in functions)


def _compiled(thing: object) -> str:
    """Return what there is of code without source, the same in each process."""
    match thing:
        case FunctionType():
            return _compiled(thing.__code__)
        case CodeType():
            return repr((thing.co_code, thing.co_names, list(map(_compiled, thing.co_consts))))
        case type():
            return repr(sorted((member.__name__, _compiled(member)) for member in _methods(thing)))
        case frozenset():
            return repr(sorted(map(_compiled, thing)))
        case tuple():
            return repr(list(map(_compiled, thing)))
        case _:
            return repr(thing)


def _is_of_project(thing: object) -> bool:
    module = thing if isinstance(thing, ModuleType) else sys.modules.get(getattr(thing, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if file is not None:
        return not is_installed(file)
    # No file: typed in, piped in or made by exec, or a part of the interpreter.
    if isinstance(thing, FunctionType):
        return not thing.__code__.co_filename.startswith("<frozen ")
    return isinstance(thing, type) and thing.__module__ == "__main__"


@lru_cache(maxsize=4096)
def is_installed(file: str) -> bool:
    """Say whether a module's file belongs to Python, to a library or to Stackledger, not to the project."""
    path = Path(file).resolve()
    return any(path.is_relative_to(root) for root in _installed_roots())


@lru_cache(maxsize=1)
def _installed_roots() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    rooms = Path(__file__).resolve().parent
    return (*(Path(paths[key]).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")), rooms)


def directory_of(function: Callable[..., object]) -> Path:
    """Return where the file of a function is, or else where this process is."""
    code = getattr(function, "__code__", None)
    file = Path(code.co_filename) if code is not None else Path()
    try:
        return file.resolve().parent if file.is_file() else Path.cwd()
    except FileNotFoundError:  # the working directory was deleted
        return Path()


class Git:
    """git, which looks around a directory while other things are done; nobody has to wait for what it finds."""

    def __init__(self, directory: Path) -> None:
        self._asked = _asked(directory)
        if self._asked is not None:
            finalize(self, _ended, self._asked)

    @cached_property
    def state(self) -> GitState:
        """What git found; whoever asks first waits for it."""
        return NO_STATE if self._asked is None else _answered(self._asked)


def _asked(directory: Path) -> subprocess.Popen[str] | None:
    if not any((folder / ".git").exists() for folder in (directory, *directory.parents)):
        return None
    try:
        return subprocess.Popen(
            ["git", "-c", "core.fsmonitor=false", "status", "--porcelain=v2", "--branch"],  # noqa: S607 - as the user has it
            cwd=directory,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
    except OSError:
        return None


def _answered(asked: subprocess.Popen[str]) -> GitState:
    try:
        lines = asked.communicate(timeout=GIT_SECONDS)[0].splitlines()
    except subprocess.TimeoutExpired:
        return NO_STATE
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    if asked.returncode or commit == "(initial)":
        return NO_STATE
    return GitState(commit, any(not line.startswith("#") for line in lines))


def _ended(asked: subprocess.Popen[str]) -> None:
    with asked:
        asked.kill()
