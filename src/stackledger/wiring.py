"""The one place where the parts are put together: what belongs to one home directory, opened when needed.

The read path (views and their queries) must stay light, so everything that only a change needs is imported
where it is used.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stackledger.domain.errors import LogError
from stackledger.domain.names import user_name
from stackledger.eventlog.reader import SQLiteReader
from stackledger.eventlog.stored import misshapen, unpacked
from stackledger.projections.engine import Views
from stackledger.settings import (
    CONFIG_FILE,
    REPOSITORY_FOLDER,
    find_repository,
    make_home,
    read_settings,
    working_directory,
)

if TYPE_CHECKING:
    from stackledger.domain.event import Context, Recorded
    from stackledger.enrolment import Enrolment
    from stackledger.eventlog.handler import CommandHandler
    from stackledger.eventlog.moves import Standing
    from stackledger.eventlog.postgres import PostgresRecorder
    from stackledger.eventlog.postgres_reader import PostgresReader
    from stackledger.eventlog.postgres_server import Server
    from stackledger.eventlog.seat import Seat
    from stackledger.eventlog.sqlite import SQLiteRecorder
    from stackledger.eventlog.subjects import SubjectDirectory
    from stackledger.secret_values import SecretValues

DEFAULT_USER = "default"
LOG = "STACKLEDGER_LOG"


class Ledger:
    """Log, views, directory and secrets of one home, each opened at its first use."""

    def __init__(self, home: Path, notify: Callable[[str], None], environment: Mapping[str, str] = os.environ) -> None:
        self.home = home
        self.notify = notify
        self.environment = environment
        self._told_clocks = False

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What `config set` keeps for this home."""
        return read_settings(self.home / CONFIG_FILE)

    @property
    def user(self) -> str:
        """The name of whoever gives commands."""
        name = self.environment.get("STACKLEDGER_USER") or self.settings.get("user") or DEFAULT_USER
        return user_name(str(name))

    @cached_property
    def repository(self) -> Path | None:
        """The repository around the working directory."""
        start = working_directory()
        return find_repository(start) if start else None

    @property
    def repository_id(self) -> str | None:
        """The id under which stacks are activated for the repository."""
        if self.repository is None:
            return None
        identity = read_settings(self.repository / REPOSITORY_FOLDER / CONFIG_FILE).get("repository_id")
        return identity if isinstance(identity, str) else None

    @cached_property
    def address(self) -> str | None:
        """Where the log is if it is on a server, None if it is a file in this home."""
        given, setting = self.environment.get(LOG), self.settings.get("log")
        if not (given or setting):
            return None
        from stackledger.eventlog.address import checked, resolved

        return checked(given) if given else resolved(str(setting), self.environment)

    @cached_property
    def server(self) -> Server | None:
        """The server that keeps the log, if one does."""
        return None if self.address is None else server_at(self.address)

    @cached_property
    def reader(self) -> SQLiteReader | PostgresReader:
        """The log, for reading."""
        if self.server is None:
            return SQLiteReader(self.home / "log.db")
        from stackledger.eventlog.postgres_reader import PostgresReader

        return PostgresReader(self.server)

    @cached_property
    def views(self) -> Views:
        """The views; whoever reads them finds at least what the log held at that moment."""
        return Views(self.home / "views.db", self.reader, self.notify)

    @cached_property
    def recorder(self) -> SQLiteRecorder | PostgresRecorder:
        """The log, for appending."""
        recorder = self._opened()
        known = self.__dict__.get("log_id")
        if known is not None and known != self._id_in_log():
            recorder.close()
            raise self.replaced()
        return recorder

    def _opened(self) -> SQLiteRecorder | PostgresRecorder:
        # Both import eventsourcing, which no query needs.
        make_home(self.home)
        if self.server is None:
            from stackledger.eventlog.sqlite import SQLiteRecorder

            return SQLiteRecorder(self.home / "log.db")
        from stackledger.eventlog.postgres import PostgresRecorder

        return PostgresRecorder(self.server)

    def seat(self, orchestrator_id: str) -> Seat:
        """Return a seat for a coordinator, which opens the log for itself."""
        if self.address is None:
            from stackledger.eventlog.seat import FileSeat

            return FileSeat(self.home / "log.db", orchestrator_id)
        server_at(self.address)  # says which library is missing
        from stackledger.eventlog.postgres_seat import PostgresSeat

        return PostgresSeat(self.address, orchestrator_id)

    @cached_property
    def handler(self) -> CommandHandler:
        """The way in for commands."""
        from stackledger.eventlog.handler import CommandHandler  # as above
        from stackledger.eventlog.ids import new_id

        return CommandHandler(self.recorder, new_id, self._describe, self.enrolment)

    @cached_property
    def enrolment(self) -> Enrolment:
        """Who acts here, and who of them is still to be enrolled."""
        from stackledger.enrolment import Enrolment  # only for changes

        return Enrolment()

    @cached_property
    def log_id(self) -> str:
        """The id of the log, which is created here if this home is fresh; on a server an administrator does that."""
        log_id = self._id_in_log()
        if log_id is None and self.server is None:
            from stackledger.eventlog.lock import FileLock

            make_home(self.home)
            # One at a time, so that nobody keeps names for a log that somebody else was first to begin.
            with FileLock(self.home / "subjects.lock"):
                if self._id_in_log() is None:
                    self._begin_log()
                log_id = self._id_in_log()
            if log_id is None:
                raise self.replaced()  # somebody who cleans up here took it away again
        if log_id is None:
            raise LogError(
                f"The log {self.reader.name} is empty.", hint="Whoever looks after it begins it: stackledger log create"
            )
        return log_id

    @property
    def standing(self) -> Standing:
        """What the log says of itself now: its id and incarnation, by which fleets call it, and whether it is away."""
        from stackledger.eventlog.moves import Standing, standing  # no query needs it

        return standing(self.reader) or Standing(self.log_id)

    def has_log(self) -> bool:
        """Say whether there is a log; asking makes none."""
        return self._id_in_log() is not None

    @cached_property
    def directory(self) -> SubjectDirectory:
        """The names behind subject ids."""
        return self.directory_of(self.log_id)

    @cached_property
    def secret_values(self) -> SecretValues:
        """The values of secrets."""
        from stackledger.secret_values import SecretValues  # only for secrets

        make_home(self.home)
        return SecretValues(self.home, self.reader)

    @cached_property
    def user_id(self) -> str | None:
        """The subject id of the user, None before their first change."""
        subject = self.directory.find("user", self.user)
        return subject.id if subject else None

    def is_replaced(self) -> bool:
        """Say whether the log is another one than at first."""
        return self._id_in_log() != self.log_id

    def replaced(self) -> LogError:
        """Return what to raise where the log is not the one that was there before."""
        return LogError(
            f"The log {self.reader.name} was moved or replaced just now.", hint="Look at what is there, then try again."
        )

    def remove_views(self) -> None:
        """Remove the views; whoever reads next builds them anew."""
        from stackledger.projections.folding import Writer

        Writer(self.home / "views.db", self.reader, self.notify).remove()

    def now(self) -> int:
        """Microseconds since 1970, UTC: by the clock of the server that keeps the log, if one does."""
        ours = time.time_ns() // 1000
        if self.server is None:
            return ours
        from stackledger.eventlog.postgres_server import CLOCKS_APART

        now = self.server.now()
        if abs(now - ours) > CLOCKS_APART and not self._told_clocks:
            self._told_clocks = True
            self.notify(f"The clock of this machine is {abs(now - ours) // 1_000_000:,} s away from the log's.")
        return now

    def context(self, *, reason: str | None, ticket: str | None, dry_run: bool = False) -> Context:
        """Return the context of a new command. Whoever acts for the first time gets an id, but not in a dry run."""
        from stackledger.domain.event import Context
        from stackledger.eventlog.ids import new_id

        actor, host = self.enrolment.acting(self.directory, self.user, dry_run=dry_run)
        self.__dict__.pop("user_id", None)
        return Context(command_id=new_id(), time=self.now(), actor=actor, host=host, reason=reason, ticket=ticket)

    def close(self) -> None:
        """Let go of everything that was opened; what is asked for next is opened anew."""
        for name in ("directory", "recorder", "reader", "server"):
            part = self.__dict__.pop(name, None)
            if part is not None:
                part.close()
        for name in ("handler", "enrolment", "views", "log_id", "secret_values", "user_id"):
            self.__dict__.pop(name, None)

    def _id_in_log(self) -> str | None:
        first = next(self.reader.scan(upto=1), None)
        if first is None:
            return None
        try:
            return str(unpacked(first.position, first.data)["body"]["log_id"])
        except KeyError as error:
            raise misshapen(first.position, first.type, error) from error

    def directory_of(self, log_id: str) -> SubjectDirectory:
        """The names behind the subject ids of a log."""
        from stackledger.eventlog.subjects import SubjectDirectory

        make_home(self.home)
        return SubjectDirectory(self.home / "subjects.db", log_id)

    def _begin_log(self) -> None:
        from stackledger.enrolment import begin_log
        from stackledger.eventlog.ids import new_id

        handler = self.handler  # opens the file of the log: where that fails, nobody is put into the directory
        log_id = new_id()
        with contextlib.closing(self.directory_of(log_id)) as directory:
            begin_log(handler, directory, log_id, DEFAULT_USER, self.now())
            if directory.knows_another_log():
                self.notify(
                    f"The log that was in {self.home} is gone, so a new one begins."
                    " Was that not meant, put log.db back."
                    " A log that is on a server is looked for only where STACKLEDGER_LOG or the setting log names it."
                )

    def _describe(self, recorded: Recorded) -> str:
        """Say what happened, by whom and when, and which fields have other values now."""
        import reprlib  # only for those who were second
        from datetime import UTC, datetime

        from stackledger.projections import history

        kind, body = recorded.event.TYPE, recorded.event.model_dump(mode="json")
        subject, _, verb = kind.partition("/")[0].partition(".")
        who = self.directory.names().get(recorded.envelope.actor, recorded.envelope.actor)
        when = datetime.fromtimestamp(recorded.envelope.time // 1_000_000, UTC)
        name = body.get("previous_name") or body.get("name")
        what = f"{subject} {name!r}" if name else subject
        told = f"{what} {verb} by {who!r} at {when:%Y-%m-%d %H:%M:%S} UTC"
        if verb not in {"updated", "renamed"}:
            return told  # which says it all
        changes = self.views.read(lambda view: history.changes(view, kind, body))
        fields = [f"{field} is {'gone' if new is None else f'now {reprlib.repr(new)}'}" for field, _, new in changes]
        return f"{told}: {', '.join(fields)}"


def server_at(address: str) -> Server:
    """Return the server at an address, or raise LogError where the library for it is missing."""
    try:
        from stackledger.eventlog.postgres_server import Server
    except ImportError as error:
        raise LogError(
            f"A log on PostgreSQL needs a library that cannot be loaded: {error}.",
            hint="pip install 'stackledger[postgres]'",
        ) from error
    return Server(address)
