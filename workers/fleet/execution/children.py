"""The processes that execute a worker's steps: one warm child for each slot, with a keeper between it and the worker.

A thread of its own hears what keepers say. Nothing here waits for a child, and no child can harm more than its slot.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from stackledger.domain.errors import LogBusy
from stackledger.domain.events.runs import Kept
from stackledger.eventlog.lock import FileLock
from stackledger.workers.fleet.broker.told import Broke, Ended
from stackledger.workers.fleet.execution.keeper import MAX_STEPS, Settings, received, sent
from stackledger.workers.fleet.execution.nursery import Nursery, begun
from stackledger.workers.fleet.execution.room import trouble_with
from stackledger.workers.fleet.protocol.messages import Failure, Success, Task
from stackledger.workers.fleet.protocol.ports import Unable
from stackledger.workers.tracing import Tracing


@dataclass(slots=True)
class _Slot:
    """A slot as the worker sees it. `instead` is the result of an execution that had to be stopped.

    `has_keeper` says whether its keeper has come up, with a child that can execute something.
    """

    number: int
    link: socket.socket
    has_keeper: bool = False
    execution: str | None = None
    instead: Failure | None = None


class WarmChildren:
    """The children of one worker. `tell` is called by a thread of their own, and has to return at once.

    `home` is the worker's; archives of code are kept there. Steps find themselves in `environment`; the spans that they
    make go to `tracing`. `nursery` is the one to begin with, if there is one in that environment. See Settings for the
    others.
    """

    def __init__(
        self,
        home: Path,
        slots: int,
        tell: Callable[[Ended | Broke], object],
        *,
        max_steps: int = MAX_STEPS,
        memory: int = 0,
        log_bytes: int = 4 * 1024 * 1024,
        term_seconds: float = 2.0,
        environment: Mapping[str, str] = os.environ,
        tracing: Tracing | None = None,
        nursery: Nursery | None = None,
    ) -> None:
        self._tell = tell
        self._tracing = tracing
        self._scratch = _Scratch(home / "worker/scratch")
        self._settings = Settings(str(home), str(self._scratch.path), max_steps, memory, log_bytes, term_seconds)
        self._environment = dict(environment)
        self._mutex = threading.Lock()
        self._is_closed = False
        self._selector = selectors.DefaultSelector()
        self._alarm, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._nursery = nursery or begun(self._environment)
        self._slots = {number: _Slot(number, self._new_link(number)) for number in range(slots)}
        self._thread = threading.Thread(target=self._hear, name="children", daemon=True)
        self._thread.start()

    def unable(self) -> str | None:
        """Return why no step can be executed on this machine now, None if one can."""
        return trouble_with(str(self._scratch.path))

    def start(self, slot: int, execution: str, task: Task) -> None:
        """Begin an execution; it is told when it is over."""
        with self._mutex:
            self._slots[slot].execution, self._slots[slot].instead = execution, None
            data = task.model_dump(mode="python")
            if self._tracing is not None:
                data["traceparent"] = self._tracing.of_execution(task.ref.run_id, task.traceparent, execution)
            self._say(slot, "start", execution, data)

    def stop(self, slot: int, execution: str) -> None:
        """End an execution by force; nothing is told of it any more."""
        with self._mutex:
            if self._slots[slot].execution == execution:
                self._slots[slot].execution = None
                self._say(slot, "stop", execution, False)  # noqa: FBT003 - a message

    def fail(self, slot: int, execution: str, failure: Failure) -> None:
        """End an execution by force; it is told to have ended with the failure, or as it did meanwhile."""
        with self._mutex:
            if self._slots[slot].execution == execution and self._slots[slot].instead is None:
                self._slots[slot].instead = failure
                self._say(slot, "stop", execution, True)  # noqa: FBT003 - a message

    def processes(self) -> tuple[int, ...]:
        """Return the ids of all processes here that are not the worker's own, for whoever measures them."""
        return tuple(_descendants(self._nursery.pid))

    def close(self) -> None:
        """End everything that runs; returns when nothing of it is left."""
        with self._mutex:
            self._is_closed = True
            self._alarm.close()
        self._thread.join()
        self._woken.close()
        for slot in self._slots.values():
            with contextlib.suppress(OSError):  # somebody killed its keeper just now
                slot.link.shutdown(socket.SHUT_WR)
        for slot in self._slots.values():
            # A keeper's end comes when all below it is gone.
            while received(slot.link) is not None:
                pass
            slot.link.close()
        self._nursery.close()
        self._selector.close()
        self._scratch.remove()

    def _say(self, slot: int, *message: object) -> None:
        with contextlib.suppress(OSError):  # its keeper is gone, and that is heard next
            sent(self._slots[slot].link, *message)

    def _new_link(self, number: int) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._nursery.ask(theirs, self._settings)
            except OSError:  # somebody killed the nursery
                self._nursery.close()
                self._nursery = begun(self._environment)
                self._nursery.ask(theirs, self._settings)
        self._selector.register(ours, selectors.EVENT_READ, number)
        return ours

    def _hear(self) -> None:
        try:
            self._hear_keepers()
        except BaseException as error:  # noqa: BLE001 - without this thread the worker would wait for ever
            self._tell(Broke(error))

    def _hear_keepers(self) -> None:
        """Hear what keepers say, until the children are closed."""
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                slot = self._slots[key.data]
                message = received(slot.link)
                if message == ["begun"]:
                    slot.has_keeper = True
                    continue
                if self._tracing is not None and message is not None and message[0] == "spans":
                    self._tracing.pass_on(message[1])
                    continue
                with self._mutex:
                    told = self._lost(slot) if message is None else _told(slot, message)
                if told is not None:
                    self._tell(Ended(slot.number, *told))

    def _lost(self, slot: _Slot) -> tuple[str, Success | Failure | Unable, Kept | None] | None:
        """Have another keeper where somebody killed one."""
        self._selector.unregister(slot.link)
        slot.link.close()
        slot.link = self._new_link(slot.number)
        execution, slot.execution = slot.execution, None
        had_keeper, slot.has_keeper = slot.has_keeper, False
        if execution is None:
            return None
        if slot.instead is not None:
            return execution, slot.instead, None
        why = self.unable()  # a keeper cannot do without a folder for its child
        if why is None and not had_keeper:
            why = "The process that was to look after it could not begin."
        if why is not None:
            return execution, Unable(why), None
        message = "The process that looked after it was ended by somebody or by the system."
        return execution, Failure(error="StepCrashed", message=message), None


def _told(slot: _Slot, message: list[object]) -> tuple[str, Success | Failure | Unable, Kept | None] | None:
    match message:
        case ["ended", str(execution), result, log] if execution == slot.execution:
            slot.execution = None
        case _:
            return None
    try:
        kept = None if log is None else Kept.model_validate(log)
        match result:
            case None if slot.instead is not None:
                return execution, slot.instead, kept
            case {"kind": "unable", "why": str(why)}:
                return execution, Unable(why), None
            case {"kind": "success"}:
                return execution, Success.model_validate(result), kept
            case _:
                return execution, Failure.model_validate(result), kept
    except ValidationError:
        # A step may write into descriptors that are not its own.
        failure = Failure(error="StepCrashed", message="What its process said of its end makes no sense.")
        return execution, slot.instead or failure, None


class _Scratch:
    """A folder for what is under way. Who makes one removes those of workers that died."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for lock_file in parent.glob("*.lock"):
            with contextlib.suppress(LogBusy), FileLock(lock_file, timeout=0):
                shutil.rmtree(lock_file.with_suffix(""), ignore_errors=True)
                lock_file.unlink(missing_ok=True)
        self.path = parent / os.urandom(4).hex()
        self._lock = FileLock(self.path.with_suffix(".lock"))
        self._lock.__enter__()
        self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.path.unlink(missing_ok=True)
        self._lock.__exit__(None, None, None)
        self._lock.close()


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        with contextlib.suppress(FileNotFoundError):
            found += map(int, Path(f"/proc/{each}/task/{each}/children").read_text("ascii").split())
    return found
