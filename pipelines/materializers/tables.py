"""Pandas' frames and series as Parquet."""

from __future__ import annotations

import io
from typing import Any

from stackledger.pipelines.materializers.materializer import NotExact, Resolver, type_name

_FRAME = "DataFrame"
_SERIES = "Series"
# What Parquet gives back as it was from a column of objects.
_OBJECTS = frozenset({str, bytes, bool, type(None)})


class PandasMaterializer:
    """Parquet, with what pandas itself writes into it about index and types.

    A series is a frame of one column, called `=NAME`, or the empty text if it has no name. A value is read back
    before it is kept in this format: what Parquet would change, if only the type of a column or of an index, is left to
    others. Of an index of several levels, entries of a level that no row has are not kept.
    """

    name = "parquet/1"
    runs_code = False

    def handles(self, value_type: type) -> bool:
        """Say whether it is a frame or series of pandas' own."""
        return value_type.__module__.partition(".")[0] == "pandas" and value_type.__name__ in {_FRAME, _SERIES}

    def dump(self, value: Any) -> bytes:
        """Return the value as Parquet, or raise NotExact if Parquet cannot say all of it."""
        frame = value
        if type(value).__name__ == _SERIES:
            if not (value.name is None or type(value.name) is str):
                raise NotExact
            frame = value.to_frame("" if value.name is None else f"={value.name}")
        buffer = io.BytesIO()
        try:
            frame.to_parquet(buffer, engine="pyarrow")
            back = _read(buffer.getvalue())
        except ImportError:
            raise
        except Exception as error:
            # pyarrow raises what it likes for what it cannot represent.
            raise NotExact from error
        if not _same(frame, back):
            raise NotExact
        return buffer.getvalue()

    def load(self, data: bytes, data_type: str, resolver: Resolver) -> object:  # noqa: ARG002  Parquet knows its types
        """Return the frame or series, or raise whatever pyarrow raises."""
        frame = _read(data)
        if data_type.endswith(f".{_FRAME}"):
            return frame
        if len(frame.columns) != 1 or not data_type.endswith(f".{_SERIES}"):
            raise ValueError(f"they hold a {type_name(type(frame))}")
        column = frame.columns[0]
        return frame[column].rename(column[1:] if column else None)


def _read(data: bytes) -> Any:
    import pandas as pd

    frame = pd.read_parquet(io.BytesIO(data), engine="pyarrow")
    # Parquet knows of columns that nobody named only that they are called 0, 1, 2 …
    unnamed = pd.RangeIndex(len(frame.columns), name=frame.columns.name)
    if frame.columns.dtype == unnamed.dtype and frame.columns.equals(unnamed):
        frame.columns = unnamed
    return frame


def _same(frame: Any, back: Any) -> bool:
    from pandas.testing import assert_frame_equal

    try:
        assert_frame_equal(
            frame,
            back,
            check_exact=True,
            check_freq=True,
            check_flags=True,
            check_index_type=True,
            check_column_type=True,
        )
    except AssertionError:
        return False
    # Equal texts may be NumPy's, and equal maps ordered.
    if frame.attrs != back.attrs or repr(frame.attrs) != repr(back.attrs) or _names(frame) != _names(back):
        return False
    # None and NaN, lists and arrays count as equal in a column of objects.
    for before, after in [*zip(_objects(frame), _objects(back), strict=True)]:
        types = [type(each) for each in before]
        if set(types) - _OBJECTS or types != [type(each) for each in after]:
            return False
    return True


def _names(frame: Any) -> list[tuple[type, object]]:
    return [(type(name), name) for axis in frame.axes for name in axis.names]


def _objects(frame: Any) -> list[Any]:
    levels = [frame.index.get_level_values(number) for number in range(frame.index.nlevels)]
    columns = [frame.iloc[:, number] for number in range(frame.shape[1])]
    return [each for each in (*levels, *columns) if each.dtype == object]
