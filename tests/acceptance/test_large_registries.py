"""Very large configurations, and very many components of one type."""

from __future__ import annotations

from pathlib import Path

import pytest
from eventsourcing.dcb.api import DCBEvent

from stackledger.client import Client
from stackledger.domain.errors import InvalidValue
from stackledger.domain.event import Envelope
from stackledger.eventlog.codec import encode, stored_tags
from stackledger.eventlog.sqlite import SQLiteRecorder
from tests.support.own_flavor import write_alerter_flavor
from tests.support.program import stackledger
from tests.support.registry import component


def test_a_configuration_of_megabytes_is_kept_and_one_that_no_event_holds_is_refused(home: Path) -> None:
    client = Client()
    client.create_flavor(write_alerter_flavor(Path.cwd(), "flavors_of_size"), "alerter")
    large = "x" * (7 << 20)
    assert client.create_stack_component("large", "mine", "alerter", {"url": large}).configuration == {"url": large}
    before = client.log_stats()["events"]
    with pytest.raises(
        InvalidValue, match=r"component.registered/1 would have 16,\d+,\d+ bytes .*; an event has at most"
    ):
        client.create_stack_component("larger", "mine", "alerter", {"url": "x" * (16 << 20)})
    # An update holds the configuration as it was, too.
    with pytest.raises(InvalidValue, match=r"component.updated/1 would have 14,"):
        client.update_stack_component("large", "alerter", configuration={"url": "y" * (7 << 20)})
    assert client.log_stats()["events"] == before
    assert [each.name for each in client.list_stack_components("alerter").items] == ["large"]
    client.delete_stack_component("large", "alerter")
    client.close()
    assert home.exists()


def test_thousands_of_components_of_a_type_are_listed_and_near_names_found(home: Path) -> None:
    stackledger("stack", "list")
    new = [component(f"c-{number}", name=f"store-{number:04}") for number in range(5_000)]
    envelopes = [Envelope(f"id-{at}", 5, "a", "h", None, None, "c", None) for at in range(len(new))]
    recorder = SQLiteRecorder(home / "log.db")
    recorder.append(
        [
            DCBEvent(each.TYPE, encode(each, envelope), list(stored_tags(each, envelope)))
            for each, envelope in zip(new, envelopes, strict=True)
        ]
    )
    recorder.close()
    done = stackledger("artifact-store", "list", "--size=1000", "--page=6", "--output=json")
    assert done.json["pagination"]["total"] == 5_001
    assert [each["name"] for each in done.json["items"]] == ["store-4999"]
    missing = stackledger("artifact-store", "describe", "store-49999")
    assert (missing.status, "Did you mean 'store-4999'" in missing.err) == (1, True)
    several = stackledger("artifact-store", "describe", "store-")
    assert (several.status, "Give more of the name or id" in several.err, len(several.err) < 2_000) == (1, True, True)
