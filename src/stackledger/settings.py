"""Files of settings: where a home is, what is around the working directory, and what `config set` keeps."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stackledger.domain.errors import InvalidValue, StackledgerError

REPOSITORY_FOLDER = ".stackledger"
CONFIG_FILE = "config.json"


def home_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where log, views and artifacts live: `STACKLEDGER_HOME`, else the platform's folder for user data."""
    named = environment.get("STACKLEDGER_HOME")
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_data_path  # most homes are named in tests and fleets

    return user_data_path("stackledger")


def working_directory() -> Path | None:
    """Return the working directory, or None where it was deleted under this process."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def find_repository(start: Path) -> Path | None:
    """Return the nearest folder at or above `start` that `init` made a repository."""
    for folder in (start, *start.parents):
        if (folder / REPOSITORY_FOLDER / CONFIG_FILE).is_file():
            return folder
    return None


def read_settings(path: Path) -> dict[str, Any]:
    """Return a JSON file of settings, empty when there is none."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise InvalidValue(
            f"The settings in {path} cannot be read: {error}.", hint="Mend or remove the file."
        ) from error
    if not isinstance(settings, dict):
        raise InvalidValue(f"The settings in {path} are not a JSON object.", hint="Mend or remove the file.")
    return settings


def write_whole(path: Path, data: bytes, *, private: bool = False) -> None:
    """Replace a file, whole or not at all. One at a time: what another left who died at it is written over.

    What is private is for its owner alone; other files get the rights that any file gets.
    """
    scratch = _scratch(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.unlink(missing_ok=True)
        with open(scratch, "wb", opener=_private if private else None) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise StackledgerError(f"{path} cannot be written: {error.strerror}.") from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_EXCL, 0o600)


def _scratch(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def make_home(home: Path) -> None:
    """Make the folder of a home, for its owner alone, where it is missing."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StackledgerError(
            f"The home {home} cannot be made: {error.strerror}.", hint="Set STACKLEDGER_HOME to another folder."
        ) from error


def change_settings(home: Path, path: Path, changes: Mapping[str, Any]) -> None:
    """Change values in a JSON file of settings, of the home or of a repository; the others stay."""
    with _alone(home):
        settings = json.dumps({**read_settings(path), **changes}, indent=2)
        write_whole(path, f"{settings}\n".encode(), private=path.parent == home)


def forget_half_written(home: Path) -> None:
    """Remove what somebody left who died while changing the settings of the home."""
    with _alone(home):
        _scratch(home / CONFIG_FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    from stackledger.eventlog.lock import FileLock  # no query needs it

    make_home(home)
    with FileLock(home / "settings.lock"):
        yield
