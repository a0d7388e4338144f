"""The summary of a table: a line for each column, and advice."""

from __future__ import annotations

import json

import numpy as np
import pytest

from xpnet.data import summarize
from xpnet.errors import DataError

pl = pytest.importorskip("polars", reason="tables need polars")

N = 120
RANDOM = np.random.default_rng(1)
A = RANDOM.normal(size=N)
CLASSES = np.where(A + RANDOM.normal(size=N) > 0, "yes", "no").tolist()
FRAME = pl.DataFrame(
    {
        "id": range(1, N + 1),
        "a": A,
        "price": [f"1,{i % 900:03d}.50" for i in range(N)],
        "when": [f"2021-03-{1 + i % 28:02d}" for i in range(N)],
        "colour": (["red", "Red", "blue", None] * N)[:N],
        "same": [1] * N,
        "leak": [{"yes": 3.5, "no": 1.0}[label] for label in CLASSES],
        "y": CLASSES,
    }
)


def test_columns_of_a_summary():
    summary = summarize(FRAME, "y")
    found = {column.name: column for column in summary.columns}
    assert list(found) == FRAME.columns
    assert [column.role for column in summary.columns] == [
        "left out", "feature", "feature", "feature", "feature", "left out", "feature", "target",
    ]  # fmt: skip
    assert [column.kind for column in summary.columns] == [
        "numbers", "numbers", "numbers", "dates", "categories", "numbers", "numbers", "categories",
    ]  # fmt: skip
    assert (found["price"].low, found["price"].high) == (1000.5, 1119.5)
    assert (found["when"].low, found["when"].high) == ("2021-03-01", "2021-03-28")
    assert (found["colour"].categories, found["colour"].missing) == (3, 30)
    assert found["colour"].examples == ("Red", "blue", "red")
    assert "left out as a count of the rows" in found["id"].decided
    told = [str(decision) for decision in summary.advice]
    assert any("'leak' alone predicts the target 'y' nearly perfectly" in line for line in told)
    assert not any("column 'a' alone" in line for line in told)
    warnings = [decision.warning for decision in summary.advice]
    assert warnings == sorted(warnings, reverse=True)
    assert summary.baseline[0].score == pytest.approx(max(CLASSES.count("yes"), CLASSES.count("no")) / N)
    json.dumps(summary.to_json(), allow_nan=False)


def test_the_page_of_a_summary():
    page = str(summarize(FRAME, "y"))
    for line in (
        "table: 120 rows, 8 columns; target y (classification)",
        " when    dates       2021-03-01 to 2021-03-28        0  3 features",
        " same    numbers     1                               0  left out",
        "worth a look",
        "decided",
        "without features",
    ):
        assert line in page


LEAKS = {
    "a group for each class": ({"x": ["u" if label == "yes" else "v" for label in CLASSES]}, True),
    "a line": ({"x": 3 * A + 1, "y": A}, True),
    "means of categories": ({"x": ["u", "v"] * (N // 2), "y": [1.5, 2.5] * (N // 2)}, True),
    "noise": ({"x": RANDOM.normal(size=N)}, False),
    "a class of nearly all rows": ({"x": A, "y": ["no"] * (N - 1) + ["yes"]}, False),
    "a category for each pair of rows": ({"x": [f"c{i // 2}" for i in range(N)]}, False),
}


@pytest.mark.parametrize("case", LEAKS)
def test_leakage(case):
    columns, leaks = LEAKS[case]
    frame = pl.DataFrame({"other": RANDOM.normal(size=N), "y": CLASSES} | columns)
    told = [str(decision) for decision in summarize(frame, "y").advice]
    assert any("column 'x' alone predicts" in line for line in told) == leaks


def test_problems_are_listed_and_not_raised():
    frame = pl.DataFrame({"when": ["3/4/2021", "5/4/2021"] * 10, "l": [[1]] * 20, "y": ["a"] * 20})
    summary = summarize(frame, "y")
    assert len(summary.problems) == 3
    assert "problems, which stop a training" in str(summary)
    assert [column.role for column in summary.columns] == ["", "", "target"]
    assert "dayfirst" not in " ".join(summarize(frame, "y", dayfirst=True).problems)


def test_without_a_target_and_from_files(tmp_path):
    summary = summarize(FRAME)
    assert (summary.target, summary.task, summary.baseline) == ((), "", ())
    assert summarize("sine").target == ("y",)
    assert str(summarize("sine").baseline[0]).startswith("always predicting the mean")
    FRAME.write_csv(tmp_path / "t.csv")
    assert len(summarize(tmp_path / "t.csv", "y").columns) == 8
    with pytest.raises(DataError, match="no column 'z'"):
        summarize(FRAME, "z")


def test_balance_is_told():
    frame = pl.DataFrame({"a": A, "b": A**2, "y": ["no"] * (N - 5) + ["yes"] * 5})
    told = [str(decision) for decision in summarize(frame, "y").advice]
    assert any("classes of very different sizes: 'yes' in 5 rows, 'no' in 115" in line for line in told)


def test_wide_tables_are_summarized():
    frame = pl.DataFrame({f"c{i}": RANDOM.normal(size=20) for i in range(500)} | {"y": [0, 1] * 10})
    page = str(summarize(frame, "y"))
    assert "... and 301 more columns" in page
