"""Between a caller's look and the append somebody else does something: nothing is decided on what is no longer so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stackledger.client import Client
from stackledger.domain.errors import ChangedMeanwhile, InUse, PairingConflict, StackledgerError
from stackledger.eventlog.handler import CommandHandler
from tests.support.own_flavor import write_alerter_flavor

pytestmark = pytest.mark.usefixtures("home")

Overtake = Callable[[Callable[[Client], object]], None]


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    assert not home.exists()
    made = Client()
    yield made
    made.close()


@pytest.fixture
def overtake(monkeypatch: pytest.MonkeyPatch) -> Overtake:
    """Have somebody do something just before the next command is decided."""
    handle = CommandHandler.handle

    def overtake(by: Callable[[Client], object]) -> None:
        def overtaken(*arguments: Any, **options: Any) -> Any:
            monkeypatch.setattr(CommandHandler, "handle", handle)
            other = Client()
            by(other)
            other.close()
            return handle(*arguments, **options)

        monkeypatch.setattr(CommandHandler, "handle", overtaken)

    return overtake


def parts(**components: str) -> dict[str, list[str]]:
    named = {"orchestrator": "default", "artifact_store": "default", **components}
    return {kind: [name] for kind, name in named.items()}


def test_a_stack_that_came_to_use_a_component_is_named(client: Client, overtake: Overtake) -> None:
    client.create_stack_component("mine", "local", "artifact_store")
    overtake(lambda other: other.create_stack("theirs", parts(artifact_store="mine")))
    with pytest.raises(InUse, match="1 stack uses it: 'theirs'"):
        client.delete_stack_component("mine", "artifact_store")


def test_a_component_that_came_to_refer_to_a_secret_is_named(
    client: Client, overtake: Overtake, tmp_path: Path
) -> None:
    source = write_alerter_flavor(Path.cwd(), "flavors_that_refer")
    client.create_flavor(source, "alerter")
    client.create_secret("aws", {"key": "value"})
    configuration = {"url": "u", "token": "{{aws.key}}"}
    overtake(lambda other: other.create_stack_component("theirs", "mine", "alerter", configuration))
    with pytest.raises(InUse, match="1 component refers to it: 'theirs'"):
        client.delete_secret("aws")


def test_the_store_of_another_pairing_is_named(client: Client, overtake: Overtake) -> None:
    client.create_stack_component("files", "local", "artifact_store")
    for name in ("old", "new"):
        client.create_stack_component(name, "sqlite", "metadata_store")
    overtake(lambda other: other.create_stack("theirs", parts(artifact_store="files", metadata_store="old")))
    with pytest.raises(PairingConflict, match="store 'files' is already paired with the metadata store 'old'"):
        client.create_stack("mine", parts(artifact_store="files", metadata_store="new"))


def test_components_of_a_flavor_are_counted_and_the_first_named(client: Client) -> None:
    client.create_flavor(write_alerter_flavor(Path.cwd(), "flavors_of_many"), "alerter")
    for number in range(25):
        client.create_stack_component(f"bell{number:02}", "mine", "alerter", {"url": "u"})
    with pytest.raises(InUse, match=r"25 components are of it: 'bell00', .*'bell04' and 20 more\."):
        client.delete_flavor("mine", "alerter")


def _reconfigured(other: Client) -> None:
    other.update_stack_component("files", "artifact_store", configuration={"path": str(Path("elsewhere").absolute())})


def _renamed(other: Client) -> None:
    other.update_stack_component("files", "artifact_store", "old")
    other.create_stack_component("files", "local", "artifact_store")


def _deleted(other: Client) -> None:
    other.delete_stack_component("files", "artifact_store")


def _taken(other: Client) -> None:
    other.create_stack_component("new", "local", "artifact_store")


def _exported(*stores: str) -> dict[str, Any]:
    return {
        "stackledger_stack": 1,
        "name": "imported",
        "components": {
            "orchestrator": [{"name": "default", "flavor": "local"}],
            "artifact_store": [{"name": name, "flavor": "local"} for name in stores],
        },
    }


@pytest.mark.parametrize(
    ("store", "meanwhile"), [("files", _reconfigured), ("files", _renamed), ("files", _deleted), ("new", _taken)]
)
def test_an_import_is_refused_where_a_component_changed_meanwhile(
    store: str, meanwhile: Callable[[Client], None], client: Client, overtake: Overtake
) -> None:
    client.create_stack_component("files", "local", "artifact_store")
    overtake(meanwhile)
    with pytest.raises(StackledgerError, match=r"Somebody else was first|There is a component"):
        client.import_stack(None, _exported(store))
    assert [stack.name for stack in client.list_stacks().items] == ["default"]


def test_an_import_goes_on_where_something_else_changed_meanwhile(client: Client, overtake: Overtake) -> None:
    client.create_stack_component("files", "local", "artifact_store")
    overtake(lambda other: other.create_stack("theirs", parts(artifact_store="files")))
    assert client.import_stack(None, _exported("files")).name == "imported"


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda other: other.update_stack("mine", labels={"by": "them"}),
        lambda other: other.delete_stack("mine"),
        lambda other: other.update_stack("mine", "theirs"),
    ],
    ids=["updated", "deleted", "renamed"],
)
@pytest.mark.parametrize(
    "change",
    [
        lambda client: client.copy_stack("mine", "copy"),
        lambda client: client.restore_stack("mine", client.stack_history("mine")[-1].position),
        lambda client: client.delete_stack("mine"),
        lambda client: client.update_stack("mine", labels={"a": "b"}),
        lambda client: client.share_stack("mine"),
    ],
    ids=["copy", "restore", "delete", "update", "share"],
)
def test_nothing_is_done_with_a_stack_that_changed_meanwhile(
    change: Callable[[Client], object], meanwhile: Callable[[Client], object], client: Client, overtake: Overtake
) -> None:
    client.create_stack("mine", parts())
    client.update_stack("mine", labels={"later": "yes"})
    before = client.log_stats()["events"]
    overtake(meanwhile)
    with pytest.raises(ChangedMeanwhile, match="Somebody else was first, and nothing was changed"):
        change(client)
    assert client.log_stats()["events"] == before + 1


@pytest.mark.parametrize("meanwhile", [_reconfigured, _renamed, _deleted])
def test_a_component_that_changed_meanwhile_is_not_copied(
    meanwhile: Callable[[Client], None], client: Client, overtake: Overtake
) -> None:
    client.create_stack_component("files", "local", "artifact_store")
    overtake(meanwhile)
    with pytest.raises(ChangedMeanwhile):
        client.copy_stack_component("files", "artifact_store", "copy")


def test_a_name_means_what_it_meant_when_it_was_looked_up(client: Client, overtake: Overtake) -> None:
    client.create_stack_component("files", "local", "artifact_store")
    client.create_stack("mine", parts(artifact_store="files"))
    overtake(_renamed)
    with pytest.raises(ChangedMeanwhile, match=r"component 'files' renamed by 'default'.*name is now 'old'"):
        client.create_stack("another", parts(artifact_store="files"))
    overtake(lambda other: other.update_stack("mine", "theirs"))
    with pytest.raises(ChangedMeanwhile):
        client.activate_stack("mine")


def _types(client: Client) -> list[str]:
    return [event.type for event in reversed(client.log_events().items)]


def test_whose_first_command_is_refused_is_not_enrolled(client: Client) -> None:
    before = client.log_stats()["events"]
    ada = Client(environment={**os.environ, "STACKLEDGER_USER": "ada"})
    for refused in (
        lambda: ada.delete_stack_component("default", "artifact_store"),
        lambda: ada.create_stack_component("default", "local", "artifact_store"),
        lambda: ada.create_stack("DEFAULT", parts()),
    ):
        with pytest.raises(StackledgerError):
            refused()
    assert client.log_stats()["events"] == before
    ada.create_stack_component("files", "local", "artifact_store")
    assert _types(client)[before:] == ["subject.enrolled", "component.registered"]
    enrolled, registered = reversed(client.log_events(size=2).items)
    assert (enrolled.time, enrolled.actor) == (registered.time, registered.actor)
    ada.create_stack_component("more", "local", "artifact_store")
    assert _types(client)[before:].count("subject.enrolled") == 1
    ada.close()


def test_a_user_who_acts_in_two_places_for_the_first_time_is_enrolled_once(client: Client, overtake: Overtake) -> None:
    before = client.log_stats()["events"]
    environment = {**os.environ, "STACKLEDGER_USER": "ada"}

    def elsewhere(_other: Client) -> None:
        ada = Client(environment=environment)
        ada.create_stack_component("one", "local", "artifact_store")
        ada.close()

    overtake(elsewhere)
    ada = Client(environment=environment)
    ada.create_stack_component("two", "local", "artifact_store")
    ada.close()
    assert _types(client)[before:] == ["subject.enrolled", "component.registered", "component.registered"]


@pytest.mark.parametrize(
    ("change", "taken_away"),
    [
        (lambda client: client.activate_stack("mine", everywhere=True), "stack"),
        (lambda client: client.update_stack("mine", labels={"a": "b"}), "stack"),
        (lambda client: client.create_stack("other", parts(artifact_store="mine")), "stack"),
        (lambda client: client.update_stack_component("free", "artifact_store", labels={"a": "b"}), "component"),
        (lambda client: client.create_secret("other", {"key": "value"}), "secret"),
        (lambda client: client.update_secret("mine", add_or_update_values={"key": "value"}), "secret"),
    ],
)
def test_a_change_is_made_even_where_somebody_takes_away_at_once_what_it_made(
    client: Client, monkeypatch: pytest.MonkeyPatch, change: Callable[[Client], Any], taken_away: str
) -> None:
    client.create_stack_component("mine", "local", "artifact_store")
    client.create_stack_component("free", "local", "artifact_store")
    client.create_stack("mine", parts(artifact_store="mine"))
    client.create_secret("mine", {"first": "value"})
    way = "_change_values" if taken_away == "secret" else "_change"  # nobody else comes in while values change
    change_in_log = getattr(Client, way)

    def followed(session: Client, *arguments: Any, **options: Any) -> Any:
        handled = change_in_log(session, *arguments, **options)
        monkeypatch.setattr(Client, way, change_in_log)
        body = handled.events[0].event.model_dump()
        other = Client(environment={**os.environ, "STACKLEDGER_USER": "other"})
        match taken_away:
            case "stack":
                other.delete_stack(body["stack_id"])
            case "component":
                other.delete_stack_component(body["component_id"], "artifact_store")
            case _:
                other.delete_secret(body["secret_id"])
        other.close()
        return handled

    monkeypatch.setattr(Client, way, followed)
    made = change(client)
    assert made.name in {"mine", "other", "free"}
    assert made.id
