"""The client as it is used from Python: names and parameters as users of ZenML know them, mistakes in words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stackledger import Client, pipeline, step
from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import (
    Ambiguous,
    BuiltIn,
    InvalidConfiguration,
    InvalidName,
    InvalidValue,
    NotFound,
    Refused,
    StackledgerError,
    UsageError,
)
from tests.support.own_flavor import write_alerter_flavor

STORE = ComponentType.ARTIFACT_STORE


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    assert not home.exists()
    with closing(Client()) as made:
        yield made


def test_a_stack_is_made_of_components_by_type_or_its_text_one_or_several(client: Client) -> None:
    store = client.create_stack_component("files", "local", STORE, {}, {"team": "x"})
    assert (store.name, store.flavor, store.type, store.labels) == ("files", "local", "artifact_store", {"team": "x"})
    one = client.create_stack("one", {"orchestrator": "default", "artifact_store": "files"})
    several = client.create_stack("two", {ComponentType.ORCHESTRATOR: ["default"], STORE: (store.id,)}, {"a": "b"})
    assert one.components == several.components
    assert several.labels == {"a": "b"}
    assert one.artifact_store == one.components[STORE][0]
    assert one.artifact_store is not None
    assert one.artifact_store.id == store.id
    assert one.alerter is None
    with pytest.raises(AttributeError, match="artefact_store"):
        _ = one.artefact_store


def test_the_active_stack_is_a_stack(client: Client) -> None:
    assert client.active_stack.name == "default"
    assert client.active_stack.active
    client.create_stack("mine", {"orchestrator": "default", "artifact_store": "default"})
    client.activate_stack("mine")
    assert client.active_stack.name == client.active_stack_model.name == client.get_stack().name == "mine"
    assert client.active_stack_and_scope()[1] == "global"


def test_stacks_are_updated_renamed_and_deleted(client: Client) -> None:
    client.create_stack_component("files", "local", STORE)
    client.create_stack("mine", {"orchestrator": "default", "artifact_store": "default"})
    updated = client.update_stack("mine", labels={"a": "b"}, component_updates={STORE: "files"})
    assert updated.artifact_store is not None
    assert (updated.artifact_store.name, updated.labels) == ("files", {"a": "b"})
    assert client.update_stack("mine", name="theirs").id == updated.id
    assert client.update_stack("theirs", labels={"a": None}).labels == {}
    with pytest.raises(UsageError, match="change of its own"):
        client.update_stack("theirs", name="ours", labels={"c": "d"})
    client.delete_stack("theirs", recursive=True)
    assert [stack.name for stack in client.list_stacks()] == ["default"]
    assert [store.name for store in client.list_stack_components("artifact_store")] == ["default"]


def test_components_are_found_updated_renamed_and_deleted(client: Client, tmp_path: Path) -> None:
    client.create_stack_component("files", "local", STORE, labels={"team": "x"})
    assert client.get_stack_component(STORE, "fil").name == "files"
    assert client.get_stack_component("artifact_store").name == "default"
    with pytest.raises(NotFound):
        client.get_stack_component(STORE, "fil", allow_name_prefix_match=False)
    path = str(tmp_path / "elsewhere")
    updated = client.update_stack_component("files", STORE, configuration={"path": path}, labels={"team": None})
    assert (updated.configuration["path"], updated.labels) == (path, {})
    assert client.update_stack_component("files", STORE, "tapes").id == updated.id
    client.delete_stack_component("tapes", "artifact_store")
    assert len(client.list_stack_components(STORE)) == 1


def test_a_page_is_the_sequence_of_what_is_on_it(client: Client) -> None:
    for name in ("a", "b", "c"):
        client.create_stack(name, {"orchestrator": "default", "artifact_store": "default"})
    page = client.list_stacks(sort_by="desc:name", page=1, size=3)
    assert [stack.name for stack in page] == ["default", "c", "b"]
    assert (len(page), page[0].name, page.total, page.index, page.max_size, page.total_pages) == (
        3,
        "default",
        4,
        1,
        3,
        2,
    )
    assert [stack.name for stack in client.list_stacks(name="b")] == ["b"]
    assert [stack.name for stack in client.list_stacks(name="contains:A")] == ["default", "a"]
    assert len(client.list_stacks(owner="default")) == 4
    assert len(client.list_stacks(owner="nobody")) == 0


def test_labels_filter_by_key_or_by_value(client: Client) -> None:
    parts = {"orchestrator": "default", "artifact_store": "default"}
    client.create_stack("a", parts, {"team": "x"})
    client.create_stack("b", parts, {"team": "y", "k": "v"})
    assert [stack.name for stack in client.list_stacks(label="team")] == ["a", "b"]
    assert [stack.name for stack in client.list_stacks(label=["team=y", "k"])] == ["b"]


def test_flavors_are_found_by_name_where_one_type_has_it(client: Client) -> None:
    flavor = client.create_flavor(write_alerter_flavor(Path.cwd(), "flavors_of_python"), "alerter")
    assert client.get_flavor("mine") == client.get_flavor("mine", ComponentType.ALERTER) == flavor
    assert {field["name"] for field in flavor.fields if field["secret"]} == {"token"}
    assert {each.name for each in client.list_flavors("alerter")} == {
        each.name for each in client.list_flavors(type="alerter")
    }
    with pytest.raises(Ambiguous, match=r"artifact_store.*component_type"):
        client.get_flavor("local")
    with pytest.raises(NotFound, match="'mine'"):
        client.get_flavor("mien")
    client.delete_flavor("mine")
    with pytest.raises(BuiltIn, match="comes with Stackledger"):
        client.delete_flavor("local", "artifact_store")


def test_secrets_give_their_values_and_do_not_show_them(client: Client) -> None:
    made = client.create_secret("aws", {"key": "hush-hush", "region": "eu"})
    assert made.keys == ["key", "region"]
    secret = client.get_secret("aw")
    assert secret.secret_values == {"key": "hush-hush", "region": "eu"}
    assert "hush-hush" not in repr(secret)
    assert client.get_secret("aws", as_of=client.log_stats()["position"]).secret_values == {}
    updated = client.update_secret("aws", add_or_update_values={"key": "other", "zone": "1"}, remove_values=["region"])
    assert set(updated.keys) == {"key", "zone"}
    assert client.update_secret("aws", new_name="azure").name == "azure"
    assert client.get_secret("azure").secret_values == {"key": "other", "zone": "1"}
    with pytest.raises(UsageError, match="change of its own"):
        client.update_secret("azure", "aws", remove_values=["key"])
    assert [each.name for each in client.list_secrets(name="azure")] == ["azure"]
    client.delete_secret("azure")
    assert len(client.list_secrets()) == 0


@step
def count(start: int) -> int:
    return start + 1


@pipeline
def counting(start: int) -> None:
    count(start)


def test_runs_and_artifacts_are_listed_and_loaded(client: Client) -> None:
    counting(1)
    counting(2)
    runs = client.list_pipeline_runs(pipeline="counting", status="completed", stack="default", sort_by="started")
    assert len(runs) == 2
    run = client.get_pipeline_run(runs[1].id)
    assert run.steps["count"].output.load() == 3
    assert [each.name for each in client.list_run_steps(run.id)] == ["count"]
    assert client.describe_pipeline_run(run.name).parameters == {"start": 2}
    assert [each.name for each in client.list_pipelines(name="counting")] == ["counting"]
    (artifact,) = client.list_artifacts()
    versions = client.list_artifact_versions(name=artifact.name, sort_by="created")
    assert [each.version for each in versions] == [1, 2]
    assert artifact == versions[1] == client.describe_artifact_version(artifact.name)
    assert client.get_artifact_version(artifact.name, 1).load() == 2
    assert client.get_artifact_version(artifact.id).load() == 3
    assert [each.version for each in client.list_artifact_versions(run=runs[0].name, step="count")] == [1]


PARTS = {"orchestrator": "default", "artifact_store": "default"}

WRONG: dict[str, tuple[Callable[[Any], object], type[StackledgerError], str]] = {
    "a filter that a list has not": (
        lambda c: c.list_stacks(nmae="x"),
        UsageError,
        "mean 'name'.*name, owner, flavor, label",
    ),
    "a filter of another list": (lambda c: c.list_stacks(pipeline="x"), UsageError, "no filter 'pipeline'"),
    "a filter of runs": (lambda c: c.list_pipeline_runs(pipline="x"), UsageError, "Did you mean 'pipeline'"),
    "a filter of pipelines": (lambda c: c.list_pipelines(owner="x"), UsageError, "no filter 'owner'"),
    "a filter of artifacts": (lambda c: c.list_artifacts(steps="x"), UsageError, "Did you mean 'step'"),
    "a filter of secrets": (lambda c: c.list_secrets(label="x"), UsageError, "no filter 'label'"),
    "a filter that is no text": (lambda c: c.list_stacks(name=5), InvalidValue, "The filter name is a text, not int"),
    "a label that is no text": (lambda c: c.list_stacks(label=[5]), InvalidValue, "label is a text, not int"),
    "a page that is no number": (lambda c: c.list_stacks(page="1"), InvalidValue, "a whole number, not str"),
    "an order that is no text": (lambda c: c.list_stacks(sort_by=1), InvalidValue, "sort_by"),
    "a type that there is not": (
        lambda c: c.list_stack_components("artifact-stor"),
        UsageError,
        "no type of component 'artifact-stor'.*Did you mean 'artifact_store'",
    ),
    "a type in the wrong place": (
        lambda c: c.get_stack_component("default", "artifact_store"),
        UsageError,
        "'default'",
    ),
    "a type of a part": (lambda c: c.create_stack("x", {"orchestratr": "default"}), UsageError, "'orchestrator'"),
    "a type that is no text": (lambda c: c.list_stack_components(5), UsageError, "no type of component '5'"),
    "a flavor's type": (lambda c: c.list_flavors("alertr"), UsageError, "'alerter'"),
    "a history's type": (lambda c: c.component_history("alertr"), UsageError, "'alerter'"),
    "parts that are no mapping": (
        lambda c: c.create_stack("x", ["default"]),
        InvalidValue,
        "of texts, not list",
    ),
    "parts that are no texts": (
        lambda c: c.create_stack("x", {"orchestrator": 5}),
        InvalidValue,
        "orchestrator is a text",
    ),
    "parts by name that are no texts": (lambda c: c.create_stack("x", {"orchestrator": [5]}), InvalidValue, "not int"),
    "no parts": (lambda c: c.create_stack("x", None), StackledgerError, "orchestrator"),
    "a name that is no text": (lambda c: c.create_stack(5, PARTS), InvalidValue, "The name of a stack is a text"),
    "a new name that is no text": (lambda c: c.update_stack("mine", 5), InvalidValue, "The new name is a text"),
    "an empty name": (lambda c: c.create_stack("", PARTS), InvalidName, "empty"),
    "a stack that is no text": (lambda c: c.get_stack(5), InvalidValue, "id of the stack is a text"),
    "a stack to delete that is no text": (lambda c: c.delete_stack(None), InvalidValue, "NoneType"),
    "a stack to activate that is no text": (lambda c: c.activate_stack(5), InvalidValue, "id of the stack is a text"),
    "a component that is no text": (
        lambda c: c.get_stack_component(STORE, 5),
        InvalidValue,
        "id of the artifact store",
    ),
    "a component's name": (
        lambda c: c.create_stack_component(5, "local", STORE, {}),
        InvalidValue,
        "a text",
    ),
    "a component's flavor": (
        lambda c: c.create_stack_component("x", None, STORE, {}),
        InvalidValue,
        "The flavor",
    ),
    "a configuration": (
        lambda c: c.create_stack_component("x", "local", STORE, "path"),
        InvalidValue,
        "A configuration",
    ),
    "a configuration's key": (
        lambda c: c.create_stack_component("x", "local", STORE, {5: 5}),
        InvalidValue,
        "of texts",
    ),
    "an odd value": (
        lambda c: c.create_stack_component("x", "local", STORE, {"path": object()}),
        InvalidConfiguration,
        "path",
    ),
    "labels": (lambda c: c.create_stack("x", PARTS, {"a": 5}), InvalidValue, "The labels: 'a' is a text, not int"),
    "labels that are no mapping": (
        lambda c: c.update_stack("mine", labels=["a"]),
        InvalidValue,
        "labels",
    ),
    "labels of a component": (lambda c: c.create_stack_component("x", "local", STORE, {}, [1]), InvalidValue, "labels"),
    "a copy's name": (lambda c: c.copy_stack("default", 5), InvalidValue, "name of a stack"),
    "a secret's name": (lambda c: c.create_secret(5, {"a": "b"}), InvalidValue, "name of a secret"),
    "a secret's values": (lambda c: c.create_secret("x", {"a": 5}), InvalidValue, "'a' is a text, not int"),
    "a secret": (lambda c: c.get_secret(5), InvalidValue, "id of the secret is a text"),
    "a flavor's name": (lambda c: c.get_flavor(5), InvalidValue, "name of a flavor"),
    "a flavor's class": (lambda c: c.create_flavor(5, "alerter"), InvalidValue, "name of a class"),
    "a run": (lambda c: c.get_pipeline_run(5), InvalidValue, "id of the run is a text"),
    "a pipeline": (lambda c: c.get_pipeline(5), InvalidValue, "name of a pipeline"),
    "an artifact": (lambda c: c.get_artifact_version(5), InvalidValue, "id of the artifact is a text"),
    "a version": (lambda c: c.get_artifact_version("x", "one"), StackledgerError, "version|artifact"),
    "a page before the first": (lambda c: c.list_stacks(page=0), UsageError, "no page 0"),
    "a page of events": (lambda c: c.log_events(page=0), UsageError, "no page 0"),
    "a size of a page of events": (lambda c: c.log_events(size="2"), InvalidValue, "a whole number, not str"),
    "an order of events": (lambda c: c.log_events(sort_by="tme"), UsageError, "'time'"),
    "types of events": (lambda c: c.log_events(types=5), InvalidValue, "types of event"),
    "a moment": (lambda c: c.list_stacks(as_of=1.5), UsageError, "neither a position nor a time"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_refused_in_words_and_nothing_is_done(client: Client, mistake: str) -> None:
    call, error, words = WRONG[mistake]
    client.create_stack("mine", PARTS)
    before = client.log_stats()["events"]
    with pytest.raises(error, match=words):
        call(client)
    assert client.log_stats()["events"] == before


def test_a_change_takes_no_beginning_of_a_name(client: Client) -> None:
    client.create_stack("mine", PARTS)
    with pytest.raises(NotFound):
        client.delete_stack("min")
    with pytest.raises(Refused):
        client.delete_stack("default")


def test_every_public_method_says_what_it_does() -> None:
    undocumented = [
        name for name, found in inspect.getmembers(Client) if not name.startswith("_") and not inspect.getdoc(found)
    ]
    assert not undocumented
