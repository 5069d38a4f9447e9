"""Values come back as they were, whatever the format; and only who says so runs code."""

from __future__ import annotations

import collections
import datetime as dt
import json
import math
import os
import pickle
import subprocess
import sys
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.extra import pandas as hpd

from stackledger.domain.errors import MaterializerError
from stackledger.pipelines.materializers import BUILT_IN, Dumped, dump_value, load_value, runs_code
from stackledger.pipelines.materializers.materializer import imported_class, loaded_class
from tests.support.records import (
    Changing,
    Colour,
    Computed,
    Gadget,
    Hidden,
    Loose,
    Model,
    Open,
    Point,
    Slotted,
)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), parts),
)
ANY_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.decimals()
    | st.complex_numbers(),
    lambda parts: (
        st.lists(parts)
        | st.tuples(parts, parts)
        | st.dictionaries(st.text() | st.integers(), parts)
        | st.builds(Loose, parts)
        | st.builds(Model, name=st.text(), anything=parts)
    ),
)
HUGE = 10**5000


def round_trip(value: object, *, allow_code: bool = False) -> tuple[str, Any]:
    dumped = dump_value(value)
    return dumped.materializer, load_value(dumped.materializer, dumped.data_type, dumped.data, allow_code=allow_code)


def spelled(value: object) -> object:
    """Return the value with the type of each part, in a form that compares NaN with NaN."""
    if isinstance(value, dict):
        return [(spelled(key), spelled(part)) for key, part in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [spelled(part) for part in value]
    if hasattr(value, "__dict__"):
        return type(value), spelled(vars(value))
    return type(value), repr(value)


@given(JSON_VALUES)
def test_what_json_can_say_is_json_and_comes_back_exactly(value: object) -> None:
    materializer, back = round_trip(value)
    assert materializer == "json/1"
    assert spelled(back) == spelled(value)


@given(ANY_VALUES)
def test_whatever_the_format_values_come_back_exactly(value: object) -> None:
    _, back = round_trip(value, allow_code=True)
    assert spelled(back) == spelled(value)


@pytest.mark.parametrize(
    "value", [0, -0.0, 2**64, -(10**4000), math.inf, -math.inf, math.nan, "", "\0", "🐍", {}, [], {"": None}, True]
)
def test_the_corners_of_json_come_back(value: object) -> None:
    materializer, back = round_trip(value)
    assert materializer == "json/1"
    assert spelled(back) == spelled(value)


@given(st.binary())
def test_bytes_are_kept_as_they_are(value: bytes) -> None:
    assert dump_value(value) == Dumped("bytes/1", "builtins.bytes", value)
    assert round_trip(value) == ("bytes/1", value)


def _with_attrs(frame: pd.DataFrame, attrs: dict[Any, Any]) -> pd.DataFrame:
    frame.attrs = attrs
    return frame


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        ["\ud83d", "\udc80"],
        collections.OrderedDict(a=1),
        {1: "a"},
        [1, (2,)],
        {"a": {1, 2}},
        bytearray(b"x"),
        range(3),
        np.longlong(3),
        np.str_("a\0"),
        np.array([None, "x"]),
        np.ma.masked_array([1, 2], [True, False]),
        np.array([1], np.dtype("i4", metadata={"a": 1})),
        pd.Index([1, 2]),
        pd.DataFrame({"mixed": [1, "a"]}),
        pd.DataFrame({"lists": [[1], [2]]}),
        pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2020-01-01", periods=2)),
        pd.DataFrame([[1, 2]], columns=["twice", "twice"]),
        pd.DataFrame([[1, 2]], columns=pd.Index([0, 1])),
        pd.DataFrame([[1, 2]], columns=range(5, 9, 2)),
        pd.DataFrame([[1]], columns=pd.Index(["a"], dtype=object)),
        pd.DataFrame([[1]], columns=pd.Index(["a"], name=np.str_("name"))),
        _with_attrs(pd.DataFrame({"a": [1]}), {"k": collections.OrderedDict(a=1)}),
        pd.Series([1], name=("a", 1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_data_formats_would_change_is_left_to_the_last_resort(value: object) -> None:
    materializer, back = round_trip(value, allow_code=True)
    assert materializer == "cloudpickle/1"
    assert type(back) in {type(value), np.int64}
    assert str(back) == str(value)


def test_a_number_too_long_to_print_and_lists_within_themselves_are_left_to_the_last_resort() -> None:
    assert round_trip(HUGE, allow_code=True) == ("cloudpickle/1", HUGE)
    loop: list[object] = []
    loop.append(loop)
    materializer, back = round_trip(loop, allow_code=True)
    assert materializer == "cloudpickle/1"
    assert back[0] is back


SHAPES = hnp.array_shapes(min_dims=0, min_side=0, max_side=4)


@given(hnp.arrays(hnp.scalar_dtypes(), SHAPES) | hnp.arrays([("a", "<i4"), ("b", ">f8", 2)], SHAPES))
def test_arrays_come_back_exactly_as_npy(value: np.ndarray) -> None:
    materializer, back = round_trip(value)
    assert materializer == "npy/1"
    assert (back.dtype, back.shape, back.tobytes()) == (value.dtype, value.shape, value.tobytes())


@given(hnp.arrays(hnp.array_dtypes(), SHAPES))
def test_arrays_of_any_structure_come_back_exactly(value: np.ndarray) -> None:
    _, back = round_trip(value, allow_code=True)
    assert (back.dtype, back.shape, back.tobytes()) == (value.dtype, value.shape, value.tobytes())


@pytest.mark.parametrize(
    "value",
    [
        np.float64(1.5),
        np.float32("nan"),
        np.int8(-1),
        np.bool_(True),  # noqa: FBT003  a scalar
        np.complex128(1j),
        np.datetime64("2020-01-01", "ns"),
        np.str_("word"),
        np.bytes_(b"ab"),
    ],
)
def test_scalars_of_numpy_come_back_exactly(value: np.generic) -> None:
    materializer, back = round_trip(value)
    assert materializer == "npy/1"
    assert (type(back), back.dtype, back.tobytes()) == (type(value), value.dtype, value.tobytes())


def test_the_order_of_an_arrays_bytes_is_kept() -> None:
    value = np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3))
    _, back = round_trip(value)
    assert back.flags.f_contiguous
    assert back.dtype == value.dtype


@given(
    hpd.data_frames(
        [
            hpd.column("whole", dtype=int),
            hpd.column("real", dtype=float),
            hpd.column("text", elements=st.text(st.characters(exclude_categories=["Cs"])), dtype="str"),
            hpd.column("flag", dtype=bool),
        ]
    )
)
def test_frames_come_back_exactly(value: pd.DataFrame) -> None:
    materializer, back = round_trip(value)
    assert materializer == "parquet/1"
    pd.testing.assert_frame_equal(back, value, check_exact=True)


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame(),
        pd.DataFrame({0: [1], 1: [2]}),
        pd.DataFrame(np.zeros((2, 3)), columns=pd.RangeIndex(3, name="name")),
        pd.DataFrame([[1, 2]], columns=pd.Index([5, 7])),
        pd.DataFrame(columns=[]),
        pd.DataFrame(index=[1, 2]),
        _with_attrs(pd.DataFrame({"a": [1]}, index=range(5, 6)), {"k": [True, 1.0, None]}),
        pd.DataFrame({"c": pd.Categorical(["x", "y", "x"], ["y", "x"], ordered=True)}),
        pd.DataFrame({"t": pd.to_datetime(["2020-01-01", None]).tz_localize("Europe/Berlin")}),
        pd.DataFrame({"n": pd.array([1, None], "Int64"), "s": pd.array(["a", None], "string")}),
        pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="key")),
        pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", None])),
    ],
    ids=[
        "empty",
        "numbered",
        "array",
        "numbers",
        "no columns",
        "no cells",
        "attrs",
        "categories",
        "time zones",
        "nullable",
        "index",
        "levels",
    ],
)
def test_index_and_types_of_a_frame_come_back(value: pd.DataFrame) -> None:
    materializer, back = round_trip(value)
    assert materializer == "parquet/1"
    pd.testing.assert_frame_equal(
        back, value, check_exact=True, check_freq=True, check_index_type=True, check_column_type=True
    )
    assert (repr(back.columns), back.attrs) == (repr(value.columns), value.attrs)


@pytest.mark.parametrize("name", [None, "", "name", "="])
def test_a_series_comes_back_with_its_name(name: str | None) -> None:
    value = pd.Series([1.5, None], name=name, index=pd.Index(["a", "b"], name="k"))
    materializer, back = round_trip(value)
    assert materializer == "parquet/1"
    pd.testing.assert_series_equal(back, value, check_exact=True)


@pytest.mark.parametrize(
    "value",
    [
        (1, "a", None),
        {1, 2},
        frozenset({"a"}),
        Colour.BLUE,
        dt.date(2026, 1, 2),
        dt.datetime(2026, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001  without a time zone on purpose
        dt.timedelta(days=1, microseconds=1),
        Decimal("1.10"),
        uuid.UUID(int=5),
        1 + 2j,
        Point(1, math.nan, ("a",)),
        Slotted(math.inf),
        Loose({"a": [1]}),
        Model(name="m", score=math.nan, point=Point(1, 2.0), colour=Colour.BLUE, price=Decimal("1.0"), members={1}),
        Open(pairs=(1, 2), more="beside"),
    ],
    ids=repr,
)
def test_records_come_back_exactly_as_json(value: object) -> None:
    dumped = dump_value(value)
    assert dumped.materializer == "record/1"
    json.loads(dumped.data)
    assert spelled(round_trip(value)[1]) == spelled(value)


def test_equal_sets_have_the_same_bytes_in_every_process() -> None:
    program = (
        "import sys; from stackledger.pipelines.materializers import dump_value\n"
        "sys.stdout.buffer.write(dump_value({'a', 'b', 'c', 'd', 'e'}).data)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert found == {b'["a","b","c","d","e"]'}


def _with_note() -> Open:
    model = Open()
    model._note = "private"
    return model


@pytest.mark.parametrize(
    "value",
    [
        (1, (2,)),
        Loose((1, 2)),
        Loose(1 + 2j),
        Model(name="m", anything=Point(1, 2.0)),
        Hidden(token="t"),
        Changing(word="w"),
        Computed(4),
        _with_note(),
        dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    ],
    ids=repr,
)
def test_records_that_json_would_change_are_left_to_the_last_resort(value: object) -> None:
    materializer, back = round_trip(value, allow_code=True)
    assert materializer == "cloudpickle/1"
    assert back == value


def test_a_class_that_cannot_be_found_again_is_left_to_the_last_resort() -> None:
    class Local(Point):
        pass

    assert dump_value(Local(1, 2.0)).materializer == "cloudpickle/1"


def test_a_model_of_scikit_learn_comes_back() -> None:
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[1.0], [2.0]], [2.0, 4.0])
    materializer, back = round_trip(model, allow_code=True)
    assert materializer == "cloudpickle/1"
    assert back.predict([[3.0]]) == pytest.approx([6.0])


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_a_program_in_the_bytes_runs_only_where_code_is_allowed(tmp_path: Path, dumps: Any) -> None:
    target = tmp_path / "the program ran"
    gadget = dumps(Gadget(str(target)))
    for materializer in BUILT_IN:
        for data_type in ("builtins.dict", "numpy.ndarray", "pandas.DataFrame", "tests.support.records.Model"):
            try:
                load_value(materializer.name, data_type, gadget, allow_code=False)
            except MaterializerError:
                assert materializer.name != "bytes/1"
    assert not target.exists()
    with load_value("cloudpickle/1", "builtins.object", gadget, allow_code=True):  # type: ignore[attr-defined]
        assert target.exists()


def test_an_array_that_asks_for_pickle_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "array.npy"
    np.save(target, np.array([Gadget(str(tmp_path / "ran"))]), allow_pickle=True)
    with pytest.raises(MaterializerError, match=r"Object arrays cannot be loaded"):
        load_value("npy/1", "numpy.ndarray", target.read_bytes(), allow_code=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "value",
    [{"a": [1, 2]}, np.arange(5), np.float64(1), pd.DataFrame({"a": [1]}), Point(1, 2.0), Model(name="m"), Gadget],
    ids=lambda value: type(value).__name__,
)
def test_cut_and_foreign_bytes_are_refused(value: object) -> None:
    dumped = dump_value(value)
    for data in (b"", dumped.data[:-1], dumped.data[: len(dumped.data) // 2], b"\x93NUMPY\x01\0\xff\xff", b"\xff" * 50):
        with pytest.raises(MaterializerError, match=r"cannot be read as a .* kept by"):
            load_value(dumped.materializer, dumped.data_type, data, allow_code=True)


def test_bytes_of_another_type_are_refused() -> None:
    for materializer, data_type, value in (
        ("json/1", "builtins.dict", [1]),
        ("npy/1", "numpy.float64", np.arange(3)),
        ("parquet/1", "pandas.Series", pd.DataFrame({"a": [1], "b": [2]})),
        ("parquet/1", "pandas.Panel", pd.DataFrame({"a": [1]})),
        ("record/1", "builtins.int", 5),
        ("record/1", "tests.support.records.Gadget", 5),
    ):
        with pytest.raises(MaterializerError, match=r"cannot be read"):
            load_value(materializer, data_type, dump_value(value).data, allow_code=False)


def test_bytes_after_an_array_are_refused() -> None:
    with pytest.raises(MaterializerError, match=r"more bytes follow"):
        load_value("npy/1", "numpy.ndarray", dump_value(np.arange(2)).data + b"x", allow_code=False)


def test_an_unknown_format_is_told() -> None:
    with pytest.raises(MaterializerError, match=r"no materializer 'json/9' to read a builtins.dict.*newer"):
        load_value("json/9", "builtins.dict", b"{}", allow_code=True)


def test_what_runs_code_is_known_by_name() -> None:
    assert {name: runs_code(name) for name in ("json/1", "parquet/1", "cloudpickle/1", "unknown/1")} == {
        "json/1": False,
        "parquet/1": False,
        "cloudpickle/1": True,
        "unknown/1": True,
    }


def test_a_value_that_nothing_keeps_is_told() -> None:
    with pytest.raises(MaterializerError, match=r"type builtins.generator cannot be kept: TypeError"):
        dump_value(number for number in range(3))


def test_a_class_is_imported_only_where_code_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "late_module.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Late:\n    x: int\n    @dataclass\n    class Inner:\n        y: int\n"
    )
    (tmp_path / "late_broken.py").write_text("import no_such_library_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MaterializerError, match=r"class late_module.Late of the value is not there"):
        load_value("record/1", "late_module.Late", b'{"x": 1}', allow_code=False)
    assert "late_module" not in sys.modules
    assert repr(load_value("record/1", "late_module.Late", b'{"x": 1}', allow_code=True)) == "Late(x=1)"
    assert repr(load_value("record/1", "late_module.Late.Inner", b'{"y": 1}', allow_code=True)) == "Late.Inner(y=1)"
    for name in (
        "late_module.Gone",
        "late_module",
        "no_such_module.Late",
        "late_module.Late.x",
        "",
        "..",
        "os.path.join",
    ):
        with pytest.raises(MaterializerError, match=r"is not there"):
            load_value("record/1", name, b"{}", allow_code=True)
    with pytest.raises(MaterializerError, match=r"late_broken failed: there is no 'no_such_library_at_all'"):
        imported_class("late_broken.Late")
    assert loaded_class("late_module.Late").__name__ == "Late"


@pytest.mark.parametrize(
    ("missing", "program", "words"),
    [
        ("pyarrow", "import pandas; dump_value(pandas.DataFrame({'a': [1]}))", "stackledger[pandas]"),
        ("numpy", "load_value('npy/1', 'numpy.ndarray', b'', allow_code=False)", "stackledger[numpy]"),
        ("pandas", "load_value('parquet/1', 'pandas.DataFrame', b'', allow_code=False)", "stackledger[pandas]"),
    ],
)
def test_a_missing_library_is_named_with_the_way_to_install_it(missing: str, program: str, words: str) -> None:
    preamble = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from stackledger.domain.errors import MaterializerError\n"
        "from stackledger.pipelines.materializers import dump_value, load_value\n"
    )
    body = f"try:\n    {program}\nexcept MaterializerError as error:\n    print(error)"
    done = subprocess.run([sys.executable, "-c", preamble + body], capture_output=True, text=True, check=True)
    assert words in done.stdout
    assert missing in done.stdout


def test_json_and_bytes_import_no_library() -> None:
    program = (
        "import sys\n"
        "from stackledger.pipelines.materializers import dump_value, load_value\n"
        "for value in ({'a': [1]}, b'x'):\n"
        "    dumped = dump_value(value)\n"
        "    load_value(dumped.materializer, dumped.data_type, dumped.data, allow_code=False)\n"
        "print(sorted({'pydantic', 'numpy', 'pandas', 'pyarrow', 'cloudpickle', 'pickle'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
