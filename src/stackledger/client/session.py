"""What every part of the client stands on: one home, one caller, and the way of a change."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import finalize

from stackledger.client import arguments
from stackledger.domain.errors import Ambiguous, NotFound, Refused, StackledgerError
from stackledger.projections import registry_queries
from stackledger.projections.engine import ViewsUnusable
from stackledger.projections.listing import Asked, Filters
from stackledger.settings import home_directory
from stackledger.wiring import Ledger

if TYPE_CHECKING:
    from stackledger.domain.decider import Decider
    from stackledger.domain.event import Context, Item
    from stackledger.eventlog.handler import Handled
    from stackledger.eventlog.stored import StoredEvent
    from stackledger.projections.engine import View
    from stackledger.projections.registry_queries import ActiveStack, StackRow
    from stackledger.projections.run_queries import RunRow

    Command = TypeVar("Command")
    State = TypeVar("State")
    Result = TypeVar("Result")

ACTIVE_STACK = "STACKLEDGER_ACTIVE_STACK"

MAX_REASON = 2_000
MAX_TICKET = 200
"""Characters. Each event of a change repeats both, and lists show them."""

_SCOPES = {"environment": "environment", "repository": "repository", "user": "global", "default": "global"}


class DryRun(Exception):
    """Raised by a change in a dry run, in place of appending; `events` are what would have been appended, as JSON."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = events
        super().__init__(f"{len(events)} events would be appended")


def ignore(_: str) -> None:
    """Take notice of nothing."""


class Session:
    """A caller at one home. Cheap to make; log and views are opened at their first use.

    `notify` is told what a person should know beside the result.
    """

    def __init__(
        self,
        *,
        reason: str | None = None,
        ticket: str | None = None,
        dry_run: bool = False,
        notify: Callable[[str], None] = ignore,
        home: Path | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._reason = reason
        self._ticket = ticket
        self._dry_run = dry_run
        self._notify = notify
        self._told_lost = False
        self._told_nameless = False
        self._ledger = Ledger(home or home_directory(environment), notify, environment)
        # Who does not close a client has its files closed with the client, or with the process, all the same.
        finalize(self, self._ledger.close)

    def close(self) -> None:
        """Let go of the files of this home."""
        self._ledger.close()

    def _read(self, query: Callable[[View], Result], as_of: str | int | None = None) -> Result:
        """Return what the query reads in the views, now or as of a position or time."""
        _ = self._ledger.log_id  # a fresh home gets its log, and the default stack, when it is first looked at

        def looked(view: View) -> Result:
            if self._ledger.is_replaced():
                raise self._ledger.replaced()  # what is seen now is of another log than what was seen before
            if as_of is None:
                return query(view)
            from stackledger.projections.asof import as_of as moved  # most queries are about now

            return query(moved(view, str(as_of), now=self._ledger.now()))

        return self._ledger.views.read(looked, past=as_of is not None)

    def _context(self) -> Context:
        """Return the context of a new command: who, from where, when and why. LogMoved where the log is away."""
        self._names()  # tells of a lost directory before anybody new comes into it
        self._refuse_if_moved()
        arguments.at_most(self._reason, "The reason", MAX_REASON)
        arguments.at_most(self._ticket, "The ticket", MAX_TICKET)
        return self._ledger.context(reason=self._reason, ticket=self._ticket, dry_run=self._dry_run)

    def _change(
        self,
        decider: Decider[Command, State],
        command: Command,
        *,
        seen: Mapping[Item, int] | None = None,
        context: Context | None = None,
    ) -> Handled[State]:
        """Have the command decided and appended; in a dry run DryRun is raised in place of appending.

        `seen` says, for an item, up to which position the caller had looked.
        """
        context = context or self._context()
        if not self._dry_run:
            self._end_dead_runs()
        try:
            handled = self._ledger.handler.handle(decider, command, context, seen=seen, dry_run=self._dry_run)
        except Refused as refused:
            if refused.others:
                raise refused.naming(self._names_of(refused.others)) from refused
            raise
        if self._dry_run:
            from stackledger.client.log_results import log_event

            raise DryRun(
                [
                    log_event(
                        recorded.position or None,
                        recorded.event.TYPE,
                        recorded.envelope._asdict(),
                        recorded.tags,
                        recorded.event.model_dump(mode="json"),
                        self._names(),
                    ).to_json()
                    for recorded in handled.events
                ]
            )
        try:
            self._ledger.views.catch_up()
        except StackledgerError as error:
            made = f"The change is in the log, at position {handled.known.position}, but cannot be shown."
            raise ViewsUnusable(f"{made} {error.message}", hint=error.hint) from error
        return handled

    def _made(self, handled: Handled[Any], read: Callable[[int | None], Result]) -> Result:
        """Return what a change made as it is now or, where somebody took it away since, as the change left it.

        `read` takes the position to look at, None for now.
        """
        try:
            return read(None)
        except NotFound:
            return read(handled.known.position)

    def _names_of(self, ids: Collection[str]) -> dict[str, str]:
        """Return the names of stacks and components by id; those that cannot be read now are left out."""
        with suppress(StackledgerError):
            return self._read(
                lambda view: {
                    **registry_queries.names_of_stacks(view, ids),
                    **registry_queries.names_of_components(view, ids),
                }
            )
        return {}

    def _end_dead_runs(self, driven: Sequence[RunRow] | None = None) -> None:
        """Append the end of every run of this home whose process died. Those of a fleet are nobody's to judge here.

        `driven` are the runs that had not ended just now, for who knows them already.
        """
        from stackledger.projections import run_queries
        from stackledger.workers.run_files import dead_runs

        driven = self._read(run_queries.driven_runs) if driven is None else driven
        unfinished = {row.id: row.name for row in driven if self._is_ours(row.owner)}
        dead = dead_runs(self._ledger.home, unfinished)
        if dead and self._moved() is not None:
            return  # nothing comes into a log that is away
        for run_id in dead:
            from stackledger.workers.local import end_dead_run  # hardly ever needed, and heavy

            if end_dead_run(self._ledger.handler, self._ledger.home, run_id, self._context()):
                self._notify(f"The process of the run {unfinished[run_id]!r} had died: it has failed.")

    def _refuse_if_moved(self) -> None:
        moved = self._moved()
        if moved is not None:
            from stackledger.eventlog.moves import moved_away

            raise moved_away(self._ledger.reader.name, moved, self._names())

    def _moved(self) -> StoredEvent | None:
        """Return the move of a log that goes on somewhere else, None for one that goes on here."""
        from stackledger.eventlog.moves import newest_move  # only for changes

        return newest_move(self._ledger.reader)

    def _refuse_while_fleet_runs(self) -> None:
        from stackledger.workers.fleet.local_processes import all_running

        names = [each.name for processes in all_running(self._ledger.home).values() for each in processes]
        if names:
            raise Refused(
                f"In the background {', '.join(names)} work for the log, so it stays where it is.",
                hint="End them with `stackledger stack down`.",
            )

    def which_log(self) -> str:
        """Say which log this is."""
        if self._ledger.server is None:
            return "Using the default local database."
        return f"Using the log {self._ledger.server.name}."

    def _is_ours(self, owner: str) -> bool:
        """Say whether whoever owns a run acts from this home: the runs of other homes are not ours to judge."""
        return self._ledger.server is None or owner in self._names()

    def _names(self) -> dict[str, str]:
        """Return the names behind subject ids."""
        names = self._ledger.directory.names()
        if not names and self._ledger.server is None and not self._told_nameless:
            self._told_nameless = True
            self._notify(
                f"Nobody in this log has a name here: {self._ledger.home / 'subjects.db'} is gone, or another log's."
                " Put the one of this log there before the next change, which begins a new identity for you."
            )
        return names

    def _active(self, view: View) -> tuple[ActiveStack, str]:
        """Return what is active for the caller and its scope: `environment`, `repository` or `global`."""
        ledger = self._ledger
        named = ledger.environment.get(ACTIVE_STACK)

        def found(environment: str | None) -> ActiveStack:
            return registry_queries.active_stack(
                view, user_id=ledger.user_id or "", repository_id=ledger.repository_id, environment=environment
            )

        try:
            active = found(named)
        except (NotFound, Ambiguous) as error:
            if not named:
                raise
            if view.position == view.newest:
                raise NotFound(
                    f"The environment variable {ACTIVE_STACK} names no stack: {error.message}",
                    hint=f"Unset {ACTIVE_STACK}, or name another stack there.",
                    near=error.near,
                ) from error
            active = found(None)  # looking back beyond the stack's beginning: what was active then without it
        if active.lost and not self._told_lost and view.position == view.newest:
            self._told_lost = True
            self._notify(
                f"Your active stack {active.lost!r} was deleted: {active.stack.name!r} is active now."
                " Choose another one with `stackledger stack set NAME`."
            )
        return active, _SCOPES[active.by]

    def _active_if_any(self, view: View) -> StackRow | None:
        """Return what is active for the caller, None where the view looks back to before there was such a stack."""
        try:
            return self._active(view)[0].stack
        except NotFound:
            if view.position == view.newest:
                raise
            return None

    def _asked(
        self, filters: Sequence[str], given: Mapping[str, object], sort_by: str | None, page: int, size: int
    ) -> Asked:
        """Return what a caller wants to see of a list as queries take it: owners by id, labels as pairs.

        Raises UsageError for a filter that is not one of `filters`, InvalidValue for a value of the wrong type.
        """
        found = arguments.known(given, filters)
        if sort_by is not None:
            arguments.text(sort_by, "The order of a list, sort_by,")
        owner = found.get("owner")
        if owner is not None:
            subject = self._ledger.directory.find("user", owner)
            # A name that nobody has matches nothing, like the filter for a name.
            owner = subject.id if subject else owner
        labels = tuple(
            (key, value if equals else None)
            for key, equals, value in (
                label.partition("=") for label in arguments.texts(found.get("label") or (), "The filter label")
            )
        )
        others = {key: found[key] for key in Filters._fields if key not in {"owner", "labels"} and found.get(key)}
        return Asked(
            Filters(owner=owner, labels=labels, **others),
            sort_by,
            arguments.number(page, "The page of a list"),
            arguments.number(size, "The size of a page"),
        )
