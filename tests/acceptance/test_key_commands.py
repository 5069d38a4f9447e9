"""Keys of the fleet on the command line: what is made here, what counts in the log, and what the root key is for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stackledger.domain.events.fleet import TrustPublished
from stackledger.workers.fleet.protocol.messages import TrustList, opened
from stackledger.workers.fleet.trust.trusting import Trusted
from tests.support.at_once import at_once
from tests.support.program import Finished, completions, process, stackledger
from tests.support.soak import rounds

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.both_logs]


def ok(*arguments: str) -> Finished:
    done = stackledger(*arguments)
    assert done.status == 0, done.err
    return done


def refused(*arguments: str) -> str:
    done = stackledger(*arguments)
    assert done.status == 1, done.out
    return done.err


def created(name: str, role: str) -> str:
    """Make a key and return its public half."""
    return ok("key", "create", name, "--role", role).out.strip()


def listed(*arguments: str) -> list[dict[str, object]]:
    items: list[dict[str, object]] = ok("key", "list", "--output=json", *arguments).json["items"]
    return items


def published() -> list[dict[str, object]]:
    """Return the lists of coordinators in the log, oldest first."""
    events = ok("log", "list", "--type", "trust.published", "--output=json", "--size=1000").json["items"]
    return [event["data"] for event in reversed(events)]


def as_a_worker_takes_it(data: dict[str, object]) -> TrustList:
    """Return the message of a list as a worker opens it that has pinned the root key."""
    events = ok("log", "list", "--type", "log.created", "--output=json").json["items"]
    event = TrustPublished.model_validate(data)
    trusted = Trusted(events[0]["data"]["log_id"], event.root)
    message = opened(bytes.fromhex(event.message), trusted, events[0]["data"]["log_id"]).message
    assert isinstance(message, TrustList)
    assert (message.number, message.expires, message.coordinators) == (event.number, event.expires, event.coordinators)
    return message


def test_a_coordinator_is_listed_while_its_key_counts() -> None:
    created("root", "root")
    public = created("c1", "coordinator")
    ok("key", "enroll", "c1")
    assert listed()[0] | {"id": "", "enrolled": ""} == {
        "id": "",
        "name": "c1",
        "role": "coordinator",
        "public": public.split(":")[2],
        "queues": [],
        "status": "enrolled",
        "enrolled": "",
        "owner": "default",
        "here": True,
    }
    (first,) = published()
    assert list(as_a_worker_takes_it(first).coordinators.values()) == [public.split(":")[2]]
    done = ok("key", "revoke", "c1", "--yes", "--reason", "moved")
    assert "Key 'c1' of a coordinator successfully revoked." in done.err
    _, second = published()
    assert as_a_worker_takes_it(second).coordinators == {}
    assert int(str(second["number"])) > int(str(first["number"]))
    assert [key["status"] for key in listed()] == ["revoked"]
    assert "revoked key never counts again" in refused("key", "enroll", "c1")


def test_a_worker_of_another_home_is_enrolled_by_the_line_that_its_home_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as there:
        there.setenv("STACKLEDGER_HOME", str(tmp_path / "there"))
        there.delenv("STACKLEDGER_LOG", raising=False)
        line = created("gpu-1", "worker")
        assert not list((tmp_path / "there").glob("*.db")), "a worker's machine has no log"
    (tmp_path / "gpu-1.pub").write_text(f"{line}\n")
    ok("key", "enroll", f"@{tmp_path}/gpu-1.pub", "--role", "worker", "--queue", "gpu", "-q", "default")
    (key,) = listed()
    assert (key["name"], key["queues"], key["here"]) == ("gpu-1", ["gpu", "default"], False)


def test_what_a_key_was_not_made_for_is_refused() -> None:
    worker = created("w", "worker")
    created("r", "root")
    created("s", "submitter")
    assert "made for a worker, not for a coordinator" in refused("key", "enroll", "w", "--role", "coordinator")
    assert "root key, and those are not enrolled" in refused("key", "enroll", "r")
    assert "serves no queues" in refused("key", "enroll", "s", "--queue", "gpu")
    assert "is no public key" in refused("key", "enroll", worker[:-1])
    assert "Did you mean 's'" not in refused("key", "enroll", "nobody")
    assert stackledger("key", "create", "x", "--role", "king").status == 2
    assert stackledger("key", "enroll", "@nowhere.pub").status == 2
    assert listed() == []


@pytest.mark.parametrize("command", [("enroll", "c2"), ("revoke", "c1", "--yes"), ("renew",)], ids=lambda it: it[0])
def test_which_coordinators_there_are_is_changed_where_the_root_key_is_alone(
    command: tuple[str, ...], home: Path
) -> None:
    created("root", "root")
    created("c1", "coordinator")
    created("c2", "coordinator")
    ok("key", "enroll", "c1")
    root = next(path for path in (home / "keys").iterdir() if json.loads(path.read_text())["role"] == "root")
    root.unlink()
    assert "root key" in refused("key", *command)
    created("another", "root")
    assert "not the one that this log goes by" in refused("key", *command)
    assert [(key["name"], key["status"]) for key in listed()] == [("c1", "enrolled")]
    assert len(published()) == 1


def test_a_root_key_that_others_could_have_read_signs_nothing(home: Path) -> None:
    created("root", "root")
    created("c", "coordinator")
    for file in (home / "keys").iterdir():
        file.chmod(0o644)
    assert "chmod 600" in refused("key", "enroll", "c")
    assert published() == []


def test_the_list_is_signed_anew_before_it_expires() -> None:
    created("root", "root")
    created("c", "coordinator")
    done = ok("key", "enroll", "c", "--expires-in", "3")
    assert "expires in" not in done.err
    assert "expires in 2 days" in ok("key", "list").err
    renewed = ok("key", "renew", "--output=json").json
    assert "expires" not in ok("key", "list").err
    first, second = published()
    assert second["coordinators"] == first["coordinators"]
    assert renewed["number"] == second["number"]
    assert int(str(second["expires"])) > int(str(first["expires"]))
    assert stackledger("key", "renew", "--expires-in", "0").status == 2


def test_doctor_tells_of_a_list_that_expires_soon_and_of_keys_that_others_can_read(home: Path) -> None:
    def found(status: int = 0) -> list[tuple[str, str]]:
        done = stackledger("doctor", "--output=json")
        assert done.status == status, done.out
        return [(each["status"], each["finding"]) for each in done.json["items"] if each["check"] == "keys"]

    assert found() == []
    created("root", "root")
    created("c", "coordinator")
    assert found() == [("ok", "2 can be read, by their owner alone")]
    ok("key", "enroll", "c", "--expires-in", "14")
    (_, (status, text)) = found()
    assert (status, "expires in 13 days: `stackledger key renew`" in text) == ("warning", True)
    ok("key", "renew")
    (_, (status, text)) = found()
    assert (status, text.startswith("the list of coordinators is good until 20")) == ("ok", True)
    file = next((home / "keys").iterdir())
    file.chmod(0o640)
    ((status, text), _) = found(1)
    assert (status, f"chmod 600 {file}" in text) == ("error", True)


def test_a_dry_run_shows_what_would_happen_and_signs_nothing() -> None:
    created("root", "root")
    created("c", "coordinator")
    enrolled, trust = ok("key", "enroll", "c", "--dry-run", "--output=json").json["items"][-2:]
    assert (enrolled["type"], trust["type"]) == ("key.enrolled", "trust.published")
    assert trust["data"]["message"] == ""
    assert listed() == published() == []


def test_a_name_is_free_again_after_a_revocation(tmp_path: Path, home: Path) -> None:
    created("w", "worker")
    ok("key", "enroll", "w")
    for file in (home / "keys").iterdir():
        file.rename(tmp_path / file.name)
    created("W", "worker")
    assert "There is a key named 'w' already" in refused("key", "enroll", "w")
    ok("key", "revoke", "w", "-y")
    ok("key", "enroll", "w")
    assert [(key["name"], key["status"]) for key in listed()] == [("w", "revoked"), ("W", "enrolled")]
    ok("key", "revoke", "w", "-y")
    assert [key["status"] for key in listed("--name", "w")] == ["revoked", "revoked"]
    assert "no key with the name or id 'w'" in refused("key", "revoke", "w", "-y")


def test_lists_of_keys_are_like_all_lists() -> None:
    for name in ("a", "b", "c"):
        created(name, "worker" if name != "c" else "submitter")
        ok("key", "enroll", name)
    head = ok("log", "list", "--size=1", "--output=json").json["items"][0]["position"]
    ok("key", "revoke", "a", "-y")
    assert [key["name"] for key in listed("--role", "worker")] == ["a", "b"]
    assert [key["name"] for key in listed("--status", "enrolled", "--sort-by", "desc:name")] == ["c", "b"]
    assert [key["name"] for key in listed("--size", "1", "--page", "2")] == ["b"]
    assert [key["status"] for key in listed("--as-of", str(head))] == ["enrolled"] * 3
    assert ok("key", "list", "--columns", "name,role", "--output=csv").out.splitlines()[0] == "name,role"
    assert "No keys found." in ok("key", "list", "--owner", "nobody").err


def test_no_private_key_is_printed_or_comes_into_the_log(home: Path, tmp_path: Path) -> None:
    said = []
    for name, role in (("root", "root"), ("c", "coordinator"), ("w", "worker")):
        for output in ("json", "table"):
            done = process("key", "create", f"{name}-{output}", "--role", role, "--output", output)
            said.append(done.out + done.err)
    for name in ("c-json", "w-json"):
        done = process("key", "enroll", name, check=True)
        said.append(done.out + done.err)
    for command in (("key", "list", "--output=json"), ("log", "list", "--output=json", "--size=1000"), ("doctor",)):
        done = process(*command)
        said.append(done.out + done.err)
    ok("log", "export", str(tmp_path / "log.jsonl"))
    said.append((tmp_path / "log.jsonl").read_text())
    privates = [json.loads(path.read_text())["private"] for path in (home / "keys").iterdir()]
    assert len(privates) == 5, "the second root key was refused"
    for private in privates:
        assert not any(private in text for text in said)
        assert all(
            private.encode() not in path.read_bytes() and bytes.fromhex(private) not in path.read_bytes()
            for path in home.rglob("*")
            if path.is_file() and path.suffix != ".key"
        )


def test_of_two_keys_of_one_name_that_are_enrolled_at_once_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = []
    for number in range(rounds(6, 40)):
        with monkeypatch.context() as there:
            there.setenv("STACKLEDGER_HOME", str(tmp_path / str(number)))
            lines.append(created("same", "worker"))
    done = at_once([("key", "enroll", line) for line in lines])
    assert sorted(each.status for each in done) == [0] + [1] * (len(lines) - 1)
    assert all("already" in each.err for each in done if each.status)
    assert len(listed()) == 1


def test_coordinators_that_are_enrolled_at_once_are_all_on_the_last_list() -> None:
    created("root", "root")
    names = [f"c{number}" for number in range(rounds(5, 30))]
    publics = {created(name, "coordinator").split(":")[2] for name in names}
    done = at_once([("key", "enroll", name) for name in names])
    assert [each.err for each in done if each.status] == []
    lists = published()
    numbers = [int(str(each["number"])) for each in lists]
    assert numbers == sorted(set(numbers))
    assert set(as_a_worker_takes_it(lists[-1]).coordinators.values()) == publics


def test_a_shell_completes_keys_and_what_they_can_be() -> None:
    created("w-1", "worker")
    ok("key", "enroll", "w-1")
    assert completions("key", "revoke", "w") == {"w-1"}
    assert completions("key", "list", "--status", "") == {"enrolled", "revoked"}
    assert completions("key", "list", "--role", "w") == {"worker"}
    assert completions("run", "list", "--status", "run") == {"running"}
