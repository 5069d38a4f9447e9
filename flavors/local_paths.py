"""What a path of this machine looks like in a configuration: absolute, and not a URL of somewhere else."""

from __future__ import annotations

import os

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import NotFound
from stackledger.domain.names import quoted
from stackledger.flavors import catalogue

_SERVED_BY = {"gs": "gcs", "az": "azure", "abfs": "azure"}
"""Flavors by the schemes of their paths, where those are not their names."""


def absolute(value: str, component_type: ComponentType) -> str:
    """Return the path made absolute from the working directory, `~` expanded, or raise ValueError for pydantic."""
    if not value.strip():
        raise ValueError("the path is empty")
    scheme, separator, _ = value.partition("://")
    if separator:
        other = _other(scheme, component_type)
        raise ValueError(
            f"{quoted(value)} has the scheme {quoted(scheme)}, but a path of this machine is wanted{other}"
        )
    if not value.isprintable():
        raise ValueError(f"the path {quoted(value)} holds a character that cannot be printed")
    expanded = os.path.expanduser(value)
    if expanded.startswith("~"):
        raise ValueError(f"there is no home folder for {quoted(expanded.partition('/')[0])}")
    return os.path.abspath(expanded)


def _other(scheme: str, component_type: ComponentType) -> str:
    try:
        entry = catalogue.find(component_type, _SERVED_BY.get(scheme.casefold(), scheme))
    except NotFound:
        return ""
    return f"; the flavor {entry.name!r} serves {scheme}://"
