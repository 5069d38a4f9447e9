"""Conditional appends to a log on PostgreSQL through the command handler, against the library's recorder alone.

A registration is measured on a component that 100,000 stacks use against one that 10 use.

The floor is the recorder of `eventsourcing` with its own pool of connections, in a database of the same private server
(fsync on). It is given the same events ready made, and the same conditions.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, count, islice
from urllib.parse import urlsplit

from eventsourcing.dcb.api import DCBAppendCondition, DCBQuery, DCBQueryItem
from eventsourcing.dcb.postgres_tt import PostgresDCBRecorderTT
from eventsourcing.postgres import PostgresDatastore

from bench.append import BATCHES, COMPONENTS, CONTEXT, FEW, MANY, components, name_of_first, registration, stored
from bench.figures import Figure, Pair, paired, rate, took
from stackledger.domain import stacks
from stackledger.domain.stacks import RegisterStack
from stackledger.eventlog.handler import CommandHandler
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.postgres import PostgresRecorder
from stackledger.eventlog.postgres_server import Server
from stackledger.eventlog.stored import StoredEvent
from tests.support.postgres import Databases, make_empty_log, make_log, private_server, programs

ROUNDS = 9


def measure() -> Iterator[Figure]:
    if programs() is None:
        print("PostgreSQL is not installed: no figures of a log there.", file=sys.stderr)
        return
    with private_server() as server:
        databases = Databases(server.admin)
        with databases.database() as ours, databases.database() as floor:
            make_empty_log(ours)
            many = appended(ours, floor, commits=20, per_commit=100)
            yield rate("PostgreSQL log, conditional appends of 100 events : recorder alone", many, 2000, at_least=0.6)
            pair = registered(ours, floor)
            yield took(f"PostgreSQL log, registration on a component of {MANY:,} stacks : of {FEW}", pair, at_most=1.2)


def registered(many: str, few: str) -> Pair:
    """Measure 100 registrations, with many and with few stacks on the components that they use."""

    def events(stacks_there: int) -> Iterator[StoredEvent]:
        registrations = (registration(number, new_id()) for number in range(stacks_there))
        for position, event in enumerate(chain(components(), registrations), start=1):
            one = stored(event)
            yield StoredEvent(position, one.type, tuple(one.tags), one.data)

    numbers = count(MANY)

    def register(handler: CommandHandler) -> None:
        for number in islice(numbers, 100):
            command = RegisterStack(stack_id=new_id(), name=f"stack-{number}", components=COMPONENTS)
            handler.handle(stacks.DECIDER, command, CONTEXT)

    make_log(many, events(MANY))
    make_log(few, events(FEW))
    with closing(Server(many)) as on_many, closing(Server(few)) as on_few:
        ours, floor = (CommandHandler(PostgresRecorder(server), new_id) for server in (on_many, on_few))
        return paired(lambda: register(ours), lambda: register(floor), ROUNDS)


def appended(address: str, floor_address: str, *, commits: int, per_commit: int) -> Pair:
    """Measure rounds of `commits` conditional appends of `per_commit` events each."""
    total = (ROUNDS + 1) * commits * per_commit
    offset = per_commit * 1_000_000
    numbers, floor_numbers = count(offset), count(offset)
    ids = [new_id() for _ in range(total)]
    ready = iter([stored(registration(offset + number, new_id())) for number in range(total)])
    parts = urlsplit(floor_address)
    datastore = PostgresDatastore(
        parts.path[1:], parts.hostname or "", parts.port or 5432, parts.username or "", parts.password or ""
    )
    gc.freeze()  # what the benchmark keeps is not walked through while it measures
    with closing(Server(address)) as server, closing(datastore):
        handler = CommandHandler(PostgresRecorder(server), new_id)
        library = PostgresDCBRecorderTT(datastore)
        library.create_table()
        head = [0]

        def ours() -> None:
            for _ in range(commits):
                batch = [(number, ids[number - offset]) for number in islice(numbers, per_commit)]
                handler.handle(BATCHES, batch, CONTEXT)

        def floor() -> None:
            for _ in range(commits):
                (boundary,) = name_of_first([(next(floor_numbers), "")])
                query = DCBQuery([DCBQueryItem(list(boundary.types), list(boundary.tags))])
                head[0] = library.append(list(islice(ready, per_commit)), DCBAppendCondition(query, after=head[0]))

        return paired(ours, floor, ROUNDS)
