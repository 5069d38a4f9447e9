from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stackledger.domain.component_types import ComponentType
from tests.support.own_flavor import write_alerter_flavor
from tests.support.program import process, stackledger

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.both_logs]


def ok(*arguments: str, answers: str = "") -> str:
    done = stackledger(*arguments, answers=answers)
    assert done.status == 0, done.err
    return done.out


def json_of(*arguments: str) -> dict:  # type: ignore[type-arg]
    done = stackledger(*arguments, "--output", "json")
    assert done.status == 0, done.err
    found: dict = done.json  # type: ignore[type-arg]
    return found


@pytest.mark.parametrize("kind", ComponentType)
def test_every_type_has_its_commands(kind: ComponentType) -> None:
    assert stackledger(kind.group, "list").status == 0
    assert ok(kind.group, "explain").strip()
    assert stackledger(kind.group, "flavor", "list").status == 0
    assert stackledger(kind.group, "flavor", "--list").status == 0
    assert stackledger("flavor", "--list").out == stackledger("flavor", "list").out
    assert stackledger(kind.group, "describe", "nowhere").status == 1


def test_a_list_has_the_columns_that_users_know() -> None:
    head = ok("orchestrator", "list").splitlines()[1]
    titles = [cell.strip() for cell in head.strip("┃").split("│")]
    assert titles == ["ACTIVE", "NAME", "COMPONENT ID", "FLAVOR", "SHARED", "OWNER"]


def test_the_active_component_is_described_and_got_without_a_name() -> None:
    assert json_of("artifact-store", "describe")["name"] == "default"
    assert ok("artifact-store", "get") == "Active artifact store: 'default'\n"
    assert stackledger("alerter", "get").status == 1


def test_configuration_is_given_as_options_in_any_place(tmp_path: Path) -> None:
    ok("artifact-store", "register", f"--path={tmp_path}/a", "first", "--flavor=local")
    ok("artifact-store", "register", "--path", f"{tmp_path}/b", "second", "-f", "local")
    assert json_of("artifact-store", "describe", "first")["configuration"]["path"] == f"{tmp_path}/a"
    assert json_of("artifact-store", "describe", "second")["configuration"]["path"] == f"{tmp_path}/b"
    ok("artifact-store", "update", "first", f"--path={tmp_path}/c")
    assert json_of("artifact-store", "describe", "first")["configuration"]["path"] == f"{tmp_path}/c"


def test_a_value_can_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "path.txt").write_text(f"{tmp_path}/kept\n")
    ok("artifact-store", "register", "x", "--flavor=local", f"--path=@{tmp_path}/path.txt")
    assert json_of("artifact-store", "describe", "x")["configuration"]["path"] == f"{tmp_path}/kept"


def test_structured_values_are_given_and_shown_as_json() -> None:
    ok("alerter", "flavor", "register", write_alerter_flavor(Path.cwd(), "flavors_with_structure"))
    ok("alerter", "register", "x", "-f", "mine", "--url=u", '--options={"a": 1, "b": 2}')
    assert json_of("alerter", "describe", "x")["configuration"] == {"url": "u", "options": {"a": 1, "b": 2}}
    for shown in (["describe", "x"], ["history", "x"], ["list", "--columns=configuration"]):
        assert '{"a": 1, "b": 2}' in ok("alerter", *shown)
    for wrong in ('{"a": 1', '{"a": "x"}', "[1]", '{"a": 1, "a": 2}'):
        assert stackledger("alerter", "update", "x", f"--options={wrong}").status == 1


def test_a_flavor_is_described_with_its_fields_and_listed_without() -> None:
    ok("alerter", "flavor", "register", write_alerter_flavor(Path.cwd(), "flavors_described"))
    described = ok("alerter", "flavor", "describe", "mine")
    (token,) = [line for line in described.splitlines() if "token" in line]
    assert "a reference to a secret" in token
    (url,) = [line for line in described.splitlines() if "url" in line]
    assert "required" in url
    assert "secret" not in url
    fields = json_of("alerter", "flavor", "describe", "mine")["fields"]
    assert [field["name"] for field in fields if field["secret"]] == ["token"]
    (listed,) = json_of("alerter", "flavor", "list")["items"]
    assert set(listed) == {"name", "type", "source", "custom", "summary"}


def test_a_flavor_whose_code_is_gone_can_be_deleted() -> None:
    ok("alerter", "flavor", "register", write_alerter_flavor(Path.cwd(), "flavors_soon_gone"))
    Path("flavors_soon_gone.py").unlink()
    sys.modules.pop("flavors_soon_gone")
    assert stackledger("alerter", "flavor", "describe", "mine").status == 1
    assert "mine" in ok("alerter", "flavor", "list")
    ok("alerter", "flavor", "delete", "mine", "-y")
    assert ok("alerter", "flavor", "list") == ""


def test_removing_an_attribute_brings_the_default_back(tmp_path: Path) -> None:
    ok("artifact-store", "register", "plain", "--flavor=local")
    ok("artifact-store", "register", "x", "--flavor=local", f"--path={tmp_path}/a", "--label", "a=b")
    for key in (["path"], ["--path"]):
        ok("artifact-store", "update", "x", f"--path={tmp_path}/a")
        ok("artifact-store", "remove-attribute", "x", *key)
        assert json_of("artifact-store", "describe", "x")["configuration"].get("path") != f"{tmp_path}/a"
    ok("artifact-store", "remove-attribute", "x", "--label", "a")
    assert json_of("artifact-store", "describe", "x")["labels"] == {}


def test_help_with_a_flavor_lists_its_configuration() -> None:
    help_ = ok("container-registry", "register", "-f", "default", "--help")
    assert "Configuration of the flavor default" in help_
    assert "--uri <" in help_
    assert "[required]" in help_
    ok("container-registry", "register", "r", "-f", "default", "--uri=localhost:5000")
    assert "--uri <" in ok("container-registry", "update", "r", "--help")
    wrong = stackledger("container-registry", "register", "-f", "defualt", "--help")
    assert (wrong.status, "Did you mean 'default'" in wrong.err) == (1, True)


def test_interactive_registration_asks_for_what_is_missing() -> None:
    done = stackledger(
        "container-registry", "register", "r", "-f", "default", "-i", answers="\nlocalhost:5000\n" + "\n" * 9
    )
    assert done.status == 0, done.err
    assert "uri is required." in done.err
    assert json_of("container-registry", "describe", "r")["configuration"]["uri"] == "localhost:5000"
    ended = stackledger("container-registry", "register", "s", "-f", "default", "-i", answers="")
    assert (ended.status, "no answer for uri" in ended.err) == (1, True)


def test_rename_copy_share_and_delete() -> None:
    ok("metadata-store", "register", "a", "-f", "sqlite", "--label", "x=1")
    ok("metadata-store", "rename", "a", "b")
    ok("metadata-store", "copy", "b", "c")
    ok("metadata-store", "share", "c")
    assert json_of("metadata-store", "describe", "c") | {"id": 0} == json_of("metadata-store", "describe", "b") | {
        "id": 0,
        "name": "c",
        "shared": True,
    }
    ok("metadata-store", "unshare", "c")
    ok("metadata-store", "delete", "c", "-y")
    assert [one["name"] for one in json_of("metadata-store", "list")["items"]] == ["b"]
    types = [entry["type"] for entry in json_of("metadata-store", "history", "b")["items"]]
    assert types == ["component.renamed", "component.registered"]


def test_a_component_in_use_is_kept() -> None:
    ok("artifact-store", "register", "x", "-f", "local")
    ok("stack", "register", "s", "-o", "default", "-a", "x")
    done = stackledger("artifact-store", "delete", "x", "-y")
    assert (done.status, "'s'" in done.err) == (1, True)


def test_flavors_of_your_own_come_and_go() -> None:
    source = write_alerter_flavor(Path.cwd(), "flavors_that_come_and_go")
    ok("alerter", "flavor", "register", source)
    assert [one["name"] for one in json_of("alerter", "flavor", "list")["items"]] == ["mine"]
    assert [field["name"] for field in json_of("alerter", "flavor", "describe", "mine")["fields"]][:2] == [
        "url",
        "token",
    ]
    process("alerter", "register", "a", "-f", "mine", "--url=x", check=True)
    assert stackledger("alerter", "flavor", "delete", "mine", "-y").status == 1
    ok("alerter", "delete", "a", "-y")
    ok("alerter", "flavor", "delete", "mine", "-y")
    assert stackledger("alerter", "flavor", "register", "nowhere.Nothing").status == 1


def test_the_top_level_list_has_flavors_of_all_types() -> None:
    types = {one["type"] for one in json_of("flavor", "list")["items"]}
    assert {"orchestrator", "artifact_store", "metadata_store", "container_registry"} <= types
    assert {one["type"] for one in json_of("flavor", "list", "-t", "artifact-store")["items"]} == {"artifact_store"}
