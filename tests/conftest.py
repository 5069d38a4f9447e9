from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.support.object_servers import ObjectServer
    from tests.support.postgres import Databases
    from tests.support.rabbitmq import PrivateNode

# A blob repeats a failure anywhere. No deadline: how long an example takes says nothing on a busy machine.
settings.register_profile("quick", max_examples=50, deadline=None, print_blob=True)
settings.register_profile(
    "soak", max_examples=5_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
SOAK = bool(os.environ.get("SOAK"))
settings.load_profile("soak" if SOAK else "quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "rabbitmq_node" in getattr(item, "fixturenames", ()) and "fault" not in item.path.parts:
            # Ten processes that wait for each other, beside three other tests of that kind on two processors: one
            # failure is shown at the end, two are a failure. What tests of faults find even once is one.
            item.add_marker(pytest.mark.flaky(reruns=1))
        if SOAK:
            # In front of a test's own limit, which is about the usual number of rounds.
            item.add_marker(pytest.mark.timeout(4 * 3600), append=False)


# What a person's own settings would change about a test.
_FOREIGN = (
    *("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"),
    "TRACEPARENT",
)
# Nobody's own accounts in a cloud are used either, and nobody's collector of traces.
_FOREIGN_BEGINNINGS = ("STACKLEDGER_", "AWS_", "AZURE_", "GOOGLE_", "OTEL_")


def _separate(home: Path, patch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in os.environ if name.startswith(_FOREIGN_BEGINNINGS) and not name.startswith("STACKLEDGER_TEST_")
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


@pytest.fixture(scope="session")
def rabbitmq_node() -> Iterator[PrivateNode]:
    """A RabbitMQ node of this session's own. Who uses it is of the group `rabbitmq` or `fleets`: two at most."""
    from tests.support.rabbitmq import private_node

    with private_node() as node:
        yield node


@pytest.fixture(scope="session")
def amqp_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a broker."""
    from tests.support.rabbitmq import broker_url

    with broker_url(lambda: request.getfixturevalue("rabbitmq_node")) as url:
        yield url


@pytest.fixture
def postgres_log(postgres: Databases) -> Iterator[str]:
    """The address, for an administrator, of a log without any event."""
    from tests.support.postgres import make_empty_log

    with postgres.database() as address:
        make_empty_log(address)
        yield address


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectServer]:
    """A server that speaks S3's language."""
    from tests.support.object_servers import s3_server

    with s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def azure() -> Iterator[ObjectServer]:
    """A server that speaks the language of Azure Blob Storage."""
    from tests.support.object_servers import azure_server

    with azure_server() as server:
        yield server


@pytest.fixture(scope="session")
def gcs() -> Iterator[ObjectServer]:
    """Our own stand-in for Google Cloud Storage."""
    from tests.support.object_servers import gcs_server

    with gcs_server() as server:
        yield server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `both_logs` with the log in the home, and with the log on PostgreSQL.

    `QUICK` says that the same code was tested before: then with the former alone. What has the latter as its subject
    runs in any case.
    """
    if metafunc.definition.get_closest_marker("both_logs") is not None:
        logs = ["embedded"] if os.environ.get("QUICK") else ["embedded", "postgresql"]
        metafunc.parametrize("home", logs, indirect=True)


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
