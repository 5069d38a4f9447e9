"""The client's part about whole logs: making one on a server, and moving one into a file and out of it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from stackledger.client import arguments
from stackledger.client.session import DryRun, Session
from stackledger.domain.errors import AlreadyExists, InvalidValue, StackledgerError
from stackledger.domain.names import quoted
from stackledger.projections.run_queries import unfinished_runs
from stackledger.wiring import DEFAULT_USER, server_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventsourcing.dcb.api import DCBRecorder

    from stackledger.domain.decider import Decider
    from stackledger.domain.log import AdoptLog, Command, State
    from stackledger.eventlog.stored import StoredEvent
    from stackledger.eventlog.transfer import Transferred

MAX_DESTINATION = 200
"""Characters. It stands in the log for ever, and in each message that refuses a change."""

_PLEASE_NAME = "Give its address: `stackledger log create postgresql://HOST/DATABASE`."


class LogClient(Session):
    """Logs as a whole."""

    def create_log(self, address: str | None = None) -> tuple[str, str]:
        """Make a log in a database on PostgreSQL, as its administrator; return its address, as it is shown, and its id.

        Without an address it is made where this home looks for its log. One that is given must have no password in it.
        """
        from stackledger.enrolment import begin_log
        from stackledger.eventlog.address import checked, refuse_password
        from stackledger.eventlog.ids import new_id

        if address is not None:
            refuse_password(checked(address), "by everybody who lists what runs on this machine")
        address = address or self._ledger.address
        if address is None:
            raise InvalidValue("A log in a home is made by itself; where is this one to be?", hint=_PLEASE_NAME)
        log_id = new_id()
        with contextlib.closing(server_at(address)) as server:
            from stackledger.eventlog.handler import CommandHandler
            from stackledger.eventlog.postgres_setup import create

            with contextlib.closing(self._ledger.directory_of(log_id)) as directory:
                create(
                    server,
                    lambda _, recorder: begin_log(
                        CommandHandler(recorder, new_id), directory, log_id, DEFAULT_USER, server.now()
                    ),
                )
            return server.name, log_id

    def export_log(self, path: Path, *, move: bool = False, destination: str | None = None) -> Transferred:
        """Write the log into a new file, from which it can be imported where there is no log yet.

        With `move` the log goes on where the file is imported: the last event in the file says so, and from that on
        nothing more comes into this log. `destination` says in words where it goes. Refused while runs go on, or
        processes in the background work for the log. Where it was moved already, the file is written again.
        """
        _ = self._ledger.log_id
        if not move:
            if self._dry_run:
                raise DryRun([])
            return self._written(path, self._ledger.reader.scan())
        arguments.at_most(destination, "The destination", MAX_DESTINATION)
        if self._dry_run:
            self._move(destination)
            raise DryRun([])
        try:
            return self._written(path, self._until_moved(destination))
        except StackledgerError as error:
            if self._moved() is None:
                raise
            raise StackledgerError(
                f"{error.message} The log was moved all the same.",
                hint="`stackledger log export FILE` writes its file again; `stackledger log adopt` takes it back.",
            ) from error

    def adopt_log(self) -> str:
        """Let a log that was moved go on where it is, under a new incarnation, whose id is returned."""
        self._names()
        context = self._ledger.context(reason=self._reason, ticket=self._ticket, dry_run=self._dry_run)
        command = _adoption(self._ledger.log_id)
        self._change(_decider(), command, context=context)
        return command.incarnation

    def _until_moved(self, destination: str | None) -> Iterator[StoredEvent]:
        """Yield all events, at last that of the move, which is appended when the others are in the file.

        So what keeps a file from being written mostly keeps the log from being moved. And if the file gets lost
        afterwards, the log has all that it takes to write it again.
        """
        position = 0
        for stored in self._ledger.reader.scan():
            position = stored.position
            yield stored
        self._move(destination)
        yield from self._ledger.reader.scan(after=position)

    def _move(self, destination: str | None) -> None:
        from stackledger.domain.log import MoveLog

        if self._moved() is not None:
            return
        self._refuse_while_fleet_runs()
        if not self._dry_run:
            self._end_dead_runs()
        running = tuple(sorted(run.name for run in self._read(unfinished_runs)))
        self._change(_decider(), MoveLog(self._ledger.log_id, destination, running))

    def _written(self, path: Path, events: Iterator[StoredEvent]) -> Transferred:
        """Write events into a new file."""
        from stackledger.eventlog.transfer import write_lines

        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError as error:
            raise AlreadyExists(
                f"The file {quoted(str(path))} is there already.", hint="Choose another name."
            ) from error
        except OSError as error:
            raise _cannot("written", path, error) from error
        try:
            with open(fd, "wb") as file:
                written = write_lines(events, file)
                file.flush()
                os.fsync(file.fileno())
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise _cannot("written", path, error) from error
            raise
        return written

    def import_log(self, path: Path) -> Transferred:
        """Make the log of this home, or of its server as its administrator, of what was exported into a file.

        It keeps its id, and events keep ids, times and positions. AlreadyExists where there is a log. One that was
        moved goes on there, under a new incarnation.
        """
        from stackledger.eventlog.transfer import load_lines

        try:
            with path.open("rb") as file:
                if self._ledger.server is None:
                    from stackledger.eventlog import sqlite_file
                    from stackledger.settings import make_home

                    make_home(self._ledger.home)
                    path_of_log = self._ledger.home / "log.db"
                    loaded = sqlite_file.import_log(path_of_log, lambda log: load_lines(file, log))
                    self._adopt_moved(self._ledger.recorder)
                    return loaded
                from stackledger.eventlog import postgres_setup

                return postgres_setup.import_log(
                    self._ledger.server, lambda log: load_lines(file, log), self._adopt_moved
                )
        except OSError as error:
            raise _cannot("read", path, error) from error

    def _adopt_moved(self, recorder: DCBRecorder) -> None:
        """Let a log that was just imported go on here, if it was moved. Who dies before has `log adopt`."""
        from stackledger.eventlog.handler import CommandHandler
        from stackledger.eventlog.ids import new_id

        if self._moved() is None:
            return
        handler = CommandHandler(recorder, new_id, newcomers=self._ledger.enrolment)
        context = self._ledger.context(reason=self._reason, ticket=self._ticket)
        handler.handle(_decider(), _adoption(self._ledger.log_id), context)


def _decider() -> Decider[Command, State]:
    from stackledger.domain.log import DECIDER

    return DECIDER


def _adoption(log_id: str) -> AdoptLog:
    from stackledger.domain.log import AdoptLog
    from stackledger.eventlog.ids import new_id

    return AdoptLog(log_id, incarnation=new_id())


def _cannot(done: str, path: Path, error: OSError) -> StackledgerError:
    return StackledgerError(f"The file {quoted(str(path))} cannot be {done}: {error.strerror}.")
