from __future__ import annotations

import struct

import pytest
from pika import data
from pika.exceptions import InvalidFieldTypeException

from stackledger.workers.fleet.broker.foreign_headers import read_any_header

LATE = b"T" + struct.pack(">Q", 2**62)
AFTER_9999 = b"T" + struct.pack(">Q", 300_000_000_000)
TRUE = b"t\x01"


@pytest.fixture(autouse=True)
def _tamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "decode_value", data.decode_value)  # put back in the end
    read_any_header()
    read_any_header()


def table(**values: bytes) -> bytes:
    fields = b"".join(bytes([len(name)]) + name.encode() + value for name, value in values.items())
    return struct.pack(">I", len(fields)) + fields


def nested(levels: int, kind: bytes) -> bytes:
    value = TRUE
    for _ in range(levels):
        value = b"F" + table(a=value) if kind == b"F" else b"A" + struct.pack(">I", len(value)) + value
    return value


@pytest.mark.parametrize("foreign", [LATE, AFTER_9999])
def test_a_time_without_a_date_is_none_and_what_follows_is_read(foreign: bytes) -> None:
    encoded = table(when=foreign, among=b"F" + table(when=foreign, then=TRUE), listed=b"A\0\0\0\x0b" + foreign + TRUE)
    found, offset = data.decode_table(encoded, 0)
    assert found == {"when": None, "among": {"when": None, "then": True}, "listed": [None, True]}
    assert offset == len(encoded)


@pytest.mark.parametrize("kind", [b"F", b"A"])
def test_tables_in_tables_beyond_all_measure_are_cut_off_and_what_follows_is_read(kind: bytes) -> None:
    encoded = table(deep=nested(10_000, kind), then=TRUE)
    found, offset = data.decode_table(encoded, 0)
    assert found["then"] is True
    assert offset == len(encoded)


def test_what_is_no_table_is_refused_as_before() -> None:
    with pytest.raises(InvalidFieldTypeException):
        data.decode_table(table(odd=b"?"), 0)
