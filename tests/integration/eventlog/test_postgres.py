"""What is PostgreSQL's own about a log there: who may do what, what its errors mean, and what a lost answer does."""

from __future__ import annotations

import inspect
import pkgutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from importlib import import_module

import psycopg
import psycopg_pool
import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem
from eventsourcing.persistence import IntegrityError
from psycopg import sql

from stackledger.domain.errors import (
    AlreadyExists,
    AppendUnknown,
    InvalidValue,
    LogBusy,
    LogError,
    LogForbidden,
    LogUnreachable,
    StackledgerError,
)
from stackledger.eventlog import postgres_setup
from stackledger.eventlog.postgres import PostgresRecorder
from stackledger.eventlog.postgres_reader import PostgresReader
from stackledger.eventlog.postgres_server import EVENTS, SCHEMA, TAGS, ConnectionLost, Server, one, translated
from tests.support.postgres import PASSWORD, Databases
from tests.support.processes import ended, forked

UNDER_A = DCBQuery(items=[DCBQueryItem(types=[], tags=["a"])])
NOBODY = DCBAppendCondition(DCBQuery(items=[DCBQueryItem(types=[], tags=["nobody"])]))


def event(*tags: str, data: bytes = b"data") -> DCBEvent:
    return DCBEvent(type="happened/1", data=data, tags=list(tags))


def as_user(address: str, postgres: Databases, name: str, *roles: str) -> str:
    postgres.user(name, *roles)
    return postgres.address(address.rpartition("/")[2], name)


@pytest.fixture
def writer(postgres: Databases, postgres_log: str) -> Iterator[Server]:
    with closing(Server(as_user(postgres_log, postgres, "test_writer", postgres_setup.WRITER))) as server:
        yield server


@pytest.fixture
def reader(postgres: Databases, postgres_log: str) -> Iterator[Server]:
    with closing(Server(as_user(postgres_log, postgres, "test_reader", postgres_setup.READER))) as server:
        yield server


@pytest.fixture
def admin(postgres_log: str) -> Iterator[Server]:
    with closing(Server(postgres_log)) as server:
        yield server


def done(server: Server, statement: str) -> None:
    with server.connection() as connection:
        connection.execute(statement)


CHANGES = [
    f"UPDATE {SCHEMA}.{EVENTS} SET data = ''",
    f"DELETE FROM {SCHEMA}.{EVENTS}",
    f"TRUNCATE {SCHEMA}.{EVENTS} CASCADE",
    f"UPDATE {SCHEMA}.{TAGS} SET tag = ''",
    f"DELETE FROM {SCHEMA}.{TAGS}",
    f"TRUNCATE {SCHEMA}.{TAGS}",
]
FORBIDDEN = [
    *CHANGES,
    f"INSERT INTO {SCHEMA}.{EVENTS} (type, data, tags) VALUES ('t', '', '{{}}')",
    f"INSERT INTO {SCHEMA}.{TAGS} VALUES ('a', 1)",
    f"SELECT {SCHEMA}.dcb_unconditional_append_tt('{{}}')",
    f"SELECT nextval('{SCHEMA}.{EVENTS}_id_seq')",
    f"LOCK TABLE {SCHEMA}.{EVENTS} IN EXCLUSIVE MODE; SELECT 1",
    f"ALTER TABLE {SCHEMA}.{EVENTS} DISABLE TRIGGER ALL",
    f"DROP TRIGGER append_only ON {SCHEMA}.{EVENTS}",
    f"DROP TABLE {SCHEMA}.{TAGS}",
    f"CREATE TABLE {SCHEMA}.mine ()",
    f"SET ROLE {postgres_setup.OWNER}",
    f"CREATE OR REPLACE FUNCTION {SCHEMA}.refuse_change() RETURNS trigger LANGUAGE sql AS ''",
]


def test_a_writer_appends_on_condition_and_reads(writer: Server) -> None:
    recorder = PostgresRecorder(writer)
    assert recorder.append([event("a"), event("b")], NOBODY) == 2
    with pytest.raises(IntegrityError):
        recorder.append([event("a")], DCBAppendCondition(UNDER_A, after=0))
    assert [one.position for one in recorder.read(UNDER_A)] == [1]
    with recorder.subscribe() as subscription:
        assert next(subscription).position == 1


def test_a_writer_may_do_nothing_else(writer: Server) -> None:
    PostgresRecorder(writer).append([event("a")], NOBODY)
    for statement in FORBIDDEN:
        with pytest.raises(LogError, match="may not be used like that"):
            done(writer, statement)
    assert len(list(PostgresReader(writer).scan(tags=("a",)))) == 1


def test_a_writer_cannot_append_without_a_condition(writer: Server) -> None:
    with pytest.raises(LogError, match="may not be used like that"):
        PostgresRecorder(writer).append([event("a")])


def test_a_reader_reads_and_does_nothing_else(admin: Server, reader: Server) -> None:
    PostgresRecorder(admin).append([event("a")], NOBODY)
    assert [stored.tags for stored in PostgresReader(reader).scan()] == [("a",)]
    assert PostgresReader(reader).counts_by_type() == {"happened/1": 1}
    with pytest.raises(LogError, match="stackledger_writer"):
        PostgresRecorder(reader).append([event("a")], NOBODY)
    for statement in FORBIDDEN:
        with pytest.raises(LogError, match="may not be used like that"):
            done(reader, statement)


def test_somebody_without_a_role_is_told_whom_to_ask(postgres: Databases, postgres_log: str) -> None:
    with (
        closing(Server(as_user(postgres_log, postgres, "test_nobody"))) as server,
        pytest.raises(LogError, match="Ask an administrator to grant you the role stackledger_writer"),
    ):
        PostgresReader(server).head()


@pytest.mark.parametrize("role", ["", f"SET ROLE {postgres_setup.OWNER};", "SET session_replication_role = replica;"])
def test_events_are_kept_from_the_owner_and_from_a_superuser_too(admin: Server, role: str) -> None:
    PostgresRecorder(admin).append([event("a")], NOBODY)
    for statement in CHANGES:
        with pytest.raises(LogError, match="append-only"):
            done(admin, f"{role} {statement}")


def test_a_function_of_the_same_name_elsewhere_is_not_called_for_the_owner(writer: Server, admin: Server) -> None:
    done(admin, "CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO PUBLIC")
    done(writer, "CREATE FUNCTION evil.count(text) RETURNS bigint LANGUAGE sql AS 'SELECT 1/0'")
    done(writer, "CREATE TEMP TABLE log_tt_tag (tag text, main_id bigint)")
    done(writer, f"SET search_path = evil, pg_temp, {SCHEMA}, pg_catalog")
    assert PostgresRecorder(writer).append([event("a")], NOBODY) == 1
    assert one_value(writer, f"SELECT count(*) FROM {SCHEMA}.{TAGS}") == 1


def one_value(server: Server, statement: str) -> object:
    return server.asked(lambda connection: one(connection, statement))


def test_an_administrator_who_is_no_superuser_can_make_a_log(postgres: Databases) -> None:
    with postgres.database() as address:
        postgres.user("test_creator")
        postgres.execute(sql.SQL("ALTER ROLE test_creator CREATEROLE"))
        name = address.rpartition("/")[2]
        postgres.execute(sql.SQL("ALTER DATABASE {} OWNER TO test_creator").format(sql.Identifier(name)))
        with closing(Server(postgres.address(name, "test_creator"))) as server:
            postgres_setup.create(server, lambda _connection, _recorder: None)
            for statement in (f"SELECT * FROM {SCHEMA}.{EVENTS}", *FORBIDDEN):
                with pytest.raises(LogError, match="may not be used like that"):
                    done(server, statement)


def test_nothing_is_appended_where_there_is_no_log(postgres: Databases) -> None:
    with postgres.database() as address, closing(Server(address)) as server:
        with pytest.raises(LogError, match="stackledger log create"):
            PostgresReader(server).head()
        with pytest.raises(LogError, match="stackledger log create"):
            PostgresRecorder(server).append([event()], NOBODY)


def test_a_second_log_in_one_database_is_refused(admin: Server) -> None:
    with pytest.raises(AlreadyExists, match="There is a log"):
        postgres_setup.create(admin, lambda _connection, _recorder: None)


def test_a_log_that_cannot_be_begun_leaves_nothing_behind(postgres: Databases) -> None:
    def failing(_connection: object, recorder: PostgresRecorder) -> None:
        recorder.append([event("a")], NOBODY)
        raise ZeroDivisionError

    with postgres.database() as address, closing(Server(address)) as server:
        with pytest.raises(ZeroDivisionError):
            postgres_setup.create(server, failing)
        with pytest.raises(LogError, match="stackledger log create"):
            PostgresReader(server).head()
        postgres_setup.create(server, lambda _connection, _recorder: None)
        assert PostgresRecorder(server).append([event("a")], NOBODY) == 1


def test_positions_have_gaps_only_between_appends(admin: Server) -> None:
    recorder, reader = PostgresRecorder(admin), PostgresReader(admin)
    recorder.append([event("a")], NOBODY)
    with admin.connection() as connection, connection.transaction():
        recorder.append([event("lost") for _ in range(5)], NOBODY)
        raise psycopg.Rollback
    assert recorder.append([event("a") for _ in range(3)], NOBODY) == 9
    assert [stored.position for stored in reader.scan()] == [1, 7, 8, 9]
    assert [stored.position for stored in reader.scan_back(before=9, tags=("a",))] == [8, 7, 1]
    assert (reader.at(3), reader.head()) == (None, 9)


def exceptions_of_psycopg() -> Iterator[type[Exception]]:
    for package in (psycopg, psycopg_pool):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            try:
                members = inspect.getmembers(import_module(module.name), inspect.isclass)
            except ImportError:
                continue  # about a library that is not here
            for _, found in members:
                if issubclass(found, Exception) and found.__module__.startswith("psycopg"):
                    yield found


# Never raised: what servers warn of. Internal: told apart by the library itself.
NEVER_RAISED = {"Warning", "Rollback", "_NoReplyError"}


def test_every_exception_of_psycopg_becomes_one_of_ours() -> None:
    found = {each for each in exceptions_of_psycopg() if each.__name__ not in NEVER_RAISED}
    assert len(found) > 250
    for each in found:
        with pytest.raises(StackledgerError) as raised, translated(f"postgresql://ada:{PASSWORD}@host/log"):
            raise each(f"it says {PASSWORD}")
        assert PASSWORD not in str(raised.value)
        assert "postgresql://ada@host/log" in str(raised.value)


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (psycopg.errors.LockNotAvailable, LogBusy),
        (psycopg.errors.SerializationFailure, LogBusy),
        (psycopg.errors.AdminShutdown, LogUnreachable),
        (psycopg.errors.InvalidPassword, LogUnreachable),
        (psycopg.errors.UntranslatableCharacter, InvalidValue),
        (psycopg.errors.ReadOnlySqlTransaction, LogError),
    ],
)
def test_errors_mean_what_they_are(error: type[psycopg.Error], ours: type[StackledgerError]) -> None:
    with pytest.raises(ours), translated("postgresql://host/log"):
        raise error


def test_text_that_postgresql_cannot_keep_is_refused_and_nothing_is_appended(admin: Server) -> None:
    recorder = PostgresRecorder(admin)
    with pytest.raises(InvalidValue):
        recorder.append([event("fine"), event("a\0b")], NOBODY)
    assert recorder.read().head is None


def test_a_server_that_is_not_there_is_said_with_a_way_out() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"postgresql://ada:{PASSWORD}@127.0.0.1:{bound.getsockname()[1]}/log"
        with pytest.raises(LogUnreachable, match="Check the address, that the server runs") as raised:
            PostgresReader(Server(address)).head()
    assert not isinstance(raised.value, LogForbidden)
    assert PASSWORD not in str(raised.value)


def test_a_wrong_password_and_a_missing_database_are_said(postgres: Databases, postgres_log: str) -> None:
    postgres.user("test_nobody")
    wrong = postgres.address(postgres_log.rpartition("/")[2], "test_nobody").replace(PASSWORD, "wr0ng")
    with pytest.raises(LogForbidden, match="PGPASSWORD") as raised:
        PostgresReader(Server(wrong)).head()
    assert "wr0ng" not in str(raised.value)
    with pytest.raises(LogForbidden, match="no_such_database"):
        PostgresReader(Server(postgres.address("no_such_database"))).head()


def test_an_address_that_cannot_be_understood_is_not_repeated() -> None:
    with pytest.raises(InvalidValue, match="cannot be understood") as raised:
        PostgresReader(Server(f"postgresql://ada:{PASSWORD}@host/log?nonsense={PASSWORD}")).head()
    assert f"ada:{PASSWORD}" not in str(raised.value)


def cut(server: Server) -> None:
    """Cut the connection as a network does: the server is not told."""
    with server.connection() as connection, socket.socket(fileno=connection.fileno()) as sock:
        sock.shutdown(socket.SHUT_RDWR)
        sock.detach()


def test_a_reader_goes_on_after_its_connection_was_lost(admin: Server) -> None:
    reader = PostgresReader(admin)
    PostgresRecorder(admin).append([event("a")], NOBODY)
    cut(admin)
    assert reader.head() == 1
    assert PostgresRecorder(admin).read().head == 1


def test_an_append_whose_connection_is_lost_is_unknown(admin: Server) -> None:
    recorder = PostgresRecorder(admin)
    cut(admin)
    with pytest.raises(AppendUnknown, match="may or may not"):
        recorder.append([event("a")], NOBODY)
    assert recorder.append([event("a")], NOBODY) == 1


def test_an_append_whose_session_the_server_ends_is_unknown(postgres_log: str, admin: Server) -> None:
    recorder = PostgresRecorder(admin)
    done(admin, "SELECT 1")
    with closing(Server(postgres_log)) as other, other.connection() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(AppendUnknown, match="may or may not"):
        recorder.append([event("a")], NOBODY)
    assert recorder.append([event("a")], NOBODY) == 1


def test_nobody_appends_any_more_over_a_connection_that_was_lost(postgres_log: str, admin: Server) -> None:
    """A session that waits for its turn does not notice that its client has gone, and would append later."""
    recorder = PostgresRecorder(admin)
    with ExitStack() as stack, closing(Server(postgres_log)) as other:
        lock = stack.enter_context(ExitStack())
        connection = lock.enter_context(other.connection())
        lock.enter_context(connection.transaction())
        connection.execute(f"LOCK TABLE {SCHEMA}.{EVENTS} IN EXCLUSIVE MODE")
        with admin.connection() as ours:
            pid, fileno = ours.info.backend_pid, ours.fileno()
        caught: list[BaseException] = []

        def append() -> None:
            try:
                recorder.append([event("a")], NOBODY)
            except AppendUnknown as error:
                caught.append(error)

        thread = threading.Thread(target=append)
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted"
        while not one(connection, waiting, (pid,)):
            pass
        with socket.socket(fileno=fileno) as sock:
            sock.shutdown(socket.SHUT_RDWR)
            sock.detach()
        thread.join()
        assert caught
        assert recorder.read().head is None
        lock.close()
        assert one(connection, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (pid,)) == 0
        assert recorder.append([event("a")], NOBODY) < 3
        assert len(list(recorder.read())) == 1


def test_who_waits_too_long_for_others_is_told_that_the_log_is_busy(postgres_log: str, admin: Server) -> None:
    recorder = PostgresRecorder(admin)
    body = str(one_value(admin, "SELECT pg_get_functiondef('stackledger.dcb_conditional_append_tt'::regproc)"))
    assert "lock_timeout = '30s'" in body
    done(admin, body.replace("'30s'", "'50ms'"))
    with closing(Server(postgres_log)) as other, other.connection() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {SCHEMA}.{EVENTS} IN EXCLUSIVE MODE")
        with pytest.raises(LogBusy, match="locked by another writer"):
            recorder.append([event("a")], NOBODY)


def test_a_condition_holds_whatever_the_users_sessions_begin_with(
    postgres: Databases, postgres_log: str, admin: Server
) -> None:
    """In a transaction that sees the past only, a condition would not see who was first."""
    name = postgres_log.rpartition("/")[2]
    done(admin, f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    with closing(Server(postgres_log)) as late:
        assert one_value(late, "SHOW transaction_isolation") == "read committed"


def test_a_child_leaves_the_connection_of_its_parent_alone(admin: Server) -> None:
    recorder, reader = PostgresRecorder(admin), PostgresReader(admin)

    def child() -> None:
        for _ in range(20):
            recorder.append([event("a")], NOBODY)
        assert reader.head() >= 20
        reader.close()

    children = [forked(child) for _ in range(2)]
    for _ in range(20):
        recorder.append([event("a")], NOBODY)
    assert [ended(pid) for pid in children] == [0, 0]
    assert len(list(reader.scan())) == 60


def test_the_time_is_the_servers(admin: Server) -> None:
    first = admin.now()
    assert first <= int(str(one_value(admin, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")))
    assert first > 1_700_000_000_000_000


def test_who_waits_is_woken_by_an_append_of_somebody_else(postgres_log: str, admin: Server) -> None:
    reader = PostgresReader(admin)
    reader.wait()
    with closing(Server(postgres_log)) as other:
        PostgresRecorder(other).append([event("a")], NOBODY)
    assert reader._listener.wait(60) is True
    reader.close()


def test_a_subscription_goes_on_after_its_connections_were_lost(postgres_log: str, admin: Server) -> None:
    recorder = PostgresRecorder(admin)
    recorder.append([event("a")], NOBODY)
    with recorder.subscribe() as subscription, closing(Server(postgres_log)) as other:
        assert next(subscription).position == 1
        with other.connection() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        PostgresRecorder(other).append([event("a")], NOBODY)
        assert next(subscription).position == 2


def test_what_is_lost_is_unreachable_for_whoever_does_not_ask_again() -> None:
    assert issubclass(ConnectionLost, LogUnreachable)
