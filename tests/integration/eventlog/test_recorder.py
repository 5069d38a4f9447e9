"""Our recorders do what the library's own recorders do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeAlias

import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem, DCBSequencedEvent
from eventsourcing.dcb.popo import InMemoryDCBRecorder
from eventsourcing.dcb.tests import DCBRecorderTestCase
from eventsourcing.persistence import IntegrityError, ProgrammingError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from stackledger.domain.errors import InvalidValue, LogError
from stackledger.eventlog.postgres import PostgresRecorder
from stackledger.eventlog.postgres_reader import PostgresReader
from stackledger.eventlog.postgres_server import Server
from stackledger.eventlog.reader import SQLiteReader
from stackledger.eventlog.sqlite import SQLiteRecorder
from tests.support.postgres import Databases, make_empty_log

Recorder: TypeAlias = SQLiteRecorder | PostgresRecorder
Reader: TypeAlias = SQLiteReader | PostgresReader


class Log(NamedTuple):
    """A log, which anybody can open as often as they like."""

    recorder: Callable[[], Recorder]
    reader: Callable[[], Reader]


@pytest.fixture(params=["sqlite", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    if request.param == "sqlite":
        path = tmp_path / "log.db"
        return Log(lambda: SQLiteRecorder(path), lambda: SQLiteReader(path))
    return on_postgres(request.getfixturevalue("postgres_log"))


def on_postgres(address: str) -> Log:
    return Log(lambda: PostgresRecorder(Server(address)), lambda: PostgresReader(Server(address)))


@pytest.fixture
def recorder(log: Log) -> Iterator[Recorder]:
    with closing(log.recorder()) as recorder:
        yield recorder


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SQLiteRecorder]:
    with closing(SQLiteRecorder(tmp_path / "log.db")) as recorder:
        yield recorder


def event(*tags: str, data: bytes = b"data", kind: str = "happened/1") -> DCBEvent:
    return DCBEvent(type=kind, data=data, tags=list(tags))


def query(*items: tuple[list[str], list[str]]) -> DCBQuery:
    return DCBQuery(items=[DCBQueryItem(types=types, tags=tags) for types, tags in items])


class LibrarysCase(DCBRecorderTestCase):
    """The case comes as methods of a TestCase that pytest does not collect by itself."""

    __test__ = False

    append_read = DCBRecorderTestCase._test_append_read
    append_subscribe = DCBRecorderTestCase._test_append_subscribe


def test_it_passes_the_librarys_case_for_appending_and_reading(recorder: Recorder) -> None:
    LibrarysCase().append_read(recorder)


def test_it_passes_the_librarys_case_for_appending_and_subscribing(recorder: Recorder) -> None:
    LibrarysCase().append_subscribe(recorder)


# Few values, so that they meet; odd ones, so that nothing is taken for granted about text.
ODD_TEXT = st.text(max_size=5)
TAGS = st.sampled_from(["a", "b", "c", "A", "", "a b", "ä", "ä", "🦆", "x\x00y", '"', "[", "\\", "%"]) | ODD_TEXT
TYPES = st.sampled_from(["t1/1", "t2/1", "t3/1"]) | ODD_TEXT
EVENTS = st.builds(DCBEvent, type=TYPES, data=st.binary(max_size=20), tags=st.lists(TAGS, max_size=5))
ITEMS = st.builds(DCBQueryItem, types=st.lists(TYPES, max_size=3), tags=st.lists(TAGS, max_size=3))
QUERIES = st.builds(DCBQuery, items=st.lists(ITEMS, max_size=3))
AFTER = st.none() | st.integers(-2, 30) | st.just(2**70)


class SameAsInMemory(RuleBasedStateMachine):
    """Whatever is appended and asked for, both recorders answer the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.log = self.made()
        self.ours = self.log.recorder()
        self.reader = self.log.reader()
        self.model = InMemoryDCBRecorder()

    def made(self) -> Log:
        path = Path(self.folder.name) / "log.db"
        return Log(lambda: SQLiteRecorder(path), lambda: SQLiteReader(path))

    def fitting(self, query: DCBQuery) -> DCBQuery:
        """Return the query, or one like it that this log knows."""
        return query

    def storable(self, text: str) -> str:
        """Return the text, or one like it that this log can keep."""
        return text

    def stored(self, events: list[DCBEvent]) -> list[DCBEvent]:
        return [DCBEvent(self.storable(one.type), one.data, [*map(self.storable, one.tags)]) for one in events]

    @rule(events=st.lists(EVENTS, min_size=1, max_size=4))
    def append(self, events: list[DCBEvent]) -> None:
        events = self.stored(events)
        assert self.ours.append(events) == self.model.append(events)

    @rule(events=st.lists(EVENTS, min_size=1, max_size=3), query=QUERIES, after=AFTER)
    def append_on_condition(self, events: list[DCBEvent], query: DCBQuery, after: int | None) -> None:
        events = self.stored(events)
        condition = DCBAppendCondition(fail_if_events_match=self.fitting(query), after=after)
        expected: int | None = None
        with suppress(IntegrityError):
            expected = self.model.append(events, condition)
        if expected is None:
            with pytest.raises(IntegrityError):
                self.ours.append(events, condition)
        else:
            assert self.ours.append(events, condition) == expected

    @rule(query=st.none() | QUERIES, after=AFTER, limit=st.none() | st.integers(-1, 6))
    def read(self, query: DCBQuery | None, after: int | None, limit: int | None) -> None:
        query = query and self.fitting(query)
        ours = self.ours.read(query, after=after, limit=limit)
        model = self.model.read(query, after=after, limit=limit)
        assert ours.head == model.head
        assert list(ours) == list(model)
        assert ours.head == model.head

    @rule()
    def open_again(self) -> None:
        self.ours.close()
        self.ours = self.log.recorder()

    @rule(tags=st.lists(TAGS, max_size=3), after=st.integers(-1, 30), upto=st.none() | st.integers(0, 30))
    def scan(self, tags: list[str], after: int, upto: int | None) -> None:
        tags = [*map(self.storable, tags)]
        found = [one for one in self.model.read(query(([], tags)), after=after) if upto is None or one.position <= upto]
        scanned = list(self.reader.scan(after=after, upto=upto, tags=tuple(tags)))
        assert [(one.position, one.type, list(one.tags), one.data) for one in scanned] == list(map(_parts, found))
        back = list(self.reader.scan_back(before=None if upto is None else upto + 1, tags=tuple(tags)))
        assert [one for one in reversed(back) if one.position > after] == scanned

    @invariant()
    def heads_are_the_same(self) -> None:
        assert self.reader.head() == (self.model.read().head or 0)

    def teardown(self) -> None:
        self.reader.close()
        self.ours.close()
        self.folder.cleanup()


def _parts(one: DCBSequencedEvent) -> tuple[int, str, list[str], bytes]:
    return one.position, one.event.type, one.event.tags, one.event.data


TestSameAsInMemory = SameAsInMemory.TestCase
TestSameAsInMemory.settings = settings(stateful_step_count=30)


@pytest.fixture(scope="module")
def database(postgres: Databases) -> Iterator[str]:
    with postgres.database() as address:
        yield address


def test_on_postgresql_the_answers_are_the_same_too(database: str) -> None:
    class OnPostgres(SameAsInMemory):
        def made(self) -> Log:
            make_empty_log(database)
            return on_postgres(database)

        def fitting(self, query: DCBQuery) -> DCBQuery:
            items = [
                DCBQueryItem([*map(self.storable, item.types)], [*map(self.storable, item.tags)])
                for item in query.items
            ]
            if not all(item.types or item.tags for item in items):
                return DCBQuery(items=items)
            alone = items and not items[0].tags and len(items[0].types) == 1
            return DCBQuery(items=items[:1] if alone else [item for item in items if item.tags])

        def storable(self, text: str) -> str:
            return text.replace("\0", "0")  # the one character that PostgreSQL keeps in no text

    quick = settings.get_current_profile_name() == "quick"
    run_state_machine_as_test(OnPostgres, settings=settings(stateful_step_count=30, max_examples=15 if quick else 500))


def test_reading_ends_at_the_head_that_it_told(recorder: Recorder) -> None:
    recorder.append([event("a") for _ in range(300)])
    response = recorder.read(query(([], ["a"])))
    first = next(response)
    recorder.append([event("a")])
    assert response.head == 300
    assert [first.position, *(one.position for one in response)] == list(range(1, 301))


def test_a_slow_reader_keeps_no_transaction_open(sqlite: SQLiteRecorder) -> None:
    sqlite.append([event("a") for _ in range(3000)])
    with closing(SQLiteReader(sqlite.path)) as reader:
        scanned = reader.scan()
        next(scanned)
        sqlite.append([event("a")])
        sqlite.close()  # empties the write-ahead log, which an open transaction would not allow
        assert not sqlite.path.with_name("log.db-wal").stat().st_size
        assert sum(1 for _ in scanned) == 2999


def test_large_events_come_page_by_page(log: Log, recorder: Recorder) -> None:
    data = b"x" * 600_000
    recorder.append([event("a", data=data) for _ in range(10)])
    assert [one.position for one in recorder.read(query(([], ["a"]), (["happened/1"], ["a"])))] == list(range(1, 11))
    with closing(log.reader()) as reader:
        assert [one.position for one in reader.scan_back(tags=("a",))] == list(range(10, 0, -1))


def test_of_many_tags_the_rare_one_is_walked(recorder: Recorder) -> None:
    recorder.append([event("broad", "rare" if number == 1500 else "other") for number in range(2000)])
    assert [one.position for one in recorder.read(query(([], ["broad", "rare"])))] == [1501]
    assert [one.position for one in recorder.read(query(([], ["rare", "broad"])))] == [1501]
    assert len(list(recorder.read(query(([], ["broad", "other"]))))) == 1999


def test_a_boundary_may_have_a_thousand_items(recorder: Recorder) -> None:
    recorder.append([event(f"step:{number}") for number in range(1000)])
    many = query(*((["happened/1"], [f"step:{number}"]) for number in range(1000)))
    assert len(list(recorder.read(many))) == 1000
    assert recorder.append([event("x")], DCBAppendCondition(many, after=1000)) == 1001
    with pytest.raises(IntegrityError):
        recorder.append([event("x")], DCBAppendCondition(many, after=999))


def test_an_append_of_nothing_is_a_mistake_of_the_program(recorder: Recorder) -> None:
    with pytest.raises(ProgrammingError):
        recorder.append([])


def test_text_that_is_no_unicode_is_refused_and_nothing_is_appended(recorder: Recorder) -> None:
    with pytest.raises(InvalidValue, match="Unicode"):
        recorder.append([event("fine"), event("\ud800")])
    assert recorder.read().head is None
    assert recorder.append([event("fine")]) == 1
    with pytest.raises(InvalidValue, match="Unicode"):
        next(recorder.read(query(([], ["\ud800"]))))


def test_a_closed_log_says_so(sqlite: SQLiteRecorder) -> None:
    sqlite.close()
    with pytest.raises(LogError, match="was closed"):
        sqlite.append([event("a")])
    with pytest.raises(LogError, match="was closed"):
        sqlite.read()


def test_a_subscription_sees_what_other_connections_append(log: Log, recorder: Recorder) -> None:
    with closing(log.recorder()) as other, recorder.subscribe(query(([], ["a"]))) as subscription:
        for number in range(1, 50):
            other.append([event("b"), event("a")])
            assert next(subscription).position == 2 * number


def test_a_subscription_begins_behind_a_position(recorder: Recorder) -> None:
    recorder.append([event("a"), event("a"), event("a")])
    with recorder.subscribe(after=2) as subscription:
        assert next(subscription).position == 3


def test_a_stopped_subscription_ends(recorder: Recorder) -> None:
    with recorder.subscribe() as subscription:
        subscription.stop()
        assert list(subscription) == []


def test_a_subscription_whose_recorder_was_closed_tells_the_error(sqlite: SQLiteRecorder) -> None:
    with sqlite.subscribe() as subscription:
        sqlite.close()
        with closing(SQLiteRecorder(sqlite.path)) as other:
            other.append([event("a")])
            with pytest.raises(LogError, match="was closed"):
                next(subscription)
