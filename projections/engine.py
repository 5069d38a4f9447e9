"""The views as their readers see them: a file of plain rows that is as new as the log, whatever happened to it.

Reading is the common case and must be quick: one check that the event at the views' checkpoint is the log's
newest, then the query. Only where it is not, `folding` is loaded and catches up.
"""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

from stackledger.domain.errors import LogDamaged, NotFound, StackledgerError, near_names
from stackledger.domain.names import quoted
from stackledger.eventlog.stored import LogReader
from stackledger.projections.schema import CHECKPOINTS, VIEWS

Result = TypeVar("Result")

_TRIES = 5
_DELETIONS = 50
"""How often the file may be gone when it was to be read, beyond those tries."""

FAILURES = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What reading a damaged file may raise; its garbage may stand in the very message. See `is_damage`."""

_ENVIRONMENTAL = (
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_AUTH),
)
"""Results of SQLite that building the file anew would not mend."""


class ViewsUnusable(StackledgerError):
    """The views cannot be read or written, for a reason that building them anew does not mend."""


def is_damage(error: Exception) -> bool:
    """Say whether one of FAILURES is the fault of the file itself, so that building it anew mends it."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    # A file that ends too early is damaged, although SQLite counts it among the errors of devices.
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF not in _ENVIRONMENTAL


class View(NamedTuple):
    """The views as of `position`, of which `newest` is the last that they hold. Later changes do not show through.

    `damage` is what keeps the views from going on behind `newest`.
    """

    connection: sqlite3.Connection
    reader: LogReader
    position: int
    newest: int
    damage: LogDamaged | None = None


class ProjectionStatus(NamedTuple):
    """How far a projection has got. `lag` counts positions behind the log, `skipped` events of unknown types.

    `checked` is when its checkpoint was last compared with the log while catching up, in microseconds since 1970.
    """

    name: str
    version: int
    position: int
    lag: int
    skipped: int
    checked: int


class Views:
    """The views of one log in the file `path`, which may be missing, old, damaged, or deleted at any moment.

    `notify` is told what a person should know: that views are built anew, and why; that events were skipped.
    """

    def __init__(self, path: Path, reader: LogReader, notify: Callable[[str], None]) -> None:
        self._path = path
        self._reader = reader
        self._notify = notify

    def read(self, query: Callable[[View], Result], *, past: bool = False) -> Result:
        """Return what `query` reads in the views, which hold at least all that was in the log at the call.

        `query` may be called again if the file turns out to be damaged, so it does nothing but read. With `past` it
        looks back: where the log is damaged the views then end in front of that, as `damage` says.
        """
        needed: int | None = None
        damage: LogDamaged | None = None
        tries = deletions = 0
        while tries < _TRIES:
            try:
                with closing(self._opened()) as connection:
                    position = self._position(connection, needed)
                    if position is not None:
                        return query(View(connection, self._reader, position, position, damage))
            except FAILURES as error:
                problem: Exception | None = error
            else:
                problem = None
            # A file may be missing or half made by somebody else: only what stays damaged is thrown away.
            discard = problem is not None and is_damage(problem) and tries > 0
            deleted = problem is not None and deletions < _DELETIONS and not self._path.exists()
            tries, deletions = tries + (not deleted), deletions + deleted
            if discard:
                self._notify(f"The views in {self._path} are damaged ({problem}): building them anew from the log.")
            try:
                needed = self._catch_up(discard=discard)
            except LogDamaged as error:
                if not past:
                    raise
                needed, damage = 0, error
                self._notify(f"The log is damaged: {error.message}")
        raise ViewsUnusable(
            f"The views in {self._path} cannot be read{f': {problem}' if problem else ''}.",
            hint="They are only a copy of what is in the log: `stackledger projection rebuild` builds them anew."
            if problem is None or is_damage(problem)
            else "They stay as they are: make room, or give the rights to read and write there, and try again.",
        ) from problem

    def catch_up(self) -> int:
        """Bring the views up to the log, and return the position that they have reached."""
        return self.read(lambda view: view.position)

    def rebuild(self, name: str | None = None) -> int:
        """Build the views anew from the log, all or the named one, and return the position reached."""
        names = {view.rpartition("_v")[0]: view for view in VIEWS}
        if name is not None and name not in names:
            raise NotFound(
                f"There is no projection named {quoted(name)}.",
                hint=f"There are {', '.join(names)}.",
                near=near_names(name, names),
            )
        return self._catch_up(discard=True) if name is None else self._catch_up(anew=names[name])

    def status(self) -> tuple[ProjectionStatus, ...]:
        """Return how far each projection has got, without catching up."""
        head = self._reader.head()
        found: dict[str, tuple[int, int, int]] = {}
        try:
            with closing(self._opened()) as connection:
                for name, *rest in connection.execute(
                    f"SELECT projection, position, skipped, checked FROM {CHECKPOINTS}"
                ):
                    found[name] = tuple(rest)
        except FAILURES:
            found = {}
        statuses = []
        for view in sorted({*VIEWS, *found}):
            name, _, version = view.rpartition("_v")
            position, skipped, checked = found.get(view, (0, 0, 0))
            statuses.append(ProjectionStatus(name, int(version), position, head - position, skipped, checked))
        return tuple(statuses)

    def _opened(self) -> sqlite3.Connection:
        # Read-only: it neither makes a file nor writes a checkpoint when it closes, which needs the lock.
        return sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=30.0
        )

    def _position(self, connection: sqlite3.Connection, needed: int | None) -> int | None:
        """Return the position of all views in a new read transaction, or None if they are behind or another log's.

        With `needed` they were compared with the log just now; without, they have to be at its newest event.
        """
        connection.execute("BEGIN")
        rows = connection.execute(
            f"SELECT position, data FROM {CHECKPOINTS} WHERE projection IN ({', '.join('?' * len(VIEWS))})", VIEWS
        ).fetchall()
        if len(rows) < len(VIEWS):
            return None
        position: int = min(row[0] for row in rows)
        if needed is not None:
            return position if position >= needed else None
        if any(row[0] != position for row in rows) or position != self._reader.head():
            return None
        newest = self._reader.at(position)
        if newest is None:
            return position if position == 0 else None
        return position if all(row[1] == newest.data for row in rows) else None

    def _catch_up(self, *, discard: bool = False, anew: str | None = None) -> int:
        # Folding needs more modules than reading: loaded only here, where the views are behind.
        from stackledger.projections import folding

        return folding.Writer(self._path, self._reader, self._notify).catch_up(discard=discard, anew=anew)
