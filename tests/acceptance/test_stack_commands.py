from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from stackledger.domain.component_types import SHORT_OPTIONS, ComponentType
from tests.support.own_flavor import write_alerter_flavor, write_own_flavors
from tests.support.program import process, stackledger

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.both_logs]

ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def ok(*arguments: str, answers: str = "") -> str:
    done = stackledger(*arguments, answers=answers)
    assert done.status == 0, done.err
    return done.out


def json_of(*arguments: str) -> dict:  # type: ignore[type-arg]
    done = stackledger(*arguments, "--output", "json")
    assert done.status == 0, done.err
    found: dict = done.json  # type: ignore[type-arg]
    return found


def with_a_second_stack() -> None:
    ok("artifact-store", "register", "my_artifact_store", "--flavor=local")
    ok("stack", "register", "a_new_local_stack", "-o", "default", "-a", "my_artifact_store")


def test_a_fresh_home_has_the_default_stack_and_says_what_it_works_with() -> None:
    done = process("stack", "list", check=True)
    top, head, _, row, bottom = done.out.splitlines()
    assert top.startswith("┏━")
    assert bottom.endswith("━┛")
    assert [cell.strip() for cell in head.strip("┃").split("│")] == [
        "ACTIVE",
        "STACK NAME",
        "STACK ID",
        "SHARED",
        "OWNER",
        "ORCHESTRATOR",
        "ARTIFACT_STORE",
    ]
    cells = [cell.strip() for cell in row.strip("┃").split("│")]
    assert re.fullmatch(ID, cells.pop(2))
    assert cells == ["👉", "default", "➖", "default", "default", "default"]  # noqa: RUF001 - the heavy dash
    log, stack = done.err.splitlines()
    assert re.fullmatch(r"Using the (default local database|log postgresql://test_writer@[\w.:]+/\w+)\.", log)
    assert stack == "Running with active stack: 'default' (global)"


def test_registering_prints_the_sentences_that_users_know() -> None:
    store = stackledger("artifact-store", "register", "my_artifact_store", "--flavor=local")
    assert store.err.splitlines()[-1] == "Successfully registered artifact_store `my_artifact_store`."
    stack = stackledger("stack", "register", "a_new_local_stack", "-o", "default", "-a", "my_artifact_store")
    assert stack.err.splitlines()[-1] == "Stack 'a_new_local_stack' successfully registered!"
    assert (store.status, store.out, stack.status, stack.out) == (0, "", 0, "")


def test_describe_has_title_caption_and_the_sentence_about_its_owner() -> None:
    lines = [line.strip() for line in ok("stack", "describe").splitlines()]
    assert lines[0] == "Stack Configuration"
    assert [cell.strip() for cell in lines[2].strip("┃").split("│")] == ["COMPONENT_TYPE", "COMPONENT_NAME"]
    assert lines[-2] == "'default' stack (ACTIVE)"
    assert re.fullmatch(rf"Stack 'default' with id '{ID}' is owned by user default and is 'private'\.", lines[-1])


def test_a_stack_is_found_by_name_by_id_and_by_the_beginning_of_either() -> None:
    with_a_second_stack()
    stack = json_of("stack", "describe", "a_new_local_stack")
    for reference in (stack["id"], stack["id"][:-1], "a_new", "A_NEW_LOCAL_STACK"):
        assert json_of("stack", "describe", reference) == stack


def test_a_change_takes_no_beginning_of_a_name() -> None:
    with_a_second_stack()
    for change in (["set", "a_new"], ["rename", "a_new", "x"], ["delete", "a_new", "-y"]):
        assert stackledger("stack", *change).status == 1
    assert json_of("stack", "list")["pagination"]["total"] == 2


def test_json_of_a_stack_has_the_documented_fields() -> None:
    stack = json_of("stack", "describe")
    assert list(stack) == ["id", "name", "active", "shared", "owner", "labels", "components"]
    assert list(stack["components"]["orchestrator"][0]) == ["id", "name", "flavor"]


def test_json_of_a_list_has_items_and_pagination() -> None:
    with_a_second_stack()
    found = json_of("stack", "list", "--size", "1", "--page", "2")
    assert [stack["name"] for stack in found["items"]] == ["a_new_local_stack"]
    assert found["pagination"] == {"page": 2, "pages": 2, "size": 1, "total": 2}


def test_lists_are_filtered_and_sorted() -> None:
    with_a_second_stack()
    names = [stack["name"] for stack in json_of("stack", "list", "--sort-by", "name")["items"]]
    assert names == ["a_new_local_stack", "default"]
    assert ok("stack", "list", "--name=contains:new", "--columns=name", "--output=csv") == "name\na_new_local_stack\n"
    assert stackledger("stack", "list", "--name", "nowhere").err.splitlines()[-1] == "No stacks found."


def test_the_default_output_comes_from_the_environment() -> None:
    assert stackledger("stack", "list", env={"STACKLEDGER_OUTPUT": "csv"}).out.startswith("id,name,active")


def test_set_and_get_name_the_active_stack() -> None:
    with_a_second_stack()
    assert stackledger("stack", "set", "a_new_local_stack").err.splitlines()[-1] == (
        "Active global stack set to: 'a_new_local_stack'"
    )
    assert ok("stack", "get") == "The global active stack is: 'a_new_local_stack'\n"
    assert "Running with active stack: 'a_new_local_stack' (global)" in stackledger("stack", "list").err


def test_a_dry_run_prints_its_events_and_changes_nothing() -> None:
    before = json_of("log", "stats")["position"]
    done = stackledger("artifact-store", "register", "x", "--flavor=local", "--dry-run", "--output=json")
    assert done.status == 0
    events = done.json["items"]
    assert [event["type"] for event in events] == ["component.registered"]
    assert json_of("log", "stats")["position"] == before
    assert stackledger("artifact-store", "describe", "x").status == 1


def test_a_dry_run_of_somebody_new_prints_their_enrolment_as_the_command_makes_it() -> None:
    json_of("stack", "list")
    given = ("artifact-store", "register", "x", "--flavor=local")
    new = {"STACKLEDGER_USER": "newcomer"}
    tried = stackledger(*given, "--dry-run", "--output=json", env=new).json["items"]
    before = json_of("log", "stats")["position"]
    assert stackledger(*given, env=new).status == 0
    made = [json_of("log", "show", str(before + number + 1)) for number in range(len(tried))]
    assert [event["type"] for event in tried] == ["subject.enrolled", "component.registered"]
    assert [event["type"] for event in made] == ["subject.enrolled", "component.registered"]
    assert json_of("log", "stats")["position"] == before + 2


def test_a_change_with_json_prints_the_changed_object() -> None:
    component = json_of("artifact-store", "register", "x", "--flavor=local", "--label", "team=vision")
    assert component == json_of("artifact-store", "describe", "x")
    assert component["labels"] == {"team": "vision"}
    assert list(component) == [
        "id",
        "name",
        "type",
        "flavor",
        "active",
        "shared",
        "owner",
        "labels",
        "configuration",
    ]


def test_reason_and_ticket_are_in_the_history() -> None:
    ok("artifact-store", "register", "x", "--flavor=local", "--reason", "more room", "--ticket", "T-1")
    (entry,) = json_of("artifact-store", "history", "x")["items"]
    assert (entry["reason"], entry["ticket"]) == ("more room", "T-1")


def test_nobody_is_asked_about_what_only_begins_so() -> None:
    with_a_second_stack()
    ok("secret", "create", "a_secret", "--k=v")
    for command in (["stack", "delete", "a_new"], ["artifact-store", "delete", "my_art"], ["secret", "delete", "a_s"]):
        done = stackledger(*command, answers="y\n")
        assert done.status == 1
        assert "Did you mean" in done.err
        assert "[y/N]" not in done.err


def test_delete_asks_and_takes_piped_answers() -> None:
    with_a_second_stack()
    refused = stackledger("stack", "delete", "a_new_local_stack", answers="n\n")
    assert (refused.status, "nothing was changed" in refused.err) == (1, True)
    ok("stack", "delete", "a_new_local_stack", answers="y\n")
    assert stackledger("stack", "describe", "a_new_local_stack").status == 1
    silent = stackledger("artifact-store", "delete", "my_artifact_store")
    assert silent.status == 1
    ok("artifact-store", "delete", "my_artifact_store", "--yes")


def test_delete_recursive_takes_along_what_only_this_stack_used() -> None:
    with_a_second_stack()
    done = stackledger("stack", "delete", "a_new_local_stack", "-y", "-r")
    assert "Deleted stack 'a_new_local_stack', and with it the artifact_store `my_artifact_store`." in done.err
    assert stackledger("artifact-store", "describe", "my_artifact_store").status == 1


@pytest.mark.parametrize(
    ("register", "words"),
    [
        (("stack", "register", "x", "-o", "default", "-a", "default"), ("stack",)),
        (("artifact-store", "register", "x", "--flavor=local"), ("artifact-store",)),
    ],
)
def test_a_label_is_taken_off_by_its_key(register: tuple[str, ...], words: tuple[str, ...]) -> None:
    ok(*register, "--label", "team=vision", "--label", "tier=gold")
    assert json_of(*words, "update", "x", "-l", "team", "-l", "tier=silver")["labels"] == {"tier": "silver"}
    done = stackledger(*words, "update", "x", "-l", "teir")
    assert (done.status, "There is no label 'teir' to take off. Did you mean 'tier'?" in done.err) == (1, True)
    assert json_of(*words, "describe", "x")["labels"] == {"tier": "silver"}
    assert "take it off" in ok(*words, "update", "--help")


@pytest.mark.parametrize(
    ("register", "group"),
    [
        (("stack", "register", "x", "-o", "default", "-a", "default"), "stack"),
        (("artifact-store", "register", "x", "--flavor=local"), "artifact-store"),
        (("secret", "create", "x", "--key=1"), "secret"),
    ],
)
def test_what_is_deleted_is_what_was_asked_about(
    register: tuple[str, ...], group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok(*register)

    def meanwhile(_question: str) -> None:
        ok(group, "delete", "x", "--yes")
        ok(*register)

    monkeypatch.setattr("stackledger.cli.calls.confirmed", meanwhile)
    assert stackledger(group, "delete", "x").status == 1
    assert json_of(group, "get" if group == "secret" else "describe", "x")["name"] == "x"


def test_rename_copy_share_update_and_remove() -> None:
    with_a_second_stack()
    ok("stack", "rename", "a_new_local_stack", "-n", "second")
    ok("stack", "copy", "second", "third")
    ok("stack", "share", "third")
    ok("metadata-store", "register", "meta", "-f", "sqlite")
    ok("stack", "update", "third", "-m", "meta", "--label", "team=vision")
    stack = json_of("stack", "describe", "third")
    assert stack["shared"] is True
    assert stack["labels"] == {"team": "vision"}
    assert [one["name"] for one in stack["components"]["metadata_store"]] == ["meta"]
    ok("stack", "remove-component", "third", "-m")
    ok("stack", "unshare", "third")
    stack = json_of("stack", "describe", "third")
    assert "metadata_store" not in stack["components"]
    assert stack["shared"] is False


def test_both_spellings_of_options_and_groups_work() -> None:
    ok("artifact_store", "register", "x", "--flavor=local")
    ok("container_registry", "register", "reg", "-f", "default", "--uri=localhost:5000")
    ok(
        "stack",
        "register",
        "s",
        "-o",
        "default",
        "--artifact_store",
        "x",
        "--container_registry=reg",
        "--decouple_stores",
    )
    assert set(json_of("stack", "describe", "s")["components"]) == {
        "orchestrator",
        "artifact_store",
        "container_registry",
    }


def test_export_and_import_keep_labels(tmp_path: Path) -> None:
    with_a_second_stack()
    ok("stack", "update", "a_new_local_stack", "--label", "team=vision")
    file = tmp_path / "stack.yaml"
    ok("stack", "export", "a_new_local_stack", str(file))
    ok("stack", "import", "copy_of_it", "-f", str(file))
    assert json_of("stack", "describe", "copy_of_it")["labels"] == {"team": "vision"}
    file_of_json = tmp_path / "stack.json"
    file_of_json.write_text(ok("stack", "export", "a_new_local_stack", "--output=json"))
    ok("stack", "import", "another_copy", "-f", str(file_of_json))
    assert ok("stack", "export", "a_new_local_stack") == ok("stack", "export", "a_new_local_stack", "--output=yaml")
    again = stackledger("stack", "export", "a_new_local_stack", str(file))
    assert again.status == 1
    assert "there already" in again.err


@pytest.mark.parametrize(
    "text",
    ["a: &x [1]\nb: *x", "a: 1\na: 2", "!!python/object:os.system x", "- a list", "{", "[" * 5000, "a: \x00", ""],
)
def test_hostile_yaml_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "stack.yaml"
    file.write_text(text)
    done = stackledger("stack", "import", "x", "-f", str(file))
    assert done.status == 1, done
    assert stackledger("stack", "describe", "x").status == 1


GOOD: dict[str, Any] = {
    "stackledger_stack": 1,
    "name": "x",
    "labels": {"team": "vision"},
    "components": {
        "orchestrator": [{"name": "default", "flavor": "local"}],
        "artifact_store": [{"name": "new", "flavor": "local", "labels": {"a": "b"}}],
    },
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stackledger_stack": 2}, "not a stack that"),
        ({"name": None}, "has no name"),
        ({"name": "../x"}, "holds '/'"),
        ({"surplus": 1}, "unknown key 'surplus'"),
        ({"labels": {"a": 1}}, "labels of the stack are not texts"),
        ({"components": {"wormhole": []}}, "'wormhole' among the types"),
        ({"components": {"orchestrator": [{"name": "default", "flavor": "local"}]}}, "no artifact store"),
        ({"store": {"name": "../new"}}, "holds '/'"),
        ({"store": {"flavor": "nowhere"}}, "no flavor 'nowhere'"),
        ({"store": {"surplus": 1}}, "unknown key 'surplus'"),
        ({"store": {"configuration": {"path": 5}}}, "'path'"),
        ({"store": {"configuration": {"paht": "x"}}}, "Did you mean 'path'"),
        ({"store": {"configuration": {"path": "http://u:pw@host"}}}, "holds a password"),
        ({"store": {"name": "default", "configuration": {"path": "/elsewhere"}}}, "another artifact store named"),
    ],
)
def test_a_hostile_export_is_refused_whole(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    exported = copy.deepcopy(GOOD) | changes
    exported["components"].get("artifact_store", [{}])[0].update(exported.pop("store", {}))
    file = tmp_path / "stack.json"
    file.write_text(json.dumps(exported))
    before = json_of("log", "stats")["position"]
    done = stackledger("stack", "import", "-f", str(file))
    assert (done.status, message in done.err) == (1, True), done.err
    assert json_of("log", "stats")["position"] == before


def test_an_import_that_meets_another_component_of_its_name_says_which_of_them_can_give_way(tmp_path: Path) -> None:
    ok("stack", "export", "default", str(tmp_path / "s.yaml"))
    text = (tmp_path / "s.yaml").read_text(encoding="utf-8").replace("flavor: local", "flavor: other")
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    refused = stackledger("stack", "import", "copied", "-f", str(tmp_path / "s.yaml"))
    assert refused.status == 1
    assert refused.err.splitlines()[-1].endswith("give the other one another name in the file.")


def test_an_import_registers_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "stack.json"
    file.write_text(json.dumps(GOOD))
    tried = json_of("stack", "import", "-f", str(file), "--dry-run")["items"]
    assert [event["type"] for event in tried] == ["component.registered", "stack.registered"]
    assert json_of("stack", "import", "-f", str(file))["labels"] == {"team": "vision"}
    assert json_of("artifact-store", "describe", "new")["labels"] == {"a": "b"}
    assert [
        one["name"] for one in json_of("stack", "import", "again", "-f", str(file))["components"]["artifact_store"]
    ] == ["new"]


def test_history_diff_and_restore() -> None:
    with_a_second_stack()
    position = json_of("log", "list", "--size", "1")["items"][0]["position"]
    ok("stack", "update", "a_new_local_stack", "-a", "default")
    changes = json_of("stack", "diff", "a_new_local_stack", "--from", str(position))["items"]
    assert {"field", "from", "to"} == set(changes[0])
    assert "my_artifact_store" in ok("stack", "diff", "a_new_local_stack", "--from", str(position))
    assert "stack.updated" in ok("stack", "history", "a_new_local_stack")
    ok("stack", "restore", "a_new_local_stack", "--as-of", str(position))
    stack = json_of("stack", "describe", "a_new_local_stack")
    assert [one["name"] for one in stack["components"]["artifact_store"]] == ["my_artifact_store"]
    kinds = [entry["type"] for entry in json_of("stack", "history", "a_new_local_stack")["items"]]
    assert kinds[-1] == "stack.registered"
    assert kinds.count("stack.updated") == 2


def test_a_deleted_stack_is_restored_as_it_was() -> None:
    with_a_second_stack()
    ok("stack", "share", "a_new_local_stack")
    ok("artifact-store", "share", "my_artifact_store")
    position = str(json_of("log", "stats")["position"])
    before = json_of("stack", "describe", "a_new_local_stack")
    ok("stack", "rename", "a_new_local_stack", "other")
    ok("stack", "restore", "other", "--as-of", position)
    assert json_of("stack", "describe", "other")["id"] == before["id"]
    ok("stack", "delete", "other", "-y", "-r")
    ok("stack", "restore", "a_new_local_stack", "--as-of", position)
    after = json_of("stack", "describe", "a_new_local_stack")
    assert after["id"] != before["id"]
    assert after["shared"] is True
    assert json_of("artifact-store", "describe", "my_artifact_store")["shared"] is True


def test_a_restored_stack_is_compared_with_what_it_was_before_it_was_deleted() -> None:
    with_a_second_stack()
    ok("stack", "update", "a_new_local_stack", "--label", "first=yes")
    position = str(json_of("log", "stats")["position"])
    ok("stack", "delete", "a_new_local_stack", "-y", "-r")
    gone = str(json_of("log", "stats")["position"])
    ok("stack", "restore", "a_new_local_stack", "--as-of", position)
    ok("stack", "update", "a_new_local_stack", "--label", "first=no")
    (change,) = json_of("stack", "diff", "a_new_local_stack", "--from", position)["items"]
    assert change == {"field": "labels.first", "from": "yes", "to": "no"}
    refused = stackledger("stack", "diff", "a_new_local_stack", "--from", "1", "--to", gone)
    assert refused.status == 1
    assert "There was no stack 'a_new_local_stack' at either moment." in refused.err


def test_a_stack_goes_back_to_before_it_was_deleted_and_restored() -> None:
    with_a_second_stack()
    ok("stack", "update", "a_new_local_stack", "--label", "first=yes")
    position = str(json_of("log", "stats")["position"])
    ok("stack", "delete", "a_new_local_stack", "-y", "-r")
    ok("stack", "restore", "a_new_local_stack", "--as-of", position)
    ok("stack", "update", "a_new_local_stack", "-a", "default", "--label", "first")
    restored = json_of("stack", "describe", "a_new_local_stack")
    ok("stack", "restore", "a_new_local_stack", "--as-of", position)
    again = json_of("stack", "describe", "a_new_local_stack")
    assert (again["id"], again["labels"]) == (restored["id"], {"first": "yes"})
    assert [one["name"] for one in again["components"]["artifact_store"]] == ["my_artifact_store"]
    assert json_of("artifact-store", "list")["pagination"]["total"] == 2


def test_a_component_that_has_the_name_of_a_deleted_one_and_is_another_is_in_the_way(tmp_path: Path) -> None:
    with_a_second_stack()
    position = str(json_of("log", "stats")["position"])
    ok("stack", "delete", "a_new_local_stack", "-y", "-r")
    ok("artifact-store", "register", "my_artifact_store", "--flavor=local", f"--path={tmp_path}/other")
    refused = stackledger("stack", "restore", "a_new_local_stack", "--as-of", position)
    assert refused.status == 1
    assert "artifact store named 'my_artifact_store', with another flavor or configuration" in refused.err
    assert "Give it another name first" in refused.err
    ok("artifact-store", "rename", "my_artifact_store", "other")
    ok("stack", "restore", "a_new_local_stack", "--as-of", position)


def test_stores_that_others_have_paired_since_are_decoupled_when_asked() -> None:
    with_a_second_stack()
    ok("metadata-store", "register", "meta", "-f", "sqlite")
    ok("stack", "register", "first", "-o", "default", "-a", "my_artifact_store", "-m", "meta")
    position = str(json_of("log", "stats")["position"])
    ok("stack", "update", "first", "-a", "default", "--decouple-stores")
    for command in (["restore", "first", "--as-of", position], ["copy", "first", "second"]):
        if command[0] == "copy":
            ok("stack", "register", "third", "-o", "default", "-a", "default", "-m", "meta", "--decouple-stores")
        head = json_of("log", "stats")["position"]
        refused = stackledger("stack", *command)
        assert (refused.status, "--decouple-stores" in refused.err) == (1, True)
        assert json_of("log", "stats")["position"] == head
        ok("stack", *command, "--decouple-stores")


def test_as_of_shows_what_was_there() -> None:
    ok("stack", "list")
    position = json_of("log", "stats")["events"]
    with_a_second_stack()
    assert [stack["name"] for stack in json_of("stack", "list", "--as-of", str(position))["items"]] == ["default"]


def test_up_and_down_say_what_the_flavors_say() -> None:
    for command in (["up"], ["down"], ["down", "--force"]):
        words = [line.split(":")[0] for line in stackledger("stack", *command).err.splitlines()[2:]]
        assert words == ["orchestrator `default`", "artifact_store `default`"]
        said = stackledger("orchestrator", *command).err
        assert "runs steps in the process that starts the run: there is nothing to start or stop." in said


def test_every_query_looks_back() -> None:
    ok("stack", "list")
    position = str(json_of("log", "stats")["position"])
    with_a_second_stack()
    ok("stack", "set", "a_new_local_stack")
    ok("alerter", "flavor", "register", write_alerter_flavor(Path.cwd(), "flavors_as_of"))
    ok("secret", "create", "s", "--k=v")
    then = ("--as-of", position)
    assert ok("stack", "get", *then) == "The global active stack is: 'default'\n"
    assert ok("artifact-store", "get", *then) == "Active artifact store: 'default'\n"
    assert ok("alerter", "flavor", "list", *then) == ""
    assert "mine" not in ok("flavor", "list", *then)
    assert "name: default" in ok("stack", "export", *then)
    assert {entry["type"] for entry in json_of("stack", "history", "default", *then)["items"]} == {"stack.registered"}
    for gone in (
        ["stack", "describe", "a_new_local_stack"],
        ["stack", "history", "a_new_local_stack"],
        ["stack", "export-requirements", "a_new_local_stack"],
        ["artifact-store", "describe", "my_artifact_store"],
        ["artifact-store", "history", "my_artifact_store"],
        ["alerter", "flavor", "describe", "mine"],
        ["secret", "get", "s"],
    ):
        assert stackledger(*gone).status == 0, gone
        assert stackledger(*gone, *then).status == 1, gone
    assert stackledger("secret", "get", "s", "--reveal", *then).status == 2


def test_lists_that_come_whole_are_sorted_and_cut_too() -> None:
    with_a_second_stack()
    for name in ("b", "c"):
        ok("stack", "rename", "a_new_local_stack" if name == "b" else "b", name)
    found = json_of("stack", "history", "c", "--size", "1", "--page", "2")
    assert [entry["changes"][0]["to"] for entry in found["items"]] == ["b"]
    assert found["pagination"] == {"page": 2, "pages": 3, "size": 1, "total": 3}
    oldest = json_of("stack", "history", "c", "--sort-by", "position")["items"]
    assert [entry["position"] for entry in oldest] == sorted(entry["position"] for entry in oldest)
    names = [one["name"] for one in json_of("flavor", "list", "--sort-by", "desc:name")["items"]]
    assert names == sorted(names, reverse=True)
    assert stackledger("flavor", "list", "--sort-by", "nam").status == 2


def test_a_stack_of_all_types_is_registered_with_the_short_options_and_described() -> None:
    flavors = write_own_flavors(Path.cwd(), "flavors_of_all_types")
    for kind, source in flavors.items():
        ok(kind.group, "flavor", "register", source)
        ok(kind.group, "register", f"my-{kind.group}", "-f", "mine", "--url=x")
    ok("experiment-tracker", "register", "second", "-f", "mine", "--url=x")
    options = [part for kind in ComponentType for part in (SHORT_OPTIONS[kind], f"my-{kind.group}")]
    ok("stack", "register", "all", *options, "-e", "second", "--label", "team=vision", "--set")
    components = json_of("stack", "describe", "all")["components"]
    assert list(components) == [kind.value for kind in ComponentType]
    assert [one["name"] for one in components["experiment_tracker"]] == ["my-experiment-tracker", "second"]
    described = ok("stack", "describe")
    for kind in ComponentType:
        assert re.search(rf"┃ {kind.upper()} +│ my-{kind.group}", described)
    assert "my-experiment-tracker, second" in described
    assert re.search(r"┃ team +│ vision ┃", described)
    # The first of several is the default one.
    assert ok("experiment-tracker", "get") == "Active experiment tracker: 'my-experiment-tracker'\n"
    assert "alerter `my-alerter`: Mine of the type ALERTER waits for nobody." in stackledger("stack", "up").err
    ok("stack", "remove-component", "all", "--experiment_tracker=my-experiment-tracker", "-al", "-an", "-dv", "-i")
    left = json_of("stack", "describe", "all")["components"]
    assert [one["name"] for one in left["experiment_tracker"]] == ["second"]
    assert components.keys() - left.keys() == {"alerter", "annotator", "data_validator", "image_builder"}
    ok("stack", "set", "default")
    ok("stack", "delete", "all", "-y", "-r")
    assert json_of("experiment-tracker", "list")["items"][0]["name"] == "my-experiment-tracker"
    assert json_of("model-registry", "list")["items"] == []


def test_requirements_are_a_result(tmp_path: Path) -> None:
    assert ok("stack", "export-requirements") == ok("stack", "export-requirements", "default")
    ok("stack", "export-requirements", "--output-file", str(tmp_path / "r.txt"))
    assert (tmp_path / "r.txt").read_text() == ok("stack", "export-requirements") == ""
    assert "No packages are needed" in stackledger("stack", "export-requirements").err
