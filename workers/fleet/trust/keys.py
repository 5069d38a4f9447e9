"""Private keys, each in a file of its owner in `keys/` of a home. They leave it in no way: what is shown is public."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stackledger.domain.errors import (
    AlreadyExists,
    InvalidName,
    InvalidValue,
    KeyFileError,
    NotFound,
    UsageError,
    near_names,
)
from stackledger.domain.names import folded, quoted, registry_name
from stackledger.workers.fleet.protocol.messages import Role, TrustList, sealed
from stackledger.workers.fleet.trust.ed25519 import id_of, is_key
from stackledger.workers.fleet.trust.folder import FOLDER, key_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROLES: tuple[Role, ...] = ("coordinator", "worker", "submitter", "root")
MAX_BYTES = 4096


class PublicKey(NamedTuple):
    """The half of a key that anybody may know. `public` is raw, in hexadecimal."""

    name: str
    role: Role
    public: str

    @property
    def key_id(self) -> str:
        """What the key is known by."""
        return id_of(self.public)

    def __str__(self) -> str:
        """Return the key as one line, to be handed to whoever enrolls it."""
        return f"{self.role}:{self.name}:{self.public}"


def public_key(line: str) -> PublicKey:
    """Return the key that `str` of it wrote, or raise InvalidValue."""
    role, _, rest = line.strip().partition(":")
    name, _, public = rest.partition(":")
    if role not in ROLES or not is_key(public):
        raise InvalidValue(
            f"{quoted(line[:80])} is no public key.",
            hint="`stackledger key create` prints one: ROLE:NAME:KEY, the key in 64 hexadecimal digits.",
        )
    return PublicKey(registry_name(name, "key"), role, public)


class SigningKey:
    """A private key: signs, and shows nothing of itself but its public half."""

    def __init__(self, shown: PublicKey, private: Ed25519PrivateKey) -> None:
        self.shown = shown
        self._private = private
        self._id = shown.key_id

    def __repr__(self) -> str:
        """Show the public half."""
        return f"SigningKey({self.shown})"

    @property
    def key_id(self) -> str:
        """The id under which the key is enrolled."""
        return self._id

    def sign(self, data: bytes) -> bytes:
        """Return the signature over the bytes."""
        return self._private.sign(data)


class ListSigner:
    """A root key that signs lists of coordinators for one log."""

    def __init__(self, key: SigningKey, log_id: str) -> None:
        self._key = key
        self._log_id = log_id

    @property
    def public(self) -> str:
        """The raw public key, in hexadecimal."""
        return self._key.shown.public

    def sealed(self, number: int, expires: int, coordinators: Mapping[str, str]) -> bytes:
        """Return the message with a list, signed."""
        message = TrustList(number=number, expires=expires, coordinators=dict(coordinators))
        return sealed(message, self._key, self._log_id)


class DrySigner:
    """A root key that signs nothing: what would be published is shown, and no list goes around that never was."""

    def __init__(self, root: PublicKey) -> None:
        self.public = root.public

    def sealed(self, number: int, expires: int, coordinators: Mapping[str, str]) -> bytes:  # noqa: ARG002 - as a root
        """Return no message."""
        return b""


def role_of(text: str) -> Role:
    """Return a role that a key can have, or raise UsageError."""
    if text not in ROLES:
        raise UsageError(
            f"There is no role {quoted(text)}.", near=near_names(text, ROLES), hint=f"Roles are {', '.join(ROLES)}."
        )
    return text


def no_root_key(home: Path) -> NotFound:
    """Return what to raise where the root key is needed, and is not in this home."""
    return NotFound(
        f"The root key is not in this home, {home}.",
        hint="Do it where it is; where there is none yet: `stackledger key create NAME --role root`.",
    )


def create_key(home: Path, name: str, role: Role) -> SigningKey:
    """Make a key whose private half stays in this home, or raise AlreadyExists where the name is taken here."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    name = registry_name(name, "key")
    with _changing(home / FOLDER) as folder:
        for other in keys_in(home):
            if folded(other.name) == folded(name):
                raise AlreadyExists(
                    f"This home has a key named {other.name!r} already (id {other.key_id}).",
                    hint=f"Choose another name, or remove {key_file(home, other.key_id)} if it was revoked.",
                )
            if other.role == role == "root":
                raise AlreadyExists(
                    f"This home has a root key already: {other.name!r} (id {other.key_id}).",
                    hint="A log goes by one root key for ever.",
                )
        private = Ed25519PrivateKey.generate()
        public = PublicKey(name, role, private.public_key().public_bytes_raw().hex())
        content = {**public._asdict(), "private": private.private_bytes_raw().hex()}
        _write(key_file(home, public.key_id), json.dumps(content, ensure_ascii=False), folder)
    return SigningKey(public, private)


def read_key(path: Path) -> SigningKey:
    """Return the key in a file, or raise KeyFileError if it is gone, damaged, or not its owner's alone."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    content = _content(path, ours_alone=True)
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(content["private"]))
    shown = _shown(content)
    if private.public_key().public_bytes_raw().hex() != shown.public:
        raise _damaged(path)
    return SigningKey(shown, private)


def keys_in(home: Path) -> list[PublicKey]:
    """Return the keys whose private halves are in this home, by name, or raise KeyFileError for a damaged file."""
    found = [_shown(_content(path)) for path in sorted((home / FOLDER).glob("*.key"))]
    return sorted(found, key=lambda key: (folded(key.name), key.key_id))


def key_of(home: Path, name_or_id: str) -> PublicKey:
    """Return the key in this home of that name or id, or raise NotFound."""
    keys = keys_in(home)
    for key in keys:
        if name_or_id == key.key_id or folded(name_or_id) == folded(key.name):
            return key
    raise NotFound(
        f"This home has no key with the name or id {quoted(name_or_id)}.",
        near=near_names(name_or_id, [key.name for key in keys]),
        hint="Make one with `stackledger key create`, or give the public key of another home: @FILE.",
    )


def signing_key(home: Path, role: Role, enrolled: Collection[str]) -> SigningKey | None:
    """Return the first key by name of a role in this home, None if it has none.

    It is one of those `enrolled`, by id, that count in the log; for the root key, the one that the log goes by.
    """
    for key in keys_in(home):
        if key.role == role and key.key_id in enrolled:
            return read_key(key_file(home, key.key_id))
    return None


@contextmanager
def _changing(folder: Path) -> Iterator[int]:
    """Have the folder to oneself, and its descriptor."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _write(path: Path, text: str, folder: int) -> None:
    """Make a file that nobody else can read at any moment, whole or not at all, and durable."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(descriptor)
    os.replace(new, path)
    os.fsync(folder)


def _content(path: Path, *, ours_alone: bool = False) -> dict[str, str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileError(f"The key file {path} cannot be read: {error.strerror}.") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise KeyFileError(f"The key file {path} is not a file.")
        if ours_alone:
            _refuse_open_file(path, found)
        data = os.read(descriptor, MAX_BYTES)
    finally:
        os.close(descriptor)
    try:
        content = json.loads(data)
        fits = is_key(content["public"]) and is_key(content["private"]) and content["role"] in ROLES
        registry_name(content["name"], "key")
    except (ValueError, KeyError, TypeError, RecursionError, InvalidName) as error:
        raise _damaged(path) from error
    if not fits:
        raise _damaged(path)
    return dict(content)


def _refuse_open_file(path: Path, found: os.stat_result) -> None:
    """Refuse a key that others may know, as ssh does: whoever has it can speak as its owner."""
    if found.st_uid not in {os.getuid(), 0}:
        raise KeyFileError(f"The key file {path} belongs to somebody else.", hint=f"Mend it: chown $(id -u) {path}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise KeyFileError(
            f"The key file {path} can be read or written by others than its owner.",
            hint=f"Mend it: chmod 600 {path}. If others may have read it, revoke the key and make another one.",
        )


def _shown(content: dict[str, str]) -> PublicKey:
    return PublicKey(content["name"], content["role"], content["public"])  # type: ignore[arg-type]  # checked


def _damaged(path: Path) -> KeyFileError:
    return KeyFileError(
        f"The key file {path} is damaged.", hint="Put it back from a backup, or revoke the key and make another one."
    )
