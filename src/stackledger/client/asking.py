"""Asking the workers of a fleet who is there, and hearing who answers; heavy, so imported where somebody asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from stackledger.projections.key_queries import KeyRow
from stackledger.workers.fleet.broker.address import BrokerAddress
from stackledger.workers.fleet.broker.topology import Topology
from stackledger.workers.fleet.broker.visiting import visiting
from stackledger.workers.fleet.protocol.messages import (
    MessageRefused,
    Present,
    Presiding,
    Role,
    Signer,
    WhoIsThere,
    opened,
    sealed,
)
from stackledger.workers.fleet.trust.ed25519 import verified

_FOR_A_COORDINATOR, _FOR_WORKERS = 5.0, 1.5
"""For how many seconds one listens whether a coordinator is there, and then for workers."""
_FOR_SOME = 0.3
"""For how many seconds one listens for workers who knows which ones, and asks again if they are not there yet; and for
more, once as many slots answered as take steps."""


class Answer(NamedTuple):
    """A worker's answer, and the name of its key."""

    key: str
    said: Present


class Presides(NamedTuple):
    """The active coordinator's answer, and the name of its key."""

    key: str
    said: Presiding


class Heard(NamedTuple):
    """Who answered, and whether a coordinator is there, who says the question on."""

    answers: list[Answer]
    coordinator: bool
    presides: Presides | None = None


def who_is_there(
    address: BrokerAddress,
    topology: Topology,
    signer: Signer,
    keys: Collection[KeyRow],
    enough: Callable[[list[Answer]], bool] | None = None,
) -> Heard:
    """Ask, and hear the answers of those whose keys these are; for a second or two, or until enough or all did."""
    ear = _Ear(topology.log, {key.id: key for key in keys}, enough)

    def question(reply: str) -> bytes:
        ear.question = WhoIsThere(reply=reply)
        return sealed(ear.question, signer, topology.log)

    with visiting(address) as visit:
        if enough is None:
            found = (visit.found(topology.on_broker(queue)) for queue in topology.queues)
            ear.consumers = sum(each.consumers for each in found if each is not None)
        visit.ask(topology, question, ear.hear, ear.left)
    return Heard(
        sorted(ear.answers.values(), key=lambda each: (each.key, each.said.host, each.said.pid)),
        ear.spoke,
        ear.presides,
    )


class _Ear:
    """Hears what is said to all, and to whoever asked; also a Verifier, of the keys that count in the log.

    `consumers` are the slots that take steps: one for each but those whose step takes long.
    """

    def __init__(self, log: str, keys: Mapping[str, KeyRow], enough: Callable[[list[Answer]], bool] | None) -> None:
        self._log = log
        self._keys = keys
        self._enough = enough
        self._until = time.monotonic() + _FOR_A_COORDINATOR
        self._heard = time.monotonic()
        self.consumers = 0
        self.question: WhoIsThere | None = None
        self.answers: dict[tuple[str, str, int], Answer] = {}
        self.spoke = False
        self.presides: Presides | None = None

    def role(self, key_id: str) -> Role | None:
        """Return what a key was enrolled for."""
        return self._keys[key_id].role if key_id in self._keys else None  # type: ignore[return-value]  # as enrolled

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        """Say whether the key made the signature."""
        return verified(self._keys[key_id].public, signature, data)

    def hear(self, data: bytes) -> None:
        """Take note of a message; what anybody else put there is passed over."""
        try:
            message, key_id = opened(data, self, self._log)
        except MessageRefused:
            return
        if message == self.question and not self.spoke:
            self.spoke = True
            self._until = time.monotonic() + (_FOR_WORKERS if self._enough is None else _FOR_SOME)
        elif isinstance(message, Presiding):
            self.presides = Presides(self._keys[key_id].name, message)
        elif isinstance(message, Present):
            self.answers[key_id, message.host, message.pid] = Answer(self._keys[key_id].name, message)
            self._heard = time.monotonic()

    def left(self) -> float:
        """Return for how many seconds to go on listening."""
        answers, now = list(self.answers.values()), time.monotonic()
        if self._enough is not None:
            return 0.0 if self._enough(answers) else self._until - now
        slots = sum(answer.said.slots for answer in answers)
        has_all = self.presides is not None and slots >= max(1, self.consumers)
        return min(self._until, self._heard + _FOR_SOME) - now if has_all else self._until - now
