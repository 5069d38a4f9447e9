"""How messages name many things in few words."""

from __future__ import annotations

from collections.abc import Collection, Mapping

_MOST = 5


def listed(ids: Collection[str], names: Mapping[str, str]) -> str:
    """Return `'a', 'b' and 3 more`: the names of the ids, where known, else the ids themselves."""
    called = sorted(repr(names.get(each, each)) for each in ids)
    if len(called) > _MOST:
        return f"{', '.join(called[:_MOST])} and {len(called) - _MOST:,} more"
    return " and ".join(filter(None, (", ".join(called[:-1]), called[-1] if called else "")))


def counted(number: int, noun: str) -> str:
    """Return `1 stack`, `2 stacks`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
