"""Looking after a fleet: ending and watching its runs, its dead letters, and how it is, over a real broker."""

from __future__ import annotations

import hashlib
import os
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgpack
import pika
import pytest

from stackledger.client import DryRun
from stackledger.client.dead_letter_results import DeadLetter
from stackledger.client.fleet_results import FleetSeen
from stackledger.domain.errors import Ambiguous, InvalidValue, NotFound, Refused
from stackledger.domain.run_status import RunStatus
from stackledger.workers.fleet.broker.topology import CAME_FROM, WHY
from stackledger.workers.fleet.protocol.messages import Nudge, sealed
from stackledger.workers.fleet.protocol.ports import OUTCOMES, PARKED
from tests.support.eventually import eventually
from tests.support.fleet.local import URL, LocalFleet, local_fleet
from tests.support.rabbitmq import PASSWORD

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.timeout(240)]


@pytest.fixture
def fleet(tmp_path: Path, amqp_url: str) -> Iterator[LocalFleet]:
    with local_fleet(tmp_path, amqp_url, "--lease_after=1", "--heartbeat=3", "--slots=1") as fleet:
        done = fleet.command("stack", "up")
        assert done.status == 0, done.err
        yield fleet


def the_run(fleet: LocalFleet) -> Any:
    (run,) = fleet.client().list_pipeline_runs().items
    return run


def is_idle(fleet: LocalFleet) -> bool:
    workers = fleet.client().list_workers()
    return bool(workers) and all(worker.status == "idle" for worker in workers)


class Broker:
    """Whoever may write into the queues of a fleet."""

    def __init__(self, fleet: LocalFleet) -> None:
        found = fleet.client()._fleet(None)
        self.topology, self._parameters = found.topology, found.address.parameters()

    def put(self, data: bytes, queue: str = PARKED, **properties: Any) -> None:
        with closing(pika.BlockingConnection(self._parameters)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            name = self.topology.on_broker(queue)
            channel.basic_publish("", name, data, pika.BasicProperties(**properties), mandatory=True)

    def take(self, queue: str) -> bytes:
        with closing(pika.BlockingConnection(self._parameters)) as connection:
            channel = connection.channel()
            found: list[bytes] = []

            def has_come() -> bool:
                method, _, data = channel.basic_get(self.topology.on_broker(queue), auto_ack=True)
                found.extend([data] if method else [])
                return bool(found)

            eventually(has_come)
            return found[0]


class TestCancelling:
    def test_workers_stop_at_once_and_whoever_watches_is_told(self, tmp_path: Path, amqp_url: str) -> None:
        # So that no worker learns of it by asking.
        with local_fleet(tmp_path, amqp_url, "--lease_after=600") as fleet:
            assert fleet.command("stack", "up").status == 0
            self._cancels(fleet)

    def _cancels(self, fleet: LocalFleet) -> None:
        run = fleet.run("a")
        fleet.has_begun("a")
        name = the_run(fleet).name
        done = fleet.command("run", "cancel", name, "--reason", "wrong data")
        assert done.status == 0, done.err
        assert run.ended() == 1
        assert f"The run '{name}' was cancelled." in run.output
        eventually(lambda: is_idle(fleet))
        ended = fleet.client().describe_pipeline_run(name)
        assert (ended.status, ended.reason) == (RunStatus.STOPPED, "wrong data")
        assert [step.status for step in ended.steps] == ["stopped"]
        executes = Path(f"/proc/{fleet.began('a')[0]}")
        eventually(lambda: not executes.exists())

    def test_what_waits_for_a_worker_is_never_recorded(self, fleet: LocalFleet) -> None:
        run = fleet.run("a", "b")
        fleet.has_begun("a")
        fleet.client().cancel_run(the_run(fleet).id)
        assert run.ended() == 1
        fleet.go("a", "b")
        eventually(lambda: is_idle(fleet))
        types = fleet.client()._ledger.reader.counts_by_type()
        assert not {"step.succeeded/2", "step.failed/2"} & types.keys()

    def test_who_coordinates_for_itself_tells_the_workers_before_it_leaves(self, fleet: LocalFleet) -> None:
        os.kill(fleet.pid("coordinator"), signal.SIGKILL)
        run = fleet.run("a")
        fleet.has_begun("a")
        fleet.client().cancel_run(the_run(fleet).id)
        assert run.ended() == 1
        eventually(lambda: not Path(f"/proc/{fleet.began('a')[0]}").exists())


class TestResuming:
    def test_a_run_is_watched_again_to_its_end(self, fleet: LocalFleet) -> None:
        first = fleet.run("a")
        fleet.has_begun("a")
        first.signal(signal.SIGINT)
        first.ended()
        name = the_run(fleet).name
        again = fleet.begun("run", "resume", name, "--output", "json")
        again.says("Step wait was claimed")
        again.signal(signal.SIGINT)
        assert again.ended() == 130
        assert "goes on without this process" in again.output
        last = fleet.begun("pipeline", "runs", "resume", name)
        last.says("Step wait was claimed")
        fleet.go("a")
        assert last.ended() == 0, last.output
        assert f"Run '{name}' has completed." in last.output
        assert fleet.command("run", "resume", name).status == 1

    def test_it_is_coordinated_where_nobody_else_does(self, fleet: LocalFleet) -> None:
        first = fleet.run("a")
        fleet.has_begun("a")
        for process in (first.process.pid, fleet.pid("coordinator")):
            os.kill(process, signal.SIGKILL)
        first.ended()
        fleet.go("a")
        last = fleet.begun("run", "resume", the_run(fleet).name)
        assert last.ended() == 0, last.output


class TestDeadLetters:
    def test_what_nobody_can_read_is_parked_with_its_reason(self, fleet: LocalFleet) -> None:
        broker, client = Broker(fleet), fleet.client()
        broker.put(b"for the coordinator", OUTCOMES)
        broker.put(b"for workers", "default")
        eventually(lambda: len(client.list_dead_letters()) == 2)
        found = {letter.came_from: letter for letter in client.list_dead_letters()}
        assert found.keys() == {"default", OUTCOMES}
        assert {letter.reason for letter in found.values()} == {"It is not msgpack."}
        assert all(letter.parked and (letter.kind, letter.key) == (None, None) for letter in found.values())

    def test_looking_at_them_takes_none_away(self, fleet: LocalFleet) -> None:
        broker, client = Broker(fleet), fleet.client()
        for data in (b"one", b"two", b"two"):
            broker.put(data)
        looked = [client.list_dead_letters() for _ in range(25)]
        assert all(sorted(letter.copies for letter in each) == [1, 2] for each in looked)
        assert client.get_dead_letter(looked[0][0].id).letter == looked[0][0]
        assert len(client.list_dead_letters()) == 2

    def test_hostile_bytes_harm_nobody(self, fleet: LocalFleet) -> None:
        broker, client = Broker(fleet), fleet.client()
        body = {"kind": "outcome\x1b[31m", "ref": {"run_id": "r" * 500, "step": ["s"], "attempt": True}}
        hostile = [
            b"",
            b"\x1b[2J\x07",
            os.urandom(200_000),
            *(
                msgpack.packb([1, "key\x1b[31m", each, b""])
                for each in (
                    msgpack.packb(body),
                    msgpack.packb({b"\xff": [float("nan"), b"\x00", msgpack.Timestamp(1, 2)], 5: None}),
                    msgpack.packb([]),
                    b"\x91" * 900 + b"\xc0",
                    b"\x91" * 60_000,
                    b"\x81\x90\xc0",  # a map whose key is a list
                    msgpack.packb({"task": {"ref": 5}, "claim": [], "kind": 7}),
                )
            ),
        ]
        for data in hostile:
            broker.put(data, headers={WHY: "\x1b[2J\u202e", CAME_FROM: 5}, timestamp=2**62)
        for arguments in (
            ("list",),
            ("list", "--output", "json"),
            *(("show", i.id) for i in client.list_dead_letters()),
        ):
            for output in ("table", "json"):
                done = fleet.command("dead-letter", *arguments, "--output", output)
                assert done.status == 0, done.err
                assert not {"\x1b", "\x07", "\u202e"} & set(done.out + done.err)
        assert len(client.list_dead_letters()) == len(hostile)

    def test_headers_that_stand_for_no_value_stop_nobody(
        self, fleet: LocalFleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Encoded(bytes):
            """A value as it goes over the wire."""

        known: Callable[[list[bytes], Any], int] = pika.data.encode_value

        def encode(pieces: list[bytes], value: Any) -> int:
            if not isinstance(value, Encoded):
                return known(pieces, value)
            pieces.append(value)
            return len(value)

        deep = b"t\x01"
        for _ in range(5_000):
            deep = b"A" + struct.pack(">I", len(deep)) + deep
        broker = Broker(fleet)
        with monkeypatch.context() as patched:
            patched.setattr(pika.data, "encode_value", encode)
            for queue in (PARKED, OUTCOMES, "default"):
                for value in (b"T" + struct.pack(">Q", 2**62), deep):
                    broker.put(f"{queue} {len(value)}".encode(), queue, headers={"h": Encoded(value)})
        eventually(lambda: len(fleet.client().list_dead_letters()) == 6)
        run = fleet.run("a")
        fleet.go("a")
        assert run.ended() == 0, run.output

    def test_a_dispatch_is_tried_again_as_another_attempt(self, fleet: LocalFleet) -> None:
        client = fleet.client()
        run, letter = parked_dispatch(fleet)
        assert (letter.run, letter.step, letter.attempt) == (the_run(fleet).name, "wait", 1)
        assert (letter.kind, letter.reason) == ("dispatch", "Whoever parked it did not say why.")
        with pytest.raises(DryRun) as dry:
            fleet.client(dry_run=True).requeue_dead_letter(letter.id)
        assert [event["type"] for event in dry.value.events] == ["step.lost"]
        done = fleet.command("dead-letter", "requeue", letter.id[:8], "--reason", "it was parked")
        assert done.status == 0, done.err
        assert not client.list_dead_letters()
        assert fleet.command("stack", "up").status == 0
        fleet.go("a")
        assert run.ended() == 0, run.output
        (step,) = client.list_run_steps(letter.run_id or "")
        assert (step.status, step.attempt) == ("completed", 2)

    def test_one_whose_attempt_was_done_meanwhile_is_refused_and_stays(self, fleet: LocalFleet) -> None:
        client, broker = fleet.client(), Broker(fleet)
        run, letter = parked_dispatch(fleet)
        data = bytes.fromhex(client.get_dead_letter(letter.id).bytes)
        broker.put(data, "default")
        fleet.go("a")
        assert fleet.command("stack", "up").status == 0
        assert run.ended() == 0, run.output
        with pytest.raises(Refused, match="has completed"):
            client.requeue_dead_letter(letter.id)
        assert client.list_dead_letters() == [letter]

    def test_nothing_but_a_dispatch_of_a_coordinator_is_tried_again(self, fleet: LocalFleet) -> None:
        client, broker = fleet.client(), Broker(fleet)
        _, letter = parked_dispatch(fleet)
        protocol, key, body, signature = msgpack.unpackb(bytes.fromhex(client.get_dead_letter(letter.id).bytes))
        client.discard_all_dead_letters()
        forged = [[protocol, key, body + b"\xc0", signature], [protocol, "0" * 32, body, signature]]
        signer = client._own_key("submitter")
        assert signer is not None
        for data in (b"nothing", *map(msgpack.packb, forged)):
            broker.put(data)
        broker.put(sealed(Nudge(run_id=letter.run_id or ""), signer, broker.topology.log))
        letters = client.list_dead_letters()
        assert len(letters) == 4
        for each in letters:
            with pytest.raises(Refused, match=r"no dispatch|Nobody knows"):
                client.requeue_dead_letter(each.id)
        assert client.list_dead_letters() == letters

    def test_those_that_are_discarded_are_gone_for_good(self, fleet: LocalFleet) -> None:
        client, broker = fleet.client(), Broker(fleet)
        for number in range(5):
            broker.put(b"%d" % number)
        ids = [letter.id for letter in client.list_dead_letters()]
        assert fleet.command("dead-letter", "discard", ids[0]).status == 1, "nobody said yes"
        assert fleet.command("dead-letter", "discard", "--yes").status == 2
        done = fleet.command("dead-letter", "discard", ids[0], ids[1][:16], "--yes")
        assert (done.status, "Removed 2 messages." in done.err) == (0, True), done.err
        with pytest.raises(NotFound, match="no dead letter"):
            client.discard_dead_letters([ids[2], ids[0]])
        assert {letter.id for letter in client.list_dead_letters()} == set(ids[2:]), "one of two is none"
        for wrong in ("", "abc", "xyz0", "../../etc", "\x1b[31m"):
            with pytest.raises(InvalidValue, match="is not the id"):
                client.get_dead_letter(wrong)
        assert client.discard_all_dead_letters() == 3
        assert client.list_dead_letters() == []

    def test_an_id_that_two_begin_with_is_not_enough(self, fleet: LocalFleet) -> None:
        client, broker = fleet.client(), Broker(fleet)
        first: dict[str, bytes] = {}
        for number in range(10**6):
            data = b"%d" % number
            beginning = hashlib.sha256(data).hexdigest()[:4]
            if beginning in first:
                break
            first[beginning] = data
        for each in (data, first[beginning]):
            broker.put(each)
        with pytest.raises(Ambiguous, match="More than one dead letter"):
            client.discard_dead_letters([beginning])
        assert len(client.list_dead_letters()) == 2


def parked_dispatch(fleet: LocalFleet) -> tuple[Any, DeadLetter]:
    """Have the dispatch of a step parked that no worker has seen; return who watches the run, and the letter."""
    fleet.command("worker", "stop", "--all")
    broker, run = Broker(fleet), fleet.run("a")
    run.says("waits for a worker")
    broker.put(broker.take("default"))
    (letter,) = fleet.client().list_dead_letters()
    return run, letter


def waiting(fleet: LocalFleet) -> dict[str, int | None]:
    seen = fleet.client().fleet_status()
    assert seen is not None
    return {queue.name: queue.waiting for queue in seen.queues}


def lag(fleet: LocalFleet) -> int | None:
    seen = fleet.client().fleet_status()
    assert seen is not None
    return None if seen.coordinator is None else seen.coordinator.lag


def complete(fleet: LocalFleet) -> FleetSeen | None:
    """Return what is seen where all have answered: who is very busy may do so too late."""
    seen = fleet.client().fleet_status()
    return seen if seen is not None and seen.coordinator is not None and seen.workers else None


class TestStatus:
    def test_a_fleet_is_seen_at_a_glance(self, fleet: LocalFleet) -> None:
        run = fleet.run("a", "b")
        fleet.has_begun("a")
        Broker(fleet).put(b"nothing")
        # The broker counts now and then only; a probe of the coordinator may be among what waits.
        eventually(lambda: waiting(fleet) in [{"default": more, OUTCOMES: 0, PARKED: 1} for more in (1, 2)])
        # The coordinator is told of what its worker's outcome appended as others are.
        eventually(lambda: lag(fleet) == 0)
        seen = eventually(lambda: complete(fleet))
        assert (seen.orchestrator, seen.runs, seen.trouble) == ("fleet", 1, None)
        assert (seen.broker or "").startswith("RabbitMQ ")
        assert seen.coordinator is not None
        assert seen.coordinator.pid == fleet.pid("coordinator")
        assert [worker.status for worker in seen.workers] == ["working"]
        texts = ("RabbitMQ ", " waiting", "up to date", "1 of 1 slot of the queue default in use")
        eventually(lambda: all(text in fleet.command("status").out for text in texts))
        assert fleet.command("status", "--output", "json").json["fleet"]["runs"] == 1
        fleet.go("a", "b")
        assert run.ended() == 0, run.output

    def test_what_is_away_is_a_line_and_no_failure(self, fleet: LocalFleet) -> None:
        assert fleet.command("stack", "down").status == 0
        seen = fleet.client().fleet_status()
        assert seen is not None
        assert (seen.coordinator, seen.workers, seen.trouble) == (None, [], None)
        away = {URL: f"amqp://me:{PASSWORD}@127.0.0.1:1/%2F"}
        done = fleet.command("status", env=away)
        assert (done.status, "away" in done.out, "cannot be reached" in done.out) == (0, True, True)
        assert PASSWORD not in done.out + done.err
        assert fleet.command("status", env={URL: "nonsense"}).status == 0
        assert fleet.command("dead-letter", "list", env=away).status == 1

    def test_before_anything_was_started_it_says_so(self, tmp_path: Path, amqp_url: str) -> None:
        with local_fleet(tmp_path, amqp_url) as fleet:
            seen = fleet.client().fleet_status()
            assert seen is not None
            assert {queue.waiting for queue in seen.queues} == {None}
            assert "not there yet" in fleet.command("status").out
            assert fleet.client().list_dead_letters() == []
