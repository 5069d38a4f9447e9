"""The client's part about the log itself, and about what happened to whom."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from stackledger.client import arguments
from stackledger.client.arguments import kind_of
from stackledger.client.moments import iso
from stackledger.client.results import Page
from stackledger.client.session import Session
from stackledger.domain.errors import LogDamaged, NotFound, UsageError, near_names
from stackledger.domain.names import quoted
from stackledger.eventlog.moves import standing
from stackledger.eventlog.stored import unpacked
from stackledger.projections.listing import check_page, sorted_by

if TYPE_CHECKING:
    from stackledger.client.log_results import Change, LogEvent
    from stackledger.eventlog.stored import StoredEvent
    from stackledger.projections.engine import View
    from stackledger.projections.history import FieldChange

_SORT_KEYS: dict[str, Callable[[StoredEvent], Any]] = {
    "position": lambda stored: stored.position,
    "time": lambda stored: unpacked(stored.position, stored.data)["time"],
    "type": lambda stored: stored.type,
}


class HistoryClient(Session):
    """Events as they are in the log, and the history of single stacks and components."""

    def log_events(
        self,
        *,
        tags: Sequence[str] = (),
        types: Sequence[str] = (),
        actor: str | None = None,
        since: str | int | None = None,
        until: str | int | None = None,
        sort_by: str | None = None,
        page: int = 1,
        size: int = 20,
    ) -> Page[LogEvent]:
        """Return a page of the events, newest first unless `sort_by` says otherwise (`position`, `time`, `type`).

        `types` match with their version (`stack.registered/1`) or without. `since` and `until` are positions or times,
        both included. Raises NotFound for an actor or a type of event that there is not.
        """
        _ = self._ledger.log_id
        check_page(arguments.number(page, "The page of a list"), arguments.number(size, "The size of a page"))
        wanted = arguments.texts(tags, "The tags")
        types = arguments.texts(types, "The types of event")
        if actor is not None:
            subject = self._ledger.directory.find("user", actor)
            if subject is None:
                raise NotFound(
                    f"There is no user named {quoted(actor)}.", near=near_names(actor, self._names().values())
                )
            wanted += (f"actor:{subject.id}",)
        first, last = self._range(since, until)
        reader = self._ledger.reader
        if types:
            _check_types(types, reader.counts_by_type())
        key, descending = sorted_by(sort_by or "desc:position", _SORT_KEYS)
        scanned = self._readable(first, last, wanted, newest_first=descending)
        matching = (stored for stored in scanned if _is_of(stored.type, types))
        start, end = (page - 1) * size, page * size
        if key != "position":
            order = sorted(((_SORT_KEYS[key](stored), stored.position) for stored in matching), reverse=descending)
            return Page([self.log_event(position) for _, position in order[start:end]], len(order), page, size)
        items = [event for event in map(self._event_if_readable, islice(matching, start, end)) if event]
        if not (wanted or types) and (first, last) == (1, reader.head()):
            total = sum(reader.counts_by_type().values())
        else:
            total = start + len(items) + sum(1 for _ in matching)
        return Page(items, total, page, size)

    def log_event(self, position: int) -> LogEvent:
        """Return the event at a position."""
        _ = self._ledger.log_id
        stored = self._ledger.reader.at(position)
        if stored is None:
            raise NotFound(
                f"There is no event at position {position}.", hint=f"The log ends at {self._ledger.reader.head()}."
            )
        return self._event(stored)

    def follow_log(self, *, after: int | None = None) -> Iterator[LogEvent]:
        """Yield the events after a position (the newest if none is given) as they come, for ever."""
        _ = self._ledger.log_id
        reader = self._ledger.reader
        position = reader.head() if after is None else after
        while True:
            for stored in reader.scan(after=position):
                position = stored.position
                yield self._event(stored)
            reader.wait()

    def log_stats(self) -> dict[str, Any]:
        """Return how many events there are, of which types, since when, and how large the log is."""
        log_id = self._ledger.log_id
        reader = self._ledger.reader
        head, types, found = reader.head(), reader.counts_by_type(), standing(reader)
        ends = (next(self._readable(each, each, newest_first=False), None) for each in (1, head))
        oldest, latest = (end and self._event_if_readable(end) for end in ends)
        return {
            "log_id": log_id,
            "incarnation": found.incarnation or None if found else None,
            "path": reader.name,
            "events": sum(types.values()),
            "position": head,
            "first_event": oldest.time if oldest else None,
            "newest_event": latest.time if latest else None,
            "bytes": reader.size(),
            "subjects": len(self._names()),
            "types": types,
        }

    def stack_history(self, name: str | None = None, *, as_of: str | int | None = None) -> list[Change]:
        """Return what happened to a stack, newest first; a deleted one is found by the name it had last."""
        from stackledger.projections import history

        def query(view: Any) -> list[Any]:
            stack_id = self._active(view)[0].stack.id if name is None else history.stack_id(view, name)
            return history.of_stack(view, stack_id)

        return self._changes(self._read(query, as_of))

    def component_history(
        self, component_type: str, name: str | None = None, *, as_of: str | int | None = None
    ) -> list[Change]:
        """Return what happened to a component, newest first; a deleted one is found by the name it had last."""
        from stackledger.projections import history

        kind = kind_of(component_type)

        def query(view: Any) -> list[Any]:
            if name is not None:
                return history.of_component(view, history.component_id(view, kind.value, name))
            refs = self._active(view)[0].stack.components.get(kind.value)
            if not refs:
                raise NotFound(f"The active stack has no {kind.words}.", hint="Name one.")
            return history.of_component(view, refs[0].id)

        return self._changes(self._read(query, as_of))

    def diff_stack(self, name: str | None, start: str | int, end: str | int | None = None) -> list[dict[str, Any]]:
        """Return what differs between two moments of a stack, field by field, its components' configuration too.

        Raises NotFound where the stack was there at neither. One that was restored is compared with what it was before.
        """
        from stackledger.projections import history
        from stackledger.projections.registry_queries import names_of_stacks

        def known(view: View) -> tuple[str, str]:
            stack = self._active(view)[0].stack.id if name is None else history.stack_id(view, name)
            return stack, names_of_stacks(view, [stack])[stack]

        stack, last_name = self._read(known)
        before, after = (
            self._read(lambda view: history.stack_facts(view, stack, last_name), moment) for moment in (start, end)
        )
        if not (before or after):
            raise NotFound(
                f"There was no stack {last_name!r} at either moment.",
                hint=f"`stackledger stack history {last_name}` says when there was.",
            )
        return [_field(change, {}) for change in history.differences(before, after)]

    def _changes(self, entries: list[Any]) -> list[Change]:
        from stackledger.client.log_results import Change

        names = self._names()
        return [
            Change(
                position=entry.position,
                time=iso(entry.time),
                type=entry.type.partition("/")[0],
                actor=names.get(entry.actor, entry.actor),
                host=names.get(entry.host, entry.host),
                reason=entry.reason,
                ticket=entry.ticket,
                changes=[_field(change, names) for change in entry.changes],
            )
            for entry in entries
        ]

    def _range(self, since: str | int | None, until: str | int | None) -> tuple[int, int]:
        from stackledger.projections.asof import position_before

        head = self._ledger.reader.head()
        now = self._ledger.now()
        first = 1 if since is None else self._read(lambda view: position_before(view, str(since), now=now)) + 1
        last = head if until is None else self._read(lambda view: view.position, until)
        if first > last and since is not None and until is not None:
            raise UsageError(f"--since {since} is after --until {until}.")
        return first, last

    def _readable(
        self, first: int, last: int, tags: tuple[str, ...] = (), *, newest_first: bool
    ) -> Iterator[StoredEvent]:
        """Yield the events between two positions, both included, and tell of those that cannot be read."""
        reader = self._ledger.reader
        while first <= last:
            try:
                if newest_first:
                    found = reader.scan_back(before=last + 1, tags=tags)
                    yield from takewhile(partial(_is_from, first), found)
                else:
                    yield from reader.scan(after=first - 1, upto=last, tags=tags)
            except LogDamaged as damaged:
                if damaged.position is None:
                    raise
                self._notify(f"{damaged.message} It is left out.")
                first, last = (first, damaged.position - 1) if newest_first else (damaged.position + 1, last)
            else:
                return

    def _event_if_readable(self, stored: StoredEvent) -> LogEvent | None:
        try:
            return self._event(stored)
        except LogDamaged as damaged:
            self._notify(f"{damaged.message} It is left out.")
            return None

    def _event(self, stored: StoredEvent) -> LogEvent:
        from stackledger.client.log_results import log_event

        fields = unpacked(stored.position, stored.data)
        body = fields.pop("body")
        return log_event(stored.position, stored.type, fields, stored.tags, body, self._names())


def _field(change: FieldChange, names: Mapping[str, str]) -> dict[str, Any]:
    """Return a change of a field as JSON, with names in place of the ids of subjects."""
    old, new = (names.get(value, value) if isinstance(value, str) else value for value in (change.old, change.new))
    return {"field": change.field, "from": old, "to": new}


def _check_types(wanted: Sequence[str], in_the_log: Collection[str]) -> None:
    """Refuse a type of event that neither the log has, which a newer program may have written, nor this program."""
    for name in wanted:
        if name in _spellings(in_the_log):
            continue
        from stackledger.domain.events import EVENT_TYPES  # brings pydantic in, for types that are not in the log

        if name not in _spellings(EVENT_TYPES):
            raise NotFound(
                f"There is no type of event {quoted(name)}.",
                hint="`stackledger log stats` lists those that are in the log.",
                near=near_names(name, EVENT_TYPES if "/" in name else [each.partition("/")[0] for each in EVENT_TYPES]),
            )


def _spellings(types: Iterable[str]) -> set[str]:
    return {spelling for each in types for spelling in (each, each.partition("/")[0])}


def _is_from(first: int, stored: StoredEvent) -> bool:
    return stored.position >= first


def _is_of(type_name: str, wanted: Sequence[str]) -> bool:
    return not wanted or type_name in wanted or type_name.partition("/")[0] in wanted
