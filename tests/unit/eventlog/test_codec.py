"""Events come back from the log as they went in, and what cannot be read is told."""

from __future__ import annotations

import math
from typing import Any

import msgpack
import pytest
from hypothesis import given
from pydantic import JsonValue

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import InvalidValue, LiteralSecret, LogDamaged, LogTooNew
from stackledger.domain.event import Envelope, Event
from stackledger.domain.events import EVENT_TYPES
from stackledger.domain.events.components import ComponentRegistered, ComponentUpdated
from stackledger.domain.events.stacks import StackShared, StackUpdated
from stackledger.eventlog import codec
from stackledger.eventlog.codec import decode, encode, stored_tags
from stackledger.eventlog.stored import ENVELOPE, TIMES, StoredEvent, unpacked
from stackledger.eventlog.upcasting import Body
from tests.support.any_event import ENVELOPES, events

ENVELOPE_OF_ONE = Envelope("id", 1, "actor", "host", None, None, "correlation", None)
SHARED = StackShared(stack_id="s")


def stored(event: Event, envelope: Envelope = ENVELOPE_OF_ONE) -> StoredEvent:
    return StoredEvent(7, event.TYPE, stored_tags(event, envelope), encode(event, envelope))


def component(configuration: dict[str, JsonValue]) -> ComponentRegistered:
    return ComponentRegistered(
        component_id="c",
        type=ComponentType.ORCHESTRATOR,
        name="n",
        flavor="f",
        custom_flavor=False,
        configuration=configuration,
        labels={},
        shared=False,
        built_in=False,
        secrets=(),
    )


@given(event=events(), envelope=ENVELOPES)
def test_every_event_comes_back_as_it_went_in(event: Event, envelope: Envelope) -> None:
    recorded = decode(stored(event, envelope))
    assert recorded.event == event
    assert type(recorded.event) is type(event)
    assert recorded.envelope == envelope
    assert recorded.position == 7
    assert recorded.tags == stored_tags(event, envelope)


@given(event=events(), envelope=ENVELOPES)
def test_an_event_that_came_back_has_the_same_bytes(event: Event, envelope: Envelope) -> None:
    data = encode(event, envelope)
    recorded = decode(stored(event, envelope))
    assert encode(recorded.event, recorded.envelope) == data


@given(event=events(), envelope=ENVELOPES)
def test_data_are_plain_maps_in_a_fixed_order(event: Event, envelope: Envelope) -> None:
    fields = unpacked(1, encode(event, envelope))
    assert tuple(fields) == (*ENVELOPE, "body")
    assert tuple(fields["body"]) == tuple(type(event).model_fields)


@given(event=events(), envelope=ENVELOPES)
def test_tags_are_sorted_and_distinct_and_say_who_and_where(event: Event, envelope: Envelope) -> None:
    tags = stored_tags(event, envelope)
    assert list(tags) == sorted(set(tags))
    assert {f"actor:{envelope.actor}", f"host:{envelope.host}", *event.tags()} == set(tags)


URL = "see postgresql://me:hunter2/x@host/db there"


@pytest.mark.parametrize(
    ("event", "envelope", "field"),
    [
        (SHARED, ENVELOPE_OF_ONE._replace(reason=URL), "reason"),
        (SHARED, ENVELOPE_OF_ONE._replace(ticket=URL), "ticket"),
        (StackShared(stack_id=URL), ENVELOPE_OF_ONE, "stack_id"),
        (component({"a": ["x", {"b": URL}]}), ENVELOPE_OF_ONE, "configuration.a.b"),
        (component({"a": {URL: 1}}), ENVELOPE_OF_ONE, "configuration.a"),
        (component({}).model_copy(update={"labels": {"k": URL}}), ENVELOPE_OF_ONE, "labels.k"),
    ],
)
def test_no_event_keeps_a_password_in_a_url_wherever_it_stands(event: Event, envelope: Envelope, field: str) -> None:
    with pytest.raises(LiteralSecret, match=f"field '{field}' holds a password") as refused:
        encode(event, envelope)
    assert "hunter2" not in str(refused.value)


def test_a_password_that_the_log_has_already_can_be_taken_away() -> None:
    encode(
        ComponentUpdated(
            component_id="c",
            configuration={"url": "{{db.url}}"},
            labels={},
            secrets=(),
            previous_configuration={"url": URL},
            previous_labels={"url": URL},
            previous_secrets=(),
        ),
        ENVELOPE_OF_ONE,
    )


def test_type_names_are_subject_fact_and_version() -> None:
    for name, event_type in EVENT_TYPES.items():
        assert name == event_type.TYPE
        words, version = name.split("/")
        assert words.count(".") == 1
        assert int(version) >= 1


def test_types_of_numbers_are_kept() -> None:
    configuration: dict[str, JsonValue] = {"a": 1, "b": 1.0, "c": True, "d": -0.0, "e": math.inf, "f": 2**64 - 1}
    event = decode(stored(component(configuration))).event
    assert isinstance(event, ComponentRegistered)
    assert [(type(value), str(value)) for value in event.configuration.values()] == [
        (type(value), str(value)) for value in configuration.values()
    ]


def test_not_a_number_is_kept() -> None:
    event = decode(stored(component({"a": math.nan}))).event
    assert isinstance(event, ComponentRegistered)
    assert str(event.configuration["a"]) == "nan"


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_a_number_beyond_64_bits_is_refused(number: int) -> None:
    with pytest.raises(InvalidValue, match="64 bits"):
        encode(component({"a": number}), ENVELOPE_OF_ONE)


def test_what_is_deep_but_not_too_deep_comes_back() -> None:
    deep: JsonValue = []
    for _ in range(200):
        deep = [deep]
    assert decode(stored(component({"a": deep}))).event == component({"a": deep})


def test_text_that_is_no_unicode_is_refused() -> None:
    envelope = Envelope("id", 1, "actor", "host", "\ud800", None, "c", None)
    with pytest.raises(InvalidValue, match="cannot keep"):
        encode(SHARED, envelope)


def test_a_huge_event_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"component\.registered/1 would have 8,3.* bytes.*; an event has at most"):
        encode(component({"a": "x" * codec.MAX_DATA}), ENVELOPE_OF_ONE)


def test_an_unknown_type_asks_for_a_newer_program() -> None:
    newer = stored(SHARED)._replace(type="stack.shared/99")
    with pytest.raises(LogTooNew, match=r"position 7.*stack\.shared/99.*upgrade"):
        decode(newer)


def _without(name: str) -> dict[str, Any]:
    fields = unpacked(1, encode(SHARED, ENVELOPE_OF_ONE))
    del fields[name]
    return fields


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x81",
        encode(SHARED, ENVELOPE_OF_ONE)[:-1],
        encode(SHARED, ENVELOPE_OF_ONE) + b"\x00",
        b"\x91" * 100_000,
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        msgpack.packb([1, 2]),
        msgpack.packb(None),
        msgpack.packb({}),
        msgpack.packb({1: 2}),
        *(msgpack.packb(_without(name)) for name in (*ENVELOPE, "body")),
        *(msgpack.packb(_without(name) | {name: [1]}) for name in (*ENVELOPE, "body")),
        *(msgpack.packb(_without(name) | {name: None}) for name in ("id", "time", "actor", "host", "correlation")),
        msgpack.packb(_without("time") | {"time": TIMES.start - 1}),
        msgpack.packb(_without("time") | {"time": 2**64 - 1}),
        msgpack.packb(_without("actor") | {"actor": msgpack.ExtType(1, b"x")}),
        msgpack.packb(_without("body") | {"body": None}),
        msgpack.packb(_without("body") | {"body": {}}),
        msgpack.packb(_without("body") | {"body": {"stack_id": 5}}),
        msgpack.packb(_without("body") | {"body": {"stack_id": "s", "more": 1}}),
    ],
)
def test_damaged_data_name_the_position(data: bytes) -> None:
    with pytest.raises(LogDamaged, match="position 7"):
        decode(StoredEvent(7, SHARED.TYPE, (), data))


def test_damaged_data_are_not_printed() -> None:
    fields = _without("body") | {"body": {"stack_id": "s", "secret": "hunter2"}}
    with pytest.raises(LogDamaged) as caught:
        decode(StoredEvent(7, SHARED.TYPE, (), msgpack.packb(fields)))
    assert "hunter2" not in str(caught.value)


def test_an_old_version_is_read_as_the_newest() -> None:
    def rename(body: Body) -> Body:
        return {"id": body["stack"]}

    def rename_again(body: Body) -> Body:
        return {"stack_id": body["id"]}

    upcasters = {"old/1": ("old/2", rename), "old/2": ("stack.shared/1", rename_again)}
    old = StoredEvent(7, "old/1", ("a",), msgpack.packb(_without("body") | {"body": {"stack": "s"}}))
    recorded = decode(old, upcasters)
    assert recorded.event == SHARED
    assert recorded.tags == ("a",)


def test_an_old_body_that_its_upcaster_cannot_read_is_damage() -> None:
    upcasters = {"old/1": ("stack.shared/1", lambda body: {"stack_id": body["stack"]})}
    old = StoredEvent(7, "old/1", (), msgpack.packb(_without("body") | {"body": {}}))
    with pytest.raises(LogDamaged, match="old/1 at position 7"):
        decode(old, upcasters)


@pytest.mark.parametrize("change", [{"time": TIMES.stop}, {"reason": 5}, {"actor": None}])
def test_an_envelope_that_could_not_be_read_again_is_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue, match="cannot keep"):
        encode(SHARED, ENVELOPE_OF_ONE._replace(**change))


def test_an_event_that_is_too_large_says_what_makes_it_so() -> None:
    labels = {"much": "x" * 5_000_000}
    event = StackUpdated(stack_id="s", components={}, labels=labels, previous_components={}, previous_labels=labels)
    with pytest.raises(InvalidValue, match=r"labels 5,000,0\d\d, previous_labels 5,000,0\d\d.*Keep what is large"):
        encode(event, ENVELOPE_OF_ONE)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x81", b"\x80\x80", b"\x05", b"\x80"])
def test_damage_is_told_with_its_reason_and_a_way_out(data: bytes) -> None:
    with pytest.raises(LogDamaged, match=r"position 7 cannot be read: [\w'].*from a copy.*--as-of 6") as caught:
        unpacked(7, data)
    assert caught.value.position == 7


def test_a_body_of_another_shape_is_told_with_a_way_out() -> None:
    data = msgpack.packb({**unpacked(7, encode(SHARED, ENVELOPE_OF_ONE)), "body": {}})
    with pytest.raises(LogDamaged, match=r"stack.shared/1 at position 7 is not as it should.*from a copy"):
        decode(StoredEvent(7, "stack.shared/1", (), data))
