from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.support.postgres import Databases

# A blob repeats a failure anywhere. No deadline: how long an example takes says nothing on a busy machine.
settings.register_profile("quick", max_examples=50, deadline=None, print_blob=True)
settings.register_profile(
    "soak", max_examples=5_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
SOAK = bool(os.environ.get("SOAK"))
settings.load_profile("soak" if SOAK else "quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SOAK:
        for item in items:
            # In front of a test's own limit, which is about the usual number of rounds.
            item.add_marker(pytest.mark.timeout(4 * 3600), append=False)


# What a person's own settings would change about a test.
_FOREIGN = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")


def _separate(home: Path, patch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in os.environ if name.startswith("STACKLEDGER_") and name != "STACKLEDGER_TEST_POSTGRES"
    ]:
        patch.delenv(name)
    for name in _FOREIGN:
        patch.delenv(name, raising=False)
    home.mkdir(parents=True, exist_ok=True)
    patch.setenv("HOME", str(home))
    patch.setenv("STACKLEDGER_HOME", str(home / "stackledger"))
    # Nobody's own keyring is asked for anything.
    patch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


@pytest.fixture(scope="session", autouse=True)
def _nobodys_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep every test, also one that asks for nothing, away from the home of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        _separate(tmp_path_factory.mktemp("nobody"), patch)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Databases]:
    """A PostgreSQL server of this session's own."""
    from tests.support.postgres import databases  # most workers need none

    with databases() as found:
        yield found


@pytest.fixture
def postgres_log(postgres: Databases) -> Iterator[str]:
    """The address, for an administrator, of a log without any event."""
    from tests.support.postgres import make_empty_log

    with postgres.database() as address:
        make_empty_log(address)
        yield address


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `both_logs` with the log in the home, and with the log on PostgreSQL."""
    if metafunc.definition.get_closest_marker("both_logs") is not None:
        metafunc.parametrize("home", ["embedded", "postgresql"], indirect=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A fresh STACKLEDGER_HOME, not yet made, and a fresh working directory outside any repository."""
    _separate(tmp_path / "home", monkeypatch)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    home = tmp_path / "home" / "stackledger"
    if getattr(request, "param", "embedded") == "embedded":
        yield home
    else:
        from tests.support.postgres import log_for

        postgres: Databases = request.getfixturevalue("postgres")
        with log_for(home, postgres) as writer:
            monkeypatch.setenv("STACKLEDGER_LOG", writer)
            yield home
