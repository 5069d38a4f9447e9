"""Between events and their stored form. Writing validates once, when the event is made; reading validates once."""

from __future__ import annotations

from typing import Any

import msgpack
from pydantic import ValidationError

from stackledger.domain.errors import InvalidValue, LogTooNew
from stackledger.domain.event import Envelope, Event, Recorded
from stackledger.domain.events import EVENT_TYPES
from stackledger.domain.references import refuse_url_passwords
from stackledger.eventlog.stored import ENVELOPE, StoredEvent, check_fields, misshapen
from stackledger.eventlog.upcasting import UPCASTERS, Upcasters, opened

MAX_DATA = 8 * 1024 * 1024
"""Bytes that one event may have. What is larger belongs in the artifact store."""


def stored_tags(event: Event, envelope: Envelope) -> tuple[str, ...]:
    """Return the tags to store: the event's own, and who and where; sorted and distinct, as some logs need it."""
    return tuple(sorted({*event.tags(), f"actor:{envelope.actor}", f"host:{envelope.host}"}))


def encode(event: Event, envelope: Envelope) -> bytes:
    """Return the data of an event: one msgpack map of envelope and body, or raise InvalidValue.

    Whatever anybody gives comes into the log here, and nothing with a password in a URL goes further.
    """
    stored: dict[str, Any] = envelope._asdict()
    stored["body"] = event.model_dump()
    try:
        check_fields(stored)
        data = msgpack.packb(stored)
    except (OverflowError, ValueError, TypeError) as error:
        raise InvalidValue(
            f"{event.TYPE} holds a value that the log cannot keep: {error}.",
            hint="Numbers have at most 64 bits, and text is Unicode.",
        ) from error
    if b"://" in data and b"@" in data:
        _refuse_url_passwords(stored)
    if len(data) > MAX_DATA:
        sizes = {name: len(msgpack.packb(value)) for name, value in stored["body"].items()}
        large = ", ".join(f"{name} {size:,}" for name, size in sizes.items() if size > MAX_DATA // 10)
        raise InvalidValue(
            f"{event.TYPE} would have {len(data):,} bytes ({large}); an event has at most {MAX_DATA:,}.",
            hint="Keep what is large in a file, or have a step return it, and hand over its name.",
        )
    return bytes(data)


def _refuse_url_passwords(stored: dict[str, Any]) -> None:
    for field, value in (*stored["body"].items(), *((field, stored[field]) for field in ENVELOPE)):
        # What was there before is in the log already, and a change may be about to take it away.
        if not field.startswith("previous_"):
            refuse_url_passwords(field, value)


def decode(stored: StoredEvent, upcasters: Upcasters = UPCASTERS) -> Recorded:
    """Return a stored event as today's program knows it, or raise LogTooNew or LogDamaged."""
    envelope, type_name, body = opened(stored, upcasters)
    event_type = EVENT_TYPES.get(type_name)
    if event_type is None:
        raise too_new(stored)
    try:
        event = event_type.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        wrong = ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        raise misshapen(stored.position, stored.type, wrong) from error
    return Recorded(
        position=stored.position,
        envelope=Envelope(**{field: envelope[field] for field in ENVELOPE}),
        tags=stored.tags,
        event=event,
    )


def too_new(stored: StoredEvent) -> LogTooNew:
    """Return what to raise for an event of a type that this program does not know."""
    return LogTooNew(
        f"The event at position {stored.position} has the type {stored.type!r}, which this program does not know.",
        hint="It was written by a newer Stackledger: upgrade this one before changing anything.",
    )
