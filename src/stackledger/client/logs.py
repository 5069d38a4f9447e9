"""The client's part about whole logs: making one on a server, and moving one into a file and out of it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from stackledger.client.session import Session
from stackledger.domain.errors import AlreadyExists, InvalidValue, StackledgerError
from stackledger.domain.names import quoted
from stackledger.wiring import DEFAULT_USER, server_at

if TYPE_CHECKING:
    from stackledger.eventlog.transfer import Transferred

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

    def export_log(self, path: Path) -> Transferred:
        """Write the log into a new file, from which it can be imported where there is no log yet."""
        from stackledger.eventlog.transfer import write_lines

        _ = self._ledger.log_id
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
                written = write_lines(self._ledger.reader.scan(), file)
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

        It keeps its id, and events keep ids, times and positions. AlreadyExists where there is a log.
        """
        from stackledger.eventlog.transfer import load_lines

        try:
            with path.open("rb") as file:
                if self._ledger.server is None:
                    from stackledger.eventlog import sqlite_file
                    from stackledger.settings import make_home

                    make_home(self._ledger.home)
                    return sqlite_file.import_log(self._ledger.home / "log.db", lambda log: load_lines(file, log))
                from stackledger.eventlog import postgres_setup

                return postgres_setup.import_log(self._ledger.server, lambda log: load_lines(file, log))
        except OSError as error:
            raise _cannot("read", path, error) from error


def _cannot(done: str, path: Path, error: OSError) -> StackledgerError:
    return StackledgerError(f"The file {quoted(str(path))} cannot be {done}: {error.strerror}.")
