"""Where the key to the secrets is kept: in the keyring of the operating system, else in a file of its owner."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from stackledger.domain.errors import SecretError

KEY_BYTES = 32
PATIENCE = 10.0
"""Seconds to wait for a keyring, which may ask its user something that nobody sees."""

_SERVICE = "stackledger"
# Those that encrypt at rest. What else calls itself a keyring may keep a plain file, or nothing.
_ENCRYPTING = tuple(
    f"keyring.backends.{name}" for name in ("macOS", "Windows", "SecretService", "libsecret", "kwallet")
)

Result = TypeVar("Result")


class Keyring(Protocol):
    """What is asked of a keyring; the backends of the library `keyring` are such."""

    def get_password(self, service: str, username: str) -> str | None:
        """Return what was kept, or None."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep it."""


def usable_keyring(environment: Mapping[str, str] = os.environ) -> Keyring | None:
    """Return the keyring of the operating system, or None where there is none that encrypts and can be asked."""
    desktop = environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not (desktop and environment.get("DBUS_SESSION_BUS_ADDRESS")):
        # Without a desktop nobody could unlock a keyring, and asking for one may wait for ever.
        return None
    import keyring  # loads every backend there is: only where the key is made or read

    try:
        found = within(PATIENCE, keyring.get_keyring)
    except SecretError:
        return None
    backends: list[Keyring] = getattr(found, "backends", [found])
    return next((backend for backend in backends if type(backend).__module__.startswith(_ENCRYPTING)), None)


def within(seconds: float, ask: Callable[[], Result]) -> Result:
    """Return the keyring's answer, or raise SecretError if it fails or lets nobody know in time."""
    answers: list[Result] = []
    failures: list[str] = []

    def wait() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # noqa: BLE001  a backend raises what its system raises
            # Its name alone: a message may hold what was to be kept.
            failures.append(type(error).__name__)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    thread.join(seconds)
    if answers:
        return answers[0]
    raise SecretError(
        f"The keyring of the operating system {f'failed ({failures[0]})' if failures else 'does not answer'}.",
        hint="Unlock it, and try again.",
    )


def keep_in_keyring(keyring: Keyring, account: str, key: bytes) -> bool:
    """Say whether the keyring took the key and gives it back."""
    try:
        within(PATIENCE, lambda: keyring.set_password(_SERVICE, account, key.hex()))
        return within(PATIENCE, lambda: keyring.get_password(_SERVICE, account)) == key.hex()
    except SecretError:
        return False


def read_from_keyring(keyring: Keyring | None, account: str) -> bytes:
    """Return the key, or raise SecretError."""
    if keyring is None:
        raise SecretError(
            "The key to the secrets is in the keyring of the operating system, which cannot be asked from here.",
            hint="Work in the desktop session in which the secrets were created.",
        )
    return _parsed(within(PATIENCE, lambda: keyring.get_password(_SERVICE, account)) or "", "the keyring")


def half_made(path: Path) -> Path:
    """Return the name that the file with the key has until it is whole."""
    return path.with_name(f"{path.name}.new")


def create_key_file(path: Path, key: bytes) -> bytes:
    """Return the key in the file, which is made with this key if it is not there. Callers take turns."""
    if path.exists():
        return read_key_file(path)
    new = half_made(path)
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, f"{key.hex()}\n".encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(new, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return key


def read_key_file(path: Path) -> bytes:
    """Return the key, or raise SecretError if it is gone or anybody but its owner could have read it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise SecretError(
            f"The key to the secrets, {path}, is gone; without it their values cannot be read.",
            hint="Put it back from a backup, or remove secrets.db beside it and create the secrets anew.",
        ) from error
    with open(descriptor, encoding="ascii", errors="replace") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise SecretError(f"The key to the secrets, {path}, is not a file.")
        if found.st_uid not in {os.getuid(), 0}:
            raise SecretError(
                f"The key to the secrets, {path}, belongs to somebody else.", hint=f"Mend it: chown $(id -u) {path}"
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise SecretError(
                f"The key to the secrets, {path}, can be read or written by others than its owner.",
                hint=f"Mend it: chmod 600 {path}. If others may have read it, change what the secrets open, too.",
            )
        return _parsed(file.read(4 * KEY_BYTES), str(path))


def _parsed(text: str, where: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SecretError(
            f"The key to the secrets in {where} is gone or damaged; without it their values cannot be read.",
            hint="Put it back from a backup, or remove secrets.db and create the secrets anew.",
        )
    return key
