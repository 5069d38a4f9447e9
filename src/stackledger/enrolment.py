"""Who acts: the ids of users and hosts, and how those get one who act for the first time."""

from __future__ import annotations

import platform
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from stackledger.domain import log, subjects
from stackledger.domain.errors import LogError
from stackledger.domain.event import Context
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.subjects import new_subject

if TYPE_CHECKING:
    from stackledger.eventlog.handler import CommandHandler
    from stackledger.eventlog.subjects import SubjectDirectory


def begin_log(handler: CommandHandler, directory: SubjectDirectory, log_id: str, user: str, now: int) -> None:
    """Begin a log with its first user, this host and the default stack; nothing to do where it has begun."""
    first = directory.add(new_subject("user", user, new_id))
    host = directory.add(new_subject("host", _host(), new_id))
    command = log.CreateLog(
        log_id=log_id,
        user_id=first.id,
        user_commitment=first.commitment,
        host_id=host.id,
        host_commitment=host.commitment,
        orchestrator_id=new_id(),
        artifact_store_id=new_id(),
        stack_id=new_id(),
    )
    handler.handle(log.DECIDER, command, Context(command_id=new_id(), time=now, actor=first.id, host=host.id))
    for subject in (first, host):
        directory.mark_enrolled(subject.id)


class Enrolment:
    """Who acts, and which of them the log does not have yet: those are enrolled with their first change."""

    def __init__(self) -> None:
        self._lacking: dict[str, tuple[subjects.EnrollSubject, SubjectDirectory]] = {}

    def acting(self, directory: SubjectDirectory, user: str, *, dry_run: bool) -> tuple[str, str]:
        """Return the ids of the user and of this host. Whoever has none gets one, kept but in a dry run."""
        return (
            self._subject(directory, "user", user, dry_run=dry_run),
            self._subject(directory, "host", _host(), dry_run=dry_run),
        )

    def of(self, context: Context) -> list[subjects.EnrollSubject]:
        """Return the enrolments that the log may still lack of whoever acts in a context."""
        return [self._lacking[each][0] for each in (context.actor, context.host) if each in self._lacking]

    def enrolled(self, command: subjects.EnrollSubject) -> None:
        """Take note that the log has this enrolment."""
        _, directory = self._lacking.pop(command.subject_id)
        # The change is made: if this cannot be kept, the next one finds the enrolment in the log.
        with suppress(LogError):
            directory.mark_enrolled(command.subject_id)

    def _subject(self, directory: SubjectDirectory, kind: Literal["user", "host"], name: str, *, dry_run: bool) -> str:
        subject = directory.find(kind, name)
        if subject is None:
            new = new_subject(kind, name, new_id)
            subject = new if dry_run else directory.add(new)
        if not subject.enrolled:
            command = subjects.EnrollSubject(subject_id=subject.id, kind=kind, commitment=subject.commitment)
            self._lacking[subject.id] = (command, directory)
        return subject.id


def _host() -> str:
    return platform.node() or "unknown"
