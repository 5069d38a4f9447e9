"""Who acts: the ids of users and hosts, and how those get one who act for the first time."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Literal

from stackledger.domain import log, subjects
from stackledger.domain.event import Context
from stackledger.eventlog.ids import new_id
from stackledger.eventlog.subjects import new_subject

if TYPE_CHECKING:
    from stackledger.eventlog.handler import CommandHandler
    from stackledger.eventlog.subjects import Subject, SubjectDirectory


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


def acting(
    handler: CommandHandler, directory: SubjectDirectory, user: str, now: int, *, dry_run: bool
) -> tuple[str, str]:
    """Return the ids of the user and of this host. Whoever has none is enrolled, but in a dry run."""
    actor = _subject(directory, "user", user, dry_run=dry_run)
    host = _subject(directory, "host", _host(), dry_run=dry_run)
    for subject in (actor, host):
        if not (subject.enrolled or dry_run):
            command = subjects.EnrollSubject(subject_id=subject.id, kind=subject.kind, commitment=subject.commitment)
            context = Context(command_id=new_id(), time=now, actor=actor.id, host=host.id)
            handler.handle(subjects.DECIDER, command, context)
            directory.mark_enrolled(subject.id)
    return actor.id, host.id


def _subject(directory: SubjectDirectory, kind: Literal["user", "host"], name: str, *, dry_run: bool) -> Subject:
    known = directory.find(kind, name)
    if known is not None:
        return known
    new = new_subject(kind, name, new_id)
    return new if dry_run else directory.add(new)


def _host() -> str:
    return platform.node() or "unknown"
