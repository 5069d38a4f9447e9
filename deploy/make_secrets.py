"""Make the passwords of a new fleet, each in a file of its own, for containers to mount; what is there stays.

`python deploy/make_secrets.py` writes into deploy/secrets, which git ignores. It needs nothing but Python.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_BROKER_USERS = ("coordinator", "worker", "submitter", "observer")
_DATABASE_USERS = ("admin", "coordinator", "submitter", "observer")


def password_hash(password: str, salt: bytes | None = None) -> str:
    """Return what RabbitMQ keeps of a password: its SHA-256, with a salt of four bytes."""
    salt = os.urandom(4) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def definitions(passwords: dict[str, str]) -> dict[str, Any]:
    """Return rabbitmq/definitions.json with the users' passwords, as the broker loads it."""
    found: dict[str, Any] = json.loads((HERE / "rabbitmq/definitions.json").read_text(encoding="utf-8"))
    for user in found["users"]:
        user["hashing_algorithm"] = "rabbit_password_hashing_sha256"
        user["password_hash"] = password_hash(passwords[user["name"]])
    return found


def make(folder: Path, broker: str) -> None:
    """Make what is missing in a folder. `broker` is HOST:PORT."""
    folder.mkdir(mode=0o700, exist_ok=True, parents=True)
    passwords = {user: _password(folder / f"broker-{user}") for user in _BROKER_USERS}
    for user, password in passwords.items():
        _write(folder / f"amqp-url-{user}", f"amqp://{user}:{password}@{broker}/stackledger")
    _write(folder / "broker-definitions.json", json.dumps(definitions(passwords), indent=2))
    for user in _DATABASE_USERS:
        _password(folder / f"database-{user}")
    _write(folder / "store-user", secrets.token_hex(10))
    _write(folder / "store-password", secrets.token_hex(20))


def _password(path: Path) -> str:
    # Letters and digits alone: it stands in URLs as it is.
    return _write(path, secrets.token_hex(24))


def _write(path: Path, text: str) -> str:
    """Write a file that is not there yet; return what is in it."""
    try:
        # The folder is its owner's alone; in a container another user has to read the file that is mounted there.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    except FileExistsError:
        return path.read_text(encoding="utf-8")
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return text


def main() -> None:
    """Write them, and say where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=HERE / "secrets", help="where to (%(default)s)")
    parser.add_argument("--broker", default="rabbitmq:5672", metavar="HOST:PORT", help="the broker (%(default)s)")
    options = parser.parse_args()
    make(options.folder, options.broker)
    print(f"The passwords of the fleet are in {options.folder}. Who can read that folder can do anything to it.")


if __name__ == "__main__":
    main()
