"""The lock that processes share."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest

from stackledger.domain.errors import LogBusy, LogError
from stackledger.eventlog.lock import FileLock, said_by_holder
from tests.support.processes import ended, forked


def is_free(path: Path) -> bool:
    try:
        with closing(FileLock(path, timeout=0)) as lock, lock:
            return True
    except LogBusy:
        return False


def test_one_holder_at_a_time_within_a_process(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with closing(FileLock(path)) as lock:
        assert is_free(path)
        with lock:
            assert not is_free(path)
        assert is_free(path)


def test_one_holder_at_a_time_between_processes(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"

    def look() -> None:
        assert not is_free(path)

    with closing(FileLock(path)) as lock, lock:
        assert ended(forked(look)) == 0


def test_what_stands_in_a_file_is_told_as_long_as_somebody_keeps_it_locked(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert said_by_holder(path) is None
    with closing(FileLock(path)) as lock:
        with lock:
            assert said_by_holder(path) == ""
            path.write_bytes(b"12\xff\n" + 5000 * b"x")
            assert said_by_holder(path) == "12\ufffd\n" + 4092 * "x"
        assert said_by_holder(path) is None
        assert is_free(path)


def test_threads_that_share_a_lock_take_turns(tmp_path: Path) -> None:
    lock, own, count = FileLock(tmp_path / "a.lock"), threading.local(), [0]

    def work(number: int) -> None:
        shared = number % 2 == 0
        own.lock = lock if shared else FileLock(lock.path)
        for _ in range(50):
            with own.lock:
                seen = count[0]
                os.sched_yield()
                count[0] = seen + 1
        if not shared:
            own.lock.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lock.close()
    assert count == [200]


def test_waiting_ends_with_an_error_that_names_the_file(tmp_path: Path) -> None:
    with closing(FileLock(tmp_path / "a.lock", timeout=0.01)) as lock, lock:
        other = FileLock(lock.path, timeout=0.01)
        with pytest.raises(LogBusy, match=r"a\.lock.*within 0\.01 seconds.*nothing was changed"), other:
            pass
        other.close()
        with pytest.raises(LogBusy, match=r"a\.lock"), lock:  # not reentrant, and says so instead of hanging
            pass
    assert is_free(tmp_path / "a.lock")


def test_a_failed_try_leaves_the_lock_usable(tmp_path: Path) -> None:
    with closing(FileLock(tmp_path / "a.lock", timeout=0)) as lock, closing(FileLock(lock.path, timeout=0)) as other:
        with other, pytest.raises(LogBusy), lock:
            pass
        with lock:
            assert not is_free(lock.path)


def test_an_error_inside_gives_the_lock_back(tmp_path: Path) -> None:
    with closing(FileLock(tmp_path / "a.lock")) as lock:
        with pytest.raises(ZeroDivisionError), lock:
            raise ZeroDivisionError
        assert is_free(lock.path)


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    reading, writing = os.pipe()

    def hold() -> None:
        with FileLock(path):
            os.write(writing, b"held")
            signal.pause()

    child = forked(hold)
    assert os.read(reading, 4) == b"held"
    assert not is_free(path)
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL
    assert is_free(path)
    os.close(reading)
    os.close(writing)


def test_a_child_holds_no_lock_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    from_child, to_parent = os.pipe()
    from_parent, to_child = os.pipe()

    def parent() -> None:
        lock = FileLock(path)
        with lock:

            def child() -> None:
                with pytest.raises(LogBusy), FileLock(path, timeout=0):
                    pass
                os.write(to_parent, b"x")
                os.read(from_parent, 1)

            forked(child)
            os.read(from_child, 1)
            os._exit(0)  # dies with the lock, while the child lives on

    assert ended(forked(parent)) == 0
    assert is_free(path)
    os.write(to_child, b"x")
    for fd in (from_child, to_parent, from_parent, to_child):
        os.close(fd)


def test_a_lock_that_was_opened_before_a_fork_shuts_parent_and_child_out_of_each_other(tmp_path: Path) -> None:
    with closing(FileLock(tmp_path / "a.lock", timeout=0)) as lock:
        with lock:
            pass

        def enter() -> None:
            with lock:
                pass

        def fail_to_enter() -> None:
            with pytest.raises(LogBusy):
                enter()

        with lock:
            assert ended(forked(fail_to_enter)) == 0
        assert ended(forked(enter)) == 0


def test_a_deleted_lock_file_is_made_again(tmp_path: Path) -> None:
    with closing(FileLock(tmp_path / "a.lock")) as lock:
        with lock:
            pass
        lock.path.unlink()
        with lock:
            assert not is_free(lock.path)


def test_a_lock_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="No such file or directory"), FileLock(tmp_path / "no" / "a.lock"):
        pass


def test_the_lock_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with closing(FileLock(tmp_path / "a.lock")) as lock, lock:
        assert lock.path.stat().st_mode & 0o777 == 0o600


def test_a_lock_whose_descriptor_was_closed_by_somebody_else_hides_no_error_and_can_be_taken_again(
    tmp_path: Path,
) -> None:
    lock = FileLock(tmp_path / "a.lock", timeout=0)
    next_one = os.open(tmp_path, os.O_RDONLY)
    os.close(next_one)

    def goes_wrong() -> None:
        with lock:
            os.close(next_one)
            raise LogError("what went wrong")

    with pytest.raises(LogError, match="what went wrong"):
        goes_wrong()
    with lock:
        assert not is_free(lock.path)
        os.close(next_one)
    lock.close()
    assert is_free(lock.path)
