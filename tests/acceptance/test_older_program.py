"""A program that works on a log to which a newer one has written: it refuses what it cannot decide, and no more."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem

from stackledger.wiring import Ledger
from tests.support.program import stackledger

pytestmark = pytest.mark.both_logs


def written_by_a_newer_program(home: Path, event_type: str, tag: str) -> None:
    assert stackledger("stack", "list").status == 0
    with closing(Ledger(home, print)) as ledger:
        first = ledger.reader.at(1)
        assert first is not None
        nothing = DCBAppendCondition(DCBQuery([DCBQueryItem(tags=["nothing"])]))
        ledger.recorder.append([DCBEvent(event_type, first.data, [tag])], nothing)


def test_a_name_that_a_newer_program_may_have_given_is_not_given_again(home: Path) -> None:
    written_by_a_newer_program(home, "stack.registered/2", "stack-name:mine")
    refused = stackledger("stack", "register", "Mine", "-o", "default", "-a", "default")
    assert refused.status == 1
    assert "'stack.registered/2'" in refused.err
    assert "upgrade" in refused.err
    assert stackledger("log", "list", "--type=stack.registered").out.count("stack.registered") == 2


def test_what_a_newer_program_wrote_about_something_else_keeps_an_older_one_from_nothing(home: Path) -> None:
    written_by_a_newer_program(home, "stack.registered/2", "stack-name:mine")
    assert stackledger("stack", "register", "other", "-o", "default", "-a", "default").status == 0
