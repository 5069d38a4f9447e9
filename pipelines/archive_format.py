"""The format of code archives: plain ustar, in the one way in which it is written here.

Regular files only, sorted by name, without times and owners, and nothing is compressed: so the same tree has the
same bytes, and an archive cannot become more than it is. Readers make each header anew and compare.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

BLOCK = 512
END = bytes(2 * BLOCK)
MAX_BYTES = 64 * 1024 * 1024
MAX_FILES = 20_000
_NAME, _PREFIX = 100, 155
_MODES = {False: b"0000644\0", True: b"0000755\0"}


class Unfit(ValueError):
    """A name or a tree that no archive can hold; the text says why."""


def header(name: str, size: int, *, executable: bool) -> bytes:
    """Return the block before a file's bytes, or raise Unfit for a name that an archive cannot hold."""
    prefix, last = _split(checked_name(name))
    fields = (
        last.ljust(_NAME, b"\0"),
        _MODES[executable],
        b"0000000\0" * 2,  # owner and group
        b"%011o\0" % size,
        b"00000000000\0",  # time
    )
    link_to_device = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2
    before, after = b"".join(fields), link_to_device + prefix.ljust(_PREFIX, b"\0") + bytes(12)
    checksum = sum(before) + sum(after) + 8 * ord(" ")
    return before + b"%06o\0 " % checksum + after


def padding(size: int) -> int:
    """Return how many zeros follow the bytes of a file."""
    return -size % BLOCK


def checked_name(name: str) -> str:
    """Return a relative path with slashes, or raise Unfit."""
    shown = repr(name if len(name) <= BLOCK else f"{name[:BLOCK]}...")
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        raise Unfit(f"{shown} does not name a file inside the tree.")
    if "\\" in name or any(unicodedata.category(char) in {"Cc", "Cs"} for char in name):
        raise Unfit(f"{shown} has characters in it that names of files should not have.")
    return name


def check_apart(names: Iterable[str]) -> None:
    """Raise Unfit if two names are one and the same on some file system, or a file stands where a folder is wanted."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        if key in files or key in folders:
            raise Unfit(f"{files.get(key) or folders[key]!r} and {name!r} are the same name on some file systems.")
        files[key] = name
        while "/" in key:
            key, name = key.rpartition("/")[0], name.rpartition("/")[0]  # noqa: PLW2901 - its folders, one by one
            if key in files:
                raise Unfit(f"{files[key]!r} is a file and a folder.")
            if key in folders:
                break
            folders[key] = name


def _split(name: str) -> tuple[bytes, bytes]:
    """Return a name as the two fields for it: folders that do not fit, and the rest."""
    data = name.encode()
    if len(data) <= _NAME:
        return b"", data
    # The first slash after which the rest fits: one way for each name.
    at = data.find(b"/", len(data) - _NAME - 1)
    if at < 0 or at > _PREFIX:
        raise Unfit(f"{name!r} is too long a name for an archive.")
    return data[:at], data[at + 1 :]
