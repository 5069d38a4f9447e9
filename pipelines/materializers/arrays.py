"""NumPy's arrays and scalars in NumPy's own format, without pickle."""

from __future__ import annotations

import io
from typing import Any

from stackledger.pipelines.materializers.materializer import NotExact, Resolver, comes_from, loaded_class, type_name


class NumpyMaterializer:
    """The format npy, version 1.0; a scalar is an array without dimensions."""

    name = "npy/1"
    runs_code = False

    def handles(self, value_type: type) -> bool:
        """Say whether the type is NumPy's."""
        return comes_from(value_type, "numpy")

    def dump(self, value: Any) -> bytes:
        """Return the array or scalar as npy, or raise NotExact for objects, metadata and subclasses."""
        import numpy as np

        if not isinstance(value, np.generic) and type(value) is not np.ndarray:
            raise NotExact
        array = np.asarray(value)
        if array.dtype.hasobject or array.dtype.metadata:
            raise NotExact
        buffer = io.BytesIO()
        try:
            np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
            data = buffer.getvalue()
            if isinstance(value, np.generic):
                back: Any = self.load(data, type_name(type(value)), loaded_class)
                if back.dtype != value.dtype or back.tobytes() != value.tobytes():
                    raise NotExact
            elif _dtype(data) != array.dtype:
                raise NotExact
        except ValueError as error:
            # Headers longer than NumPy reads, names of fields beyond Latin-1, scalars of types that only look alike.
            raise NotExact from error
        return data

    def load(self, data: bytes, data_type: str, resolver: Resolver) -> object:  # noqa: ARG002  npy knows its types
        """Return the array or scalar, or raise ValueError if the bytes are not npy of that type."""
        import numpy as np

        buffer = io.BytesIO(data)
        array = np.lib.format.read_array(buffer, allow_pickle=False)
        if buffer.read(1):
            raise ValueError("more bytes follow the array")
        value = array if data_type == "numpy.ndarray" else array[()]
        if type_name(type(value)) != data_type:
            raise ValueError(f"they hold a {type_name(type(value))}")
        return value


def _dtype(data: bytes) -> Any:
    import numpy as np

    buffer = io.BytesIO(data)
    np.lib.format.read_magic(buffer)
    return np.lib.format.read_array_header_1_0(buffer)[2]
