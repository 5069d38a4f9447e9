"""Bytes as they are."""

from __future__ import annotations

from typing import cast

from stackledger.pipelines.materializers.materializer import Resolver


class BytesMaterializer:
    """The bytes themselves."""

    name = "bytes/1"
    runs_code = False

    def handles(self, value_type: type) -> bool:
        """Say whether it is bytes."""
        return value_type is bytes

    def dump(self, value: object) -> bytes:
        """Return the value itself."""
        return cast("bytes", value)

    def load(self, data: bytes, data_type: str, resolver: Resolver) -> object:  # noqa: ARG002  nothing to choose
        """Return the bytes themselves."""
        return data
