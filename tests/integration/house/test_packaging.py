from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.checkout import ROOMS, ROOT

# With several workers, all of these go to one, so that the session's builds are made once.
pytestmark = pytest.mark.xdist_group("packaging")


@dataclass(frozen=True)
class Built:
    """What `python -m build` made of a copy of the checkout."""

    source: Path
    sdist: Path
    wheel: Path


@dataclass(frozen=True)
class Environment:
    """An environment of its own that sees this one's libraries behind what is installed into it."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def install(self, *arguments: object) -> None:
        pip = [sys.executable, "-m", "pip", "--python", self.folder, "install"]
        _run(*pip, "--quiet", "--no-index", "--no-deps", "--no-build-isolation", *arguments)

    def evaluate(self, code: str) -> str:
        return _run(self.python, "-I", "-c", code, cwd=self.folder).strip()


def _run(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [os.fspath(part) if isinstance(part, Path) else str(part) for part in command],
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _environment(folder: Path) -> Environment:
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    # Named so that it comes after an editable install's own file: what is installed here is found first.
    (packages / "zz_parent.pth").write_text(sysconfig.get_path("purelib"))
    return Environment(folder)


def _source(folder: Path) -> Path:
    """Copy what is packaged: building leaves files behind, and other tests read the checkout meanwhile."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in (*ROOMS, "src"):
        leftovers = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=leftovers)
    return folder


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    source = _source(tmp_path_factory.mktemp("check out"))
    _run(sys.executable, "-m", "build", "--no-isolation", source)
    (sdist,) = (source / "dist").glob("*.tar.gz")
    (wheel,) = (source / "dist").glob("*.whl")
    return Built(source, sdist, wheel)


@pytest.fixture(scope="session")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = _environment(tmp_path_factory.mktemp("wheel") / "venv")
    environment.install(built.wheel)
    return environment


def _files(folder: Path, package: str) -> set[str]:
    return {f"{package}/{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file()}


def test_the_wheel_holds_every_room(built: Built) -> None:
    expected = _files(built.source / "src/stackledger", "stackledger")
    for room in ROOMS:
        # Files that are not modules have to be listed under package-data.
        expected |= _files(built.source / room, f"stackledger/{room}")
    assert {"stackledger/py.typed", *(f"stackledger/{room}/__init__.py" for room in ROOMS)} <= expected
    names = set(zipfile.ZipFile(built.wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_sdist_builds_the_wheel(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    _run(sys.executable, "-m", "build", "--no-isolation", "--wheel", source)
    (wheel,) = (source / "dist").glob("*.whl")
    assert wheel.name == built.wheel.name
    assert sorted(zipfile.ZipFile(wheel).namelist()) == sorted(zipfile.ZipFile(built.wheel).namelist())


def test_no_room_leaks_as_a_top_level_package(installed: Environment) -> None:
    names = [*ROOMS, *(f"stackledger.{room}" for room in ROOMS)]
    found = installed.evaluate(f"import importlib.util as u; print(*(name for name in {names} if u.find_spec(name)))")
    assert found.split() == names[len(ROOMS) :]


def test_an_installed_wheel_is_found_in_its_own_place(installed: Environment) -> None:
    where = Path(installed.evaluate("import stackledger.domain as d; print(d.__file__)"))
    assert where.is_relative_to(installed.folder)


def test_an_installed_wheel_has_the_command(installed: Environment) -> None:
    assert "stackledger" in _run(installed.folder / "bin" / "stackledger", "--help", cwd=installed.folder)


def test_an_editable_install_follows_the_checkout(tmp_path: Path) -> None:
    environment = _environment(tmp_path / "venv")
    source = tmp_path / "check out"
    source.mkdir()
    environment.install("--editable", _source(source))
    (source / "workers" / "added_later.py").write_text("FACT = 42\n")
    assert environment.evaluate("import stackledger.workers.added_later as a; print(a.FACT)") == "42"


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("statement", ["import {}", "from {} import anything", "import {}.part"])
def test_importing_a_room_by_its_bare_name_is_refused_by_the_linter(room: str, statement: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", "domain/x.py", "-"],
        cwd=ROOT,
        input=statement.format(room) + "\n",
        check=False,
        capture_output=True,
        text=True,
    )
    assert f"Say stackledger.{room}." in done.stdout
