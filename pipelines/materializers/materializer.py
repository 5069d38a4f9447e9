"""What turns a value into bytes and back, and how a type is named in the log."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol

from stackledger.domain.errors import MaterializerError
from stackledger.domain.names import visible

Resolver = Callable[[str], type]
"""Returns the class for a `module.qualname`, or raises MaterializerError."""


class NotExact(Exception):
    """The format would give back something else than the value; another materializer has to keep it."""


class Materializer(Protocol):
    """One format, for values that it gives back exactly: of the same types and equal, to the last part."""

    @property
    def name(self) -> str:
        """Name and version of the format, as the log keeps it: `json/1`. What was written under it is read for ever."""

    @property
    def runs_code(self) -> bool:
        """Whether who chose the bytes can run code by them in whoever loads them."""

    def handles(self, value_type: type) -> bool:
        """Say whether values of the type may be of this format. Nothing is imported to find out."""

    def dump(self, value: object) -> bytes:
        """Return the value's bytes, or raise NotExact."""

    def load(self, data: bytes, data_type: str, resolver: Resolver) -> object:
        """Return the value. What is wrong with the bytes raises whatever exception it raises."""


def type_name(value_type: type) -> str:
    """Return the type as the log names it: `module.qualname`."""
    return f"{value_type.__module__}.{value_type.__qualname__}"


def comes_from(value_type: type, library: str) -> bool:
    """Say whether the type, or one that it derives from, is of the library."""
    return any(base.__module__.partition(".")[0] == library for base in value_type.__mro__)


def loaded_class(name: str) -> type:
    """Return the class of that name from the modules that are loaded; nothing is imported, so no code runs."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        found: object = sys.modules.get(".".join(parts[:cut]))
        if found is None:
            continue
        for part in parts[cut:]:
            # Not getattr: a module's own __getattr__ may import.
            found = vars(found).get(part) if hasattr(found, "__dict__") else None
        if isinstance(found, type):
            return found
    raise MaterializerError(
        f"The class {visible(name)} of the value is not there.",
        hint="Import the module that defines it before loading; a class made in a function or in a script is lost.",
    )


def imported_class(name: str) -> type:
    """Return the class of that name, importing its module; only for names that come from the log."""
    import importlib

    module = ""
    for part in name.split(".")[:-1]:
        if not part.isidentifier():
            break
        module = f"{module}.{part}" if module else part
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and not f"{module}.".startswith(f"{error.name}."):
                raise MaterializerError(f"Importing {visible(module)} failed: there is no {error.name!r}.") from error
            # From here on the parts name classes in classes, or nothing at all.
            break
        except Exception as error:
            raise MaterializerError(
                f"Importing {visible(module)} failed: {type(error).__name__}: {visible(str(error))}."
            ) from error
    return loaded_class(name)
