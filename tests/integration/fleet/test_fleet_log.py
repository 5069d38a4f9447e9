"""The log as the active coordinator uses it: the same facts about the simulator's, a file, and a server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Protocol

import psycopg
import pytest

from stackledger.domain import errors
from stackledger.domain.errors import LogTooNew
from stackledger.domain.event import Context, Event, Recorded, item
from stackledger.domain.events.artifacts import ArtifactsCollected
from stackledger.domain.events.components import ComponentRenamed
from stackledger.domain.events.fleet import (
    DispatchConfirmed,
    KeyEnrolled,
    KeyRevoked,
    RunCancelled,
    StepClaimed,
    StepQueued,
    TopologyRenewed,
    fleet_tag,
)
from stackledger.domain.events.log import LogMoved
from stackledger.domain.events.runs import Code, Kept, RunStarted, RunSucceeded
from stackledger.domain.run_state import run_item
from stackledger.eventlog.handler import CommandHandler
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.lock import FileLock
from stackledger.eventlog.postgres_seat import PostgresSeat
from stackledger.eventlog.seat import FileListener, FileSeat, Seat
from stackledger.eventlog.stored import StoredEvent
from stackledger.projections import run_queries
from stackledger.projections.engine import Views
from stackledger.workers.fleet.fleet_log import HandlerLog
from stackledger.workers.fleet.protocol.known import Known
from stackledger.workers.fleet.protocol.ports import Conflict, FleetLog, LogAway, NotActive, Unrecordable
from tests.support.any_log import Where, reader_at, recorder_at
from tests.support.eventually import eventually
from tests.support.fleet.log import Access, SimulatedLog
from tests.support.fleet.network import Process, Timeline
from tests.support.fleet.world import ORCHESTRATOR, STACK, planned
from tests.support.interrupted_recorder import InterruptedRecorder, answer_lost, never_done
from tests.support.processes import forked

STALE = 4.0
ANSWERS_WITHIN = 2.0
WHO = Context("command", 1, "me", "here")
OURS = (item(fleet_tag(ORCHESTRATOR), DispatchConfirmed, TopologyRenewed),)


def started(run_id: str, orchestrator: str = ORCHESTRATOR, *steps: str) -> RunStarted:
    ours, store = STACK.components
    stack = STACK.model_copy(update={"components": (ours.model_copy(update={"id": orchestrator}), store)})
    return RunStarted(
        run_id=run_id,
        name=run_id,
        pipeline="p",
        stack=stack,
        code=Code(digest="", commit=None, dirty=False),
        parameters={},
        steps=tuple(map(planned, steps or ("a", "b"))),
        environment={},
        retry_of=None,
    )


def queued(run_id: str, step: str = "a") -> StepQueued:
    return StepQueued(run_id=run_id, step=step, attempt=1, queue="default", dispatch="d", inputs={})


def enrolled(key: str) -> KeyEnrolled:
    return KeyEnrolled(key_id=key, role="worker", name=key, public="", queues=("default",))


def confirmed(through: int) -> DispatchConfirmed:
    return DispatchConfirmed(orchestrator_id=ORCHESTRATOR, through=through)


class Place(Protocol):
    """A log, and what may happen to who works with it."""

    def opened(self) -> FleetLog | None:
        """Return the log for another coordinator, None while there is one."""

    def append(self, *events: Event) -> None:
        """Append as somebody else."""

    def events(self) -> list[Event]:
        """Return all that is in the log."""

    def take_away(self) -> None:
        """Take the seat from who has it."""

    def go_away(self) -> Callable[[], None]:
        """Let no append happen for now; return what ends that."""

    def lose_answer(self) -> None:
        """Let the next append be made without an answer."""


class Simulated:
    def __init__(self) -> None:
        self.timeline = Timeline(Random(1))
        self.log = SimulatedLog(self.timeline)
        self.unsure = 0.0

    def opened(self) -> FleetLog | None:
        if self.log.holder is not None:
            return None
        self.log.holder = process = Process(self.timeline, "coordinator")
        return Access(self.log, process, unsure=lambda: self.unsure, away=lambda: False)

    def append(self, *events: Event) -> None:
        self.log.append(events)

    def events(self) -> list[Event]:
        return [recorded.event for recorded in self.log.events]

    def take_away(self) -> None:
        self.log.holder = None

    def go_away(self) -> Callable[[], None]:
        self.log.away = True
        return lambda: setattr(self.log, "away", False)

    def lose_answer(self) -> None:
        self.unsure = 1.0


class Real:
    """A log that processes share."""

    def __init__(self, where: Where, folder: Path) -> None:
        self.where = where
        self.folder = folder
        self.seat: Any = None
        self.seats: list[Seat] = []
        self._numbers = count()
        self.append(confirmed(0))  # no log is empty

    def taken(self) -> Seat | None:
        """Return the seat of another coordinator, None while there is one."""
        seat: Seat = (
            FileSeat(self.where, ORCHESTRATOR, answers_within=ANSWERS_WITHIN)
            if isinstance(self.where, Path)
            else PostgresSeat(self.where, ORCHESTRATOR, stale=STALE, answers_within=ANSWERS_WITHIN)
        )
        self.seats.append(seat)
        if seat.take():
            return seat
        seat.leave()
        return None

    def close(self) -> None:
        for seat in self.seats:
            seat.leave()

    def opened(self) -> HandlerLog | None:
        seat = self.taken()
        if seat is None:
            return None
        self.seat = seat
        self.log = HandlerLog(ORCHESTRATOR, seat, self.open_runs, WHO)
        return self.log

    def open_runs(self) -> tuple[int, Sequence[str]]:
        with closing(reader_at(self.where)) as reader:
            views = Views(self.folder / "views.db", reader, lambda _: None)
            return views.read(lambda view: (view.position, [run.id for run in run_queries.unfinished_runs(view)]))

    def append(self, *events: Event) -> None:
        with closing(recorder_at(self.where)) as recorder:
            handler = CommandHandler(recorder, new_id)
            correlation = f"correlation-{next(self._numbers)}"
            handler.record([(event, WHO._replace(correlation=correlation)) for event in events], OURS, 2**40)

    def events(self) -> list[Event]:
        return [recorded.event for recorded in self.recorded()]

    def recorded(self) -> list[Recorded]:
        from stackledger.eventlog.codec import decode

        with closing(reader_at(self.where)) as reader:
            return [decode(stored) for stored in reader.scan()]

    def lose_answer(self) -> None:
        self.interrupt(answer_lost)

    def interrupt(self, fate: Any) -> None:
        handler = self.log._handler
        self.log._handler = handler._replace(recorder=InterruptedRecorder(handler.recorder, fate))


class InFile(Real):
    where: Path

    def take_away(self) -> None:
        (self.where.parent / f"coordinator-{ORCHESTRATOR}.lock").unlink()

    def go_away(self) -> Callable[[], None]:
        lock = FileLock(self.where.with_suffix(".lock"))
        lock.__enter__()
        return lambda: lock.__exit__(None, None, None)


class OnServer(Real):
    where: str

    def take_away(self) -> None:
        with psycopg.connect(self.where, autocommit=True) as connection:
            held = "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
            assert connection.execute(held).fetchall() == [(True,)]

    def go_away(self) -> Callable[[], None]:
        connection = psycopg.connect(self.where)
        connection.execute("LOCK TABLE stackledger.log_tt_main IN EXCLUSIVE MODE")
        return connection.close


@pytest.fixture(params=["simulated", "file", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "simulated":
        yield Simulated()
        return
    with closing(real(request, tmp_path)) as found:
        yield found


@pytest.fixture(params=["file", "server"])
def real_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InFile | OnServer]:
    with closing(real(request, tmp_path)) as found:
        yield found


def real(request: pytest.FixtureRequest, folder: Path) -> InFile | OnServer:
    if request.param == "file":
        return InFile(folder / "log.db", folder)
    return OnServer(request.getfixturevalue("postgres_log"), folder)


def opened(place: Place) -> FleetLog:
    log = place.opened()
    assert log is not None
    return log


def folded(events: Sequence[Recorded]) -> dict[str, Any]:
    known = Known(ORCHESTRATOR)
    for recorded in events:
        known.fold(recorded)
    return {
        name: getattr(known, name) for name in ("runs", "started", "keys", "waiting", "held", "confirmed", "collected")
    }


def test_what_it_begins_with_says_as_much_as_the_whole_log(place: Place) -> None:
    place.append(started("ended"), queued("ended"), started("elsewhere", "another orchestrator"))
    place.append(started("open"), enrolled("k1"), enrolled("k2"), queued("open"), queued("open", "b"))
    place.append(StepClaimed(run_id="open", step="a", attempt=1, execution="e", worker="k1"), KeyRevoked(key_id="k2"))
    place.append(RunCancelled(run_id="ended"), confirmed(3), confirmed(8))
    log = opened(place)
    begun = log.begin()
    everything = folded(log.follow(0).events if isinstance(place, Simulated) else place.recorded())  # type: ignore[attr-defined]
    assert folded(begun.events) == everything
    assert everything["confirmed"] == 8
    assert set(everything["runs"]) == {"open"}
    assert len(everything["waiting"]) == len(everything["held"]) == 1
    assert log.follow(begun.position) == ((), begun.position) or log.follow(begun.position).events == []


def collected(collection: str, digest: str) -> ArtifactsCollected:
    return ArtifactsCollected(store_id="s", collection=collection, objects=(Kept(digest=digest, size=1),))


def test_it_begins_with_what_was_collected_since_the_oldest_open_run_began(place: Place) -> None:
    place.append(collected("c1", "before"))
    place.append(started("open"), queued("open"))
    place.append(collected("c2", "since"))
    log = opened(place)
    begun = log.begin()
    assert list(folded(begun.events)["collected"]) == ["since"]
    place.append(collected("c3", "later"))
    known = Known(ORCHESTRATOR)
    for recorded in (*begun.events, *log.follow(begun.position).events):
        known.fold(recorded)
    assert list(known.collected) == ["since", "later"]


def test_queues_that_were_renewed_hold_nothing(place: Place) -> None:
    place.append(confirmed(7), TopologyRenewed(orchestrator_id=ORCHESTRATOR, queues=("default",)))
    assert folded(opened(place).begin().events)["confirmed"] == 0


def test_it_follows_what_others_append(place: Place) -> None:
    log = opened(place)
    begun = log.begin()
    assert list(log.follow(begun.position).events) == []
    place.append(started("r"), queued("r"))
    seen = log.follow(begun.position)
    assert [recorded.event for recorded in seen.events] == [started("r"), queued("r")]
    place.append(RunCancelled(run_id="r"))
    assert [recorded.event for recorded in log.follow(seen.position).events] == [RunCancelled(run_id="r")]


def test_what_it_appends_it_follows_once_and_in_order(place: Place) -> None:
    place.append(started("r"))
    log = opened(place)
    begun = log.begin()
    log.append([queued("r"), queued("r", "b")], (run_item("r"),), begun.position)
    place.append(RunCancelled(run_id="r"))
    seen = log.follow(begun.position)
    assert [recorded.event for recorded in seen.events] == [queued("r"), queued("r", "b"), RunCancelled(run_id="r")]
    positions = [recorded.position for recorded in seen.events]
    assert positions == sorted(positions)
    assert seen.position == positions[-1]
    assert list(log.follow(seen.position).events) == []


def test_nothing_is_appended_where_somebody_was_first(place: Place) -> None:
    place.append(started("r"), started("s"))
    log = opened(place)
    begun = log.begin()
    place.append(RunCancelled(run_id="r"))
    with pytest.raises(Conflict):
        log.append([queued("r"), queued("s")], (run_item("r"), run_item("s")), begun.position)
    log.append([queued("s")], (run_item("s"),), begun.position)  # what came about another run is in nobody's way
    assert place.events()[-2:] == [RunCancelled(run_id="r"), queued("s")]
    assert queued("r") not in place.events()


def test_a_log_that_was_moved_is_followed_to_its_move_and_takes_nothing_more(real_place: InFile | OnServer) -> None:
    real_place.append(started("r"))
    log = opened(real_place)
    begun = log.begin()
    real_place.append(LogMoved(log_id="log", destination="the server"))
    before = real_place.events()
    with pytest.raises(errors.LogMoved, match="goes on somewhere else"):
        log.append([queued("r")], (run_item("r"),), begun.position)
    with pytest.raises(errors.LogMoved, match="to the server"):
        log.follow(begun.position)
    assert real_place.events() == before


def test_one_at_a_time_has_the_seat(place: Place) -> None:
    first = opened(place)
    first.begin()
    assert place.opened() is None
    place.take_away()
    opened(place).begin()


def test_whoever_lost_the_seat_learns_it_and_appends_nothing(place: Place) -> None:
    log = opened(place)
    begun = log.begin()
    before = place.events()
    place.take_away()
    for act in (
        lambda: log.append([confirmed(9)], OURS, begun.position),
        lambda: log.follow(begun.position),
        lambda: log.append([confirmed(9)], OURS, begun.position),
        log.begin,
    ):
        with pytest.raises((NotActive, LogAway)) as told:
            act()
    assert told.type is NotActive
    assert place.events() == before


def test_a_log_that_is_away_comes_back(place: Place) -> None:
    log = opened(place)
    begun = log.begin()
    come_back = place.go_away()
    with pytest.raises(LogAway):
        log.append([confirmed(9)], OURS, begun.position)
    come_back()
    assert list(log.follow(begun.position).events) == []
    log.append([confirmed(9)], OURS, begun.position)
    assert [recorded.event for recorded in log.follow(begun.position).events] == [confirmed(9)]


def test_an_append_whose_answer_was_lost_is_found_again(place: Place) -> None:
    log = opened(place)
    begun = log.begin()
    place.lose_answer()
    try:
        log.append([confirmed(9)], OURS, begun.position)
    except LogAway:
        assert isinstance(place, Simulated)
    assert [recorded.event for recorded in log.follow(begun.position).events] == [confirmed(9)]


def test_it_knows_the_time(place: Place) -> None:
    assert abs(opened(place).now() - time.time_ns() // 1000) < 10**15


# Logs that processes share


def test_an_append_that_nobody_finds_may_be_tried_again(real_place: InFile | OnServer) -> None:
    log = opened(real_place)
    begun = log.begin()
    real_place.interrupt(never_done)
    with pytest.raises(LogAway):
        log.append([confirmed(9)], OURS, begun.position)
    log.append([confirmed(9)], OURS, log.follow(begun.position).position)
    assert real_place.events()[1:] == [confirmed(9)]


def test_what_it_cannot_hold_it_says_and_appends_nothing_of(real_place: InFile | OnServer) -> None:
    log = opened(real_place)
    begun = log.begin()
    poison = RunCancelled(run_id="amqp://me:secret@here")
    with pytest.raises(Unrecordable, match="password") as told:
        log.append([confirmed(9), poison], OURS, begun.position)
    assert "secret" not in str(told.value)
    assert list(log.follow(begun.position).events) == []


def test_a_killed_coordinator_leaves_its_seat(real_place: InFile | OnServer) -> None:
    ready, tell = os.pipe()

    def hold() -> None:
        assert real_place.taken() is not None
        os.write(tell, b"!")
        signal.pause()

    child = forked(hold)
    assert os.read(ready, 1) == b"!"
    assert real_place.opened() is None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    eventually(real_place.opened)


def test_who_listens_hears_of_what_anybody_appends(real_place: InFile | OnServer) -> None:
    seat = real_place.taken()
    assert seat is not None
    with closing(seat.listener()) as listener:
        assert listener.wait(0.0), "what came before it listened, nobody heard"
        assert not listener.wait(0.0)
        for _ in range(3):
            real_place.append(confirmed(9))
            assert listener.wait(60.0)


def test_who_listens_sees_what_somebody_appends_who_does_not_ring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So do programs of before."""
    with closing(InFile(tmp_path / "log.db", tmp_path)) as place, closing(FileListener(place.where)) as listener:
        assert listener.wait(0.0)
        assert not listener.wait(0.0)
        monkeypatch.setattr(FileLock, "ring", lambda _: None)
        place.append(confirmed(9))
        assert listener.wait(0.0)
        assert not listener.wait(0.0)


def test_who_listens_waits_for_a_file_that_is_gone(tmp_path: Path) -> None:
    with closing(InFile(tmp_path / "log.db", tmp_path)) as place, closing(FileListener(place.where)) as listener:
        assert listener.wait(0.0)
        place.where.rename(tmp_path / "aside")
        listener.close()
        assert listener.wait(0.0), "who does not know says that there may be something"
        (tmp_path / "aside").rename(place.where)
        assert listener.wait(0.0)
        assert not listener.wait(0.0)


def test_events_of_a_run_belong_together(real_place: InFile | OnServer) -> None:
    real_place.append(started("r"))
    real_place.append(started("s"))
    log = opened(real_place)
    begun = log.begin()
    log.append([queued("s"), queued("r"), confirmed(9)], (run_item("r"), run_item("s")), begun.position)
    first, second, *appended = real_place.recorded()[1:]
    assert [each.envelope.correlation for each in appended[:2]] == [
        second.envelope.correlation,
        first.envelope.correlation,
    ]
    assert len({each.envelope.causation for each in appended}) == 1
    assert {(each.envelope.actor, each.envelope.host) for each in appended} == {(WHO.actor, WHO.host)}
    assert log.follow(begun.position).events == appended


def test_to_begin_reads_what_is_open_however_long_the_log(real_place: InFile | OnServer) -> None:
    real_place.append(*(confirmed(number) for number in range(200)))
    real_place.append(*(ComponentRenamed(component_id="c", type="orchestrator", name="b", previous_name="a"),) * 200)
    for number in range(20):
        run = f"run-{number}"
        real_place.append(started(run, "another orchestrator"), *(queued(run),) * 10)
        real_place.append(started(f"{run}-ours"), *(queued(f"{run}-ours"),) * 10, RunSucceeded(run_id=f"{run}-ours"))
    real_place.append(started("open"), queued("open"), enrolled("k"))
    log = opened(real_place)
    read = _counted(real_place.seat)
    begun = log.begin()
    assert [recorded.event for recorded in begun.events] == [
        confirmed(199),
        started("open"),
        queued("open"),
        enrolled("k"),
    ]
    assert len(read) == 4 + 20 + 1, "of runs elsewhere their start, and the newest event to follow from"


def _counted(seat: Any) -> list[StoredEvent]:
    read: list[StoredEvent] = []
    for name in ("scan", "scan_back"):
        inner = getattr(seat.reader, name)

        def counting(inner: Any = inner, **asked: Any) -> Iterator[StoredEvent]:
            for stored in inner(**asked):
                read.append(stored)
                yield stored

        setattr(seat.reader, name, counting)
    return read


def test_what_only_a_newer_program_knows_about_an_open_run_stops_it(
    real_place: InFile | OnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StepPaused(RunCancelled):
        TYPE = "step.paused/1"

    real_place.append(started("r"), started("s", "another orchestrator"))
    log = opened(real_place)
    begun = log.begin()
    real_place.append(StepPaused(run_id="s"))
    seen = log.follow(begun.position)
    real_place.append(StepPaused(run_id="r"))
    with pytest.raises(LogTooNew):
        log.follow(seen.position)


def test_another_log_in_the_place_of_this_one_ends_it(tmp_path: Path) -> None:
    place = InFile(tmp_path / "log.db", tmp_path)
    place.append(started("r"))
    log = opened(place)
    begun = log.begin()
    for file in tmp_path.glob("log.db*"):
        file.unlink()
    InFile(tmp_path / "log.db", tmp_path).append(queued("r"))
    with pytest.raises((NotActive, LogAway)):
        log.append([queued("r")], (run_item("r"),), begun.position)
    with pytest.raises(NotActive):
        log.follow(begun.position)
    place.close()


def test_a_coordinator_that_says_nothing_any_more_loses_its_seat(postgres_log: str, tmp_path: Path) -> None:
    with closing(OnServer(postgres_log, tmp_path)) as place:
        log = opened(place)
        begun = log.begin()
        spoken_until = time.monotonic() + 1.5 * STALE

        def speaks() -> bool:
            log.follow(begun.position)
            assert place.opened() is None
            return time.monotonic() > spoken_until

        eventually(speaks)
        eventually(place.opened)
        with pytest.raises(NotActive):
            log.follow(begun.position)
