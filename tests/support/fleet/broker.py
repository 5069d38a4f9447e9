"""A broker as RabbitMQ is one: quorum queues, confirms, redelivery, a delivery limit, dead letters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED, Arrived, Tag
from tests.support.fleet.network import Pipe, Process, Timeline

LIMIT = 20


@dataclass
class Stored:
    data: bytes
    deliveries: int = 0
    dead: bool = False


@dataclass
class Consumer:
    session: Session
    slot: int
    prefetch: int
    unacknowledged: int = 0


@dataclass
class Queue:
    name: str
    ready: deque[Stored] = field(default_factory=deque)
    consumers: list[Consumer] = field(default_factory=list)


class SimulatedBroker:
    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.queues: dict[str, Queue] = {}
        self.sessions: list[Session] = []
        self.numbers = count(1)
        self.lossy_control = 0.0
        self.unheard: Callable[[bytes], bool] = lambda _: False
        """Which messages to all workers get lost in any case."""
        self.announced: list[bytes] = []
        self.held_for = 0.0
        """For how many seconds a delivery waited to be acknowledged at most."""
        self.history: list[tuple[str, bytes]] = []
        self.declare((OUTCOMES, PARKED))

    def declare(self, queues: Sequence[str]) -> None:
        for name in queues:
            self.queues.setdefault(name, Queue(name))

    def delete(self, name: str) -> None:
        """Delete a queue with everything in it, as an administrator may."""
        queue = self.queues.pop(name, None)
        for consumer in queue.consumers if queue else ():
            consumer.session.cut()

    def purge(self, name: str) -> None:
        if name in self.queues:
            self.queues[name].ready.clear()

    def restart(self) -> None:
        for session in list(self.sessions):
            session.cut()

    def put(self, name: str, stored: Stored) -> bool:
        queue = self.queues.get(name)
        if queue is None:
            return False
        queue.ready.append(stored)
        self.serve(queue)
        return True

    def put_back(self, name: str, stored: Stored) -> None:
        queue = self.queues.get(name)
        if queue is None:
            return
        if stored.deliveries > LIMIT and name not in (OUTCOMES, PARKED):
            self.put(OUTCOMES, Stored(stored.data, dead=True))
            return
        queue.ready.appendleft(stored)
        self.serve(queue)

    def serve(self, queue: Queue) -> None:
        while queue.ready:
            free = [each for each in queue.consumers if each.unacknowledged < each.prefetch]
            if not free:
                return
            consumer = self.timeline.random.choice(free)
            stored = queue.ready.popleft()
            stored.deliveries += 1
            consumer.unacknowledged += 1
            consumer.session.deliver(queue, consumer, stored)

    def broadcast(self, data: bytes) -> None:
        self.announced.append(data)
        if self.unheard(data):
            return
        for session in self.sessions:
            if session.told is not None and self.timeline.random.random() >= self.lossy_control:
                session.to_client(lambda told=session.told: told(data))  # type: ignore[misc]

    def is_quiet(self) -> bool:
        return not any(session.unacknowledged for session in self.sessions) and not any(
            queue.ready for name, queue in self.queues.items() if name != PARKED
        )


class Session:
    """A connection of one process. What the client is told comes through one pipe, in order."""

    def __init__(
        self,
        broker: SimulatedBroker,
        process: Process,
        *,
        arrived: Callable[[int, Arrived], None],
        confirmed: Callable[[int], None],
        returned: Callable[[int, str], None],
        cancelled: Callable[[int], None],
        disconnected: Callable[[], None],
        told: Callable[[bytes], None] | None = None,
    ) -> None:
        self.broker = broker
        self.process = process
        self.number = next(broker.numbers)
        self.open = True
        self.told = told
        self._arrived, self._confirmed, self._returned = arrived, confirmed, returned
        self._cancelled, self._disconnected = cancelled, disconnected
        self._up, self._down = Pipe(broker.timeline), Pipe(broker.timeline)
        self._tags = count(1)
        self.unacknowledged: dict[Tag, tuple[Queue, Consumer, Stored]] = {}
        self._since: dict[Tag, float] = {}
        broker.sessions.append(self)
        process.on_death.append(self._client_died)

    # The client's calls

    def publish(self, queue: str, data: bytes, token: int) -> None:
        self.process.calls()
        self.to_broker(lambda: self._publish(queue, data, token))

    def broadcast(self, data: bytes) -> None:
        self.process.calls()
        self.to_broker(lambda: self.broker.broadcast(data))

    def acknowledge(self, tag: Tag) -> None:
        self.process.calls()
        self.to_broker(lambda: self._settle(tag, back=False))

    def give_back(self, tag: Tag) -> None:
        self.process.calls()
        self.to_broker(lambda: self._settle(tag, back=True))

    def declare(self, queues: Sequence[str]) -> None:
        self.process.calls()
        if self.open:
            self.broker.declare(queues)

    def consume(self, slot: int) -> None:
        self.process.calls()
        self.to_broker(lambda: self._consume("default", slot, 1))

    def consume_outcomes(self) -> None:
        self.to_broker(lambda: self._consume(OUTCOMES, 0, 50))

    def cancel(self, slot: int) -> None:
        self.process.calls()
        self.to_broker(lambda: self._cancel(slot))

    def close(self) -> None:
        self.process.calls()
        self.cut()

    # Both directions

    def to_broker(self, act: Callable[[], None]) -> None:
        if self.open:
            self._up.send(act)

    def to_client(self, act: Callable[[], None]) -> None:
        if self.open:
            self._down.send(lambda: self.process.act(act))

    def cut(self) -> None:
        """End the connection: the broker takes back what was not acknowledged, the client hears of it."""
        if not self.open:
            return
        self._end()
        self.broker.timeline.after(self.broker.timeline.random.random(), lambda: self.process.act(self._disconnected))

    def _client_died(self) -> None:
        if self.open:
            # What it had sent is still on its way, and the broker notices the death later.
            self.broker.timeline.after(self.broker.timeline.random.random() * 0.2, self._end)

    def _end(self) -> None:
        if not self.open:
            return
        self.open = False
        self._up.cut()
        self._down.cut()
        self.broker.sessions.remove(self)
        for queue in self.broker.queues.values():
            queue.consumers = [each for each in queue.consumers if each.session is not self]
        held, self.unacknowledged = self.unacknowledged, {}
        for queue, _, stored in reversed(held.values()):
            self.broker.put_back(queue.name, stored)

    # The broker's side

    def deliver(self, queue: Queue, consumer: Consumer, stored: Stored) -> None:
        tag = Tag(self.number, next(self._tags))
        self.unacknowledged[tag] = (queue, consumer, stored)
        self._since[tag] = self.broker.timeline.now
        arrived = Arrived(tag, stored.data, redelivered=stored.deliveries > 1, dead=stored.dead)
        self.to_client(lambda: self._arrived(consumer.slot, arrived))

    def _publish(self, queue: str, data: bytes, token: int) -> None:
        self.broker.history.append((queue, data))
        if self.broker.put(queue, Stored(data)):
            self.to_client(lambda: self._confirmed(token))
        else:
            self.to_client(lambda: self._returned(token, queue))

    def _settle(self, tag: Tag, *, back: bool) -> None:
        assert tag in self.unacknowledged, "a tag was settled twice: the broker would close the channel"
        queue, consumer, stored = self.unacknowledged.pop(tag)
        self.broker.held_for = max(self.broker.held_for, self.broker.timeline.now - self._since[tag])
        consumer.unacknowledged -= 1
        if back:
            self.broker.put_back(queue.name, stored)
        self.broker.serve(queue)

    def _consume(self, queue: str, slot: int, prefetch: int) -> None:
        if queue not in self.broker.queues:
            self.cut()
            return
        there = self.broker.queues[queue]
        there.consumers.append(Consumer(self, slot, prefetch))
        self.broker.serve(there)

    def _cancel(self, slot: int) -> None:
        for queue in self.broker.queues.values():
            queue.consumers = [each for each in queue.consumers if each.session is not self or each.slot != slot]
        self.to_client(lambda: self._cancelled(slot))
