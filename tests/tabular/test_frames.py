"""Tables of any kind as polars DataFrames, and results in the kind that was given."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from xpnet.errors import DataError
from xpnet.tabular.frames import (
    column_like,
    declared_categories,
    fingerprint_of_frame,
    table_like,
    target_names,
    to_frame,
)

COLUMNS = {
    "size": [1.5, None, 3.0],
    "count": [1, 2, 3],
    "colour": ["red", None, "blue"],
    "on": [True, False, True],
}
FRAME = pl.DataFrame(COLUMNS)


def _pandas() -> Any:
    return pytest.importorskip("pandas")


@pytest.mark.parametrize("kind", ["polars", "lazy", "dict", "arrays", "pyarrow", "csv", "pandas", "nullable"])
def test_all_kinds_are_one_table(kind: str, tmp_path: Path) -> None:
    if kind == "polars":
        table: Any = FRAME
    elif kind == "lazy":
        table = FRAME.lazy()
    elif kind == "dict":
        table = COLUMNS
    elif kind == "arrays":
        table = {name: FRAME[name] if name == "colour" else FRAME[name].to_numpy() for name in FRAME.columns}
    elif kind == "pyarrow":
        table = pytest.importorskip("pyarrow").table(COLUMNS)
    elif kind == "csv":
        table = tmp_path / "table.csv"
        FRAME.write_csv(table)
    else:
        table = _pandas().DataFrame(COLUMNS)
        table = table.convert_dtypes() if kind == "nullable" else table
    made = to_frame(table)
    assert made.columns == FRAME.columns
    assert made["size"].fill_nan(None).to_list() == COLUMNS["size"]
    assert [str(cell).lower() for cell in made["on"]] == ["true", "false", "true"]
    assert made["count"].to_list() == COLUMNS["count"]
    assert made["colour"].to_list() == COLUMNS["colour"]


# names of columns, the first cell, and the names that are found; the cells of the first column count the rows
UNNAMED = {
    "counted": ([None, "a"], 0, ["a"]),
    "not a number": ([np.nan, "a"], 0, ["a"]),
    "pandas": (["Unnamed: 0", "a"], 0, ["a"]),
    "not counted": ([None, "a"], 7, ["unnamed", "a"]),
    "elsewhere": (["a", None, np.nan], 0, ["a", "column_2", "column_3"]),
    "text": (["None", "nan"], 0, ["None", "nan"]),
}


@pytest.mark.parametrize("case", UNNAMED)
def test_columns_without_a_name(case: str) -> None:
    names, first, found = UNNAMED[case]
    columns = [[first, 1, 2], [5, 6, 8], [0, 0, 1]][: len(names)]
    table = _pandas().DataFrame(np.transpose(columns), columns=np.asarray(names, dtype=object))
    assert to_frame(table).columns == found
    assert to_frame(dict(zip(names, columns, strict=True))).columns == found
    assert declared_categories(table.astype("category"))[1:] == found[len(found) - len(names) + 1 :]


def test_columns_of_pandas() -> None:
    pandas = _pandas()
    table = pandas.DataFrame(
        {
            "kind": pandas.Categorical(["a", None, "b"]),
            "day": pandas.to_datetime(["2024-01-01", None, "2024-01-03"]),
            "mixed": np.asarray(["x", np.nan, None], dtype=object),
            "when": pandas.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"]).tz_localize("UTC"),
        }
    )
    made = to_frame(table)
    assert made["kind"].to_list() == ["a", None, "b"]
    assert made["day"].to_list()[::2] == [datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 3)]
    assert made["day"].null_count() == 1
    assert made["mixed"].to_list() == ["x", None, None]
    assert made["when"].null_count() == 0


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (np.zeros((3, 2)), "found ndarray"),
        (5, "found int"),
        ({"a": [1], "b": [1, 2]}, "equally many rows"),
        ({"a": np.zeros((2, 2))}, "expected one dimension"),
    ],
)
def test_what_is_no_table(table: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        to_frame(table)


def test_cells_of_pandas_that_are_no_plain_types() -> None:
    pandas = _pandas()
    table = pandas.DataFrame(
        {"month": pandas.period_range("2024-01", periods=3, freq="M"), "bin": pandas.cut([1, 2, 3], 3)}
    )
    made = to_frame(table)
    assert made["month"].to_list()[1] == datetime.datetime(2024, 2, 1)
    assert made["bin"].dtype == pl.String


@pytest.mark.parametrize(
    ("cells", "dtype"),
    [
        ([[1], [2]], None),
        ([{"a": 1}, {"a": 2}], None),
        ([10**20, 2], pl.Int128),
        ([datetime.timedelta(1), None], None),
        ([b"a", b"b"], None),
        ([datetime.time(1), datetime.time(2)], None),
        ([1j, 2j], pl.Object),
    ],
    ids=str,
)
def test_fingerprints_of_any_type(cells: list[Any], dtype: Any) -> None:
    one, other = (pl.DataFrame({"a": pl.Series(c, dtype=dtype)}) for c in (cells, cells[::-1]))
    assert fingerprint_of_frame(one) == fingerprint_of_frame(one)
    assert dtype == pl.Object or fingerprint_of_frame(one) != fingerprint_of_frame(other)


def test_targets_and_declared_categories() -> None:
    pandas = _pandas()
    table = pandas.DataFrame({0: [1, 2], ("a", "b"): [1.0, 2.0], "c": pandas.Categorical([3, 4])})
    assert target_names(table, 0) == "0"
    assert target_names(table, ("a", "b")) == "('a', 'b')"
    assert target_names(table, (0, "c")) == ["0", "c"]
    assert target_names({1: [1]}, 1) == "1"
    assert target_names(FRAME, ["size"]) == ["size"]
    assert declared_categories(table) == ["c"]
    assert declared_categories(FRAME) == []


def test_two_columns_of_one_name() -> None:
    table = _pandas().DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(DataError, match="two columns called 'a'"):
        to_frame(table)


def test_results_are_of_the_kind_that_was_given() -> None:
    made = pl.DataFrame({"prediction": ["a", None], "probability_a": [0.5, None]})
    assert table_like("table.csv", made) is made
    arrays = table_like({"x": [1, 2]}, made)
    assert {name: len(values) for name, values in arrays.items()} == {"prediction": 2, "probability_a": 2}
    pandas = _pandas()
    given = pandas.DataFrame({"x": [1, 2]}, index=["p", "q"])
    table, column = table_like(given, made), column_like(given, made["probability_a"])
    assert list(table.index) == list(column.index) == ["p", "q"]
    assert table["prediction"].tolist()[0] == "a"
    assert table["probability_a"].isna().tolist() == [False, True]
    assert column.name == "probability_a"


def test_fingerprints_tell_tables_apart() -> None:
    others = [
        FRAME,
        FRAME.rename({"size": "length"}),
        FRAME.select(reversed(FRAME.columns)),
        FRAME.with_columns(pl.col("size").fill_null(0.0)),
        FRAME.with_columns(pl.col("colour").fill_null("")),
        FRAME.with_columns(pl.col("count").cast(pl.Int32)),
        FRAME.head(2),
        FRAME.with_columns(colour=pl.Series(["redb", None, "lue"])),
    ]
    assert len({fingerprint_of_frame(other) for other in others}) == len(others)
    chunked = pl.concat([FRAME.head(1), FRAME.tail(2)], rechunk=False)
    assert fingerprint_of_frame(chunked) == fingerprint_of_frame(FRAME)
