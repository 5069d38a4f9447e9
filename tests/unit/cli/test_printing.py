from __future__ import annotations

import csv
import io
import json
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stackledger.cli.printing import (
    Column,
    Details,
    Lines,
    Listing,
    Table,
    pointing,
    print_details,
    print_json,
    print_lines,
    print_listing,
    print_rows,
    print_stream,
    ticked,
)
from stackledger.domain.errors import UsageError

HOSTILE = "\x1b[31mred\x07 \u202eevil\u2066 [bold]not markup[/bold] :smile: \x9b2J"

COLUMNS = [
    Column("ACTIVE", "active", show=pointing),
    Column("STACK NAME", "name"),
    Column("SHARED", "shared", show=ticked),
    Column("LABELS", "labels", shown=False),
    Column("ORCHESTRATOR", "orchestrator", value=lambda item: item["components"]["orchestrator"]),
]
ITEMS = [
    {"name": "default", "active": True, "shared": False, "labels": {}, "components": {"orchestrator": ["default"]}},
    {"name": "other", "active": False, "shared": True, "labels": {"a": "b"}, "components": {"orchestrator": ["k8s"]}},
]


@pytest.fixture(autouse=True)
def _in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def test_a_list_is_a_table_with_heavy_edges(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing(Listing(ITEMS, COLUMNS), "table")
    assert capsys.readouterr().out.splitlines() == [
        "┏━━━━━━━━┯━━━━━━━━━━━━┯━━━━━━━━┯━━━━━━━━━━━━━━┓",
        "┃ ACTIVE │ STACK NAME │ SHARED │ ORCHESTRATOR ┃",
        "┠────────┼────────────┼────────┼──────────────┨",
        "┃ 👉     │ default    │ ➖     │ default      ┃",  # noqa: RUF001 - the heavy dash that users know
        "┠────────┼────────────┼────────┼──────────────┨",
        "┃        │ other      │ ✅     │ k8s          ┃",
        "┗━━━━━━━━┷━━━━━━━━━━━━┷━━━━━━━━┷━━━━━━━━━━━━━━┛",
    ]


def test_a_table_has_title_and_caption(capsys: pytest.CaptureFixture[str]) -> None:
    print_details(Details({}, [Table(["A NAME"], [["b"]], title="Title", caption="caption")]), "table")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "Title"
    assert lines[-1].strip() == "caption"


def test_cells_are_folded_to_columns_and_lose_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    print_details(Details({}, [Table(["NAME", "ID"], [["x" * 40, "y" * 40]])]), "table")
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 30
    assert (out.count("x"), out.count("y")) == (40, 40)


@pytest.mark.parametrize("width", ["1", "8", "20"])
def test_a_table_too_wide_to_fold_loses_nothing(
    width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    print_details(Details({}, [Table([*"ABCDEF"], [["x" * 9, "👉", "y" * 5, "z", "名前", "w"]])]), "table")
    out = capsys.readouterr().out
    assert [out.count(char) for char in "xyzw名前👉"] == [9, 5, 1, 1, 1, 1, 1]


def _narrow(width: int, columns: int, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    patch.setenv("COLUMNS", str(width))
    titles = [f"COLUMN_{at}" for at in range(columns)]
    rows = [[f"value-{at}-of-row" if at % 4 else "" for at in range(columns)]] * 2
    print_details(Details({}, [Table(titles, rows)]), "table")
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_rows_with_more_columns_than_can_be_read_side_by_side_are_records(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = _narrow(width, 18, monkeypatch, capsys)
    assert sum("┃ COLUMN_1 " in line and "value-1-of-row" in line for line in lines) == 2
    assert sum("COLUMN_" in line for line in lines) == 2 * 13, "empty cells take a line"
    assert sum("┠" in line for line in lines) == 1, "records are divided"
    assert max(map(len, lines)) <= width


def test_a_table_that_can_be_folded_legibly_stays_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = _narrow(80, 6, monkeypatch, capsys)
    assert all(line.count("│") + line.count("┼") + line.count("┯") + line.count("┷") == 5 for line in lines)


def test_rows_in_a_pipe_are_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    print_details(Details({}, [Table(["NAME"], [["x" * 300]])]), "table")
    assert "x" * 300 in capsys.readouterr().out


def test_columns_are_chosen_by_key_or_title_in_the_order_given(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing(Listing(ITEMS, COLUMNS), "json", "orchestrator,Stack Name,labels")
    assert json.loads(capsys.readouterr().out)["items"] == [
        {"orchestrator": ["default"], "name": "default", "labels": {}},
        {"orchestrator": ["k8s"], "name": "other", "labels": {"a": "b"}},
    ]


def test_an_unknown_column_is_refused_with_near_names() -> None:
    with pytest.raises(UsageError, match=r"no column 'lables'.*Did you mean 'labels'"):
        print_listing(Listing(ITEMS, COLUMNS), "table", "lables")


def test_a_list_without_pages_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing(Listing(ITEMS, COLUMNS), "json")
    assert json.loads(capsys.readouterr().out) == {
        "items": ITEMS,
        "pagination": {"page": 1, "pages": 1, "size": 2, "total": 2},
    }


def test_an_empty_list_says_so_aside_and_prints_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing(Listing([], COLUMNS, nothing="No stacks found."), "table")
    assert capsys.readouterr() == ("", "No stacks found.\n")


def test_a_page_after_the_last_says_which_is_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    pages = {"page": 9, "pages": 2, "size": 20, "total": 30}
    print_listing(Listing([], COLUMNS, pages, nothing="No stacks found."), "table")
    assert capsys.readouterr() == ("", "Nothing on page 9: page 2 is the last.\n")


def test_csv_has_the_keys_of_json_and_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing(Listing([{"name": 'a,"b"\nc', "labels": {"k": "v"}, "n": None, "ok": True}], []), "csv")
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [["name", "labels", "n", "ok"], ['a,"b"\nc', '{"k": "v"}', "", "true"]]


def test_an_empty_list_in_csv_has_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing(Listing([], COLUMNS), "csv")
    assert capsys.readouterr().out == "active,name,shared,labels\n"


def test_tsv_is_divided_by_tabulators(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing(Listing([{"a": "x y", "b": "1\t2"}], []), "tsv")
    assert list(csv.reader(io.StringIO(capsys.readouterr().out), delimiter="\t")) == [["a", "b"], ["x y", "1\t2"]]


def test_numbers_that_are_none_are_texts_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    def refused(word: str) -> None:
        raise ValueError(word)

    item = {"lr": float("nan"), "deep": [{"most": float("inf")}, 1.5], "least": float("-inf")}
    expected = {"lr": "NaN", "deep": [{"most": "Infinity"}, 1.5], "least": "-Infinity"}
    print_json(item, "json")
    assert json.loads(capsys.readouterr().out, parse_constant=refused) == expected
    print_stream([item], [], "json", keys=list(item))
    assert json.loads(capsys.readouterr().out, parse_constant=refused) == expected
    print_rows(list(item), [item], "csv")
    assert capsys.readouterr().out.splitlines()[1] == '"""NaN""","[{""most"": ""Infinity""}, 1.5]","""-Infinity"""'


@pytest.mark.parametrize("output", ["table", "json", "yaml", "csv", "tsv"])
def test_no_control_character_gets_out(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_listing(Listing([{"name": HOSTILE}], [Column(HOSTILE, "name")], title=HOSTILE), output)
    print_details(Details({"name": HOSTILE}, [HOSTILE, Table([HOSTILE], [[HOSTILE]], caption=HOSTILE)]), output)
    print_lines(Lines([HOSTILE]), output)
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\u2066"} & set(out)


def test_markup_in_a_name_is_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    print_details(Details({}, [Table(["A"], [["[red]x[/red] :smile:"]])]), "table")
    assert "[red]x[/red] :smile:" in capsys.readouterr().out


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_json_and_yaml_read_back_as_they_were(value: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for output, read in (("json", json.loads), ("yaml", yaml.safe_load)):
            out = io.StringIO()
            patch.setattr("sys.stdout", out)
            print_json(value, output)
            assert read(out.getvalue()) == value


def test_readable_letters_stay_readable(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "größe-名前"}, "json")
    print_json({"name": "größe-名前"}, "yaml")
    assert capsys.readouterr().out == '{\n  "name": "größe-名前"\n}\nname: größe-名前\n'


def test_lines_are_printed_as_they_are_but_for_tabulators(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines(Lines(["a\tb", "  c"]), "table")
    assert capsys.readouterr().out == "a       b\n  c\n"


def test_a_sign_that_standard_output_cannot_hold_is_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (pointing(True), pointing(False), ticked(True), ticked(False)) == ("👉", "", "✅", "➖")  # noqa: FBT003, RUF001
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert (pointing(True), pointing(False), ticked(True), ticked(False)) == ("*", "", "yes", "-")  # noqa: FBT003
