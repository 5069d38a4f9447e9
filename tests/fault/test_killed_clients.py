"""Commands whose log is on PostgreSQL are killed at any instant, also between what the server does and its answer."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from stackledger.eventlog.stored import StoredEvent
from tests.support.any_log import reader_at
from tests.support.deadly import killed_at
from tests.support.postgres import Databases, log_for, make_log
from tests.support.program import Finished, stackledger
from tests.support.soak import rounds
from tests.support.views import dumped, folded_in_memory

# A command, and what it may be told when it is repeated: by then the change is made.
CASES = {
    "stack register new -o default -a mine --set": "named 'new' already",
    "stack update s -a other": "",
    "secret create new --key=value": "named 'new' already",
    "secret update secret --a=9 -r b": "has no key 'b'",
    "secret delete secret -y": "no secret with the name or id 'secret'",
}
BEGUN = (
    "artifact-store register mine -f local",
    "artifact-store register other -f local",
    "stack register s -o default -a mine",
    "secret create secret --a=1 --b=2",
)


def ok(command: str) -> Finished:
    done = stackledger(*command.split())
    assert done.status == 0, (command, done.err)
    return done


def events_at(address: str) -> list[StoredEvent]:
    reader = reader_at(address)
    try:
        return list(reader.scan())
    finally:
        reader.close()


@pytest.mark.parametrize("command", CASES)
def test_a_client_that_is_killed_at_any_instant_leaves_nothing_half_done(
    home: Path, postgres: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    with log_for(home, postgres) as address:
        admin = postgres.address(address.rpartition("/")[2])
        monkeypatch.setenv("STACKLEDGER_LOG", address)
        for begun in BEGUN:
            ok(begun)
        before = events_at(admin)
        shutil.copytree(home, tmp_path / "template")

        def begin_again() -> None:
            shutil.rmtree(home)
            shutil.copytree(tmp_path / "template", home)
            make_log(admin, before)

        begin_again()
        instants = killed_at(0, command.split(), home)
        assert instants, "the instants were counted"
        chance = random.Random(command)
        few = chance.sample(range(instants // 3, instants + 1), k=8)
        for instant in range(1, instants + 1) if rounds(0, 1) else few:
            begin_again()
            if killed_at(instant, command.split(), home) is not None:
                continue
            for secret in ok("secret list --output json").json["items"]:
                ok(f"secret get {secret['name']} --reveal")
            repeated = stackledger(*command.split())
            assert repeated.status == 0 or (CASES[command] and CASES[command] in repeated.err), repeated.err
            ok("doctor")
            after = events_at(admin)
            assert after[: len(before)] == before
            changes = [event.type for event in after[len(before) :]]
            assert len(changes) == len(set(changes)), "a change was made twice"
            assert dumped(home / "views.db") == folded_in_memory(after)
