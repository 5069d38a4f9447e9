"""A home with a stack whose steps run on a fleet of this machine: as a user has it, every part a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from stackledger.client import Client
from stackledger.workers.fleet.broker.visiting import visiting
from stackledger.workers.fleet.local_processes import Background, end, running
from tests.support.eventually import eventually
from tests.support.program import Finished, process
from tests.support.services import interruptible

URL = "TEST_BROKER_URL"
"""The variable in which the broker's URL stands."""

RUN = """
import os, time
from pathlib import Path
from stackledger import pipeline, step

@step
def wait(folder: str, name: str) -> str:
    place = Path(folder)
    with (place / f"{name}.began").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    print("the step", name, "waits")
    while not (place / f"{name}.go").exists():
        time.sleep(0.01)
    return name

@pipeline
def waiting(folder: str, names: list[str]) -> None:
    for name in names:
        wait(folder, name)

if __name__ == "__main__":
    import sys
    waiting(folder=sys.argv[1], names=sys.argv[2:])
"""


class LocalFleet:
    """The home, and a project whose pipeline waits until it may go on."""

    def __init__(self, folder: Path, url: str, stack: ExitStack) -> None:
        self.home = folder / "home"
        self.project = folder / "project"
        self.signs = folder / "signs"
        self.environment = {"STACKLEDGER_HOME": str(self.home), URL: url, "STACKLEDGER_USER": "tester"}
        self._stack = stack
        for each in (self.project, self.signs):
            each.mkdir()
        (self.project / "run.py").write_text(textwrap.dedent(RUN))

    def client(self, **settings: Any) -> Client:
        """Return a client of this home."""
        client = Client(home=self.home, environment={**os.environ, **self.environment}, **settings)
        self._stack.callback(client.close)
        return client

    def command(self, *arguments: str, env: Mapping[str, str] | None = None) -> Finished:
        """Run a command in this home."""
        return process(*arguments, env={**self.environment, **(env or {})})

    def enroll_all(self) -> None:
        """Make the keys for who is begun by hand: `here` for coordinators, `there` for workers, enrolled by `root`."""
        for arguments in (
            ("key", "create", "root", "--role=root"),
            ("key", "create", "here", "--role=coordinator"),
            ("key", "enroll", "here"),
            ("key", "create", "there", "--role=worker"),
            ("key", "enroll", "there", "--queue=default"),
        ):
            done = self.command(*arguments)
            assert done.status == 0, done.err

    def begun(self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> Started:
        """Begin a command that goes on; it is killed at the end of the test."""
        command = [sys.executable, "-m", "stackledger", *arguments]
        return Started(command, {**os.environ, **self.environment, **(env or {})}, self._stack, **options)

    def run(self, *names: str) -> Started:
        """Begin a run of steps with these names."""
        return self.program("run.py", str(self.signs), *names)

    def program(self, *arguments: str, env: Mapping[str, str] | None = None) -> Started:
        """Begin a program of the project; it is killed at the end of the test."""
        command = [sys.executable, *arguments]
        return Started(command, {**os.environ, **self.environment, **(env or {})}, self._stack, cwd=self.project)

    def began(self, name: str) -> list[int]:
        """Return in which processes a step began."""
        file = self.signs / f"{name}.began"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def has_begun(self, name: str, times: int = 1) -> None:
        """Wait until a step began so often."""
        eventually(lambda: len(self.began(name)) >= times)

    def go(self, *names: str) -> None:
        """Let steps come to their end."""
        for name in names:
            (self.signs / f"{name}.go").touch()

    @property
    def processes(self) -> list[Background]:
        """What runs in the background."""
        return [each for folder in (self.home / "fleet").glob("*/") for each in running(folder)]

    def pid(self, name: str) -> int:
        """Return the number of a process in the background."""
        return next(each.pid for each in self.processes if each.name == name)


class Started:
    """A process, and what it writes."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], stack: ExitStack, *, cwd: Path | None = None
    ) -> None:
        read, write = os.pipe()
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=write,
            cwd=cwd,
            preexec_fn=interruptible,  # noqa: PLW1509 - it makes a few system calls
        )
        os.close(write)
        os.set_blocking(read, False)
        self._read = read
        self._output = ""
        self._decoder = getincrementaldecoder("utf-8")()
        stack.callback(self._end)

    @property
    def output(self) -> str:
        """What it has written by now."""
        while True:
            try:
                data = os.read(self._read, 65_536)
            except BlockingIOError:
                break
            if not data:
                break
            self._output += self._decoder.decode(data)
        return self._output

    def says(self, text: str, within: float = 100.0) -> None:
        """Wait until it has written something."""

        def said() -> bool:
            lives = self.process.poll() is None  # before what it wrote is looked at, which may be its last words
            assert text in self.output or lives, self.output
            return text in self.output

        eventually(said, within)

    def ended(self, within: float = 100.0) -> int:
        """Wait for its end; return its status."""
        eventually(lambda: self.output is not None and self.process.poll() is not None, within)
        return self.process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def _end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._read)


@contextmanager
def local_fleet(folder: Path, url: str, *settings: str, log: str | None = None) -> Iterator[LocalFleet]:
    """Make the home, its log elsewhere if an address is given; at the end take down what is left of it."""
    with ExitStack() as stack:
        fleet = LocalFleet(folder, url, stack)
        if log is not None:
            fleet.environment["STACKLEDGER_LOG"] = log
        for arguments in (
            ("orchestrator", "register", "fleet", "-f", "rabbitmq", f"--url=env:{URL}", *settings),
            ("stack", "register", "fleet", "-o", "fleet", "-a", "default", "--set"),
        ):
            done = fleet.command(*arguments)
            assert done.status == 0, done.err
        known = fleet.client()._fleet("fleet")
        try:
            yield fleet
        finally:
            end(fleet.processes, 5.0)
            with visiting(known.address) as visit:
                visit.delete(known.topology)
