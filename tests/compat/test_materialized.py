"""What was written under the name of a format is read for ever: one file for each, written once and never again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stackledger.pipelines.materializers import BUILT_IN, load_value
from tests.support.records import Colour, Model, Point

GOLDEN = Path(__file__).parent / "materialized"
FRAME = pd.DataFrame({"n": [1, 2], "s": ["a", None], "f": [0.5, math.inf]}, index=pd.Index(["x", "y"], name="key"))
VALUES: dict[str, tuple[str, str, Any]] = {
    "json-1": ("json/1", "builtins.dict", {"a": [1, 2**70, 0.5, -math.inf, None, True, "ü🐍"], "": {}}),
    "bytes-1": ("bytes/1", "builtins.bytes", b"\0\xffbytes"),
    "npy-1": ("npy/1", "numpy.ndarray", np.arange(6, dtype=">f4").reshape(2, 3)),
    "npy-1-scalar": ("npy/1", "numpy.int16", np.int16(-5)),
    "parquet-1": ("parquet/1", "pandas.DataFrame", FRAME),
    "parquet-1-series": ("parquet/1", "pandas.Series", FRAME["f"]),
    "record-1": (
        "record/1",
        "tests.support.records.Model",
        Model(name="m", score=math.inf, point=Point(1, 2.0, ("t",)), colour=Colour.BLUE, members={3}),
    ),
    "record-1-tuple": ("record/1", "builtins.tuple", (1, "two", None)),
    "cloudpickle-1": ("cloudpickle/1", "builtins.range", range(1, 9, 2)),
}


@pytest.mark.parametrize("golden", VALUES)
def test_a_value_of_an_earlier_version_is_still_read(golden: str) -> None:
    materializer, data_type, value = VALUES[golden]
    back: Any = load_value(materializer, data_type, (GOLDEN / golden).read_bytes(), allow_code=True)
    assert type(back) is type(value)
    match back:
        case np.ndarray():
            assert (back.dtype, back.tolist()) == (value.dtype, value.tolist())
        case pd.DataFrame():
            pd.testing.assert_frame_equal(back, value)
        case pd.Series():
            pd.testing.assert_series_equal(back, value)
        case _:
            assert back == value


def test_every_format_has_a_golden_file() -> None:
    assert {materializer for materializer, _, _ in VALUES.values()} == {each.name for each in BUILT_IN}
    assert {path.name for path in GOLDEN.iterdir()} == set(VALUES)
