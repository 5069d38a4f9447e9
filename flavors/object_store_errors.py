"""What goes wrong between here and object storage, in words.

The library's messages are pages long, and hold addresses with signatures in them: of each only the server's own words
are passed on, or what became of the connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore import exceptions

from stackledger.domain.errors import ArtifactError, sentence
from stackledger.domain.names import visible

_RIGHTS = "Give these credentials the right to read, write, list and delete there; a wrong clock is refused too."
_AGAIN = "Try again; if it stays so, ask whoever runs the store."
_OURS = "Ask whoever runs the store, and report it as a mistake of Stackledger if they find nothing."

_HINTS: dict[type[Exception], str] = {
    FileNotFoundError: _AGAIN,  # so it is that the library says that something is not there
    exceptions.AlreadyExistsError: _AGAIN,
    exceptions.BaseError: _AGAIN,
    exceptions.GenericError: _AGAIN,
    exceptions.InvalidPathError: _OURS,
    exceptions.JoinError: _OURS,
    exceptions.NotFoundError: _AGAIN,
    exceptions.NotModifiedError: _OURS,
    exceptions.NotSupportedError: "This server does not do what an artifact store needs: use another.",
    exceptions.PermissionDeniedError: _RIGHTS,
    exceptions.PreconditionError: _AGAIN,
    exceptions.UnauthenticatedError: _RIGHTS,
    exceptions.UnknownConfigurationKeyError: _OURS,
}
_OF_LIBRARY = tuple(_HINTS)

_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
_HINTS_OF_CODES = {
    **dict.fromkeys(_NO_BUCKET, "Stackledger makes no buckets: create it, or correct the component's `path`."),
    "RequestTimeTooSkewed": "Set the clock of this machine.",
    "NoSuchUpload": _AGAIN,
    "AuthorizationHeaderMalformed": "Give the `region` that the bucket is in.",
    "EntityTooLarge": "An object can have 5 GiB on S3, because it is copied there to its name in one piece.",
}

_HINTS_OF_WORDS = {
    "kind: Connect": "Look at the `endpoint_url`, if there is one, and at the network.",
    "kind: Timeout": "Try again; a slow network can be given a longer `timeout`.",
    "builder error": "An address with http:// is used only where --allow_http=true allows it.",
    "configured region": "Give the `region` that the bucket is in.",
}

_CODE = re.compile(r"<Code>\s*(\w{1,80})\s*</Code>")
_MESSAGE = re.compile(r"<Message>\s*([^<\n]{1,300})")
_STATUS = re.compile(r"status code: ([1-5]\d\d[\w -]{0,40})")
_NOT_ALLOWED = re.compile(r"\bcode: 40[13]\b")
_CAUSE = re.compile(r"(?:message|error): \"([^\"\n]{1,200})\"")
_QUERY = re.compile(r"\?[^\s\"]*")


def says_no_bucket(error: Exception) -> bool:
    """Say whether it is the bucket that is not there, and not an object in it."""
    return _code(str(error)) in _NO_BUCKET


@contextmanager
def told(where: str, what: str) -> Iterator[None]:
    """Raise ArtifactError, saying what could not be done where, for all that the library raises."""
    try:
        yield
    except _OF_LIBRARY as error:
        text = str(error)
        words, hint = _words(text), _HINTS_OF_CODES.get(_code(text)) or _hint(error, text)
        raise ArtifactError(f"{where} cannot {what}: {sentence(words)}", hint=hint) from error


def _hint(error: Exception, text: str) -> str:
    if _NOT_ALLOWED.search(text):
        return _RIGHTS  # the library has exceptions of its own for this, but not where it lists and deletes
    for words, hint in _HINTS_OF_WORDS.items():
        if words in text:
            return hint
    return next(_HINTS[kind] for kind in type(error).__mro__ if kind in _HINTS)


def _code(text: str) -> str:
    found = _CODE.search(text)
    return found[1] if found else ""


def _words(text: str) -> str:
    code, message, status = _code(text), _MESSAGE.search(text), _STATUS.search(text)
    if code:
        return visible(f"{message[1].strip()} ({code})" if message else code)
    if "kind: Connect" in text:
        cause = _CAUSE.search(text)
        return f"it cannot be reached{f' ({visible(cause[1])})' if cause else ''}"
    if "kind: Timeout" in text:
        return "it gave no answer in time"
    if status:
        return f"it answered {status[1].strip()}"
    return visible(_QUERY.sub("", text.partition("\n")[0].rpartition(" - ")[2])[:300])
