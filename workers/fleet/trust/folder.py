"""Where private keys are in a home. Imports nothing heavy: lists of keys say which of them are here."""

from __future__ import annotations

from pathlib import Path

FOLDER = "keys"


def key_file(home: Path, key_id: str) -> Path:
    """Return where the private half of a key is, if it is in this home."""
    return home / FOLDER / f"{key_id}.key"
