"""Many people give commands in one home at the same instant."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from tests.support.at_once import at_once
from tests.support.program import Finished, stackledger
from tests.support.soak import rounds


def ok(*arguments: str) -> Finished:
    done = stackledger(*arguments)
    assert done.status == 0, done.err
    return done


def test_a_fresh_home_is_begun_once_however_many_begin_it(home: Path) -> None:
    users = [{"STACKLEDGER_USER": name} for name in ("ada", "bob", "cyd", "default")]
    commands = [
        command
        for number in range(rounds(4, 40))
        for command in (
            ("stack", "list"),
            ("artifact-store", "register", f"store-{number}", "-f", "local"),
            ("stack", "register", f"stack-{number}", "-o", "default", "-a", "default"),
            ("secret", "create", f"secret-{number}", "--key=value"),
            ("config", "set", "user", "ada"),
        )
    ]
    for finished in at_once(commands, users):
        assert finished.status == 0, finished.err
    types = Counter(event["type"] for event in ok("log", "list", "--size=1000", "--output=json").json["items"])
    each = len(commands) // 5
    assert types == {
        "log.created": 1,
        "subject.enrolled": len(users) + 1,
        "component.registered": 2 + each,
        "stack.registered": 1 + each,
        "secret.created": each,
    }
    with closing(sqlite3.connect(home / "subjects.db")) as names:
        rows = names.execute("SELECT kind, name, enrolled FROM subjects").fetchall()
    assert Counter((kind, name) for kind, name, _ in rows if kind == "user") == {
        ("user", user["STACKLEDGER_USER"]): 1 for user in users
    }
    assert len(rows) == len(users) + 1
    assert all(enrolled for *_, enrolled in rows)
