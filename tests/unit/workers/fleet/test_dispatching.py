from __future__ import annotations

from stackledger.workers.fleet.protocol.dispatching import Dispatching
from stackledger.workers.fleet.protocol.known import Known, Waiting
from stackledger.workers.fleet.protocol.messages import Ref


class Broker:
    def __init__(self, known: Known) -> None:
        self.known = known
        self.sent: list[tuple[str, bool]] = []

    def publish(self, waiting: Waiting, copied: bool) -> int:  # noqa: FBT001 - as `Publish` has it
        self.sent.append((waiting.ref.step, copied))
        return len(self.sent)


def queued(known: Known, *steps: str) -> list[Waiting]:
    """Let steps wait, each in the queue that its name begins with."""
    waiting = []
    for step in steps:
        known.queued += 1
        ref = Ref(run_id="r", step=step, attempt=1, dispatch="d")
        known.waiting["r", step] = each = Waiting(known.queued, step[0], ref)
        waiting.append(each)
    return waiting


def test_a_queue_that_does_not_confirm_stops_no_other() -> None:
    known = Known("o")
    broker = Broker(known)
    dispatching = Dispatching(known, broker.publish, window=2)
    dispatching.add(queued(known, "a1", "a2", "a3", "b1", "b2", "b3"), copied=False)
    dispatching.pump()
    assert [step for step, _ in broker.sent] == ["a1", "a2", "b1", "b2"]
    dispatching.confirmed(3)
    dispatching.confirmed(4)
    dispatching.pump()
    assert [step for step, _ in broker.sent][4:] == ["b3"]
    assert dispatching.through() == 0
    assert dispatching.under_way() == {1, 2, 3, 6}


def test_what_was_not_confirmed_when_the_connection_went_is_sent_first_and_as_copies() -> None:
    known = Known("o")
    broker = Broker(known)
    dispatching = Dispatching(known, broker.publish, window=2)
    dispatching.add(queued(known, "a1", "a2", "a3"), copied=False)
    dispatching.pump()
    dispatching.confirmed(1)
    dispatching.interrupted()
    dispatching.pump()
    assert broker.sent == [("a1", False), ("a2", False), ("a2", True), ("a3", False)]
    assert dispatching.through() == 1


def test_what_nobody_waits_for_any_more_is_not_sent() -> None:
    known = Known("o")
    broker = Broker(known)
    dispatching = Dispatching(known, broker.publish, window=2)
    dispatching.add(queued(known, "a1", "a2"), copied=False)
    del known.waiting["r", "a1"]
    dispatching.pump()
    assert broker.sent == [("a2", False)]
