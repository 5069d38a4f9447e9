"""How the values that steps hand on become bytes and values again.

Formats of data come first; `cloudpickle`, whose bytes are a program, is for what nothing else can keep, and is loaded
only by a caller who says that code may run: one that has the digest of these very bytes from the log. What stands in
the artifact never decides that.

The library behind a value is imported only when there is such a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stackledger.domain.errors import MaterializerError
from stackledger.domain.names import quoted, visible
from stackledger.pipelines.materializers.arrays import NumpyMaterializer
from stackledger.pipelines.materializers.json_like import JsonMaterializer
from stackledger.pipelines.materializers.materializer import (
    Materializer,
    NotExact,
    imported_class,
    loaded_class,
    type_name,
)
from stackledger.pipelines.materializers.pickled import PickleMaterializer
from stackledger.pipelines.materializers.raw import BytesMaterializer
from stackledger.pipelines.materializers.records import RecordMaterializer
from stackledger.pipelines.materializers.tables import PandasMaterializer

BUILT_IN: tuple[Materializer, ...] = (
    JsonMaterializer(),
    BytesMaterializer(),
    NumpyMaterializer(),
    PandasMaterializer(),
    RecordMaterializer(),
    PickleMaterializer(),
)
"""In the order in which they are asked."""

_EXTRAS = {"numpy": "numpy", "pandas": "pandas", "pyarrow": "pandas", "sklearn": "sklearn"}


@dataclass(frozen=True, slots=True)
class Dumped:
    """A value as bytes. Name and type go to the log; with the layout `tree` the bytes are a manifest of files."""

    materializer: str
    data_type: str
    data: bytes
    layout: Literal["file", "tree"] = "file"


def dump_value(value: object) -> Dumped:
    """Return the value in the first format that gives it back exactly, or raise MaterializerError."""
    value_type = type(value)
    for materializer in BUILT_IN:
        if not materializer.handles(value_type):
            continue
        try:
            data = materializer.dump(value)
        except NotExact:
            continue
        except ImportError as error:
            raise _missing_library(error, f"To keep a value of the type {visible(type_name(value_type))}") from error
        return Dumped(materializer.name, type_name(value_type), data)
    raise MaterializerError(f"No materializer keeps values of the type {visible(type_name(value_type))}.")


def load_value(
    materializer: str,
    data_type: str,
    data: bytes,
    *,
    allow_code: bool,
) -> object:
    """Return the value that these bytes hold, or raise MaterializerError.

    `materializer` and `data_type` are those of the log, and the bytes have the digest of the log. `allow_code` says
    that the caller trusts whoever wrote that entry as it trusts its own code: without it no format is read that runs
    code, and no module is imported; a class has to be loaded already.
    """
    found = _named(materializer)
    if found is None:
        raise MaterializerError(
            f"There is no materializer {quoted(materializer)} to read a {visible(data_type)}.",
            hint="Was it written by a newer Stackledger? Upgrade this one.",
        )
    if found.runs_code and not allow_code:
        raise MaterializerError(
            f"A {visible(data_type)} kept by {found.name} is not loaded here, because loading it runs code.",
            hint="Load it in Python, with load_artifact or in a step.",
        )
    try:
        return found.load(data, data_type, imported_class if allow_code else loaded_class)
    except MaterializerError:
        raise
    except ImportError as error:
        raise _missing_library(error, f"To read a {visible(data_type)}") from error
    except Exception as error:
        raise MaterializerError(
            f"The {len(data):,} bytes cannot be read as a {visible(data_type)} kept by {found.name}:"
            f" {type(error).__name__}: {visible(str(error)[:500])}."
        ) from error


def runs_code(materializer: str) -> bool:
    """Say whether loading what the materializer kept runs code; so it may be where nothing is known of it."""
    found = _named(materializer)
    return found is None or found.runs_code


def _named(name: str) -> Materializer | None:
    return next((each for each in BUILT_IN if each.name == name), None)


def _missing_library(error: ImportError, purpose: str) -> MaterializerError:
    library = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(library)
    # pandas tells in words alone that pyarrow is missing.
    if extra is None and "pyarrow" in str(error):
        library, extra = "pyarrow", "pandas"
    return MaterializerError(
        f"{purpose}, the library {quoted(library)} is needed, and importing it failed: {visible(str(error))}.",
        hint=f'Install it: `pip install "stackledger[{extra}]"`.' if extra else f"Install it: `pip install {library}`.",
    )
