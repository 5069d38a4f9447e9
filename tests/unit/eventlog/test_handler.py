"""The command handler: exactly once, on what is there now, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import pytest
from eventsourcing.dcb.api import DCBEvent, DCBQuery, DCBReadResponse
from eventsourcing.dcb.popo import InMemoryDCBRecorder
from eventsourcing.persistence import IntegrityError

from stackledger.domain.decider import Decider
from stackledger.domain.errors import (
    AppendUnknown,
    ChangedMeanwhile,
    InvalidValue,
    LogBusy,
    LogError,
    LogTooNew,
    Refused,
)
from stackledger.domain.event import Boundary, Context, Event, Item, Recorded, item
from stackledger.domain.events.stacks import StackRenamed, StackShared, StackUnshared, stack_tag
from stackledger.domain.subjects import EnrollSubject
from stackledger.eventlog.codec import decode, encode
from stackledger.eventlog.handler import MAX_TRIES, CommandHandler, Known, Nobody
from stackledger.eventlog.stored import StoredEvent
from stackledger.eventlog.upcasting import Upcasters
from tests.support.interrupted_recorder import Fate, InterruptedRecorder, after, answer_lost, never_done

CONTEXT = Context("command", 5, "me", "here", reason="because", ticket="T-1")


@dataclass(frozen=True)
class Share:
    """Share the stacks, of which the first is the boundary; it may have been shared less than `at_most` times."""

    stacks: tuple[str, ...] = ("s",)
    at_most: int = 100


def item_of(stack: str) -> Item:
    return item(stack_tag(stack), StackShared, StackUnshared)


def boundary(command: Share) -> Boundary:
    return tuple(item_of(stack) for stack in command.stacks[:1])


def decide(command: Share, shares: int) -> Sequence[Event]:
    if shares >= command.at_most:
        raise Refused(f"It was shared {shares} times.")
    return [StackShared(stack_id=stack) for stack in command.stacks]


def evolve(shares: int, _event: Event) -> int:
    return shares + 1


def decide_nothing(_command: Share, _shares: int) -> Sequence[Event]:
    return []


SHARE: Decider[Share, int] = Decider(initial=0, boundary=boundary, decide=decide, evolve=evolve)
NOTHING: Decider[Share, int] = Decider(initial=0, boundary=boundary, decide=decide_nothing, evolve=evolve)


class Log:
    """A log in memory, a handler over it, and somebody else who changes it."""

    def __init__(self, *fates: Fate) -> None:
        self.memory = InMemoryDCBRecorder()
        self.recorder = InterruptedRecorder(self.memory, *fates)
        self.pauses: list[float] = []
        self.handler = CommandHandler(
            self.recorder, (f"id-{number}" for number in count()).__next__, sleep=self.pauses.append
        )
        self.others = CommandHandler(self.memory, (f"other-{number}" for number in count()).__next__)

    def share(self, *stacks: str) -> None:
        self.others.handle(SHARE, Share(stacks or ("s",)), CONTEXT)

    @property
    def events(self) -> list[Recorded]:
        return [
            decode(StoredEvent(one.position, one.event.type, tuple(one.event.tags), one.event.data))
            for one in self.memory.read()
        ]

    @property
    def ids(self) -> list[str]:
        return [recorded.envelope.id for recorded in self.events]


def test_what_is_decided_is_appended_with_who_where_when_and_why() -> None:
    log = Log()
    handled = log.handler.handle(SHARE, Share(("a", "b")), CONTEXT)
    assert list(handled.events) == log.events
    assert handled.known == Known(2, 2)
    first, second = log.events
    assert (first.position, second.position) == (1, 2)
    assert (first.event, second.event) == (StackShared(stack_id="a"), StackShared(stack_id="b"))
    assert first.tags == ("actor:me", "host:here", "stack:a")
    envelope = first.envelope
    assert (envelope.id, envelope.time, envelope.actor, envelope.host) == ("id-0", 5, "me", "here")
    assert (envelope.reason, envelope.ticket) == ("because", "T-1")
    assert (envelope.correlation, envelope.causation) == ("command", "command")


def test_correlation_and_causation_of_the_context_are_kept() -> None:
    log = Log()
    context = Context("command", 5, "me", "here", correlation="run", causation="event")
    envelope = log.handler.handle(SHARE, Share(), context).events[0].envelope
    assert (envelope.correlation, envelope.causation) == ("run", "event")


def test_only_the_boundary_is_folded() -> None:
    log = Log()
    log.share("other")
    log.share("s")
    assert log.handler.handle(SHARE, Share(), CONTEXT).known == Known(2, 3)


def test_a_refusal_appends_nothing() -> None:
    log = Log()
    with pytest.raises(Refused):
        log.handler.handle(SHARE, Share(at_most=0), CONTEXT)
    assert log.events == []


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(("stack", "says"), [("\ud800", "surrogates not allowed"), (5, "given for stack_id.* string")])
def test_what_no_event_can_hold_is_refused(stack: str, says: str, dry_run: bool) -> None:  # noqa: FBT001
    log = Log()
    with pytest.raises(InvalidValue, match=says):
        log.handler.handle(SHARE, Share(("s", stack)), CONTEXT, dry_run=dry_run)
    assert log.events == []


def test_where_there_is_nothing_to_change_nothing_is_appended() -> None:
    log = Log()
    log.share()
    handled = log.handler.handle(NOTHING, Share(), CONTEXT)
    assert (handled.events, handled.known) == ((), Known(1, 1))
    assert len(log.events) == 1


def test_a_dry_run_appends_nothing_and_shows_what_would_be() -> None:
    log = Log()
    log.share()
    handled = log.handler.handle(SHARE, Share(("s", "t")), CONTEXT, dry_run=True)
    assert [(one.position, one.event) for one in handled.events] == [
        (0, StackShared(stack_id="s")),
        (0, StackShared(stack_id="t")),
    ]
    assert handled.known == Known(1, 1)
    assert len(log.events) == 1


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_decision_without_a_boundary_is_a_mistake_of_the_program(dry_run: bool) -> None:  # noqa: FBT001
    log = Log()
    with pytest.raises(ValueError, match="unconditional"):
        log.handler.handle(SHARE, Share(()), CONTEXT, dry_run=dry_run)
    assert log.recorder.reads == []


def test_a_conflict_is_decided_anew_on_what_is_there_now() -> None:
    log = Log()
    log.recorder.fates = [after(log.share), after(log.share)]
    handled = log.handler.handle(SHARE, Share(), CONTEXT)
    assert handled.known == Known(3, 3)
    assert log.ids == ["other-0", "other-1", "id-0"]
    assert log.recorder.reads == [0, 0, 1]  # each try reads only what came since


def test_a_conflict_may_turn_a_decision_into_a_refusal() -> None:
    log = Log()
    log.recorder.fates = [after(log.share)]
    with pytest.raises(Refused, match="1 times"):
        log.handler.handle(SHARE, Share(at_most=1), CONTEXT)
    assert log.ids == ["other-0"]


def test_changes_outside_the_boundary_are_no_conflict() -> None:
    log = Log()
    log.recorder.fates = [after(lambda: log.share("elsewhere"))]
    assert log.handler.handle(SHARE, Share(), CONTEXT).known == Known(1, 2)
    assert len(log.recorder.reads) == 1


def test_endless_conflicts_end_with_a_clear_error() -> None:
    log = Log()
    log.recorder.fates = [after(log.share)] * 100
    with pytest.raises(LogBusy, match=f"gave up after {MAX_TRIES} tries, and nothing was changed.*Try again"):
        log.handler.handle(SHARE, Share(), CONTEXT)
    assert "id-0" not in log.ids
    assert len(log.recorder.reads) == MAX_TRIES
    assert len(log.pauses) == MAX_TRIES - 1
    assert 0 < sum(log.pauses) < 10


def test_a_known_state_is_only_brought_up_to_date() -> None:
    log = Log()
    first = log.handler.handle(SHARE, Share(), CONTEXT)
    log.share()
    second = log.handler.handle(SHARE, Share(), CONTEXT, known=first.known)
    assert second.known == Known(3, 3)
    assert log.recorder.reads == [0, 1]


def test_a_known_state_that_is_the_newest_is_decided_on_without_a_look() -> None:
    log = Log()
    first = log.handler.handle(SHARE, Share(), CONTEXT)
    second = log.handler.handle(SHARE, Share(), CONTEXT, known=first.known)
    assert second.known == Known(2, 2)
    assert log.recorder.reads == [0]


def test_whoever_had_not_seen_the_last_change_is_told_and_nothing_is_changed() -> None:
    log = Log()
    log.share()
    log.share()
    handler = CommandHandler(
        log.recorder, lambda: "id", describe=lambda recorded: f"{recorded.envelope.actor} was here"
    )
    with pytest.raises(ChangedMeanwhile, match=r"me was here \(position 2\)") as caught:
        handler.handle(SHARE, Share(), CONTEXT, seen={item_of("s"): 1})
    assert "position 1" not in str(caught.value)
    assert len(log.events) == 2


def test_whoever_had_seen_the_last_change_may_go_on() -> None:
    log = Log()
    log.share()
    assert log.handler.handle(SHARE, Share(), CONTEXT, seen={item_of("s"): 1, item_of("t"): 0}).known == Known(2, 2)


def test_what_the_caller_looked_at_is_part_of_the_boundary() -> None:
    log = Log()
    log.share("t")
    seen = {item_of("t"): 1}
    log.recorder.fates = [after(lambda: log.share("t"))]
    with pytest.raises(ChangedMeanwhile, match=r"stack\.shared/1 \(position 2\)"):
        log.handler.handle(SHARE, Share(), CONTEXT, seen=seen)
    assert log.ids == ["other-0", "other-1"]


def test_a_change_that_comes_between_is_told_too() -> None:
    log = Log()
    log.recorder.fates = [after(log.share)]
    with pytest.raises(ChangedMeanwhile, match=r"stack\.shared/1 \(position 1\)"):
        log.handler.handle(SHARE, Share(), CONTEXT, seen={item_of("s"): 0})
    assert log.ids == ["other-0"]


def test_an_append_whose_answer_was_lost_is_found_and_not_doubled() -> None:
    log = Log(answer_lost)
    log.share()
    log.share("elsewhere")
    handled = log.handler.handle(SHARE, Share(("s", "t")), CONTEXT)
    assert log.ids == ["other-0", "other-1", "id-0", "id-1"]
    assert list(handled.events) == log.events[2:]
    assert handled.known == Known(3, 4)


def test_an_append_that_never_happened_is_made_again_under_the_same_ids() -> None:
    log = Log(never_done, never_done)
    handled = log.handler.handle(SHARE, Share(("s", "t")), CONTEXT)
    assert log.ids == ["id-0", "id-1"]
    assert list(handled.events) == log.events


def test_an_append_that_never_gets_an_answer_says_that_nobody_knows() -> None:
    log = Log(*[never_done] * 100)
    with pytest.raises(AppendUnknown, match="connection ended"):
        log.handler.handle(SHARE, Share(), CONTEXT)
    assert log.events == []


def test_a_log_that_cannot_be_read_after_a_lost_answer_leaves_it_unknown() -> None:
    log = Log()

    class Unreadable(InMemoryDCBRecorder):
        def read(
            self, query: DCBQuery | None = None, *, after: int | None = None, limit: int | None = None
        ) -> DCBReadResponse:
            raise LogError("The disk fails.")

    def lost(append: Callable[[], int]) -> int:
        append()
        log.recorder.inner = Unreadable()
        raise AppendUnknown("The connection ended.")

    log.recorder.fates = [lost]
    with pytest.raises(AppendUnknown, match="connection ended"):
        log.handler.handle(SHARE, Share(), CONTEXT)
    assert log.ids == ["id-0"]


def test_a_lost_answer_is_found_although_others_wrote_since() -> None:
    log = Log()

    def both(append: object) -> int:
        assert callable(append)
        append()
        log.share()
        log.share("elsewhere")
        raise AppendUnknown("The connection ended.")

    log.recorder.fates = [both]
    handled = log.handler.handle(SHARE, Share(at_most=1), CONTEXT)
    assert log.ids == ["id-0", "other-0", "other-1"]
    assert handled.events[0].position == 1
    assert handled.known == Known(1, 1)


def test_events_of_an_earlier_version_are_part_of_the_boundary() -> None:
    log = Log()
    log.share()
    old = log.events[0]
    log.memory.append([DCBEvent("stack.passed_round/1", encode(old.event, old.envelope), list(old.tags))])
    upcasters: Upcasters = {
        "stack.passed_round/1": ("stack.passed_round/2", lambda body: body),
        "stack.passed_round/2": (StackShared.TYPE, lambda body: body),
    }
    handled = log.handler._replace(upcasters=upcasters).handle(NOTHING, Share(), CONTEXT)
    assert handled.known == Known(2, 2)


def test_an_event_of_an_earlier_version_that_came_meanwhile_is_a_conflict() -> None:
    upcasters: Upcasters = {"stack.passed_round/1": (StackShared.TYPE, lambda body: body)}
    log = Log()
    log.share("elsewhere")
    other = log.events[0]

    def meanwhile(append: Callable[[], int]) -> int:
        log.memory.append([DCBEvent("stack.passed_round/1", encode(other.event, other.envelope), ["stack:s"])])
        return append()

    log.recorder.fates = [meanwhile]
    with pytest.raises(Refused, match="shared 1 times"):
        log.handler._replace(upcasters=upcasters).handle(SHARE, Share(at_most=1), CONTEXT)


def newer(stack: str = "s") -> DCBEvent:
    """Return an event as a newer program writes it: known by its tags alone."""
    return DCBEvent("stack.shared/2", b"whatever it is", ["actor:me", "host:here", stack_tag(stack)])


def test_an_event_of_a_newer_program_under_a_tag_of_the_boundary_stops_the_decision() -> None:
    log = Log()
    log.share()
    log.memory.append([newer()])
    with pytest.raises(LogTooNew, match=r"position 2 has the type 'stack\.shared/2'.*upgrade"):
        log.handler.handle(SHARE, Share(), CONTEXT)
    assert len(list(log.memory.read())) == 2


def test_an_event_of_a_newer_program_that_comes_before_the_append_stops_it() -> None:
    log = Log()

    def meanwhile(append: Callable[[], int]) -> int:
        log.memory.append([newer()])
        return append()

    log.recorder.fates = [meanwhile]
    with pytest.raises(LogTooNew, match="upgrade"):
        log.handler.handle(SHARE, Share(), CONTEXT)
    assert [one.event.type for one in log.memory.read()] == ["stack.shared/2"]


def test_an_event_of_a_newer_program_about_something_else_stops_nothing() -> None:
    log = Log()
    log.memory.append([newer("elsewhere")])
    assert log.handler.handle(SHARE, Share(), CONTEXT).known == Known(1, 2)


def test_an_event_of_a_newer_program_about_who_acts_stops_their_enrolment() -> None:
    class Newcomer(Nobody):
        def of(self, context: Context) -> Sequence[EnrollSubject]:
            return [EnrollSubject(subject_id=context.actor, kind="user", commitment="c")]

    log = Log()
    log.memory.append([DCBEvent("subject.erased/1", b"", ["subject:me"])])
    with pytest.raises(LogTooNew, match=r"subject\.erased/1"):
        log.handler._replace(newcomers=Newcomer()).handle(SHARE, Share(), CONTEXT)
    assert len(list(log.memory.read())) == 1


def test_an_event_of_a_known_type_that_the_boundary_does_not_name_is_not_folded() -> None:
    log = Log()
    log.share()
    renamed = StackRenamed(stack_id="s", name="new", previous_name="old", uses=())
    log.memory.append([DCBEvent(renamed.TYPE, encode(renamed, log.events[0].envelope), [stack_tag("s")])])
    assert log.handler.handle(NOTHING, Share(), CONTEXT).known == Known(1, 2)


# What was decided elsewhere


class Newcomer(Nobody):
    """Somebody who acts for the first time."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def of(self, context: Context) -> Sequence[EnrollSubject]:
        return [] if self.noted else [EnrollSubject(subject_id=context.actor, kind="user", commitment="c")]

    def enrolled(self, command: EnrollSubject) -> None:
        self.noted.append(command.subject_id)


def test_what_was_decided_elsewhere_is_recorded_with_contexts_of_its_own() -> None:
    log = Log()
    log.share()
    decided = [
        (StackShared(stack_id=stack), CONTEXT._replace(correlation=f"of {stack}", command_id="act")) for stack in "ab"
    ]
    recorded = log.handler.record(decided, (item_of("a"), item_of("b")), 1)
    assert list(recorded) == log.events[1:]
    assert [one.position for one in recorded] == [2, 3]
    assert [one.envelope.correlation for one in recorded] == ["of a", "of b"]
    assert {one.envelope.causation for one in recorded} == {"act"}


def test_what_was_decided_elsewhere_is_not_recorded_where_somebody_was_first() -> None:
    log = Log()
    log.share("a")
    with pytest.raises(IntegrityError):
        log.handler.record([(StackShared(stack_id="a"), CONTEXT)], (item_of("a"),), 0)
    log.handler.record([(StackShared(stack_id="b"), CONTEXT)], (item_of("b"),), 0)
    assert [one.event for one in log.events] == [StackShared(stack_id="a"), StackShared(stack_id="b")]


def test_whoever_records_for_the_first_time_is_enrolled_with_that_and_once() -> None:
    log, newcomer = Log(), Newcomer()
    handler = log.handler._replace(newcomers=newcomer)
    (first,) = handler.record([(StackShared(stack_id="a"), CONTEXT)], (item_of("a"),), 0)
    (second,) = handler.record([(StackShared(stack_id="b"), CONTEXT)], (item_of("b"),), 0)
    assert [one.event.TYPE for one in log.events] == ["subject.enrolled/1", "stack.shared/1", "stack.shared/1"]
    assert (first.position, second.position) == (2, 3)
    assert newcomer.noted == ["me"]


def test_what_was_recorded_without_an_answer_is_found_by_its_id() -> None:
    log, newcomer = Log(answer_lost), Newcomer()
    (recorded,) = log.handler._replace(newcomers=newcomer).record(
        [(StackShared(stack_id="a"), CONTEXT)], (item_of("a"),), 0
    )
    assert recorded == log.events[1]


def test_what_was_not_recorded_and_has_no_answer_stays_unknown() -> None:
    log = Log(never_done)
    with pytest.raises(AppendUnknown):
        log.handler.record([(StackShared(stack_id="a"), CONTEXT)], (item_of("a"),), 0)
    assert log.events == []
