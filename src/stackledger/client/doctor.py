"""What `doctor` looks at in a home, and what it finds."""

# Annotations are evaluated here: postponed ones are compiled one by one, and make a named tuple three times as dear.
import sqlite3
import stat
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stackledger.domain.errors import LogDamaged, StackledgerError, raised
from stackledger.projections.registry_queries import components_by_id, subject_ids
from stackledger.wiring import Ledger

if TYPE_CHECKING:
    from stackledger.eventlog.postgres_server import Server

_FIXED_SQLITE = (3, 51, 3)


class Finding(NamedTuple):
    """What `doctor` found; `status` is ok, warning or error."""

    status: str
    check: str
    finding: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON."""
        return self._asdict()


Stores = Callable[[], Iterable[tuple[str, Callable[[], object]]]]
"""The artifact stores there are: the name of each, and how it is made."""


def findings(ledger: Ledger, dead_runs: Callable[[], Collection[str]], stores: Stores) -> list[Finding]:
    """Look for what could be wrong; each finding is `ok`, a `warning` or an `error`."""
    return [
        *_about_sqlite(),
        *(_about_log(ledger) if ledger.server is None else _about_server(ledger, ledger.server)),
        *_about_home(ledger.home),
        *_about_runs(dead_runs),
        *_about_secrets(ledger),
        *_about_stores(stores),
        *_about_processes(ledger),
    ]


def _about_log(ledger: Ledger) -> list[Finding]:
    from stackledger.eventlog.health import wrong

    try:
        found = [
            Finding("ok", "log", f"{ledger.reader.head():,} events in {ledger.reader.name}, log id {ledger.log_id}")
        ]
        found += _about_move(ledger)
        found += [Finding("error", "log", text) for text in wrong(Path(ledger.reader.name))]
        return [*found, *_about_events(ledger), _about_views(ledger), *_about_names(ledger)]
    except StackledgerError as error:
        return [Finding("error", "log", str(error))]


def _about_move(ledger: Ledger) -> list[Finding]:
    from stackledger.eventlog.moves import newest_move, told

    moved = newest_move(ledger.reader)
    if moved is None:
        return []
    text = told(ledger.reader.name, moved, ledger.directory.names())
    return [Finding("warning", "log", f"{text}: it refuses all changes. See `stackledger log adopt --help`.")]


def _about_events(ledger: Ledger) -> list[Finding]:
    from stackledger.eventlog.health import unreadable_events

    return [Finding("error", "log", text) for text in unreadable_events(ledger.reader)]


def _about_names(ledger: Ledger) -> list[Finding]:
    """Compare who acts in the log of this home with its directory; a log on a server has names in many homes."""
    try:
        subjects = set(ledger.views.read(subject_ids))
    except LogDamaged:
        return []  # which is told already
    lost = subjects - ledger.directory.names().keys()
    if not lost:
        return [Finding("ok", "names", "every user and host of the log has a name")]
    text = f"{len(lost)} of {len(subjects)} users and hosts of the log have no name in {ledger.home / 'subjects.db'}"
    return [
        Finding("warning", "names", f"{text}: it was lost or replaced, or they were erased. Put it back from a copy.")
    ]


def _about_server(ledger: Ledger, server: "Server") -> list[Finding]:
    from stackledger.eventlog.postgres_health import wrong

    try:
        found = [Finding("ok", "log", f"position {ledger.reader.head():,} in {server.name}, log id {ledger.log_id}")]
        return [
            *found,
            *_about_move(ledger),
            *(Finding(status, "log", text) for status, text in wrong(server)),
            *_about_events(ledger),
            _about_views(ledger),
        ]
    except StackledgerError as error:
        return [Finding("error", "log", str(error))]


def _about_views(ledger: Ledger) -> Finding:
    behind = max(row.lag for row in ledger.views.status())
    return Finding("ok", "views", f"{behind} positions behind the log; the next query catches up")


def _about_home(home: Path) -> list[Finding]:
    if not home.exists():
        return [Finding("error", "home", f"{home} is not there")]
    mode = stat.S_IMODE(home.stat().st_mode)
    if mode & 0o077:
        return [Finding("warning", "home", f"Others can look into {home} (mode {mode:o}): chmod 700 {home}")]
    return [Finding("ok", "home", f"{home} is for its owner alone")]


def _about_runs(dead_runs: Callable[[], Collection[str]]) -> list[Finding]:
    try:
        dead = dead_runs()
    except StackledgerError as error:
        return [Finding("error", "runs", str(error))]
    if dead:
        return [Finding("warning", "runs", f"{len(dead)} runs died; the next change appends their end")]
    return [Finding("ok", "runs", "no run has died")]


def _about_secrets(ledger: Ledger) -> list[Finding]:
    try:
        for secret_id in ledger.secret_values.ids():
            ledger.secret_values.read(secret_id)
    except StackledgerError as error:
        return [Finding("error", "secrets", str(error))]
    return [Finding("ok", "secrets", "every value can be read")]


def _about_stores(stores: Stores) -> list[Finding]:
    try:
        there = list(stores())
    except StackledgerError as error:
        return [Finding("error", "artifact stores", str(error))]
    wrong = [found for name, made in there for found in _about_store(name, made)]
    return wrong or [Finding("ok", "artifact stores", f"{len(there)} can be written to")]


def _about_processes(ledger: Ledger) -> list[Finding]:
    """Look for processes of orchestrators that were deleted: `down` has no name for them any more."""
    from stackledger.workers.fleet.local_processes import all_running, note_of

    running = all_running(ledger.home)
    try:
        known = ledger.views.read(lambda view: components_by_id(view, running)) if running else {}
    except StackledgerError:
        return []  # which is told already
    return [
        (
            Finding(
                "ok",
                "processes",
                f"{', '.join(process.name for process in processes)} of {known[each].name!r} in the background",
            )
            if {process.note for process in processes} == {note_of(known[each].configuration)}
            else Finding(
                "warning",
                "processes",
                f"Of {', '.join(process.name for process in processes)} in the background some go by the configuration"
                f" of {known[each].name!r} as it was: `stackledger orchestrator down {known[each].name}`, then `up`",
            )
        )
        if each in known
        else Finding(
            "warning",
            "processes",
            f"{', '.join(process.name for process in processes)} work for an orchestrator that was deleted ({each})."
            f" End them: kill {' '.join(str(process.pid) for process in processes)}",
        )
        for each, processes in running.items()
    ]


def about_keys(ledger: Ledger) -> list[Finding]:
    """Look at the private keys of a home, as whoever uses them does, and at the list of coordinators."""
    from stackledger.workers.fleet.trust.folder import FOLDER

    files = sorted((ledger.home / FOLDER).glob("*.key"))
    wrong = [Finding("error", "keys", text) for file in files for text in _about_key(file)]
    if files and not wrong:
        wrong = [Finding("ok", "keys", f"{len(files)} can be read, by their owner alone")]
    try:
        return [*wrong, *_about_trust(ledger)]
    except StackledgerError:
        return wrong  # which is told already, of the log


def _about_key(file: Path) -> list[str]:
    from stackledger.workers.fleet.trust.keys import read_key

    try:
        read_key(file)
    except StackledgerError as error:
        return [str(error)]
    return []


def _about_trust(ledger: Ledger) -> list[Finding]:
    from stackledger.client.keys import expiry_soon
    from stackledger.client.moments import iso
    from stackledger.projections import key_queries

    trust = ledger.views.read(key_queries.trust)
    if trust is None:
        return []
    soon, now = expiry_soon(trust, ledger.now()), ledger.now()
    if soon:
        return [Finding("error" if trust.expires < now else "warning", "keys", soon)]
    return [Finding("ok", "keys", f"the list of coordinators is good until {iso(trust.expires)}")]


Brokers = Callable[[], Iterable[tuple[str, Callable[[], str]]]]
"""The orchestrators that have a broker: the name of each, and what asks which one that is."""


def about_brokers(brokers: Brokers) -> list[Finding]:
    """Ask the broker of each orchestrator; one that is away here may be there for those who need it."""
    try:
        there = list(brokers())
    except StackledgerError as error:
        return [Finding("error", "brokers", str(error))]
    return [_about_broker(name, ask) for name, ask in there]


def _about_broker(name: str, ask: Callable[[], str]) -> Finding:
    try:
        return Finding("ok", "brokers", f"{name}: there is {ask()}")
    except StackledgerError as error:
        return Finding("warning", "brokers", f"{name}: {error}")


def _about_store(name: str, made: Callable[[], object]) -> list[Finding]:
    from stackledger.domain.ports import CollectableStore

    try:
        store = made()
        # One of somebody's own may have none.
        check = getattr(store, "check", None)
        if check is not None:
            check()
        aside = sum(1 for _ in store.aside()) if isinstance(store, CollectableStore) else 0
    except Exception as error:  # noqa: BLE001 - whatever somebody's own code raises
        why = str(error) if isinstance(error, StackledgerError) else raised(type(error).__name__, str(error))
        return [Finding("error", "artifact stores", f"{name}: {why}")]
    if aside:
        text = (
            f"{name}: pruning goes on, or was interrupted: {aside} objects are set aside, where they can still be read."
            f" `stackledger artifact prune --artifact-store '{name}'` brings it to an end."
        )
        return [Finding("warning", "artifact stores", text)]
    return []


def _about_sqlite() -> list[Finding]:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _FIXED_SQLITE:
        text = (
            f"SQLite {version} has the bug that can damage a file when two connections checkpoint and write at once"
            " (fixed in 3.51.3); Stackledger holds a lock that keeps it from happening, other programs may not."
        )
        return [Finding("ok", "sqlite", text)]
    return [Finding("ok", "sqlite", f"SQLite {version}")]
