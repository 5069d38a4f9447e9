"""Moving a log through a file: out of a home into a database, and back."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stackledger.eventlog.postgres_server import EVENTS, SCHEMA
from tests.support.any_log import Where, reader_at
from tests.support.postgres import Databases
from tests.support.program import Finished, stackledger
from tests.support.views import dumped

LOG = "STACKLEDGER_LOG"
Lines = list[bytes]


@pytest.fixture
def database(postgres: Databases) -> Iterator[str]:
    with postgres.database() as address:
        yield address


def rows(where: Where) -> list[tuple[Any, ...]]:
    reader = reader_at(where)
    try:
        return [tuple(stored) for stored in reader.scan()]
    finally:
        reader.close()


def filled() -> None:
    assert stackledger("stack", "copy", "default", "mine", "--reason", "weil — ü\n").status == 0
    assert stackledger("secret", "create", "s", "--key=-", answers="v").status == 0


def good(done: Finished) -> Finished:
    assert done.status == 0, done.err
    return done


def test_a_log_moves_into_a_database_and_back_with_ids_times_and_positions(
    home: Path, database: str, tmp_path: Path
) -> None:
    filled()
    good(stackledger("log", "export", "first.jsonl"))
    good(stackledger("log", "import", "first.jsonl", env={LOG: database}))
    assert rows(database) == rows(home / "log.db")
    before = dumped(home / "views.db")
    listed = good(stackledger("stack", "list", env={LOG: database}))
    assert "mine" in listed.out
    assert "building them anew" not in listed.err
    assert dumped(home / "views.db") == before

    good(stackledger("stack", "copy", "mine", "on-server", env={LOG: database}))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"SELECT nextval('{SCHEMA}.{EVENTS}_id_seq')")
    good(stackledger("stack", "copy", "mine", "after-a-gap", env={LOG: database}))
    good(stackledger("log", "export", "second.jsonl", env={LOG: database}))
    back = tmp_path / "back"
    good(stackledger("log", "import", "second.jsonl", env={"STACKLEDGER_HOME": str(back)}))
    assert rows(back / "log.db") == rows(database)
    assert {"mine", "on-server", "after-a-gap"} <= set(
        stackledger("stack", "list", env={"STACKLEDGER_HOME": str(back)}).out.split()
    )
    good(stackledger("log", "export", "third.jsonl", env={"STACKLEDGER_HOME": str(back)}))
    assert Path("third.jsonl").read_bytes() == Path("second.jsonl").read_bytes()
    good(stackledger("stack", "copy", "mine", "goes-on", env={"STACKLEDGER_HOME": str(back)}))


@pytest.mark.usefixtures("home")
def test_an_exported_file_is_cloudevents_that_only_their_owner_reads() -> None:
    filled()
    good(stackledger("log", "export", "log.jsonl"))
    lines = [json.loads(line) for line in Path("log.jsonl").read_bytes().splitlines()]
    assert {line["specversion"] for line in lines} == {"1.0"}
    assert len({(line["source"], line["id"]) for line in lines}) == len(lines)
    for line in lines:
        assert all(isinstance(value, str) for key, value in line.items() if key != "data")
        assert all(name.isascii() and name.replace("_base64", "").isalnum() for name in line)
    newest = stackledger("log", "show", str(len(lines) - 1), "--output", "json").json
    assert (newest["id"], newest["time"]) == (lines[-2]["id"], lines[-2]["time"])
    assert lines[-1]["data"]["events"] == len(lines) - 1
    assert Path("log.jsonl").stat().st_mode & 0o077 == 0
    done = stackledger("log", "export", "log.jsonl")
    assert (done.status, "is there already" in done.err) == (1, True)


@pytest.mark.usefixtures("home")
def test_a_log_is_imported_only_where_there_is_none(database: str) -> None:
    filled()
    good(stackledger("log", "export", "log.jsonl"))
    done = stackledger("log", "import", "log.jsonl")
    assert (done.status, "There is a log at" in done.err) == (1, True)
    good(stackledger("log", "create", env={LOG: database}))
    before = rows(database)
    done = stackledger("log", "import", "log.jsonl", env={LOG: database})
    assert (done.status, "There is a log at" in done.err) == (1, True)
    assert rows(database) == before


def signed(lines: Lines) -> Lines:
    """Return the lines with a last one that fits them."""
    end = json.loads(lines[-1])
    end["data"] = {"events": len(lines) - 1, "sha256": hashlib.sha256(b"".join(lines[:-1])).hexdigest()}
    return [*lines[:-1], json.dumps(end).encode() + b"\n"]


def changed(lines: Lines, number: int, **values: Any) -> Lines:
    line = {**json.loads(lines[number]), **values}
    return signed([*lines[:number], json.dumps(line).encode() + b"\n", *lines[number + 1 :]])


HARMS: dict[str, Callable[[Lines], Lines]] = {
    "empty": lambda _: [],
    "no event": lambda lines: signed(lines[-1:]),
    "no JSON": lambda _: [b"\x00\xff\n"],
    "nested too deeply": lambda lines: [b"[" * 100_000 + b"\n", *lines],
    "the last line is missing": lambda lines: lines[:-1],
    "cut off in a line": lambda lines: [*lines[:-2], lines[-2][:-9]],
    "an event is missing": lambda lines: [*lines[:3], *lines[4:]],
    "an event is missing, and the last line fits": lambda lines: signed(lines[1:]),
    "two events changed places": lambda lines: signed([*lines[:2], lines[3], lines[2], *lines[4:]]),
    "an event is doubled": lambda lines: signed([*lines[:2], lines[1], *lines[2:]]),
    "something follows": lambda lines: [*lines, lines[0]],
    "another tag": lambda lines: [lines[0], lines[1].replace(b"actor:", b"actOr:"), *lines[2:]],
    "another id": lambda lines: changed(lines, 2, id="other"),
    "another time": lambda lines: changed(lines, 2, time="2001-01-01T00:00:00.000000Z"),
    "another log": lambda lines: changed(lines, 2, source="urn:stackledger:log:other"),
    "another type": lambda lines: changed(lines, 2, type="stack.deleted/1"),
    "no data": lambda lines: changed(lines, 2, data_base64=""),
    "data that are none": lambda lines: changed(lines, 2, data_base64=base64.b64encode(b"\xc1").decode()),
    "tags that are none": lambda lines: changed(lines, 2, tags='{"a": 1}'),
    "a position that is none": lambda lines: changed(lines, 2, position="three"),
    "a position that is too large": lambda lines: changed(lines, 2, position="9" * 30),
}


@pytest.mark.parametrize("into", ["a home", "a database"])
def test_a_file_that_is_not_as_it_was_exported_imports_nothing(
    into: str, home: Path, database: str, tmp_path: Path
) -> None:
    filled()
    good(stackledger("log", "export", "log.jsonl"))
    lines = Path("log.jsonl").read_bytes().splitlines(keepends=True)
    assert signed(lines)[:-1] == lines[:-1]
    fresh = tmp_path / "fresh"
    environment = {LOG: database} if into == "a database" else {"STACKLEDGER_HOME": str(fresh)}
    for name, harm in HARMS.items():
        Path("harmed.jsonl").write_bytes(b"".join(harm(lines)))
        done = stackledger("log", "import", "harmed.jsonl", env=environment)
        assert (done.status, "Nothing was imported" in done.err) == (1, True), f"{name}: {done.err}"
        assert len(done.err) < 600, name
        assert not (fresh / "log.db").exists()
    done = stackledger("log", "import", "missing.jsonl", env=environment)
    assert (done.status, "cannot be read" in done.err) == (1, True)
    good(stackledger("log", "import", "log.jsonl", env=environment))
    assert rows(database if into == "a database" else fresh / "log.db") == rows(home / "log.db")
