"""Every error that a user can cause or meet.

::

    StackledgerError
    ├── UsageError            what was typed can be refused before anything is read
    ├── InvalidName           a name breaks the rules for names
    ├── InvalidValue          a value is of the wrong kind, shape or size
    │   ├── InvalidConfiguration   a flavor refuses a component's configuration
    │   └── LiteralSecret          a secret was given where only a reference may stand
    ├── NotFound (KeyError)   nothing of that name or id
    ├── Ambiguous             a prefix that fits several
    ├── AlreadyExists         the name is taken
    ├── Refused               a rule of the registry forbids the change
    │   ├── InUse                  something else still needs it
    │   ├── BuiltIn                the default stack and its components stay as they are
    │   └── PairingConflict        a store is already paired with another
    ├── ChangedMeanwhile      somebody else changed it first; nothing was changed
    ├── LogError              the event log
    │   ├── LogBusy                others kept writing; nothing was changed
    │   ├── AppendUnknown          nobody can say whether an append happened
    │   ├── LogUnreachable         the server that keeps it cannot be reached
    │   │   └── LogForbidden           it can, and does not let us in
    │   ├── LogMoved               it goes on somewhere else; nothing more comes into this one
    │   ├── LogDamaged             what is stored cannot be read
    │   └── LogTooNew              written by a newer program
    ├── BrokerError           the broker between coordinators and workers
    │   ├── BrokerUnreachable      it cannot be reached, or the connection to it was lost
    │   ├── BrokerRefused          it does not let us in, or forbids what we ask
    │   └── TopologyMismatch       its queues are missing, or were declared otherwise
    ├── SecretError           secret values cannot be read or kept
    ├── KeyFileError          a private key of the fleet cannot be read, or is not its owner's alone
    ├── ArtifactError         the artifact store
    │   ├── ArtifactMissing        no object under that digest
    │   ├── ArtifactDamaged        the bytes do not have the digest that the log knows
    │   └── MaterializerError      a value cannot be written or read as asked
    ├── PipelineError         a pipeline is put together wrongly
    ├── RunFailed             a run ended, and not well
    └── FlavorError           a flavor, or a library that it needs, cannot be loaded

A message says what happened, why, and what to do next. Only this base is caught, in one place in the
command line; anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Self

from stackledger.domain.url_passwords import without_url_passwords
from stackledger.domain.wording import listed


def near_names(name: str, known: Iterable[str], *, most: int = 3) -> tuple[str, ...]:
    """Return the known names that somebody who typed `name` may have meant, best first; what it begins is near too."""
    import difflib  # only for mistakes

    by_fold = {candidate.casefold(): candidate for candidate in known}
    typed = name.casefold()
    close = difflib.get_close_matches(typed, by_fold, n=most, cutoff=0.6)
    longer = sorted(fold for fold in by_fold if typed and fold.startswith(typed))
    return tuple(by_fold[match] for match in list(dict.fromkeys((*close, *longer)))[:most])


def raised(kind: str, message: str) -> str:
    """Return an exception in words: `ValueError: no such thing`, or its kind alone where it says nothing."""
    return f"{kind}: {message}" if message else kind


def sentence(text: str) -> str:
    """Return the text with a full stop, if nothing ends it yet, so that another sentence can follow."""
    return text if text.endswith((".", "!", "?", "\n")) else f"{text}."


class StackledgerError(Exception):
    """Something that a user can cause or mend.

    `message` says what happened and why, `hint` what to do next, `near` which names may have been meant. A password
    in a URL that somebody gave is not repeated.
    """

    def __init__(self, message: str, *, hint: str = "", near: Iterable[str] = ()) -> None:
        self.message = without_url_passwords(message)
        self.hint = without_url_passwords(hint)
        self.near = tuple(near)
        super().__init__(self.message)

    def __str__(self) -> str:
        """Join what happened, the near names and the way out into one message."""
        parts = [self.message]
        if self.near:
            parts.append(f"Did you mean {' or '.join(repr(name) for name in self.near)}?")
        if self.hint:
            parts.append(self.hint)
        return " ".join(parts)


class UsageError(StackledgerError):
    """What was typed can be refused before anything is read."""


class InvalidName(StackledgerError):
    """A name breaks the rules for names."""


class InvalidValue(StackledgerError):
    """A value is of the wrong kind, shape or size."""


class InvalidConfiguration(InvalidValue):
    """A flavor refuses a component's configuration."""


class LiteralSecret(InvalidValue):
    """A secret was given where only a reference may stand."""


class NotFound(StackledgerError, KeyError):
    """Nothing of that name or id."""

    # KeyError's own text is the repr of its argument.
    __str__ = StackledgerError.__str__


class Ambiguous(StackledgerError):
    """A prefix that fits several."""


class AlreadyExists(StackledgerError):
    """The name is taken."""


class Refused(StackledgerError):
    """A rule of the registry forbids the change.

    `others` are the ids of what stands in the way; the message ends with what `names` calls them, or with the ids.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        near: Iterable[str] = (),
        others: Collection[str] = (),
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.others = tuple(others)
        self._begun = message
        super().__init__(f"{message} {listed(others, names or {})}." if others else message, hint=hint, near=near)

    def naming(self, names: Mapping[str, str]) -> Self:
        """Return the same with the names of things in place of their ids."""
        return type(self)(self._begun, hint=self.hint, near=self.near, others=self.others, names=names)


class InUse(Refused):
    """Something else still needs it."""


class BuiltIn(Refused):
    """The default stack and its components stay as they are."""


class PairingConflict(Refused):
    """A store is already paired with another."""


class ChangedMeanwhile(StackledgerError):
    """Somebody else changed it first; nothing was changed."""


class LogError(StackledgerError):
    """The event log cannot do what was asked."""


class LogBusy(LogError):
    """Others kept writing; nothing was changed."""


class AppendUnknown(LogError):
    """The log failed while an append was under way: it may or may not have happened."""


class LogUnreachable(LogError):
    """The server that keeps the log cannot be reached, or does not let us in."""


class LogForbidden(LogUnreachable):
    """The server that keeps the log does not let us in: it knows no such user, password or database."""


class LogMoved(LogError):
    """It was moved: it goes on somewhere else, and nothing more comes into this one."""


class LogDamaged(LogError):
    """What is stored cannot be read; `position` is that of the event, if it is a single one."""

    def __init__(self, message: str, *, hint: str = "", near: Iterable[str] = (), position: int | None = None) -> None:
        self.position = position
        super().__init__(message, hint=hint, near=near)


class LogTooNew(LogError):
    """Written by a newer program than this one."""


class BrokerError(StackledgerError):
    """The broker between coordinators and workers."""


class BrokerUnreachable(BrokerError):
    """It cannot be reached, or the connection to it was lost."""


class BrokerRefused(BrokerError):
    """It does not let us in, or forbids what we ask."""


class TopologyMismatch(BrokerError):
    """Its queues are missing, or were declared otherwise."""


class SecretError(StackledgerError):
    """Secret values cannot be read or kept."""


class KeyFileError(StackledgerError):
    """A private key of the fleet cannot be read, or is not its owner's alone."""


class ArtifactError(StackledgerError):
    """The artifact store cannot do what was asked."""


class ArtifactMissing(ArtifactError):
    """No object under that digest."""


class ArtifactDamaged(ArtifactError):
    """The bytes do not have the digest that the log knows."""


class MaterializerError(ArtifactError):
    """A value cannot be written or read as asked."""


class PipelineError(StackledgerError):
    """A pipeline is put together wrongly."""


class RunFailed(StackledgerError):
    """A run ended, and not well."""


class FlavorError(StackledgerError):
    """A flavor, or a library that it needs, cannot be loaded."""
