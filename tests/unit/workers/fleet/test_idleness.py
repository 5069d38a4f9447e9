from __future__ import annotations

from stackledger.workers.fleet.working import Idleness


def test_who_was_idle_for_long_enough_is_told_once() -> None:
    idleness = Idleness(10.0, now=100.0)
    assert not idleness.is_enough(109.9, idle=True)
    assert idleness.is_enough(110.0, idle=True)
    assert not idleness.is_enough(111.0, idle=True)


def test_whatever_is_done_meanwhile_has_the_time_begin_anew() -> None:
    idleness = Idleness(10.0, now=0.0)
    assert not idleness.is_enough(50.0, idle=False)
    assert not idleness.is_enough(59.9, idle=True)
    assert idleness.is_enough(60.0, idle=True)


def test_without_a_time_out_it_is_never_enough() -> None:
    assert not Idleness(None, now=0.0).is_enough(1e9, idle=True)
