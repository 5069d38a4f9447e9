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
    from stackledger.eventlog.handler import CommandHandler
    from stackledger.eventlog.sqlite import SQLiteRecorder
    from stackledger.eventlog.subjects import SubjectDirectory
    from stackledger.secret_values import SecretValues

DEFAULT_USER = "default"


class Ledger:
    """Log, views, directory and secrets of one home, each opened at its first use."""

    def __init__(self, home: Path, notify: Callable[[str], None], environment: Mapping[str, str] = os.environ) -> None:
        self.home = home
        self.notify = notify
        self.environment = environment

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
    def reader(self) -> SQLiteReader:
        """The log, for reading."""
        return SQLiteReader(self.home / "log.db")

    @cached_property
    def views(self) -> Views:
        """The views; whoever reads them finds at least what the log held at that moment."""
        return Views(self.home / "views.db", self.reader, self.notify)

    @cached_property
    def recorder(self) -> SQLiteRecorder:
        """The log, for appending."""
        from stackledger.eventlog.sqlite import SQLiteRecorder  # imports eventsourcing, which no query needs

        make_home(self.home)
        recorder = SQLiteRecorder(self.home / "log.db")
        known = self.__dict__.get("log_id")
        if known is not None and known != self._id_in_log():
            recorder.close()
            raise self.replaced()
        return recorder

    @cached_property
    def handler(self) -> CommandHandler:
        """The way in for commands."""
        from stackledger.eventlog.handler import CommandHandler  # as above
        from stackledger.eventlog.ids import new_id

        return CommandHandler(self.recorder, new_id, self._describe)

    @cached_property
    def log_id(self) -> str:
        """The id of the log, which is created here if this home is fresh."""
        log_id = self._id_in_log()
        if log_id is None:
            from stackledger.eventlog.lock import FileLock

            make_home(self.home)
            # One at a time, so that nobody keeps names for a log that somebody else was first to begin.
            with FileLock(self.home / "subjects.lock"):
                if self._id_in_log() is None:
                    self._begin_log()
                log_id = self._id_in_log()
        if log_id is None:
            raise LogError(f"The log in {self.home} is still empty after it was created.")
        return log_id

    def has_log(self) -> bool:
        """Say whether there is a log; asking makes none."""
        return self._id_in_log() is not None

    @cached_property
    def directory(self) -> SubjectDirectory:
        """The names behind subject ids."""
        return self._directory_of(self.log_id)

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
            f"The log in {self.home} was moved or replaced just now.", hint="Look at what is there, then try again."
        )

    def remove_views(self) -> None:
        """Remove the views; whoever reads next builds them anew."""
        from stackledger.projections.folding import Writer

        Writer(self.home / "views.db", self.reader, self.notify).remove()

    def now(self) -> int:
        """Microseconds since 1970, UTC."""
        return time.time_ns() // 1000

    def context(self, *, reason: str | None, ticket: str | None, dry_run: bool = False) -> Context:
        """Return the context of a new command. Whoever acts for the first time is enrolled, but not in a dry run."""
        from stackledger.domain.event import Context
        from stackledger.enrolment import acting
        from stackledger.eventlog.ids import new_id

        actor, host = acting(self.handler, self.directory, self.user, self.now(), dry_run=dry_run)
        self.__dict__.pop("user_id", None)
        return Context(command_id=new_id(), time=self.now(), actor=actor, host=host, reason=reason, ticket=ticket)

    def close(self) -> None:
        """Let go of everything that was opened; what is asked for next is opened anew."""
        for name in ("directory", "recorder", "reader"):
            part = self.__dict__.pop(name, None)
            if part is not None:
                part.close()
        for name in ("handler", "views", "log_id", "secret_values", "user_id"):
            self.__dict__.pop(name, None)

    def _id_in_log(self) -> str | None:
        first = next(self.reader.scan(upto=1), None)
        if first is None:
            return None
        try:
            return str(unpacked(first.position, first.data)["body"]["log_id"])
        except KeyError as error:
            raise misshapen(first.position, first.type, error) from error

    def _directory_of(self, log_id: str) -> SubjectDirectory:
        from stackledger.eventlog.subjects import SubjectDirectory

        make_home(self.home)
        return SubjectDirectory(self.home / "subjects.db", log_id)

    def _begin_log(self) -> None:
        from stackledger.enrolment import begin_log
        from stackledger.eventlog.ids import new_id

        handler = self.handler  # opens the file of the log: where that fails, nobody is put into the directory
        log_id = new_id()
        with contextlib.closing(self._directory_of(log_id)) as directory:
            begin_log(handler, directory, log_id, DEFAULT_USER, self.now())
            if directory.knows_another_log():
                self.notify(
                    f"The log that was in {self.home} is gone, so a new one begins."
                    " Was that not meant, put log.db back."
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
