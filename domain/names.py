"""The rules for names, the same everywhere, and how a foreign text is shown on a terminal."""

from __future__ import annotations

import unicodedata

from stackledger.domain.errors import InvalidName

MAX_NAME = 128


def _is_letter_or_digit(char: str) -> bool:
    return unicodedata.category(char) in {"Lu", "Ll", "Lt", "Lm", "Lo", "Nd"}


def _checked(raw: str, what: str, extra: str, allowed: str) -> str:
    name = unicodedata.normalize("NFC", raw)
    rule = f"Names have 1 to {MAX_NAME} characters, {allowed}, and begin with a letter or digit."
    if not name:
        raise InvalidName(f"The name of the {what} is empty.", hint=rule)
    if len(name) > MAX_NAME:
        raise InvalidName(f"The name of the {what} has {len(name)} characters.", hint=rule)
    bad = next((char for char in name if not _is_letter_or_digit(char) and char not in extra), None)
    if bad is not None:
        raise InvalidName(f"The name {quoted(name)} of the {what} holds {quoted(bad)} (U+{ord(bad):04X}).", hint=rule)
    if not _is_letter_or_digit(name[0]):
        raise InvalidName(f"The name {quoted(name)} of the {what} begins with {name[0]!r}.", hint=rule)
    return name


def registry_name(raw: str, what: str) -> str:
    """Return `raw` as a name of a stack, component, flavor or secret, in NFC, or raise InvalidName."""
    return _checked(raw, what, "_-.", "letters, digits, '_', '-' and '.'")


def title(raw: str, what: str) -> str:
    """Return `raw` as a name of an artifact, model, pipeline or run, in NFC, or raise InvalidName."""
    name = _checked(raw, what, "_-.: ", "letters, digits, spaces, '_', '-', '.' and ':'")
    if name.endswith(" "):
        raise InvalidName(f"The name {name!r} of the {what} ends with a space.")
    return name


def user_name(raw: str) -> str:
    """Return `raw` as the name of a user, which is anything that can be seen, or raise InvalidName."""
    if not raw.strip() or len(raw) > MAX_NAME or visible(raw) != raw or "\n" in raw:
        raise InvalidName(
            f"A user's name has 1 to {MAX_NAME} visible characters, and {quoted(raw[:MAX_NAME])} has not.",
            hint="Give another one with `stackledger config set user NAME`, or with STACKLEDGER_USER.",
        )
    return raw


def folded(name: str) -> str:
    """Return what two names share exactly when they are the same name ignoring case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def visible(text: str) -> str:
    """Return `text` with control, bidirectional and other invisible characters spelled out.

    What a stranger named cannot move the cursor, colour or reorder a terminal.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if char == "\n" or unicodedata.category(char)[0] not in "CZ" or char == " " else f"\\u{ord(char):04x}"
        for char in text
    )


def quoted(text: str) -> str:
    """Return `text` between quotes for a message: visible, on one line, and its backslashes not doubled."""
    return "'" + visible(text).replace("\n", "\\n") + "'"
