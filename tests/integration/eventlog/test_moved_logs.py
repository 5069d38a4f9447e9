"""A log that was moved: in a file and on a server nothing comes into it any more but its adoption."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem

from stackledger.domain.errors import LogMoved, StackledgerError
from stackledger.domain.event import Context, Event, item
from stackledger.domain.events import log as events
from stackledger.domain.log import DECIDER, AdoptLog, MoveLog
from stackledger.eventlog import postgres_setup
from stackledger.eventlog.handler import CommandHandler
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.moves import newest_move, standing, told
from stackledger.eventlog.postgres_server import EVENTS, SCHEMA
from tests.support.any_log import Where, reader_at, recorder_at
from tests.support.eventually import eventually
from tests.support.postgres import Databases

WHO = Context("command", 1_763_683_200_000_000, "me", "here", reason="a new machine")
MOVE = MoveLog("log", "the server", ())
SOMETHING = events.SubjectEnrolled(subject_id="s", kind="user", commitment="c")
ITS_OWN = (item(events.subject_tag("s"), events.SubjectEnrolled),)
NOBODY = DCBAppendCondition(DCBQuery(items=[DCBQueryItem(types=[], tags=["nobody"])]))


@pytest.fixture(params=["file", "server"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Where:
    """A log, as somebody uses it who may only append and read."""
    if request.param == "file":
        return tmp_path / "log.db"
    postgres: Databases = request.getfixturevalue("postgres")
    address: str = request.getfixturevalue("postgres_log")
    postgres.user("test_writer", postgres_setup.WRITER)
    return postgres.address(address.rpartition("/")[2], "test_writer")


@pytest.fixture
def handler(where: Where) -> Iterator[CommandHandler]:
    with closing(recorder_at(where)) as recorder:
        handler = CommandHandler(recorder, new_id)
        handler.record([(events.LogCreated(log_id="log"), WHO)], ITS_OWN, 0)
        yield handler


def types(where: Where) -> list[str]:
    with closing(reader_at(where)) as reader:
        return [stored.type for stored in reader.scan()]


def record(handler: CommandHandler, *what: Event) -> None:
    handler.record([(event, WHO) for event in what or (SOMETHING,)], ITS_OWN, 2**40)


def test_nothing_comes_into_it_whatever_it_is_about(where: Where, handler: CommandHandler) -> None:
    record(handler)
    handler.handle(DECIDER, MOVE, WHO)
    before = types(where)
    assert before[-1] == "log.moved/1"
    with pytest.raises(LogMoved, match="nothing more comes into this one"):
        record(handler)
    with pytest.raises(LogMoved):
        handler.recorder.append([DCBEvent("happened/1", b"", ["a"])], NOBODY)
    with closing(recorder_at(where)) as another, pytest.raises(LogMoved):
        another.append([DCBEvent("happened/1", b"", ["a"]), DCBEvent("happened/1", b"", ["b"])], NOBODY)
    assert types(where) == before


def test_it_says_when_by_whom_where_to_and_why(where: Where, handler: CommandHandler) -> None:
    with closing(reader_at(where)) as reader:
        assert newest_move(reader) is None
        handler.handle(DECIDER, MOVE, WHO)
        moved = newest_move(reader)
        assert moved is not None
        said = told("L", moved, {"me": "Ann"})
        assert said == "The log L was moved at 2025-11-21 00:00:00 UTC by 'Ann' to the server (a new machine)"
        assert standing(reader) == ("log", "", moved)


def test_where_it_is_adopted_it_goes_on_under_a_name_of_its_own(where: Where, handler: CommandHandler) -> None:
    with closing(reader_at(where)) as reader:
        found = standing(reader)
        assert found is not None
        names = [found.name]
        for incarnation in ("second", "third"):
            handler.handle(DECIDER, MOVE, WHO)
            handler.handle(DECIDER, AdoptLog("log", incarnation), WHO)
            record(handler)
            found = standing(reader)
            assert found is not None
            assert found.moved is None
            names.append(found.name)
    assert names == ["log", "log~second", "log~third"]


def test_whoever_acts_for_the_first_time_may_adopt_it(where: Where, handler: CommandHandler) -> None:
    handler.handle(DECIDER, MOVE, WHO)
    record(handler, SOMETHING, events.LogAdopted(log_id="log", incarnation="second"))
    record(handler, SOMETHING)
    assert types(where)[-3:] == ["subject.enrolled/1", "log.adopted/1", "subject.enrolled/1"]


def test_nothing_slips_in_behind_the_move_however_many_append(where: Where, handler: CommandHandler) -> None:
    many = threading.Barrier(5)

    def append(number: int) -> int:
        with closing(recorder_at(where)) as recorder:
            many.wait()
            for done in range(100_000):
                try:
                    recorder.append([DCBEvent("happened/1", b"", [f"by:{number}"])], NOBODY)
                except LogMoved:
                    return done
        raise AssertionError("the move kept nobody out")

    with ThreadPoolExecutor(4) as pool:
        appending = [pool.submit(append, number) for number in range(4)]
        many.wait()
        eventually(lambda: len(types(where)) > 10)
        handler.handle(DECIDER, MOVE, WHO)
        appended = sum(each.result() for each in appending)
    kept = types(where)
    assert kept[-1] == "log.moved/1"
    assert len(kept) == appended + 2


def test_a_superuser_who_goes_past_all_functions_is_kept_out_too(postgres_log: str) -> None:
    with closing(recorder_at(postgres_log)) as recorder:
        handler = CommandHandler(recorder, new_id)
        record(handler, events.LogCreated(log_id="log"))
        handler.handle(DECIDER, MOVE, WHO)
    with psycopg.connect(postgres_log) as connection, pytest.raises(psycopg.Error, match="the log was moved"):
        connection.execute(f"INSERT INTO {SCHEMA}.{EVENTS} (type, data, tags) VALUES ('x', '', '{{}}')")


def test_an_import_is_whole_or_not_at_all_where_its_adoption_fails(postgres: Databases) -> None:
    from stackledger.eventlog.postgres_server import Server

    def fails(_: object) -> None:
        raise StackledgerError("no")

    with postgres.database() as address, closing(Server(address)) as server:
        with pytest.raises(StackledgerError, match="no"):
            postgres_setup.import_log(server, lambda log: log.write([]), fails)
        with server.connection() as connection:
            assert connection.execute("SELECT to_regnamespace(%s)", (SCHEMA,)).fetchone() == (None,)
