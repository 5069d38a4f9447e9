"""Ed25519 as the fleet uses it: raw keys in hexadecimal, and an id for each public one."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

BYTES = 32
"""The size of a raw key, private or public."""


def id_of(public: str) -> str:
    """Return the id of a public key: what it is looked up by, and what nobody can choose freely."""
    return hashlib.sha256(bytes.fromhex(public)).hexdigest()[:32]


def is_key(text: str) -> bool:
    """Say whether a text is a raw key in hexadecimal, as this program writes it."""
    return len(text) == 2 * BYTES and all(char in "0123456789abcdef" for char in text)


def verified(public: str, signature: bytes, data: bytes) -> bool:
    """Say whether the private half of a public key made the signature over the bytes."""
    from cryptography.exceptions import InvalidSignature

    key = _loaded(public)
    if key is None:
        return False
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=4096)
def _loaded(public: str) -> Ed25519PublicKey | None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not is_key(public):
        return None
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
