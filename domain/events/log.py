"""Events about the log itself and about the subjects that act in it."""

from __future__ import annotations

from typing import ClassVar, Literal

from stackledger.domain.event import Event


def subject_tag(subject_id: str) -> str:
    """Return the tag on the subject's own events."""
    return f"subject:{subject_id}"


def log_tag(log_id: str) -> str:
    """Return the tag on what happened to the log itself."""
    return f"log:{log_id}"


class LogCreated(Event):
    """The first event of every log."""

    TYPE: ClassVar[str] = "log.created/1"

    log_id: str

    def tags(self) -> tuple[str, ...]:
        """Find it by the log's id."""
        return (log_tag(self.log_id),)


class LogMoved(Event):
    """The log goes on somewhere else: nothing follows this event in this copy of it but `log.adopted`.

    `destination` is where to, in the words of whoever moved it, if they said so.
    """

    TYPE: ClassVar[str] = "log.moved/1"

    log_id: str
    destination: str | None

    def tags(self) -> tuple[str, ...]:
        """Find it by the log's id."""
        return (log_tag(self.log_id),)


class LogAdopted(Event):
    """A log that was moved goes on here, under a new incarnation.

    `incarnation` is a random id. What was said on a fleet of an earlier one has no effect on this one.
    """

    TYPE: ClassVar[str] = "log.adopted/1"

    log_id: str
    incarnation: str

    def tags(self) -> tuple[str, ...]:
        """Find it by the log's id."""
        return (log_tag(self.log_id),)


class SubjectEnrolled(Event):
    """A user or a host got a random id. The name is kept outside the log, in the directory.

    `commitment` is HMAC-SHA256 in hexadecimal of the kind, a NUL and the name in UTF-8, keyed with a random
    salt of 32 bytes that stands in the directory: while the row is there the mapping can be proven, without
    it nothing can be learned.
    """

    TYPE: ClassVar[str] = "subject.enrolled/1"

    subject_id: str
    kind: Literal["user", "host"]
    commitment: str

    def tags(self) -> tuple[str, ...]:
        """Find it by the subject's id."""
        return (subject_tag(self.subject_id),)
