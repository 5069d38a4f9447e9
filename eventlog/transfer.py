"""A log as a file: JSON lines in CloudEvents form, from which it comes back byte by byte.

A line for each event, in order. Beside the attributes of CloudEvents 1.0 it has `position`, and `tags` as a JSON array
in a string, since CloudEvents know neither large numbers nor lists; `data_base64` are the stored data themselves. The
last line says how many events there are, and the SHA-256 of all bytes before it: a file that was cut off or edited is
noticed. It says nothing about who wrote the file.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import IO, Any, NamedTuple, Protocol

import msgpack

from stackledger.domain.errors import InvalidValue, LogDamaged, LogError
from stackledger.domain.events import EVENT_TYPES
from stackledger.domain.events.log import LogCreated
from stackledger.eventlog.codec import MAX_DATA, decode
from stackledger.eventlog.moves import MOVED
from stackledger.eventlog.stored import StoredEvent, unpacked

_END = "stackledger.log.exported/1"
_LONGEST_LINE = 2 * MAX_DATA
_GREATEST = 2**63 - 1


class Fresh(Protocol):
    """A log without events that is being made; nobody sees it before it is whole."""

    def write(self, events: Iterable[StoredEvent]) -> None:
        """Keep the events as they are, each at its position."""

    def read(self) -> Iterable[StoredEvent]:
        """Return all that is kept, in order."""


class Transferred(NamedTuple):
    """What came from one log into a file, or the other way. `digest` is over positions, types, tags and data.

    `moved` says whether the log goes on where the file is imported, because its last event is its move.
    """

    log_id: str
    events: int
    digest: str
    moved: bool


def write_lines(events: Iterable[StoredEvent], file: IO[bytes]) -> Transferred:
    """Write a log into a file that is open for writing."""
    log_id = ""
    tally, written = _Tally(), hashlib.sha256()
    for stored in events:
        fields = unpacked(stored.position, stored.data)
        log_id = log_id or _log_id(stored, fields)
        line = _line(
            **_common(stored.type, fields["id"], log_id),
            time=_time(fields["time"]),
            datacontenttype="application/msgpack",
            position=str(stored.position),
            tags=json.dumps(stored.tags, ensure_ascii=False),
            data_base64=base64.b64encode(stored.data).decode(),
        )
        tally.add(stored)
        written.update(line)
        file.write(line)
    end = {"events": tally.events, "sha256": written.hexdigest()}
    file.write(_line(**_common(_END, f"{log_id}/{tally.events}", log_id), datacontenttype="application/json", data=end))
    return tally.transferred(log_id)


def load_lines(file: IO[bytes], log: Fresh) -> Transferred:
    """Put the log in a file that is open for reading into a fresh one, and compare what that has then.

    Raises InvalidValue for a file that is not whole, or not as it was written; whoever makes the log then drops it.
    """
    lines = _Lines(file)
    log.write(lines)
    lines.check_whole()
    kept = _Tally()
    for stored in log.read():
        kept.add(stored)
    if kept.digest() != lines.tally.digest():
        raise LogError("The log did not keep what was in the file.", hint="Nothing was imported; please report this.")
    return kept.transferred(lines.log_id)


class _Lines:
    """Reads the lines of a file once, and knows in the end whether they were whole."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._number = 0
        self._read = hashlib.sha256()
        self._end: Any = None
        self.log_id = ""
        self.tally = _Tally()

    def __iter__(self) -> Iterator[StoredEvent]:
        position = 0
        while line := self._file.readline(_LONGEST_LINE):
            self._number += 1
            found = self._parsed(line)
            if found.get("type") == _END:
                self._end = found.get("data")
                return
            stored = self._stored(found, position)
            self._read.update(line)
            self.tally.add(stored)
            position = stored.position
            yield stored

    def check_whole(self) -> None:
        if self._end is None or not self.tally.events:
            raise InvalidValue(
                f"The file ends after {self.tally.events:,} events, without its last line: it was cut off.",
                hint="Nothing was imported. Export the log again.",
            )
        self._number += 1
        if self._file.read(1):
            raise self._refused("something follows the last line")
        if self._end != {"events": self.tally.events, "sha256": self._read.hexdigest()}:
            raise InvalidValue(
                "The file is not as it was written: its last line tells of other contents.",
                hint="Nothing was imported. Export the log again.",
            )

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._refused("it is not one JSON object") from error
        if not (isinstance(found, dict) and line.endswith(b"\n")):
            raise self._refused("it is not one JSON object, or was cut off")
        return found

    def _stored(self, found: dict[str, Any], after: int) -> StoredEvent:
        try:
            tags = json.loads(found["tags"])
            if not isinstance(tags, list):
                raise TypeError("tags are a list")
            stored = StoredEvent(
                int(found["position"]),
                found["type"],
                tuple(tags),
                base64.b64decode(found["data_base64"], validate=True),
            )
            "".join((stored.type, *stored.tags)).encode()
            fields = unpacked(stored.position, stored.data)
            if stored.type in EVENT_TYPES and not _is_readable(stored):
                raise self._refused(f"its data are not those of {stored.type}")
            self.log_id = self.log_id or _log_id(stored, fields)
            expected = {**_common(stored.type, fields["id"], self.log_id), "time": _time(fields["time"])}
        except LogDamaged as error:
            raise self._refused(error.message) from error
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise self._refused("it is not an event as they are exported") from error
        if not after < stored.position <= _GREATEST:
            raise self._refused(f"its position {stored.position} does not follow {after}")
        if any(found.get(key) != value for key, value in expected.items()):
            raise self._refused("it says something else than the data in it")
        return stored

    def _refused(self, why: str) -> InvalidValue:
        return InvalidValue(f"Line {self._number} of the file cannot be imported: {why}.", hint="Nothing was imported.")


def _is_readable(stored: StoredEvent) -> bool:
    try:
        decode(stored)
    except LogDamaged:
        return False
    return True


class _Tally:
    """Counts events, and digests all that makes them up."""

    def __init__(self) -> None:
        self.events = 0
        self._last_type = ""
        self._digest = hashlib.sha256()

    def add(self, stored: StoredEvent) -> None:
        self.events += 1
        self._last_type = stored.type
        self._digest.update(msgpack.packb((stored.position, stored.type, stored.tags, stored.data)))

    def digest(self) -> str:
        return self._digest.hexdigest()

    def transferred(self, log_id: str) -> Transferred:
        return Transferred(log_id, self.events, self.digest(), moved=self._last_type == MOVED)


def _log_id(first: StoredEvent, fields: dict[str, Any]) -> str:
    if first.type != LogCreated.TYPE or first.position != 1:
        raise LogDamaged(f"The log begins with {first.type!r} at position {first.position}, not with its creation.")
    return str(fields["body"]["log_id"])


def _common(type_name: str, event_id: str, log_id: str) -> dict[str, Any]:
    return {"specversion": "1.0", "id": event_id, "source": f"urn:stackledger:log:{log_id}", "type": type_name}


def _time(microseconds: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _line(**attributes: Any) -> bytes:
    return json.dumps(attributes, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
