"""Finding garbage in an artifact store, and collecting it (docs/adr/0017-collecting-garbage.md)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from stackledger.client.collection_results import Action, Garbage
from stackledger.client.moments import iso
from stackledger.domain.collection import MAX_OBJECTS, CollectionCommand, CollectObjects, CondemnObjects
from stackledger.domain.errors import InvalidValue, Refused
from stackledger.domain.event import Event
from stackledger.domain.events.artifacts import ArtifactsCollected, ArtifactsCondemned, collected_as_tag, garbage_tag
from stackledger.domain.events.runs import Kept, content_tag
from stackledger.domain.ports import Aside, CollectableStore
from stackledger.eventlog.codec import decode
from stackledger.eventlog.ids import new_id

if TYPE_CHECKING:
    from stackledger.wiring import Ledger

Decide = Callable[[CollectionCommand], Sequence[Event]]
"""Has a command decided and appended, and returns the events."""

_DAY = 24 * 3600
_LONGEST = 36_500
_LEAVING = _DAY
"""After how many seconds what a writer has begun is the leaving of one that died."""
_UNDECIDED = 7 * _DAY
"""For how many seconds what was set aside stays there, too, while nobody knows whether whoever did it goes on."""


def signature(ledger: Ledger) -> str:
    """Return how a log signs in to the artifact stores that its runs use: a copy of it signs otherwise."""
    import hashlib

    if ledger.server is None:
        place = str((ledger.home / "log.db").stat().st_ino)
    else:
        parts = urlsplit(ledger.server.name)
        place = f"{parts.hostname}:{parts.port or 5432}{parts.path}"
    return f"{ledger.standing.name}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"


class _Seen(NamedTuple):
    """What is in a store and nothing refers to: a line for people, and how pruning gets at it."""

    line: Garbage
    collection: str = ""
    is_old: bool = False

    @property
    def kept(self) -> Kept:
        return Kept(digest=self.line.digest, size=self.line.size or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Looks for garbage in one artifact store, and collects it; `grace` is in seconds."""

    store_id: str
    name: str
    store: CollectableStore
    ledger: Ledger
    decide: Decide
    grace: float

    def found(self) -> list[Garbage]:
        """Return what nothing in the log refers to, and what collecting would do with it."""
        return [each.line for each in self._survey()]

    def collected(self) -> list[Garbage]:
        """Condemn what is garbage, collect what was condemned and is due, and return what was done."""
        survey = list(self._survey())
        done = [each for each in survey if each.line.action in {"keep", "wait"}]
        done += self._settled(survey)
        done += self._condemned(_of(survey, "condemn"))
        done += self._collected(_of(survey, "collect"))
        return [each.line for each in done]

    # Whose store it is

    def refuse_shared(self, *, not_shared: bool) -> None:
        """Raise Refused where another log may refer to what is in the store, unless somebody says that none does."""
        if not_shared:
            self.store.claim(signature(self.ledger))
        why = self.sharing()
        if why is not None:
            raise Refused(
                f"Nothing was pruned in the artifact store {self.name!r}: {why}.",
                hint="If no other log refers to what is in it, say so once: --not-shared.",
            )

    def sharing(self) -> str | None:
        """Return in words why another log may refer to what is in the store; None where it is known that none does."""
        own, users = signature(self.ledger), self.store.users()
        others = sorted(users.keys() - {own})
        if others:
            return f"other logs, or copies of this one, have used it ({', '.join(others)})"
        if own not in users and next(self.store.objects(), None) is None:
            return None
        if not users.get(own):
            return "there were objects in it before this log used it, perhaps those of another log"
        return None

    # What there is

    def _survey(self) -> Iterator[_Seen]:
        """Yield what nothing refers to. Objects are listed first: what comes to refer to them since is seen."""
        store = self.store
        now, log_now = store.now(), self.ledger.now()
        objects = sorted(store.objects())
        digests = {found.digest for found in objects}
        for aside in sorted(store.aside()):
            age = now - aside.since
            line = Garbage(aside.digest, None, _whole(age), self._action_aside(aside, age, digests), None)
            yield _Seen(line, aside.collection, age > _UNDECIDED)
        for found in sorted(store.unfinished()):
            age = now - found.changed
            action: Action = "remove" if age > _LEAVING else "keep"
            yield _Seen(Garbage(found.digest, found.size, _whole(age), action, None))
        for found in objects:
            if self._is_referenced(found.digest):
                continue
            age, due = now - found.changed, self._due(found.digest)
            if due is not None:
                action = "collect" if due <= log_now else "wait"
            else:
                action = "condemn" if age >= self.grace else "keep"
            yield _Seen(Garbage(found.digest, found.size, _whole(age), action, iso(due)))

    def _action_aside(self, aside: Aside, age: float, digests: set[str]) -> Action:
        """Return what to do with what is set aside: whoever did it died, or is about to have it decided."""
        if self._is_decided(aside):
            return "remove"
        if aside.digest in digests:
            return "remove" if age > _UNDECIDED else "wait"
        if self._is_referenced(aside.digest) or not isinstance(self._last_word(aside.digest), ArtifactsCollected):
            return "put back"
        return "put back" if age > _UNDECIDED else "wait"

    def _is_referenced(self, digest: str) -> bool:
        return next(self.ledger.reader.scan(tags=(content_tag(digest),)), None) is not None

    def _due(self, digest: str) -> int | None:
        """Return from when on an object may be collected, None where it is not condemned."""
        event = self._last_word(digest)
        return event.due if isinstance(event, ArtifactsCondemned) else None

    def _last_word(self, digest: str) -> Event | None:
        last = next(self.ledger.reader.scan_back(tags=(garbage_tag(self.store_id, digest),)), None)
        return decode(last).event if last is not None else None

    def _is_decided(self, aside: Aside) -> bool:
        """Say whether the log knows that an object was collected so: then nothing refers to what is set aside."""
        for stored in self.ledger.reader.scan(tags=(collected_as_tag(aside.collection),)):
            event = decode(stored).event
            if isinstance(event, ArtifactsCollected) and any(each.digest == aside.digest for each in event.objects):
                return True
        return False

    # What is done

    def _settled(self, survey: Sequence[_Seen]) -> list[_Seen]:
        """Bring to an end what others began and never finished."""
        done = [each for each in survey if each.line.action in {"remove", "put back"}]
        for each in done:
            if each.line.action == "put back":
                self.store.put_back(each.line.digest, each.collection)
            if each.collection and (each.line.action == "remove" or each.is_old):
                self.store.drop(each.line.digest, each.collection)
        if any(not each.collection for each in done):
            self.store.sweep_temporary(self.ledger.now() / 1_000_000 - _LEAVING)
        return done

    def _condemned(self, found: Sequence[_Seen]) -> Iterator[_Seen]:
        for some in _chunks(found):
            due = self.ledger.now() + math.ceil(self.grace * 1_000_000)
            done = self._decided(CondemnObjects(self.store_id, tuple(each.kept for each in some), due))
            yield from (each._replace(line=each.line._replace(due=iso(due))) for each in some if each.kept in done)

    def _collected(self, found: Sequence[_Seen]) -> Iterator[_Seen]:
        for some in _chunks(found):
            collection, objects = new_id(), tuple(each.kept for each in some)
            # First: whoever puts one of them from now on puts it anew, so what the log says then is true.
            for each in objects:
                self.store.set_aside(each.digest, collection)
            done = self._decided(CollectObjects(self.store_id, objects, collection, self.ledger.now()))
            for each in objects:
                if each not in done:
                    self.store.put_back(each.digest, collection)
                self.store.drop(each.digest, collection)
            yield from (each for each in some if each.kept in done)

    def _decided(self, command: CollectionCommand) -> set[Kept]:
        """Have the command decided, and return the objects of which it is true."""
        return {
            each
            for event in self.decide(command)
            if isinstance(event, ArtifactsCondemned | ArtifactsCollected)
            for each in event.objects
        }


def seconds_of(days: float) -> float:
    """Return a grace period in seconds, or raise InvalidValue."""
    if isinstance(days, bool) or not isinstance(days, int | float) or not 0 <= days <= _LONGEST:
        raise InvalidValue(f"The grace period is a number of days from 0 to {_LONGEST:,}, not {days!r}.")
    return days * _DAY


def _of(survey: Sequence[_Seen], action: Action) -> list[_Seen]:
    return [each for each in survey if each.line.action == action]


def _chunks(found: Sequence[_Seen]) -> Iterator[list[_Seen]]:
    rest = iter(found)
    while some := list(islice(rest, MAX_OBJECTS)):
        yield some


def _whole(seconds: float) -> int:
    return max(0, int(seconds))
