"""Between events and their stored form. Writing validates once, when the event is made; reading validates once."""

from __future__ import annotations

import msgpack
from pydantic import ValidationError

from stackledger.domain.errors import InvalidValue, LogTooNew
from stackledger.domain.event import Envelope, Event, Recorded
from stackledger.domain.events import EVENT_TYPES
from stackledger.eventlog.stored import ENVELOPE, StoredEvent, check_fields, misshapen
from stackledger.eventlog.upcasting import UPCASTERS, Upcasters, opened

MAX_DATA = 8 * 1024 * 1024
"""Bytes that one event may have. What is larger belongs in the artifact store."""


def stored_tags(event: Event, envelope: Envelope) -> tuple[str, ...]:
    """Return the tags to store: the event's own, and who and where; sorted and distinct, as some logs need it."""
    return tuple(sorted({*event.tags(), f"actor:{envelope.actor}", f"host:{envelope.host}"}))


def encode(event: Event, envelope: Envelope) -> bytes:
    """Return the data of an event: one msgpack map of envelope and body."""
    stored = {**envelope._asdict(), "body": event.model_dump()}
    try:
        check_fields(stored)
        data = msgpack.packb(stored)
    except (OverflowError, ValueError, TypeError) as error:
        raise InvalidValue(
            f"{event.TYPE} holds a value that the log cannot keep: {error}.",
            hint="Numbers have at most 64 bits, and text is Unicode.",
        ) from error
    if len(data) > MAX_DATA:
        raise InvalidValue(f"{event.TYPE} has {len(data):,} bytes; an event has at most {MAX_DATA:,}.")
    return bytes(data)


def decode(stored: StoredEvent, upcasters: Upcasters = UPCASTERS) -> Recorded:
    """Return a stored event as today's program knows it, or raise LogTooNew or LogDamaged."""
    envelope, type_name, body = opened(stored, upcasters)
    event_type = EVENT_TYPES.get(type_name)
    if event_type is None:
        raise LogTooNew(
            f"The event at position {stored.position} has the type {stored.type!r}, which this program does not know.",
            hint="It was written by a newer Stackledger: upgrade this one before changing anything.",
        )
    try:
        event = event_type.model_validate(body)
    except ValidationError as error:
        raise misshapen(stored.position, stored.type, error) from error
    return Recorded(
        position=stored.position,
        envelope=Envelope(**{field: envelope[field] for field in ENVELOPE}),
        tags=stored.tags,
        event=event,
    )
