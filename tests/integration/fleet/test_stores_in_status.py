"""What `status` says of the artifact store of a fleet's stack."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stackledger.client import Client, fleet_status
from stackledger.client.fleet_results import StoreSeen
from tests.support.object_servers import ObjectServer

pytestmark = [pytest.mark.xdist_group("rabbitmq"), pytest.mark.timeout(120)]

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with closing(Client(home=tmp_path)) as client:
        yield client


def seen_at(client: Client, url: str, s3: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> StoreSeen:
    """Return what is seen of a store at an address; nobody looked at it when it was registered."""
    credentials = {"key": "env:A_KEY", "secret": "env:A_SECRET"}
    client.create_stack_component("shared", "s3", "artifact_store", s3.configuration(url=url, **credentials))
    client.create_stack_component("fleet", "rabbitmq", "orchestrator", {"url": "amqp://127.0.0.1:1/"})
    client.create_stack("far", {"orchestrator": "fleet", "artifact_store": "shared"})
    client.activate_stack("far")
    for name, value in (("A_KEY", s3.credentials["key"]), ("A_SECRET", s3.credentials["secret"])):
        monkeypatch.setenv(name, value)
    fleet = client.fleet_status()
    assert fleet is not None
    assert fleet.store is not None
    return fleet.store


def test_one_that_answers_is_shown_though_the_broker_is_away(
    client: Client, s3: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = seen_at(client, s3.url, s3, monkeypatch)
    assert (seen.name, seen.flavor, seen.trouble) == ("shared", "s3", None)
    assert (seen.path or "").startswith("s3://")


def test_one_that_is_away_is_a_line_and_no_failure(
    client: Client, s3: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "cannot be reached" in (seen_at(client, NOBODY, s3, monkeypatch).trouble or "")


def test_one_that_never_answers_is_not_waited_for(
    client: Client, s3: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_status, "_FOR_THE_STORE", 0.2)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        seen = seen_at(client, f"http://127.0.0.1:{silent.getsockname()[1]}", s3, monkeypatch)
    assert "no answer" in (seen.trouble or "")
