"""Passwords in URLs, at any place of any text: found, so that they can be refused or hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

# Patterns are texts: most programs see no such URL, and have nothing to compile.
REFERENCE = r"\{\{\s*([^{}.\s][^{}\s]*)\.([^{}.\s]+)\s*\}\}"
VARIABLE = r"env:[A-Za-z_][A-Za-z0-9_]*"
_HIDDEN = "***"
# From behind the scheme to white space, or to the next URL. References may have spaces in them.
_URL = rf"(?<=[A-Za-z0-9+.-])://(?P<rest>(?:{REFERENCE}|(?!://)\S)++)"
# A password may hold whatever it likes, a slash too; but digits and then a path are a port.
_USER = r'(?:\[[0-9A-Fa-f:.]*\]|[^:/?#"<>\\])*+:(?![0-9]{1,5}[/?#"\\])'
_NO_PASSWORD = rf"{REFERENCE}|{VARIABLE}|{re.escape(_HIDDEN)}"


def url_passwords(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each password begins and ends: it follows `user:` and goes to the last `@` of its URL.

    References to secrets are no passwords, nor is what hides one.
    """
    if "://" not in text or "@" not in text:
        return
    for url in re.finditer(_URL, text):
        userinfo = url["rest"].rpartition("@")[0]
        user = re.match(_USER, userinfo)
        if user is not None and re.sub(_NO_PASSWORD, "", userinfo[user.end() :]):
            yield url.start("rest") + user.end(), url.start("rest") + len(userinfo)


def without_url_passwords(text: str) -> str:
    """Return the text with `***` for each password in a URL."""
    parts, shown = [], 0
    for start, end in url_passwords(text):
        parts += [text[shown:start], _HIDDEN]
        shown = end
    return "".join([*parts, text[shown:]]) if parts else text


def place_of_url_password(value: object, place: str) -> str | None:
    """Return where in a JSON-like value, which stands at `place`, a URL has a password; None where there is none.

    A place is a path of keys.
    """
    found: str | None = None
    if isinstance(value, str):
        found = place if any(url_passwords(value)) else None
    elif isinstance(value, Mapping):
        for key, item in value.items():
            # A key that is such a URL itself stands in the map.
            found = found or place_of_url_password(key, place) or place_of_url_password(item, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for item in value:
            found = found or place_of_url_password(item, place)
    return found
