"""Where a log on a server is: an address like `postgresql://HOST/DATABASE`. Light, since every query asks."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from stackledger.domain.errors import InvalidValue, LiteralSecret

FORM = "An address is postgresql://[USER@]HOST[:PORT]/DATABASE."
_SCHEMES = ("postgresql", "postgres")
_SECRET = ("password", "sslpassword")
_VARIABLE = "env:"
_ELSEWHERE = "Keep it in PGPASSWORD, in ~/.pgpass or in a service file, where PostgreSQL's own programs look too."


def redacted(address: str) -> str:
    """Return an address as it may be shown: without passwords."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "postgresql://…"
    place = parts.netloc.rpartition("@")[2]
    user = parts.netloc.rpartition("@")[0].partition(":")[0]
    query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key not in _SECRET], safe="/:,")
    return f"{parts.scheme}://{f'{user}@' if user else ''}{place}{parts.path}{f'?{query}' if query else ''}"


def checked(address: str) -> str:
    """Return the address of a log, or raise InvalidValue if it is none."""
    parts = _split(address)
    if parts is None or parts.scheme not in _SCHEMES:
        # Not repeated: whatever stands there may be a password.
        raise InvalidValue("That is not the address of a log.", hint=FORM)
    return address


def refuse_password(address: str, where: str) -> None:
    """Raise LiteralSecret if there is a password in the address; `where` says where it would be seen."""
    if passwords(address):
        raise LiteralSecret(
            f"The address of the log has a password in it, which would be seen {where}.", hint=_ELSEWHERE
        )


def passwords(address: str) -> list[str]:
    """Return the passwords in an address, so that none is ever repeated."""
    parts = _split(address)
    if parts is None:
        return []
    in_place = parts.netloc.rpartition("@")[0].partition(":")[2]
    given = (in_place, unquote(in_place), *(value for key, value in parse_qsl(parts.query) if key in _SECRET))
    return [value for value in given if value]


def resolved(setting: str, environment: Mapping[str, str]) -> str:
    """Return the address that a setting means: itself, or `env:NAME` for that of a variable."""
    if not setting.startswith(_VARIABLE):
        return checked(setting)
    name = setting.removeprefix(_VARIABLE)
    if not environment.get(name):
        raise InvalidValue(
            f"The setting `log` is {setting}, and the environment variable {name} is not set.",
            hint=f"Set {name} to the address of the log.",
        )
    return checked(environment[name])


def checked_setting(setting: str) -> str:
    """Return what may stand in a file of settings: `env:NAME`, or an address without a password."""
    if setting.startswith(_VARIABLE) and setting.removeprefix(_VARIABLE).isidentifier():
        return setting
    refuse_password(setting, "by whoever reads the settings")
    return checked(setting)


def _split(address: str) -> SplitResult | None:
    try:
        return urlsplit(address)
    except ValueError:
        return None
