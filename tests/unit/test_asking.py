"""For how long one listens who asked which workers there are."""

from __future__ import annotations

import pytest

from stackledger.client import asking
from stackledger.projections.key_queries import KeyRow
from stackledger.workers.fleet.protocol.messages import Message, Present, Presiding, WhoIsThere, sealed
from tests.support.fleet.world import LOG, Pen, signed

QUESTION = WhoIsThere(reply="amq.gen-x")
PRESIDING = Presiding(host="h", pid=1, began=0, position=7)


class Listening:
    """Somebody who listens, and the time that passes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, consumers: int) -> None:
        self.now = 0.0
        monkeypatch.setattr(asking, "time", self)
        monkeypatch.setattr(asking, "verified", signed)
        roles = {"coordinator": "coordinator", "submitter": "submitter", "worker-1": "worker", "worker-2": "worker"}
        self.ear = asking._Ear(
            LOG, {name: KeyRow(name, name, role, name, (), "enrolled", "", 0, 0) for name, role in roles.items()}, None
        )
        self.ear.question = QUESTION
        self.ear.consumers = consumers

    def monotonic(self) -> float:
        return self.now

    def says(self, name: str, message: Message) -> None:
        self.ear.hear(sealed(message, Pen(name), LOG))

    def answers(self, name: str, slots: int) -> None:
        self.says(
            name,
            Present(host="h", pid=2, queue="default", slots=slots, began=0, stopping=False, executions=()),
        )

    @property
    def until(self) -> float:
        return self.now + self.ear.left()


def test_without_a_coordinator_one_waits_for_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = Listening(monkeypatch, consumers=2)
    listening.now = 1.0
    listening.answers("worker-1", 2)
    assert listening.until == pytest.approx(5.0)


def test_one_listens_no_longer_than_it_takes_all_slots_that_take_steps_to_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listening = Listening(monkeypatch, consumers=4)
    listening.says("coordinator", QUESTION)
    assert listening.until == pytest.approx(1.5)
    listening.says("coordinator", PRESIDING)
    listening.now = 0.1
    listening.answers("worker-1", 2)
    assert listening.until == pytest.approx(1.5)
    listening.now = 0.2
    listening.answers("worker-2", 2)
    assert listening.until == pytest.approx(0.5)
    listening.now = 0.6
    assert listening.ear.left() < 0


def test_where_nobody_takes_steps_one_waits_for_those_whose_steps_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = Listening(monkeypatch, consumers=0)
    listening.says("coordinator", QUESTION)
    listening.says("coordinator", PRESIDING)
    assert listening.until == pytest.approx(1.5)
    listening.now = 1.4
    listening.answers("worker-1", 1)
    assert listening.until == pytest.approx(1.5)
