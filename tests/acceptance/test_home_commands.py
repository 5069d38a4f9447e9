from __future__ import annotations

import json
import os
import shlex
import sqlite3
import stat
import subprocess
import sys
from contextlib import chdir, closing
from pathlib import Path

import pytest
import yaml

from tests.support.program import Finished, completions, process, stackledger

pytestmark = pytest.mark.usefixtures("home")


def ok(*arguments: str, answers: str = "") -> Finished:
    done = stackledger(*arguments, answers=answers)
    assert done.status == 0, done.err
    return done


def test_init_gives_a_folder_an_active_stack_of_its_own() -> None:
    ok("stack", "copy", "default", "other")
    assert "repository" in ok("init").err.casefold()
    assert ok("init").status == 0  # a second one says so
    ok("stack", "set", "other")
    assert ok("stack", "get").out == "The repository active stack is: 'other'\n"
    os.chdir("..")
    assert ok("stack", "get").out == "The global active stack is: 'default'\n"


def test_activating_says_for_whom() -> None:
    ok("stack", "copy", "default", "other")
    ok("init")
    assert "Active repository stack set to: 'other'" in ok("stack", "set", "other").err
    assert "Active global stack set to: 'other'" in ok("stack", "set", "other", "--global").err
    named = stackledger("stack", "set", "default", env={"STACKLEDGER_ACTIVE_STACK": "other"})
    assert "its stack stays the active one in this environment" in named.err
    assert "Active repository stack set to: 'default'" in named.err


def test_whose_active_stack_somebody_else_deleted_is_told_and_falls_back() -> None:
    ok("stack", "copy", "default", "other")
    stackledger("stack", "set", "other", env={"STACKLEDGER_USER": "ada"})
    ok("stack", "delete", "other", "-y")
    done = stackledger("stack", "get", env={"STACKLEDGER_USER": "ada"})
    assert done.out == "The global active stack is: 'default'\n"
    assert done.err.count("Your active stack 'other' was deleted: 'default' is active now.") == 1


def test_a_repository_whose_stack_is_gone_has_the_default_one_and_ones_own_stays_protected() -> None:
    for name in ("mine", "r1", "free"):
        ok("stack", "copy", "default", name)
    ok("stack", "set", "mine")
    ok("init")
    ok("stack", "set", "r1")
    with chdir(".."):
        assert stackledger("stack", "delete", "r1", "-y", env={"STACKLEDGER_USER": "ada"}).status == 0
        assert ok("stack", "get").out == "The global active stack is: 'mine'\n"
    got = ok("stack", "get")
    assert got.out == "The repository active stack is: 'default'\n"
    assert "'r1' was deleted: 'default' is active now" in got.err
    refused = stackledger("stack", "delete", "mine", "-y")
    assert refused.status == 1
    assert "is your active stack" in refused.err
    assert "stack set NAME --global" in refused.err
    ok("stack", "delete", "free", "-y")
    ok("stack", "set", "default", "--global")
    ok("stack", "delete", "mine", "-y")


def test_init_is_a_change_that_can_be_tried_and_says_why() -> None:
    tried = ok("init", "--template", "starter", "--dry-run", "--output=json")
    assert [event["type"] for event in tried.json["items"]] == ["stack.activated"]
    assert os.listdir() == []
    made = ok("init", "--reason", "a project", "--ticket", "T-1", "--output=json").json
    assert made["path"] == os.getcwd()
    event = ok("log", "list", "--size=1", "--output=json").json["items"][0]
    assert (event["reason"], event["ticket"]) == ("a project", "T-1")
    assert f"activation:repository/{made['id']}" in event["tags"]


@pytest.mark.parametrize("folder", ["a_file", "a_file/below", "x" * 5_000, "/proc/nowhere"])
def test_a_folder_that_cannot_be_a_repository_is_explained_and_nothing_is_changed(folder: str) -> None:
    Path("a_file").write_text("content")
    before = ok("log", "stats", "--output=json").json["position"]
    done = stackledger("init", "--template", "starter", "--path", folder)
    assert done.status == 1
    assert "cannot be made a repository" in done.err
    assert ok("log", "stats", "--output=json").json["position"] == before
    assert os.listdir() == ["a_file"]


def test_a_template_never_replaces_a_file_and_writes_all_or_nothing() -> None:
    Path("run.py").write_text("mine")
    before = ok("log", "stats", "--output=json").json["position"]
    done = stackledger("init", "--template", "starter")
    assert (done.status, "run.py" in done.err) == (1, True)
    assert os.listdir() == ["run.py"]
    assert ok("log", "stats", "--output=json").json["position"] == before
    assert "Did you mean 'starter'" in stackledger("init", "--template", "startr").err


@pytest.mark.parametrize("arguments", [(), ("--path", "x"), ("--template", "starter")])
def test_where_the_working_directory_was_deleted_a_repository_needs_a_whole_path(arguments: tuple[str, ...]) -> None:
    there = Path("there").absolute()
    gone = Path("gone")
    gone.mkdir()
    os.chdir(gone)
    Path.cwd().rmdir()
    done = stackledger("init", *arguments)
    assert done.status == 1
    assert "The working directory was deleted. Go to a folder that is there" in done.err
    ok("init", "--path", str(there))


def test_a_repository_whose_files_cannot_be_written_is_not_recorded() -> None:
    before = ok("log", "stats", "--output=json").json["position"]
    in_the_way = Path(".run.py.new")
    in_the_way.mkdir()
    done = stackledger("init", "--template", "starter")
    assert (done.status, "run.py cannot be written" in done.err) == (1, True)
    assert ok("log", "stats", "--output=json").json["position"] == before
    in_the_way.rmdir()
    ok("init", "--template", "starter")


def test_a_repository_whose_settings_cannot_be_written_is_said_to_be_none() -> None:
    in_the_way = Path(".stackledger/.config.json.new")
    in_the_way.mkdir(parents=True)
    done = stackledger("init")
    position = ok("log", "stats", "--output=json").json["position"]
    assert done.status == 1
    assert "is no repository yet" in done.err
    assert f"What the log has about it, at position {position}, has no effect." in done.err
    in_the_way.rmdir()
    ok("init")


def test_the_environment_names_the_active_stack_first() -> None:
    ok("stack", "copy", "default", "other")
    done = stackledger("stack", "get", env={"STACKLEDGER_ACTIVE_STACK": "other"})
    assert done.out == "The environment active stack is: 'other'\n"
    assert stackledger("stack", "list", env={"STACKLEDGER_ACTIVE_STACK": "nowhere"}).status == 1


def test_the_user_is_set_and_owns_what_they_register() -> None:
    ok("config", "set", "user", "ada")
    assert ok("config", "get", "user").out == "ada\n"
    ok("artifact-store", "register", "x", "-f", "local")
    assert ok("artifact-store", "list", "--owner", "ada", "--columns=name", "--output=csv").out == "name\nx\n"
    assert stackledger("config", "set", "nonsense", "1").status in {1, 2}
    assert stackledger("config", "get", "nonsense").status in {1, 2}


@pytest.mark.parametrize("name", ["a\x1b[31mb", "x" * 129, " ", "a\nb", "a\u202eb"], ids=ascii)
def test_a_user_has_a_visible_name(name: str) -> None:
    for done in (
        stackledger("config", "set", "user", name),
        stackledger("stack", "copy", "default", "x", env={"STACKLEDGER_USER": name}),
    ):
        assert (done.status, "A user's name has" in done.err) == (1, True)
    assert ok("log", "stats", "--output=json").json["subjects"] == 2


def test_status_doctor_and_version_answer() -> None:
    assert "default" in ok("status").out
    assert ok("status", "--output=json").json
    assert ok("doctor").out
    assert ok("version", "--output=json").json["version"]


def test_the_log_is_listed_shown_followed_and_counted() -> None:
    ok("artifact-store", "register", "x", "-f", "local")
    events = ok("log", "list", "--output=json").json["items"]
    positions = [event["position"] for event in events]
    assert positions == sorted(positions, reverse=True)
    assert list(events[0]) == [
        "position",
        "id",
        "type",
        "version",
        "time",
        "actor",
        "host",
        "reason",
        "ticket",
        "tags",
        "data",
    ]
    (registered,) = ok("log", "list", "--tag", "component-name:artifact_store/x", "--output=json").json["items"]
    assert registered["type"] == "component.registered"
    for kind in ("component.registered", "component.registered/1"):
        found = ok("log", "list", "--type", kind, "--output=json").json["items"]
        assert {event["type"] for event in found} == {"component.registered"}
    assert ok("log", "show", str(registered["position"]), "--output=json").json == registered
    assert "component.registered" in ok("log", "show", str(registered["position"])).out
    tail = [json.loads(line) for line in ok("log", "tail", "-n", "3", "--output=json").out.splitlines()]
    assert [event["position"] for event in tail] == sorted(positions)[-3:]
    assert ok("log", "stats").out


def test_events_are_sorted_and_cut_as_every_list_is() -> None:
    ok("stack", "copy", "default", "b")
    ok("stack", "rename", "b", "a")

    def positions(*arguments: str) -> list[int]:
        return [event["position"] for event in ok("log", "list", "--output=json", *arguments).json["items"]]

    newest_first = positions()
    assert newest_first == positions("--sort-by=desc:position") == sorted(newest_first, reverse=True)
    assert positions("--sort-by=position") == newest_first[::-1]
    assert positions("--sort-by=position", "--size=2", "--page=2") == newest_first[::-1][2:4]
    types = [e["type"] for e in ok("log", "list", "--sort-by=desc:type", "--output=json").json["items"]]
    assert types == sorted(types, reverse=True)
    by_time = positions("--sort-by=time", "--since=3", "--size=3")
    assert by_time == [each for each in newest_first[::-1] if each >= 3][:3]
    assert ok("log", "list", "--columns=type,position", "--size=1", "--output=csv").out.startswith(
        "type,position\nstack."
    )
    refused = stackledger("log", "list", "--sort-by=tipe")
    assert refused.status == 2
    assert "Did you mean 'type'" in refused.err


def test_the_end_of_the_log_is_printed_in_every_format_a_line_or_document_for_each_event() -> None:
    ok("stack", "copy", "default", "b")
    (line,) = ok("log", "tail", "-n", "1").out.splitlines()
    assert "stack.registered" in line
    assert (
        ok("log", "tail", "-n", "2", "--output=csv", "--columns=position,type").out.splitlines()[0] == "position,type"
    )
    assert len(ok("log", "tail", "-n", "2", "--output=tsv").out.splitlines()) == 3
    documents = list(yaml.safe_load_all(ok("log", "tail", "-n", "2", "--output=yaml").out))
    assert [json.loads(each) for each in ok("log", "tail", "-n", "2", "--output=json").out.splitlines()] == documents
    assert ok("log", "tail", "-n", "0", "--output=csv").out.count("\n") == 1


def test_projections_are_listed_and_rebuilt(home: Path) -> None:
    ok("stack", "list")
    found = ok("projection", "list", "--output=json").json["items"]
    assert {"name", "position", "lag"} <= set(found[0])
    ok("projection", "rebuild")
    ok("projection", "rebuild", found[0]["name"])
    assert stackledger("projection", "rebuild", "nowhere").status == 1
    for file in home.glob("views.db*"):
        file.unlink()
    assert ok("stack", "list").out


def test_clean_removes_what_can_be_made_again_and_all_moves_the_log_aside(home: Path) -> None:
    ok("stack", "copy", "default", "other")
    ok("clean")
    assert "other" in ok("stack", "list").out
    assert stackledger("clean", "--all", answers="n\n").status == 1
    assert "other" in ok("stack", "list").out
    ok("clean", "--all", "--yes")
    assert "other" not in process("stack", "list", check=True).out
    assert len(list(home.parent.rglob("log.db"))) == 2


@pytest.mark.parametrize("all_of_it", [False, True])
def test_clean_leaves_no_key_that_somebody_died_while_making(home: Path, all_of_it: bool) -> None:  # noqa: FBT001
    ok("stack", "list")
    (home / "secret.key.new").write_bytes(b"half a k")
    ok("clean", *(("--all", "--yes") if all_of_it else ()))
    assert not list(home.rglob("secret.key.new"))


def test_nobody_but_its_owner_may_read_the_files_of_a_home(home: Path) -> None:
    before = os.umask(0o022)
    try:
        for command in ("stack list", "config set user somebody", "stack copy default other", "secret create a --k=v"):
            ok(*command.split())
        with closing(sqlite3.connect(home / "views.db")) as views:
            views.execute("SELECT * FROM sqlite_schema").fetchall()  # while somebody reads, there are files beside them
            ok("stack", "copy", "default", "another")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in home.iterdir() if file.is_file()}
    finally:
        os.umask(before)
    assert {
        "log.db",
        "views.db",
        "views.db-wal",
        "views.db-shm",
        "views.lock",
        "subjects.db",
        "config.json",
        "secrets.db",
        "secret.key",
    } <= set(modes)
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


_OWN_STORES = """
from stackledger.domain.component_types import ComponentType
from stackledger.flavors.flavor import Flavor
from stackledger.flavors.local_artifact_store import LocalArtifactStore

class Store(Flavor):
    type = ComponentType.ARTIFACT_STORE

class Bare(Store):
    name, implementation = "bare", "own_stores:BareStore"

class Unmade(Store):
    name, implementation = "unmade", "own_stores:UnmadeStore"

class Failing(Store):
    name, implementation = "failing", "own_stores:FailingStore"

class BareStore:
    def __init__(self, config, **where): pass
    def put(self, data): pass

class UnmadeStore(LocalArtifactStore):
    def __init__(self): pass

class FailingStore(LocalArtifactStore):
    def __init__(self, config, **where): pass
    def sweep_temporary(self, older_than): raise TimeoutError("nobody answers")
"""


def test_clean_says_of_which_stores_of_ones_own_it_swept_nothing() -> None:
    Path("own_stores.py").write_text(_OWN_STORES, encoding="utf-8")
    for name in ("Bare", "Unmade", "Failing"):
        ok("artifact-store", "flavor", "register", f"own_stores.{name}")
        ok("artifact-store", "register", name, "-f", name.lower())
    told = ok("clean").err
    assert "The artifact store 'Bare' was left as it is: AttributeError: 'BareStore' object has no" in told
    assert "The artifact store 'Unmade' was left as it is: Making 'own_stores:UnmadeStore' of the artifact" in told
    assert "The artifact store 'Failing' was left as it is: TimeoutError: nobody answers" in told


def test_runs_pipelines_and_artifacts_of_a_fresh_home_are_none() -> None:
    for arguments in (["run", "list"], ["pipeline", "runs", "list"], ["pipeline", "list"], ["artifact", "list"]):
        assert ok(*arguments).out == ""
        assert ok(*arguments, "--output=json").json["items"] == []


def test_a_flavor_that_comes_with_the_program_is_not_deleted() -> None:
    done = stackledger("orchestrator", "flavor", "delete", "local", "-y")
    assert (done.status, "comes with Stackledger" in done.err) == (1, True)


def test_what_others_need_is_not_uninstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stackledger.flavors.integrations.leftovers", lambda _: [])
    assert "Nothing was uninstalled" in ok("integration", "uninstall", "numpy", "-y").err
    monkeypatch.undo()
    refused = stackledger("integration", "uninstall", "sklearn", answers="n\n")
    assert (refused.status, "Uninstall " in refused.err) == (1, True)


def test_integrations_are_listed() -> None:
    found = ok("integration", "list", "--output=json").json["items"]
    assert "sklearn" in {one["name"] for one in found}
    assert "scikit-learn" in ok("integration", "requirements", "sklearn").out
    assert "scikit-learn" in ok("integration", "export-requirements", "sklearn").out
    assert stackledger("integration", "requirements", "nowhere").status == 1
    assert stackledger("integration", "install", "nowhere", "-y").status == 1


def test_a_shell_that_takes_the_script_completes_names() -> None:
    ok("stack", "copy", "default", "other-stack")
    script = f"""
        export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH
        eval "$(_STACKLEDGER_COMPLETE=source_bash stackledger)"
        COMP_WORDS=(stackledger stack describe oth) COMP_CWORD=3
        _stackledger_completion stackledger
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert (done.stdout, done.stderr) == ("other-stack\n", "")


def test_the_shell_completes_commands_and_names() -> None:
    ok("stack", "copy", "default", "other-stack")
    assert completions("sta") == {"stack", "status"}
    assert completions("stack", "set", "oth") == {"other-stack"}
    assert completions("stack", "register", "x", "-o", "def") == {"default"}
    assert completions("artifact-store", "describe", "d") == {"default"}
    assert completions("artifact-store", "register", "x", "-f", "lo") == {"local"}


def test_the_shell_completes_what_stands_after_an_option_in_both_spellings() -> None:
    ok("stack", "list")
    for option in ("--artifact-store", "--artifact_store"):
        assert completions("stack", "register", "x", option, "d") == {"default"}
        assert completions("stack", "register", "x", f"{option}=d") == {"default"}
        # bash takes a word apart at its equals sign
        assert completions("stack", "register", "x", option, "=", "d") == {"default"}
        assert completions("stack", "register", "x", "-o", "default", option, "=") == {"default"}
    assert completions("stack", "register", "x", "--artifact_s") == {"--artifact-store"}
    assert completions("artifact_sto") == {"artifact-store"}


def test_the_shell_completes_the_words_that_an_option_knows() -> None:
    assert completions("flavor", "list", "--type", "artifact") == {"artifact-store"}
    assert completions("flavor", "list", "--type", "artifact_") == {"artifact_store"}
    assert completions("run", "list", "--status", "") == {"running", "completed", "failed", "stopped", "dead"}
    assert completions("log", "list", "--type", "stack.re") == {"stack.registered", "stack.renamed"}
    assert completions("stack", "list", "--output", "") == {"table", "json", "yaml", "csv", "tsv"}
    assert completions("integration", "install", "sk") == {"sklearn"}


def test_completion_begins_no_log(home: Path) -> None:
    for words in (["stack", "set", ""], ["artifact-store", "register", "x", "-f", ""], ["run", "describe", ""]):
        assert completions(*words) == set()
    assert not home.exists()


def test_a_lost_directory_of_names_is_told_and_begins_no_second_identity_unsaid(home: Path) -> None:
    assert "name" in ok("doctor").out
    assert "has a name here" not in ok("stack", "list").err
    (home / "subjects.db").unlink()
    assert "subjects.db is gone" in ok("stack", "list").err
    findings = ok("doctor", "--output=json").json["items"]
    assert [each["status"] for each in findings if each["check"] == "names"] == ["warning"]
    assert "before the next change" in ok("stack", "copy", "default", "other").err
    findings = ok("doctor", "--output=json").json["items"]
    assert any("2 of 4 users and hosts" in each["finding"] for each in findings)


def test_doctor_misses_the_triggers_that_refuse_changes(home: Path) -> None:
    ok("stack", "list")
    with closing(sqlite3.connect(home / "log.db")) as connection:
        for name in ("events_keep", "events_stay", "events_append"):
            connection.execute(f"DROP TRIGGER {name}")
    examined = stackledger("doctor", "--output=json")
    assert examined.status == 1
    for name in ("events_keep", "events_stay", "events_append"):
        assert any(name in each["finding"] for each in examined.json["items"] if each["status"] == "error")
