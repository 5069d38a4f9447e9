"""Making a log on PostgreSQL: its schema, its functions, and who may do what. For an administrator, once.

Three roles that nobody logs in as: `stackledger_owner` has the tables and the functions, members of
`stackledger_writer` may append on condition and read, members of `stackledger_reader` may read. Events are never
changed or removed: triggers refuse it to everybody, the owner too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from psycopg import sql

from stackledger.domain.errors import AlreadyExists, LogError
from stackledger.eventlog.moves import MOVED
from stackledger.eventlog.postgres import ADOPTS, PostgresRecorder
from stackledger.eventlog.postgres_reader import PostgresReader
from stackledger.eventlog.postgres_server import EVENTS, SCHEMA, TAGS, Connection, Server, one
from stackledger.eventlog.stored import StoredEvent

if TYPE_CHECKING:
    from stackledger.eventlog.transfer import Fresh

OWNER = "stackledger_owner"
WRITER = "stackledger_writer"
READER = "stackledger_reader"

_APPEND = f"{SCHEMA}.dcb_conditional_append_tt"
_APPEND_ANYHOW = f"{SCHEMA}.dcb_unconditional_append_tt"
_APPEND_TYPES = f"{SCHEMA}.dcb_query_item_tt[], bigint, {SCHEMA}.dcb_event_tt[]"

# Roles belong to all databases of a server: another log, or somebody at the same moment, may have made them.
_ROLE = """
DO $$ BEGIN
    CREATE ROLE {role} NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$
"""

_GUARDS = f"""
CREATE FUNCTION {SCHEMA}.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only' USING ERRCODE = 'restrict_violation';
END $$;
{
    "".join(
        f'''
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {SCHEMA}.{table}
    FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse_change();
ALTER TABLE {SCHEMA}.{table} ENABLE ALWAYS TRIGGER append_only;
'''
        for table in (EVENTS, TAGS)
    )
}
"""

# Within the append, which has the lock by now. Whoever adopts says so: a trigger for each statement sees no rows.
# A session keeps the plan that it made when the table was empty: that must not be to read all of it.
_MOVES = f"""
CREATE FUNCTION {SCHEMA}.refuse_if_moved() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog SET enable_seqscan = off AS $$
BEGIN
    IF (SELECT type FROM {SCHEMA}.{EVENTS} ORDER BY id DESC LIMIT 1) = '{MOVED}'
        AND current_setting('{ADOPTS}', true) IS DISTINCT FROM 'on'
    THEN
        RAISE EXCEPTION 'the log was moved' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER moved BEFORE INSERT ON {SCHEMA}.{EVENTS} FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse_if_moved();
ALTER TABLE {SCHEMA}.{EVENTS} ENABLE ALWAYS TRIGGER moved
"""

# The library's function locks the table, which takes rights that a writer must not have: it runs with its owner's.
_RIGHTS = f"""
ALTER FUNCTION {_APPEND}({_APPEND_TYPES}) SECURITY DEFINER;
ALTER FUNCTION {_APPEND}({_APPEND_TYPES}) SET search_path = pg_catalog, {SCHEMA}, pg_temp;
REVOKE ALL ON FUNCTION {_APPEND}({_APPEND_TYPES}) FROM PUBLIC;
REVOKE ALL ON FUNCTION {_APPEND_ANYHOW}({SCHEMA}.dcb_event_tt[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {_APPEND}({_APPEND_TYPES}) TO {WRITER};
GRANT USAGE ON SCHEMA {SCHEMA} TO {WRITER}, {READER};
GRANT SELECT ON {SCHEMA}.{EVENTS}, {SCHEMA}.{TAGS} TO {WRITER}, {READER};
"""

_AFTER_COPYING = f"""
INSERT INTO {SCHEMA}.{TAGS} (tag, main_id)
    SELECT tag, id FROM {SCHEMA}.{EVENTS}, unnest(tags) AS tag ORDER BY id;
SELECT setval('{SCHEMA}.{EVENTS}_id_seq', max(id)) FROM {SCHEMA}.{EVENTS};
ANALYZE {SCHEMA}.{EVENTS};
ANALYZE {SCHEMA}.{TAGS}
"""

Result = TypeVar("Result")


def import_log(
    server: Server, load: Callable[[Fresh], Result], then: Callable[[PostgresRecorder], object] = lambda _: None
) -> Result:
    """Make a log of what `load` puts into it, or raise with no log made. AlreadyExists where there is one.

    `then` may append to it before anybody else can.
    """

    def begin(connection: Connection, recorder: PostgresRecorder) -> Result:
        loaded = load(_FreshTables(server, connection))
        then(recorder)
        return loaded

    return create(server, begin)


class _FreshTables:
    """A log in tables that nobody else sees yet."""

    def __init__(self, server: Server, connection: Connection) -> None:
        self._server = server
        self._connection = connection

    def write(self, events: Iterable[StoredEvent]) -> None:
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {SCHEMA}.{EVENTS} (id, type, tags, data) FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.set_types(("int8", "text", "text[]", "bytea"))
            for stored in events:
                copy.write_row((stored.position, stored.type, list(stored.tags), stored.data))
        self._connection.execute(_AFTER_COPYING)

    def read(self) -> Iterator[StoredEvent]:
        return PostgresReader(self._server).scan()


def create(server: Server, begin: Callable[[Connection, PostgresRecorder], Result]) -> Result:
    """Make a log in a database that has none, and have `begin` put its first events into it; all or nothing.

    `begin` works as the owner. Raises AlreadyExists where there is a log.
    """
    with server.connection() as connection, connection.transaction():
        _check(server, connection)
        superuser = one(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        for role in (OWNER, WRITER, READER):
            connection.execute(sql.SQL(_ROLE).format(role=sql.Identifier(role)))
        if not superuser:
            connection.execute(f"GRANT {OWNER} TO CURRENT_USER")
        connection.execute(f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {OWNER}")
        connection.execute(f"SET LOCAL ROLE {OWNER}")
        # The library leaves out the schema in one place.
        connection.execute(f"SET LOCAL search_path = {SCHEMA}")
        connection.execute("SET LOCAL statement_timeout = 0")
        recorder = PostgresRecorder(server)
        recorder.library.create_table()
        connection.execute("SET LOCAL search_path = ''")
        connection.execute(_GUARDS)
        connection.execute(_MOVES)
        connection.execute(_RIGHTS)
        begun = begin(connection, recorder)
        connection.execute("RESET ROLE")
        if not superuser:
            connection.execute(f"REVOKE {OWNER} FROM CURRENT_USER")
        return begun


def _check(server: Server, connection: Connection) -> None:
    encoding = one(connection, "SHOW server_encoding")
    if encoding != "UTF8":
        raise LogError(
            f"The database of the log {server.name} keeps text as {encoding}.",
            hint="Make one with `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`.",
        )
    if one(connection, "SELECT to_regnamespace(%s)", (SCHEMA,)) is not None:
        raise AlreadyExists(
            f"There is a log at {server.name} already.", hint="Name another database: each holds one log."
        )
