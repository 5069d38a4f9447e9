"""Between a caller's look and the append somebody else does something: nothing is decided on what is no longer so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stackledger.client import Client
from stackledger.domain.errors import InUse, PairingConflict
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
    client.create_component("artifact_store", "mine", "local")
    overtake(lambda other: other.create_stack("theirs", parts(artifact_store="mine")))
    with pytest.raises(InUse, match="1 stack uses it: 'theirs'"):
        client.delete_component("artifact_store", "mine")


def test_a_component_that_came_to_refer_to_a_secret_is_named(
    client: Client, overtake: Overtake, tmp_path: Path
) -> None:
    source = write_alerter_flavor(Path.cwd(), "flavors_that_refer")
    client.register_flavor("alerter", source)
    client.create_secret("aws", {"key": "value"})
    configuration = {"url": "u", "token": "{{aws.key}}"}
    overtake(lambda other: other.create_component("alerter", "theirs", "mine", configuration))
    with pytest.raises(InUse, match="1 component refers to it: 'theirs'"):
        client.delete_secret("aws")


def test_the_store_of_another_pairing_is_named(client: Client, overtake: Overtake) -> None:
    client.create_component("artifact_store", "files", "local")
    for name in ("old", "new"):
        client.create_component("metadata_store", name, "sqlite")
    overtake(lambda other: other.create_stack("theirs", parts(artifact_store="files", metadata_store="old")))
    with pytest.raises(PairingConflict, match="store 'files' is already paired with the metadata store 'old'"):
        client.create_stack("mine", parts(artifact_store="files", metadata_store="new"))


def test_components_of_a_flavor_are_counted_and_the_first_named(client: Client) -> None:
    client.register_flavor("alerter", write_alerter_flavor(Path.cwd(), "flavors_of_many"))
    for number in range(25):
        client.create_component("alerter", f"bell{number:02}", "mine", {"url": "u"})
    with pytest.raises(InUse, match=r"25 components are of it: 'bell00', .*'bell04' and 20 more\."):
        client.delete_flavor("alerter", "mine")
