"""The files of a run on the machine that executes it: a lock while somebody drives it, and the logs of its steps.

Light on purpose: queries ask here which runs are dead.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from stackledger.domain.errors import InvalidValue, LogBusy, LogError
from stackledger.domain.names import quoted
from stackledger.eventlog.lock import FileLock, said_by_holder

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
_LONGEST_STEM = 60


def runs_folder(home: Path) -> Path:
    """Return the folder of all runs of a home."""
    return home / "runs"


def log_file(home: Path, run_id: str, step: str, attempt: int) -> Path:
    """Return where the output of one attempt at a step is kept; the file is there once the step wrote something."""
    import hashlib  # loads OpenSSL, which queries of the registry can do without

    # Names of steps may be longer than those of files, and may differ in what some file systems do not tell apart.
    stem = re.sub(r"[^0-9A-Za-z_.-]", "_", step)[:_LONGEST_STEM]
    mark = hashlib.sha256(step.encode()).hexdigest()[:12]
    return runs_folder(home) / f"{_checked(run_id)}/{stem}-{mark}.{attempt}.log"


def lock_file(home: Path, run_id: str) -> Path:
    """Return the file that is locked while somebody drives the run."""
    return runs_folder(home) / f"{_checked(run_id)}.lock"


def _checked(run_id: str) -> str:
    # Ids of an imported log are somebody else's text.
    if _ID.fullmatch(run_id) is None:
        raise InvalidValue(f"{quoted(run_id[:80])} is not the id of a run.")
    return run_id


@contextlib.contextmanager
def driving(home: Path, run_id: str) -> Iterator[None]:
    """Hold the run's lock, or raise LogBusy if somebody else drives the run. The system frees it for a dead process."""
    path = lock_file(home, run_id)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise LogError(f"The folder {path.parent} cannot be made: {error.strerror}.") from error
    lock = FileLock(path, timeout=1.0)  # longer than anybody looks whether it is held
    try:
        with lock:
            yield
    finally:
        lock.close()


def is_driven(home: Path, run_id: str) -> bool:
    """Say whether somebody on this machine holds the run's lock."""
    return said_by_holder(lock_file(home, run_id)) is not None


def dead_runs(home: Path, running: Iterable[str]) -> tuple[str, ...]:
    """Return those of the runs, given by id, that nobody drives.

    `running` are runs of this home that had not ended when the log was read. One that ended between reading and
    looking is among those returned: read its state again before calling it dead.
    """
    return tuple(run_id for run_id in running if not is_driven(home, run_id))


def forget_lock(home: Path, run_id: str) -> None:
    """Remove the lock file of a run that has ended."""
    lock_file(home, run_id).unlink(missing_ok=True)


def sweep_locks(home: Path) -> None:
    """Remove the lock files that nobody holds: their runs have ended, died, or never began."""
    for path in runs_folder(home).glob("*.lock"):
        lock = FileLock(path, timeout=0)
        # Removed while it is held: who waits for it looks again whether the file is in its place.
        with contextlib.suppress(LogBusy), lock:
            path.unlink(missing_ok=True)
        lock.close()
