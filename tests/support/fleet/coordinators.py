"""Coordinators of production, each a process, on a log that they share; workers are threads, as in `real.py`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from stackledger.domain.event import Boundary, Context, Event, Recorded, item
from stackledger.domain.events.log import LogCreated
from stackledger.domain.incarnations import called, log_of
from stackledger.eventlog.codec import decode
from stackledger.eventlog.handler import CommandHandler, Nobody
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.postgres_seat import PostgresSeat
from stackledger.eventlog.seat import FileSeat
from stackledger.projections import run_queries
from stackledger.projections.engine import Views
from stackledger.workers.fleet.broker.address import BrokerAddress
from stackledger.workers.fleet.broker.told import Inbox
from stackledger.workers.fleet.broker.topology import Topology
from stackledger.workers.fleet.coordinating import Audience, Post, coordinate
from stackledger.workers.fleet.signals import stopped_by_signals
from tests.support.any_log import Where, reader_at, recorder_at
from tests.support.checkout import ROOT
from tests.support.eventually import eventually
from tests.support.fleet.real import PACE, RealFleet
from tests.support.fleet.world import ORCHESTRATOR, Pen, enrolled_keys

SOMEBODY = Context("command", 1, "me", "here")
ANY = (item("nobody", LogCreated),)
SHORT = 2.0
"""Seconds, for a test of what a coordinator does that is not heard or hears nothing; a busy machine takes as much."""
PATIENT = 30.0


class LogOfProcesses:
    """A log in a file or on a server, as the simulated one is used."""

    def __init__(self, where: Where, log_id: str) -> None:
        self.where = where
        self.holder = None
        self.changed = threading.Condition()
        self._read: list[Recorded] = []
        self.append([LogCreated(log_id=log_id)])

    def append(self, events: Sequence[Event], boundary: Boundary = (), after: int | None = None) -> None:
        with closing(recorder_at(self.where)) as recorder:
            handler = CommandHandler(recorder, new_id)
            handler.record([(event, SOMEBODY) for event in events], boundary or ANY, after or 0)

    @property
    def events(self) -> list[Recorded]:
        with closing(reader_at(self.where)) as reader:
            last = self._read[-1].position if self._read else 0
            self._read += map(decode, reader.scan(after=last))
        return self._read


class CoordinatorProcess:
    """A process that coordinates; what it says is in a file."""

    def __init__(
        self, fleet: FleetOfProcesses, name: str, folder: Path, url: str, *, stale: float, without_broker: float
    ) -> None:
        self.log_file = folder / f"{name}-{len(list(folder.glob(f'{name}-*.log')))}.log"
        settings = {
            "url": url,
            "where": str(fleet.where),
            "is_file": isinstance(fleet.where, Path),
            "log_id": fleet.log_id,
            "name": name,
            "views": str(folder / f"views-{name}.db"),
            "stale": stale,
            "without_broker": without_broker,
        }
        with self.log_file.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__, json.dumps(settings)], cwd=ROOT, stdout=output, stderr=output
            )

    def said(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    def is_active(self) -> bool:
        assert self.process.poll() is None, self.said()
        return "Active" in self.said().rpartition("Standing by")[2]

    def until_active(self) -> None:
        eventually(self.is_active)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


class FleetOfProcesses(RealFleet):
    """Its coordinators are processes."""

    def __init__(self, url: str, where: Where, folder: Path) -> None:
        super().__init__(url)
        self.where = where
        self.log = LogOfProcesses(where, self.log_id)  # type: ignore[assignment]
        self.folder = folder
        self.processes: list[CoordinatorProcess] = []
        for _ in range(2):
            self._member("coordinator")

    def coordinating(
        self, number: int = 0, url: str = "", *, stale: float = PATIENT, without_broker: float = PATIENT
    ) -> CoordinatorProcess:
        """Start one of two coordinators, with another way to the broker if one is given."""
        name = f"coordinator-{number}"
        process = CoordinatorProcess(
            self, name, self.folder, url or self.url, stale=stale, without_broker=without_broker
        )
        self.processes.append(process)
        return process

    def go_on_as(self, incarnation: str) -> None:
        """Have everybody who comes from now on go by another incarnation of the log."""
        self.log_id = called(log_of(self.log_id), incarnation)
        self.topology = self.topology._replace(log=self.log_id)

    def close(self) -> None:
        for each in self.processes:
            each.kill()
        self.members = [member for member in self.members if member.thread.ident is not None]
        super().close()


@contextmanager
def fleet_of_processes(url: str, where: Where, folder: Path) -> Iterator[FleetOfProcesses]:
    with closing(FleetOfProcesses(url, where, folder)) as fleet:
        yield fleet


def main(settings: dict[str, Any]) -> None:
    """Be a coordinator."""
    where = Path(settings["where"]) if settings["is_file"] else settings["where"]

    def open_runs() -> tuple[int, Sequence[str]]:
        with closing(reader_at(where)) as reader:
            views = Views(Path(settings["views"]), reader, lambda _: None)
            return views.read(lambda view: (view.position, [run.id for run in run_queries.unfinished_runs(view)]))

    post = Post(
        topology=Topology(settings["log_id"], ORCHESTRATOR, ("default",)),
        seat=(
            FileSeat(where, ORCHESTRATOR)
            if isinstance(where, Path)
            else PostgresSeat(where, ORCHESTRATOR, stale=settings["stale"])
        ),
        open_runs=open_runs,
        context=lambda: SOMEBODY,
        newcomers=Nobody(),
        address=BrokerAddress(settings["url"]),
        signer=Pen(settings["name"]),
        verifier=enrolled_keys,
        pace=PACE,
        without_broker=settings["without_broker"],
    )
    inbox: Inbox = SimpleQueue()

    def tell(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    with stopped_by_signals(inbox, tell):
        coordinate(post, inbox, Audience(tell))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
