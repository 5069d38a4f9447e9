"""What artifact stores say of digests: that something is none, or that an object does not have its own."""

from __future__ import annotations

import re

from stackledger.domain.errors import ArtifactDamaged, ArtifactError
from stackledger.domain.names import quoted

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z~.-]{0,120}")


def is_digest(text: str) -> bool:
    """Say whether this is a SHA-256 as objects are named by: 64 digits."""
    return _DIGEST.fullmatch(text) is not None


def checked(digest: str) -> str:
    """Return a digest, or raise ArtifactError for what is none, such as a path."""
    if not is_digest(digest):
        raise ArtifactError(f"{quoted(digest[:100])} is not a SHA-256 digest: 64 digits of 0-9 and a-f.")
    return digest


def checked_name(name: str) -> str:
    """Return the id of a collection or of a log, or raise ArtifactError for what is none, such as a path."""
    if _NAME.fullmatch(name) is None:
        raise ArtifactError(f"{quoted(name[:100])} is not the id of a log or of a collection.")
    return name


def damaged(digest: str, store: str, why: str) -> ArtifactDamaged:
    """Return what to raise for an object that is not as it was kept in the store of this path."""
    return ArtifactDamaged(
        f"The object {digest} in the artifact store {store} is damaged: {why}.",
        hint="Running the step again that made it writes it anew, if the step gives the same result.",
    )
