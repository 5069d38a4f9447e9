"""The client's part about the health of a home: status, doctor, views, and clearing up."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stackledger.client.runs import RunClient
from stackledger.client.secrets import SecretClient
from stackledger.client.stacks import StackClient
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import LogMoved, Refused, StackledgerError, raised
from stackledger.projections import registry_queries
from stackledger.settings import forget_half_written

if TYPE_CHECKING:
    from stackledger.client.doctor import Finding
    from stackledger.client.home_results import Projection
    from stackledger.domain.ports import ArtifactStore

_PRECIOUS = ("log.db", "log.db-wal", "log.db-shm", "subjects.db", "secrets.db", "secret.key", "artifacts", "runs")


class HealthClient(StackClient, SecretClient, RunClient):
    """Status, doctor, views, and clearing up."""

    def has_log(self) -> bool:
        """Say whether there is anything to ask about yet. All other questions begin a log where there is none."""
        return self._ledger.has_log()

    def list_projections(self) -> list[Projection]:
        """Return how far each projection has got; nothing is caught up."""
        from stackledger.client.home_results import Projection
        from stackledger.client.moments import iso

        _ = self._ledger.log_id
        return [
            Projection(row.name, row.version, row.position, row.lag, row.skipped, iso(row.checked))
            for row in self._ledger.views.status()
        ]

    def rebuild_projection(self, name: str | None = None) -> int:
        """Build a projection, or all, anew from the log; return the position reached."""
        _ = self._ledger.log_id
        return self._ledger.views.rebuild(name)

    def status(self) -> dict[str, Any]:
        """Return who and where the caller is, and how far log and views have got."""
        from stackledger import __version__

        stack, scope = self.active_stack_and_scope()
        try:
            self._refuse_if_moved()
        except LogMoved as error:
            self._notify(str(error))
        if self._ledger.server is not None:
            from stackledger.eventlog.postgres_health import wrong

            for _, text in wrong(self._ledger.server):
                self._notify(text)
        return {
            "version": __version__,
            "home": str(self._ledger.home),
            "repository": str(self._ledger.repository) if self._ledger.repository else None,
            "user": self._ledger.user,
            "active_stack": stack.name,
            "active_for": scope,
            "log": self._ledger.reader.name,
            "position": self._ledger.reader.head(),
            "views_behind": max(row.lag for row in self._ledger.views.status()),
        }

    def doctor(self) -> list[Finding]:
        """Look for what could be wrong; each finding is `ok`, a `warning` or an `error`."""
        from stackledger.client.doctor import findings

        return findings(self._ledger, self._dead, self._artifact_stores)

    def clean(self, *, all: bool = False) -> Path | None:  # noqa: A002 - the option's name
        """Remove views and leavings, which can all be made again.

        With `all` move the log and artifacts aside too, into the folder that is returned.
        """
        _ = self._ledger.log_id
        if all and self._ledger.server is not None:
            raise Refused(
                f"The log {self._ledger.server.name} is not only of this home, so it stays where it is.",
                hint="Without --all this home is cleaned; another database can have a log of its own.",
            )
        if all:
            self._refuse_while_fleet_runs()
        if not all:
            self._clean_views()
            return None
        self._end_dead_runs()
        self._sweep()
        return self._move_aside()

    def _clean_views(self) -> None:
        from stackledger.projections.engine import ViewsUnusable

        for last in (False, True):
            try:
                self._end_dead_runs()
                self._sweep()
                break
            except ViewsUnusable:
                # On a full disk they may be the very thing that can go, and the second try has that room.
                self._ledger.remove_views()
                if last:
                    raise
        self._ledger.remove_views()

    def _move_aside(self) -> Path:
        from stackledger.eventlog.lock import FileLock
        from stackledger.projections import run_queries

        home = self._ledger.home
        aside = home / f"old-{datetime.now(tz=UTC):%Y%m%dT%H%M%S.%fZ}"
        # Closing it moves what is in its write-ahead log into the file: one must never be left behind by the other.
        _ = self._ledger.recorder
        self._ledger.close()
        with FileLock(home / "log.lock"):
            running = self._read(run_queries.unfinished_runs)
            if running:
                raise Refused(
                    f"{len(running)} runs go on, so the log stays where it is.",
                    hint="Wait for them, interrupt them, or, on a fleet, end them with `stackledger run cancel`.",
                )
            wal = home / "log.db-wal"
            if wal.exists() and wal.stat().st_size:
                raise Refused("Others use the log just now, so it stays where it is.", hint="Try again.")
            self._ledger.close()
            try:
                aside.mkdir(mode=0o700)
                # The log goes first: what is left behind of the others belongs to no other log, and harms none.
                for name in _PRECIOUS:
                    if (home / name).exists():
                        (home / name).rename(aside / name)
            except OSError as error:
                raise StackledgerError(
                    f"The log and artifacts cannot be moved to {aside}: {error.strerror}."
                ) from error
        self._ledger.remove_views()
        return aside

    def _sweep(self) -> None:
        """Remove what killed writers left in this home and in the artifact stores of this machine."""
        from stackledger.workers.run_files import sweep_locks

        sweep_locks(self._ledger.home)
        day_ago = self._ledger.now() / 1_000_000 - 24 * 3600
        self._ledger.secret_values.settle()
        forget_half_written(self._ledger.home)
        self._sweep_stores_never_registered(day_ago)
        for name, made in self._artifact_stores():
            try:
                made().sweep_temporary(day_ago)
            except Exception as error:  # noqa: BLE001 - a store of somebody's own must not keep the others from it
                why = str(error) if isinstance(error, StackledgerError) else raised(type(error).__name__, str(error))
                self._notify(f"The artifact store {name!r} was left as it is: {why}")

    def _artifact_stores(self) -> Iterator[tuple[str, Callable[[], ArtifactStore]]]:
        """Yield each artifact store there is: its name, and how it is made. No matter which stack is active."""
        kind, asked = ComponentType.ARTIFACT_STORE.value, self._asked((), {}, None, 1, 1000)
        for component in self._read(lambda view: registry_queries.components(view, kind, asked)).items:
            pinned = {
                "components": [
                    {
                        "id": component.id,
                        "name": component.name,
                        "type": component.type,
                        "flavor": component.flavor,
                        "configuration": component.configuration,
                    }
                ]
            }
            yield component.name, partial(self._store, pinned)

    def _sweep_stores_never_registered(self, day_ago: float) -> None:
        """Remove the empty folders of artifact stores whose registration was refused, or died."""
        from stackledger.domain.events.components import component_tag

        for folder in (self._ledger.home / "artifacts").glob("*/"):
            # A younger one may be about to come into the log: its folder is made and checked first.
            if folder.stat().st_mtime > day_ago or any(folder.glob("sha256/*")):
                continue
            if next(self._ledger.reader.scan(tags=(component_tag(folder.name),)), None) is None:
                shutil.rmtree(folder, ignore_errors=True)
