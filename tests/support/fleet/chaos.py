"""A fleet of processes that people go on using while its parts are killed, frozen and cut off at random.

Everything is as a user has it: the command line, a project that calls its pipeline, a broker and a log of their own.
Whoever wants to know how it went reads the log, the store, the broker, and the file into which each execution of a
step writes a line, outside of all of them.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import IO
from urllib.parse import urlsplit

from stackledger.workers.fleet.local_processes import end
from tests.support.any_log import Where
from tests.support.eventually import eventually
from tests.support.fleet.local import URL, LocalFleet, local_fleet
from tests.support.postgres import Databases, PrivateServer, log_for, private_server
from tests.support.proxy import Proxy, proxy_to
from tests.support.rabbitmq import PrivateNode, private_node
from tests.support.services import end_with_parent

STEPS = ("first", "second", "third")
LAST = 3
"""How many runs each of those who use the fleet begins after the last fault: all of them succeed."""

_PROJECT = """
import os, sys, time, traceback
from pathlib import Path
from stackledger import pipeline, step
from stackledger.domain.errors import StackledgerError

def write(folder: str, file: str, line: str) -> None:
    descriptor = os.open(Path(folder) / file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{line}\\n".encode())
    os.close(descriptor)

@step
def first(folder: str, key: str, seconds: float) -> str:
    write(folder, "executed", f"{key} first")
    time.sleep(seconds)
    return f"{key} first"

@step
def second(folder: str, key: str, before: str, seconds: float) -> str:
    write(folder, "executed", f"{key} second")
    time.sleep(seconds)
    return f"{before} second"

@step
def third(folder: str, key: str, before: str, seconds: float) -> str:
    write(folder, "executed", f"{key} third")
    time.sleep(seconds)
    return f"{before} third"

@pipeline
def chain(folder: str, key: str, seconds: float) -> None:
    third(folder, key, second(folder, key, first(folder, key, seconds), 0.0), seconds / 2)

def begin(folder: str, key: str, seconds: float) -> bool:
    write(folder, "asked", key)
    try:
        chain(folder=folder, key=key, seconds=seconds)
    except StackledgerError as error:
        print(key, type(error).__name__, error, flush=True)
        return False
    write(folder, "done", key)
    return True

if __name__ == "__main__":
    folder, name, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
    number = 0
    while not (Path(folder) / "enough").exists():
        number += 1
        # Every seventh has steps that are claimed.
        if not begin(folder, f"{name}-{number}", 2.5 if number % 7 == 0 else 0.0):
            time.sleep(1)
    for number in range(last):
        if not begin(folder, f"{name}-last-{number}", 0.0):
            sys.exit(3)
"""


class Member:
    """A process of the fleet, with a way to the broker, and one to a log on a server, that can be cut."""

    def __init__(self, kind: str, number: int, folder: Path, ways: Mapping[str, Proxy], begin: Begin) -> None:
        self.name = f"{kind}-{number}"
        self.kind = kind
        self.ways = ways
        self.is_ill = False
        """Whether something was done to it that is not over."""
        self.lives = 0
        self.log = folder / f"{self.name}.log"
        self._written = 0
        self._begin = begin
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.lives += 1
        with self.log.open("ab") as output:
            self._written = output.tell()
            self.process = self._begin(self, output)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
            self.process = None

    def gave_up(self) -> bool:
        """Say whether it is not there although nobody ended it."""
        return self.process is not None and not self.is_ill and self.process.poll() is not None

    def has_come_up(self) -> bool:
        """Say whether it has said anything in this life. Before that a signal finds Python alone."""
        return self.log.stat().st_size > self._written

    def last_words(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-3_000:]

    def family(self) -> list[int]:
        """Return the processes below it."""
        found = [] if self.process is None else [self.process.pid]
        for each in found:
            with suppress(OSError):
                found += map(int, Path(f"/proc/{each}/task/{each}/children").read_text("ascii").split())
        return found[1:]


Begin = Callable[[Member, IO[bytes]], "subprocess.Popen[bytes]"]


class Chaos:
    """Does something to somebody now and then, and makes up for it later. What it does follows from its seed."""

    def __init__(
        self,
        fleet: LocalFleet,
        node: PrivateNode,
        server: PrivateServer | None,
        where: Where,
        *,
        seed: int,
        pauses: tuple[float, float],
        longest: float,
    ) -> None:
        self.fleet = fleet
        self.node = node
        self.server = server
        self.where = where
        self.members: list[Member] = []
        self.done: Counter[str] = Counter()
        self._random = Random(seed)
        self._pauses = pauses
        self._longest = longest
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._broker_ill = self._server_ill = False
        self._threads = ThreadPoolExecutor(1, "broker")
        self._beside: list[Future[None]] = []

    def lines(self, file: str) -> list[str]:
        """Return what steps and users have written into a file outside of the fleet."""
        path = self.fleet.signs / file
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def go_on(self, enough: Callable[[], bool]) -> None:
        """Do harm until it is enough, and make up for all of it."""
        due = time.monotonic() + self._random.uniform(*self._pauses)
        while not enough():
            self._make_up(time.monotonic())
            self._supervise()
            if time.monotonic() >= due:
                self._do_harm()
                due = time.monotonic() + self._random.uniform(*self._pauses)
            time.sleep(0.05)
        self._make_up(float("inf"))
        for each in self._beside:
            each.result()
        self._supervise()

    def come_to_rest(self, within: float) -> None:
        """Let those who use the fleet begin their last runs, and wait until all of them have ended."""
        (self.fleet.signs / "enough").touch()
        deadline = time.monotonic() + within
        for each in self._of("user"):
            assert each.process is not None
            left = max(0.0, deadline - time.monotonic())
            status = each.process.wait(left)
            assert status == 0, each.last_words()
            each.process = None

    def _supervise(self) -> None:
        """Start those again that gave up with a word to people, as whatever keeps services running does."""
        for each in self.members:
            if each.gave_up():
                assert each.process is not None
                words = each.last_words()
                assert each.process.returncode == 1, f"{each.name} ended with {each.process.returncode}: {words}"
                assert "Traceback" not in words, words
                self.done[f"{each.kind} gave up"] += 1
                each.start()

    def stop(self) -> None:
        """End everybody in order, and see that they do."""
        for each in self.members:
            eventually(lambda each=each: each.process is None or each.has_come_up())  # type: ignore[misc]
        for each in self.members:
            if each.process is not None:
                each.signal(signal.SIGTERM)
        for each in self.members:
            if each.process is not None:
                status = each.process.wait(120)
                assert status == 0, f"{each.name} ended with {status}: {each.last_words()}"
                each.process = None

    # Harm

    def _do_harm(self) -> None:
        harms: list[tuple[int, Callable[[], str | None]]] = [
            (4, self._kill_worker),
            (2, self._freeze_worker),
            (2, self._end_worker),
            (3, self._kill_child),
            (4, self._kill_coordinator),
            (2, self._freeze_coordinator),
            (2, self._kill_user),
            (3, self._cut),
            (2, self._swallow),
            (2, self._kill_broker),
            (1, self._restart_broker),
            (3 if self.server else 0, self._crash_server),
        ]
        weights = [weight for weight, _ in harms]
        (chosen,) = self._random.choices([harm for _, harm in harms], weights)
        what = chosen()
        if what is not None:
            self.done[what] += 1

    def _kill_worker(self) -> str | None:
        return self._killed("worker")

    def _kill_coordinator(self) -> str | None:
        return self._killed("coordinator")

    def _kill_user(self) -> str | None:
        return self._killed("user")

    def _killed(self, kind: str) -> str | None:
        victim = self._healthy(kind)
        if victim is None:
            return None
        victim.is_ill = True
        victim.kill()
        self._in(self._random.uniform(0, 3), lambda: self._replaced(victim))
        return f"{kind} killed"

    def _end_worker(self) -> str | None:
        victim = self._healthy("worker")
        if victim is None or not victim.has_come_up():
            return None
        victim.is_ill = True
        victim.signal(signal.SIGTERM)

        def replace() -> None:
            assert victim.process is not None
            status = victim.process.wait(120)
            assert status == 0, f"{victim.name} ended with {status}: {victim.last_words()}"
            self._replaced(victim)

        self._in(self._random.uniform(1, 4), replace)
        return "worker ended"

    def _replaced(self, victim: Member) -> None:
        victim.start()
        victim.is_ill = False

    def _freeze_worker(self) -> str | None:
        return self._frozen("worker")

    def _freeze_coordinator(self) -> str | None:
        return self._frozen("coordinator")

    def _frozen(self, kind: str) -> str | None:
        victim = self._healthy(kind)
        if victim is None:
            return None
        victim.is_ill = True
        victim.signal(signal.SIGSTOP)

        def thaw() -> None:
            victim.signal(signal.SIGCONT)
            victim.is_ill = False

        self._in(self._random.uniform(0.5, self._longest), thaw)
        return f"{kind} frozen"

    def _kill_child(self) -> str | None:
        victim = self._healthy("worker")
        family = victim.family() if victim is not None else []
        if not family:
            return None
        with suppress(ProcessLookupError):
            os.kill(self._random.choice(family), signal.SIGKILL)
        return "child of a worker killed"

    def _cut(self) -> str | None:
        way = self._way()
        way.refuse()
        self._in(self._random.uniform(0, 5), way.admit)
        return "connection cut"

    def _swallow(self) -> str | None:
        way = self._way()
        way.swallow()

        def carry() -> None:
            # What was swallowed for so long that somebody gave it up comes late.
            way.carry()

        self._in(self._random.uniform(0.5, self._longest), carry)
        return "connection swallowed"

    def _way(self) -> Proxy:
        member = self._random.choice(self.members)
        return member.ways[self._random.choice(sorted(member.ways))]

    def _kill_broker(self) -> str | None:
        if self._broker_ill:
            return None
        self._broker_ill, seconds = True, self._random.uniform(0, 3)

        def restart() -> None:
            # Within half a second after its declaration RabbitMQ 3.10 loses a queue in a crash, with all in it.
            self.node.control("eval", "dets:sync(ra_directory_reverse).")
            self.node.kill()
            time.sleep(seconds)
            self.node.start()
            self._broker_ill = False

        self._beside.append(self._threads.submit(restart))
        return "broker killed"

    def _restart_broker(self) -> str | None:
        if self._broker_ill:
            return None
        self._broker_ill, seconds = True, self._random.uniform(0, 3)

        def restart() -> None:
            self.node.control("stop_app")
            time.sleep(seconds)
            self.node.control("start_app")
            self._broker_ill = False

        self._beside.append(self._threads.submit(restart))
        return "broker restarted"

    def _crash_server(self) -> str | None:
        if self._server_ill or self.server is None:
            return None
        self._server_ill, server = True, self.server
        server.stop(self._random.choice([signal.SIGQUIT, signal.SIGQUIT, signal.SIGINT]))

        def start() -> None:
            server.start()
            self._server_ill = False

        self._in(self._random.uniform(0, 3), start)
        return "database restarted"

    def _of(self, kind: str) -> list[Member]:
        return [each for each in self.members if each.kind == kind]

    def _healthy(self, kind: str) -> Member | None:
        found = [each for each in self._of(kind) if not each.is_ill]
        return self._random.choice(found) if found else None

    def _in(self, seconds: float, act: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, act))

    def _make_up(self, until: float) -> None:
        due = sorted((each for each in self._later if each[0] <= until), key=lambda each: each[0])
        self._later = [each for each in self._later if each[0] > until]
        for _, act in due:
            act()


@contextmanager
def chaos(
    folder: Path, log: str, seed: int, *, users: int, workers: int = 2, pauses: tuple[float, float], longest: float
) -> Iterator[Chaos]:
    """Bring up a fleet whose log is in a `file` or on a `server`, and those who use it; end all of it."""
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        node = stack.enter_context(private_node())
        server = stack.enter_context(private_server()) if log == "server" else None
        address = stack.enter_context(log_for(folder / "home", Databases(server.admin))) if server else None
        fleet = stack.enter_context(
            local_fleet(
                folder,
                node.url,
                *("--lease_after=1", "--heartbeat=0.5", "--broker_heartbeat=5", "--step_retries=20"),
                f"--workers={workers}",
                log=address,
            )
        )
        (fleet.project / "run.py").write_text(textwrap.dedent(_PROJECT))
        done = fleet.command("stack", "up")  # makes and enrolls the keys
        assert done.status == 0, done.err
        end(fleet.processes, 10.0)
        done = fleet.command("worker", "join-file", "--file", str(fleet.project / "join.json"))
        assert done.status == 0, done.err
        where: Where = address or fleet.home / "log.db"
        found = Chaos(fleet, node, server, where, seed=seed, pauses=pauses, longest=longest)
        stack.callback(_end_all, found)
        for kind, number in (("coordinator", 2), ("worker", workers), ("user", users)):
            for each in range(number):
                ways = {URL: node.url} | ({"STACKLEDGER_LOG": address} if address and kind != "worker" else {})
                found.members.append(_member(found, kind, each, ways, stack))
        for member in found.members:
            member.start()
        yield found


@contextmanager
def _quiet() -> Iterator[None]:
    """Have pika not log each time that a broker is asked for that is not there yet: a failure would be hard to find."""
    logger = logging.getLogger("pika")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


def _member(chaos: Chaos, kind: str, number: int, ways: Mapping[str, str], stack: ExitStack) -> Member:
    proxies = {name: _proxy(url, stack) for name, url in ways.items()}
    through = {name: _through(url, proxies[name]) for name, url in ways.items()}
    fleet = chaos.fleet

    def begin(member: Member, output: IO[bytes]) -> subprocess.Popen[bytes]:
        commands = {
            "coordinator": ["-m", "stackledger", "coordinator", "start"],
            "worker": ["-m", "stackledger", "worker", "start", "--join", str(fleet.project / "join.json")],
            "user": ["run.py", str(fleet.signs), f"{member.name}.{member.lives}", str(LAST)],
        }
        return subprocess.Popen(
            [sys.executable, *commands[kind]],
            cwd=fleet.project,
            env={**os.environ, **fleet.environment, **through},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - it makes one system call
        )

    return Member(kind, number, fleet.signs, proxies, begin)


def _end_all(chaos: Chaos) -> None:
    for each in chaos.members:
        each.kill()


def _proxy(url: str, stack: ExitStack) -> Proxy:
    parts = urlsplit(url)
    return stack.enter_context(proxy_to(parts.hostname or "", parts.port or 0))


def _through(url: str, proxy: Proxy) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}").geturl()
