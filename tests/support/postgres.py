"""A private PostgreSQL server for the tests, and databases in it that nobody has used.

Which one: that of `STACKLEDGER_TEST_POSTGRES`, an address of an administrator; else one in a container, where Docker
is; else one that is started here from the installed programs, which ends with this process.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from stackledger.eventlog.postgres_server import SCHEMA, Server
from stackledger.eventlog.postgres_setup import import_log
from stackledger.eventlog.stored import StoredEvent
from tests.support.services import docker_answers, free_port, missing

ADDRESS = "STACKLEDGER_TEST_POSTGRES"

PASSWORD = "Tr0ub4dor"
"""That of everybody, so that any test can see it leak."""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "max_connections": "200",  # a soak gives many commands at once
    "autovacuum_naptime": "5s",
}


class Databases:
    """Databases on one server; `admin` is the address of somebody who may do everything there."""

    def __init__(self, admin: str) -> None:
        self.admin = admin
        self._numbers = count()

    def address(self, database: str, user: str | None = None) -> str:
        """Return the address of a database, for the administrator if for nobody else."""
        parts = urlsplit(self.admin)
        place = parts.netloc if user is None else f"{user}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"
        return parts._replace(netloc=place, path=f"/{database}").geturl()

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make a database and return its address; it is dropped in the end."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self.execute(sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield self.address(name)
        finally:
            self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def user(self, name: str, *roles: str) -> None:
        """Make somebody who may log in, with these roles alone, if there is nobody of that name."""
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), PASSWORD)
        if roles:
            statement += sql.SQL(" IN ROLE {}").format(sql.SQL(", ").join(map(sql.Identifier, roles)))
        with suppress(psycopg.errors.DuplicateObject):
            self.execute(statement)

    def execute(self, statement: sql.Composed | sql.SQL) -> None:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def log_for(home: Path, databases: Databases) -> Iterator[str]:
    """Make a log for whoever acts from a home, and return its address for one who may only append and read."""
    from stackledger.client import Client

    with databases.database() as admin:
        client = Client(home=home, environment={"STACKLEDGER_LOG": admin})
        try:
            client.create_log()
        finally:
            client.close()
        databases.user("test_writer", "stackledger_writer")
        yield databases.address(admin.rpartition("/")[2], "test_writer")


def make_empty_log(address: str) -> None:
    """Make a log without any event in a database, anew if there is one."""
    make_log(address, ())


def make_log(address: str, events: Iterable[StoredEvent]) -> None:
    """Make a log of these events in a database, anew if there is one."""
    with closing(Server(address)) as server:
        with server.connection() as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        import_log(server, lambda log: log.write(events))


class PrivateServer:
    """A server of our own on a free port. It ends with this process, however that ends."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._user = _unprivileged()
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        secret.chmod(0o644)
        self._run(
            *("initdb", "-D", self._data, "-E", "UTF8", "--locale=C", "--no-sync"),
            *("-A", "scram-sha-256", "-U", "admin", "--pwfile", secret),
        )
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in _SETTINGS.items())
        self._port = free_port()
        self.admin = f"postgresql://admin:{PASSWORD}@127.0.0.1:{self._port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it lets people in."""
        with (self._data / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-p", str(self._port)],
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - it makes one system call
                **self._as_user(),
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                psycopg.connect(self.admin, connect_timeout=5).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self._data / "server.log").read_text(encoding="utf-8")) from None
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends it in order, SIGQUIT at once, as a crash would."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=60)
            self._process = None

    def _run(self, program: str, *arguments: object) -> None:
        command = [os.fspath(self._programs / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._as_user())
        if done.returncode:
            raise RuntimeError(done.stderr)

    def _as_user(self) -> dict[str, Any]:
        # PostgreSQL refuses to run as root, and may not be able to look at where root is.
        user = self._user
        return (
            {"cwd": "/"}
            if user is None
            else {"cwd": "/", "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        )


@contextmanager
def private_server() -> Iterator[PrivateServer]:
    """Start a server that the test may stop and start as it likes."""
    installed = programs()
    if installed is None:
        missing("PostgreSQL", "its programs are not installed (Debian, Ubuntu: apt install postgresql).")
    folder = Path(mkdtemp(prefix="stackledger-postgres-"))
    try:
        server = PrivateServer(folder, installed)
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def databases() -> Iterator[Databases]:
    """Return databases on whatever server there is."""
    given = os.environ.get(ADDRESS)
    if given:
        yield Databases(given)
    elif docker_answers():
        from testcontainers.community.postgres import PostgresContainer

        with PostgresContainer(
            "postgres:17", username="admin", password=PASSWORD, dbname="postgres", driver=None
        ) as container:
            yield Databases(container.get_connection_url())
    else:
        with private_server() as server:
            yield Databases(server.admin)


def programs() -> Path | None:
    """Return where the programs of a server are, None if they are not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    # Debian keeps the programs of servers off PATH.
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return next((path.parent for path in sorted(installed, key=lambda path: int(path.parts[-3]), reverse=True)), None)


def _unprivileged() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    return missing("PostgreSQL", "it does not run as root, and there is neither a user postgres nor nobody.")


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
