"""What can be wrong with a server that keeps a log, and with what a user may do there."""

from __future__ import annotations

import time

from stackledger.eventlog.postgres_server import CLOCKS_APART, EVENTS, SCHEMA, TAGS, Server

_SETTINGS = """
SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
"""
_LOSES = {
    "fsync": "a loss of power can damage the log",
    "full_page_writes": "a loss of power can damage the log",
    "synchronous_commit": "a loss of power can take the newest events, although they were acknowledged",
}
_NO_GUARD_OF_MOVES = (
    "The trigger that keeps a log that was moved from growing is missing, or switched off. If an older program made the"
    " log: `log export`, and `log import` into a new database, make one that has it."
)
_GUARDS = """
SELECT tgname, count(*) FROM pg_trigger
WHERE tgname IN ('append_only', 'moved') AND tgenabled = 'A' AND tgrelid IN (%s::regclass, %s::regclass)
GROUP BY tgname
"""
_RIGHTS = """
SELECT has_table_privilege(%(table)s, 'INSERT') OR has_table_privilege(%(table)s, 'UPDATE')
    OR has_table_privilege(%(table)s, 'DELETE') OR has_table_privilege(%(table)s, 'TRUNCATE')
"""


def wrong(server: Server) -> list[tuple[str, str]]:
    """Return what is wrong, each with `warning` or `error`."""
    found = []
    tables = [f"{SCHEMA}.{EVENTS}", f"{SCHEMA}.{TAGS}"]
    with server.connection() as connection:
        for name, setting in connection.execute(_SETTINGS).fetchall():
            if setting == "off":
                found.append(("warning", f"The server has {name}=off: {_LOSES[name]}."))
        guards = dict(connection.execute(_GUARDS, tables).fetchall())
        if guards.get("append_only") != len(tables):
            found.append(("error", "The triggers that refuse changes of events are gone, or switched off."))
        if "moved" not in guards:
            found.append(("error", _NO_GUARD_OF_MOVES))
        if any(connection.execute(_RIGHTS, {"table": table}).fetchone() == (True,) for table in tables):
            found.append(
                ("warning", "You may change the tables of the log. Use a user who is only a stackledger_writer.")
            )
    apart = abs(server.now() - time.time_ns() // 1000)
    if apart > CLOCKS_APART:
        found.append(("warning", f"The clock of this machine is {apart // 1_000_000:,} s away from the server's."))
    return found
