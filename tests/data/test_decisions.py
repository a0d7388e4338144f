"""Tables as they are in real life: what becomes of each column, and what is said about it."""

from __future__ import annotations

import datetime
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpnet.data import Encoder
from xpnet.errors import CheckpointError, DataError

pl = pytest.importorskip("polars", reason="the encoder needs polars")

N = 40
RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=N).round(3), RANDOM.normal(size=N).round(3)
Y = (3 * A - B).round(3)
GROUPS = list("xyzz" * (N // 4))
PLAIN = {"a": A, "g": GROUPS, "y": Y}
PLAIN_FEATURES = ("a", "g=x", "g=y", "g=z")


def with_cells(values, **cells):
    """Return a list with some cells, by names such as ``row3``, replaced."""
    changed = list(values)
    for name, value in cells.items():
        changed[int(name.removeprefix("row")) - 1] = value
    return changed


# table, arguments of fit; feature names; (pattern of a decision, whether it is a warning) for each decision
CASES = {
    "nothing to say": (PLAIN, {}, PLAIN_FEATURES, []),
    "thousands": (
        PLAIN | {"a": [f"1,0{10 + i}.5" for i in range(N)]},
        {},
        PLAIN_FEATURES,
        [(r"column 'a' read as numbers with ',' between thousands: '1,010.5' is 1010.5", False)],
    ),
    "thousands beside short numbers": (
        {"a": ["9,569", "987", "10,334", "890"] * (N // 4), "b": B, "y": Y},
        {},
        ("a", "b"),
        [(r"column 'a' read as numbers with ',' between thousands: '9,569' is 9569", False)],
    ),
    "minus signs behind": (
        PLAIN | {"a": [f"{i}.5{'-' * (i % 2)}" for i in range(N)]},
        {},
        PLAIN_FEATURES,
        [("column 'a' read as numbers with the minus sign behind: '1.5-' is -1.5", False)],
    ),
    "thousands and millions": (
        PLAIN | {"a": [f"{i}.5{'kM'[i % 2]}" for i in range(N)]},
        {},
        PLAIN_FEATURES,
        [("column 'a' read as numbers with 'k' for thousands or 'M' for millions: '0.5k' is 500", False)],
    ),
    "target in per cent": (
        PLAIN | {"y": [f"{value:.1f}%" for value in Y]},
        {},
        PLAIN_FEATURES,
        [(r"column 'y' read as numbers with '%'", False)],
    ),
    "target with thousands": (
        PLAIN | {"y": [f"{int(20000 + 1000 * value):,}" for value in Y]},
        {},
        PLAIN_FEATURES,
        [(r"column 'y' read as numbers with ',' between thousands", False)],
    ),
    "leading zeros": (
        PLAIN | {"zip": ["94103", "00501", "10001", "10001"] * (N // 4)},
        {},
        (*PLAIN_FEATURES, "zip=00501", "zip=10001", "zip=94103"),
        [],
    ),
    "durations": (
        PLAIN | {"a": [datetime.timedelta(hours=float(value)) for value in A]},
        {},
        PLAIN_FEATURES,
        [("column 'a' holds durations, which are taken as seconds", False)],
    ),
    "classes that may be missing cells": (
        PLAIN | {"y": ["None", "mild"] * (N // 2)},
        {},
        PLAIN_FEATURES,
        [("column 'y' has classes that may stand for missing cells: 'None'", True)],
    ),
    "numbers with other characters": (
        PLAIN | {"w": [f"{i}.5x" for i in range(N)]},
        {},
        PLAIN_FEATURES,
        [("column 'w' left out as an identifier: .* such as '0.5x': if they are numbers, remove all", True)],
    ),
    "text among numbers": (
        PLAIN | {"a": with_cells(map(str, A), row5="abc", row9="n.a.")},
        {},
        ("a", "a is missing", "g=x", "g=y", "g=z"),
        [
            (r"column 'a' has text among its numbers.*: 2 of 40 cells: row 5 'abc', row 9 'n.a.'$", True),
            (r"column 'a' has missing cells, which take the training median.*: 2 of 40 training rows", False),
        ],
    ),
    "missing categories": (
        PLAIN | {"g": with_cells(GROUPS, row1=None)},
        {},
        ("a", "g=x", "g=y", "g=z", "g is missing"),
        [(r"column 'g' has missing cells, which are a category of their own: 1 of 40 training rows", False)],
    ),
    "words for missing cells": (
        PLAIN | {"g": with_cells(GROUPS, row1=" NA ", row2="nan", row3="NA", row4=" ")},
        {},
        ("a", "g=x", "g=y", "g=z", "g is missing"),
        [
            (
                r"column 'g' has missing cells, which are a category of their own: 4 of 40 training rows",
                False,
            ),
            (
                "column 'g' has words that count as missing: 'NA' in 2 cells, 'nan' in 1 cells, as",
                True,
            ),
        ],
    ),
    "words for missing numbers": (
        PLAIN | {"a": with_cells(map(str, A), row1="NA")},
        {},
        ("a", "a is missing", "g=x", "g=y", "g=z"),
        [("column 'a' has missing cells, which take the training median", False)],
    ),
    "missing targets": (
        PLAIN | {"y": with_cells(Y, row1=None, row2=math.nan)},
        {},
        PLAIN_FEATURES,
        [(r"column 'y' is a target that is missing in rows, which are left out: 2 of 40 rows", False)],
    ),
    "one absurd cell": (
        PLAIN | {"a": with_cells(A, row4=1e30)},
        {},
        PLAIN_FEATURES,
        [
            (
                r"column 'a' has absurd cells, which are taken for the nearest of the others.*: row 4 1e\+30",
                True,
            )
        ],
    ),
    "a mark for missing": (
        PLAIN | {"a": with_cells(A, row4=-99999.0)},
        {},
        PLAIN_FEATURES,
        [(r"column 'a' has absurd cells.*: row 4 -99999.0", True)],
    ),
    "an infinite cell": (
        PLAIN | {"a": with_cells(A, row4=math.inf)},
        {},
        PLAIN_FEATURES,
        [(r"column 'a' has absurd cells.*: row 4 inf", True)],
    ),
    "classes in two cases": (
        PLAIN | {"y": ["Yes", "yes", "No", "no"] * (N // 4)},
        {},
        PLAIN_FEATURES,
        [
            (
                r"column 'y' has classes that differ in case or blanks alone: 'No' and 'no', 'Yes' and 'yes'",
                True,
            )
        ],
    ),
    "truths in two spellings": (
        PLAIN | {"g": ["1", "True", "false", "0"] * (N // 4)},
        {},
        ("a", "g=0", "g=1", "g=True", "g=false"),
        [
            (
                "column 'g' has categories that may mean the same in several spellings: '1' and 'True', "
                "'0' and 'false'; they count as different",
                True,
            )
        ],
    ),
    "truths beside others": (
        PLAIN | {"g": ["yes", "no", "1", "2"] * (N // 4)},
        {},
        ("a", "g=1", "g=2", "g=no", "g=yes"),
        [],
    ),
    "classes in two languages": (
        PLAIN | {"y": ["ja", "yes", "no", "no"] * (N // 4)},
        {},
        PLAIN_FEATURES,
        [("column 'y' has classes that may mean the same in several spellings: 'yes' and 'ja'; they", True)],
    ),
    "classes of numbers with gaps, and a name that polars uses": (
        {"a": A, "count": GROUPS, "y": with_cells([0, 1] * (N // 2), row1=None)},
        {},
        ("a", "count=x", "count=y", "count=z"),
        [("column 'y' is a target that is missing in rows, which are left out: 1 of 40 rows", False)],
    ),
    "categories that look the same": (
        PLAIN | {"g": ["caf\u00e9", "cafe\u0301", "a\u200b", "a"] * (N // 4)},
        {},
        ("a", "g=a", "g=a\u200b", "g=cafe\u0301", "g=caf\u00e9"),
        [
            (
                r"has categories that look the same: 'a' and 'a\\u200b', 'cafe\\u0301' and 'caf\\xe9'",
                True,
            )
        ],
    ),
    "categories that are the same number": (
        PLAIN | {"g": ["1", "1.0", "b", "c"] * (N // 4)},
        {},
        ("a", "g=1", "g=1.0", "g=b", "g=c"),
        [("column 'g' has categories that are the same number: '1' and '1.0'", True)],
    ),
    "numbers with marks": (
        PLAIN | {"a": [f"{'<' * (i % 3 == 0)}{i % 7}.5" for i in range(N)]},
        {},
        None,
        [
            (
                "column 'a' is taken as categories though its cells are numbers with other char.*'<0.5', '<",
                True,
            )
        ],
    ),
    "means with deviations": (
        PLAIN | {"a": [f"{i % 3}.5 (0.{i % 3})" for i in range(N)]},
        {},
        None,
        [("column 'a' is taken as categories though its cells are .*'0.5 .0.0.', '1.5", True)],
    ),
    "numbers beside a mark for none": (
        PLAIN | {"a": [("-" if i % 3 == 0 else str(i % 7)) for i in range(N)]},
        {},
        None,
        [
            ("column 'a' has categories that may stand for missing cells: '-'", False),
            ("column 'a' is taken as categories though many of its cells are numbers: others are '-'", True),
        ],
    ),
    "other digits": (
        PLAIN | {"a": ["\uff15", "\u0664"] * (N // 2)},
        {},
        None,
        [("column 'a' is taken as categories though its cells are numbers in other digits", True)],
    ),
    "grades are no numbers with marks": (PLAIN | {"g": ["1+", "2-", "3", "A"] * (N // 4)}, {}, None, []),
    "a number that stands for none": (
        PLAIN | {"a": [(-999 if i % 9 == 0 else i % 7) for i in range(N)]},
        {},
        PLAIN_FEATURES,
        [("column 'a' has a number that may stand for missing cells: -999 in 5 cells", True)],
    ),
    "whole numbers that are dates": (
        PLAIN | {"a": [20210101 + i % 28 + 100 * (i % 12) for i in range(N)]},
        {},
        PLAIN_FEATURES,
        [("column 'a' is taken as numbers, which may be dates: such as 20210101", True)],
    ),
    "centuries": (
        PLAIN | {"a": [f"{1 + i % 28}.1.{(60 + i) % 100}" for i in range(N)]},
        {},
        None,
        [
            ("column 'a' read as dates", False),
            (
                "column 'a' has years of two digits, which are taken for 1969 to 2068: '9.1.68' is in 2068",
                True,
            ),
        ],
    ),
    "clocks of 12 and 24 hours": (
        PLAIN | {"a": ["12:30", "1:05 PM", "23:10", "6:00 AM"] * (N // 4)},
        {},
        None,
        [
            ("column 'a' read as dates", False),
            ("column 'a' has times with AM or PM, and others without, .*: '12:30' beside '1:05 PM'", True),
        ],
    ),
    "categories with blanks": (
        PLAIN | {"g": ["red", "red ", "blue", "dark  red"] * (N // 4)},
        {},
        ("a", "g=blue", "g=dark  red", "g=red", "g=red "),
        [(r"column 'g' has categories that differ in case or blanks alone: 'red' and 'red '", True)],
    ),
    "a class of one row": (
        PLAIN | {"y": with_cells(["common", "other"] * (N // 2), row1="rare")},
        {},
        PLAIN_FEATURES,
        [(r"column 'y' has classes of one training row.*: 'rare'", True)],
    ),
    "few whole numbers": (
        PLAIN | {"y": [0, 1, 2, 3] * (N // 4)},
        {},
        PLAIN_FEATURES,
        [
            (
                r"'y' is taken as 4 classes: whole numbers with 4 values in 40 rows; task='regression' ",
                False,
            )
        ],
    ),
    "some whole numbers": (
        PLAIN | {"y": list(range(10, 30)) * (N // 20)},
        {},
        PLAIN_FEATURES,
        [
            (
                r"'y' is taken as numbers: .* 20 values in 40 rows; task='classification' predicts them as c",
                False,
            )
        ],
    ),
    "few whole numbers, declared": (
        PLAIN | {"y": [0, 1, 2, 3] * (N // 4)},
        {"task": "regression"},
        PLAIN_FEATURES,
        [],
    ),
    "constant": (
        PLAIN | {"c": [7.5] * N, "k": ["same"] * N},
        {},
        PLAIN_FEATURES,
        [
            (r"column 'c' left out as constant: it is 7.5 in all 40 training rows", False),
            (r"column 'k' left out as constant: it is 'same' in all", False),
        ],
    ),
    "constant, but for missing cells": (
        PLAIN | {"c": with_cells([7.5] * N, row3=None)},
        {},
        (*PLAIN_FEATURES, "c", "c is missing"),
        [(r"column 'c' has missing cells", False)],
    ),
    "constant and used": (PLAIN | {"c": [7.5] * N}, {"use": ["c"]}, (*PLAIN_FEATURES, "c"), []),
    "empty": (
        PLAIN | {"c": [None] * N},
        {},
        PLAIN_FEATURES,
        [(r"column 'c' left out as empty: no training row has a value", True)],
    ),
    "an index without a name": (
        {"": range(1, N + 1)} | PLAIN,
        {},
        PLAIN_FEATURES,
        [(r"column '' left out as a count of the rows: it counts them from 1; use='' keeps it", False)],
    ),
    "unique text": (
        PLAIN | {"name": [f"n{i}" for i in range(N)]},
        {},
        PLAIN_FEATURES,
        [(r"column 'name' left out as an identifier: each of 40 cells has a text of its own", False)],
    ),
    "nearly unique text": (
        {name: [*cells, *cells] for name, cells in PLAIN.items()}
        | {"note": [f"n{i}" for i in range(2 * N - 2)] + ["n0", "n1"]},
        {},
        PLAIN_FEATURES,
        [(r"column 'note' left out as free text: 78 texts in 80 cells", True)],
    ),
    "a shuffled id": (
        PLAIN | {"customerId": RANDOM.permutation(N) + 1000},
        {},
        PLAIN_FEATURES,
        [(r"column 'customerId' left out as an identifier: whole numbers, another one in each of 40", False)],
    ),
    "long numbers": (
        PLAIN | {"account": [10**17 + i for i in range(N)]},
        {},
        PLAIN_FEATURES,
        [(r"column 'account' left out as an identifier: each row has its own large whole number", False)],
    ),
    "an id that is used": (
        PLAIN | {"id": range(N)},
        {"use": ["id"]},
        (*PLAIN_FEATURES, "id"),
        [],
    ),
    "measurements are no identifiers": (
        {"year": range(1980, 1980 + N), "time": range(N), "price": RANDOM.permutation(N) + 1000, "y": Y},
        {},
        ("year", "time", "price"),
        [],
    ),
    "nothing else to predict from": (
        {"k": range(N), "y": Y},
        {},
        ("k",),
        [(r"column 'k' left out as a count", False), (r"'k' is taken as numbers after all: no other", True)],
    ),
    "too many categories": (
        {"a": np.arange(2200) % 7, "g": [f"c{i % 1100}" for i in range(2200)], "y": [0, 1] * 1100},
        {},
        ("a",),
        [(r"column 'g' left out as a column of too many categories: 1,100 categories in 2,200 rows", True)],
    ),
    "the same twice": (
        PLAIN | {"b": A, "h": GROUPS, "z": Y},
        {},
        (*PLAIN_FEATURES, "b", "h=x", "h=y", "h=z", "z"),
        [
            (r"column 'z' holds the same as the target 'y': .* drop='z'", True),
            (r"column 'b' holds the same as 'a'", True),
            (r"column 'h' holds the same as 'g'", True),
        ],
    ),
    "booleans": (PLAIN | {"on": [True, False] * (N // 2)}, {}, (*PLAIN_FEATURES, "on"), []),
}


@pytest.mark.parametrize("case", CASES)
def test_columns_and_what_is_said(case):
    columns, arguments, features, decisions = CASES[case]
    frame = pl.DataFrame(columns, strict=False)
    encoder = Encoder.fit(frame, "y", **arguments)
    assert features is None or encoder.feature_names == features
    assert [decision.warning for decision in encoder.decisions] == [warning for _, warning in decisions]
    for decision, (pattern, _) in zip(encoder.decisions, decisions, strict=True):
        assert re.search(pattern, str(decision)), str(decision)
    X, y, rows = encoder.encode(frame)
    assert X.shape == (len(rows), encoder.n_features)
    assert np.isfinite(X).all()
    assert np.isfinite(y).all()
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json(), allow_nan=False)))
    assert again == encoder
    np.testing.assert_array_equal(again.encode(frame).X, X)


# ---- numbers that come out


def test_notations_are_kept_for_other_tables():
    columns, _, _, _ = CASES["thousands"]
    encoder = Encoder.fit(pl.DataFrame(columns), "y")
    assert encoder.text_columns == ("a", "g")
    numbers = encoder.encode(pl.DataFrame({"a": [1010.5, 1011.5], "g": ["x", "x"]})).X
    text = encoder.encode(pl.DataFrame({"a": ["1,010.5", "1,011.5"], "g": ["x", "x"]})).X
    np.testing.assert_array_equal(text, numbers)


def test_targets_in_other_notations_are_numbers():
    for case in ("target in per cent", "target with thousands"):
        frame = pl.DataFrame(CASES[case][0])
        encoder = Encoder.fit(frame, "y")
        written = [float(cell.replace(",", "").rstrip("%")) for cell in frame["y"]]
        assert encoder.task == "regression"
        assert encoder.values(frame).tolist() == written
        np.testing.assert_allclose(encoder.decode_predictions(encoder.encode(frame).y), written, rtol=1e-12)


def test_two_readings_stop_and_a_declaration_settles_them():
    frame = pl.DataFrame({"a": range(N), "b": B.astype(int), "y": [f"{15 + i}.{353 + i}" for i in range(N)]})
    with pytest.raises(DataError, match=r"column 'y' can be read in two ways.*decimal='\.' or decimal=','"):
        Encoder.fit(frame, "y")
    assert Encoder.fit(frame, "y", decimal=".").values(frame)[0] == 15.353
    assert Encoder.fit(frame, "y", decimal=",").values(frame)[0] == 15353.0


def test_imputed_cells_take_the_median_and_an_indicator():
    frame = pl.DataFrame(PLAIN | {"a": with_cells(A, row3=None, row8=None)})
    encoder = Encoder.fit(frame, "y")
    X = encoder.encode(frame).X
    column = encoder.columns[0]
    present = np.delete(A, [2, 7])
    assert column.fill == np.median(present)
    assert X[2, 0] == (np.median(present) - present.mean()) / present.std()
    assert X[:, 1].tolist() == [float(i in (2, 7)) for i in range(N)]
    new = pl.DataFrame({"a": [None], "g": [None]}, schema={"a": pl.Float64, "g": pl.String})
    assert encoder.encode(new).X.tolist() == [[X[2, 0], 1.0, 0.0, 0.0, 0.0]]
    assert encoder.encode(new, missing="mean").X.tolist() == [[0.0, 1.0, 0.0, 0.0, 0.0]]
    assert Encoder.fit(frame, "y", missing="mean").feature_names == PLAIN_FEATURES


def test_a_column_that_is_left_out_drops_no_rows():
    frame = pl.DataFrame(PLAIN | {"c": with_cells([7.5] * N, row3=None), "g": with_cells(GROUPS, row3="new")})
    encoder = Encoder.fit(frame, "y", missing="drop")
    assert encoder.feature_names == ("a", "g=new", "g=x", "g=y", "g=z")
    assert len(encoder.encode(frame).rows) == N


def test_a_missing_category_is_one_of_its_own():
    frame = pl.DataFrame(PLAIN | {"g": with_cells(GROUPS, row1=None)})
    encoder = Encoder.fit(frame, "y")
    assert encoder.encode(frame).X[0, 1:].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert encoder.unseen(frame).tolist() == []


@pytest.mark.parametrize("absurd", [1e30, -1e30, 1e9, 99999.0, math.inf])
def test_absurd_cells_do_not_disable_a_column(absurd):
    frame = pl.DataFrame(PLAIN | {"a": with_cells(A, row4=absurd)})
    encoder = Encoder.fit(frame, "y")
    column, rest = encoder.columns[0], np.delete(A, 3)
    assert (column.mean, column.std) == pytest.approx((rest.mean(), rest.std()), rel=1e-12)
    X = encoder.encode(frame).X
    nearest = rest.max() if absurd > 0 else rest.min()
    assert X[3, 0] == (nearest - column.mean) / column.std
    encoded = encoder.encode(pl.DataFrame({"a": [absurd, 5.0], "g": ["x", "x"]}), target=False)
    assert encoded.X[:, 0].tolist() == [X[3, 0], (5.0 - column.mean) / column.std]
    assert next(str(d) for d in encoded.decisions).startswith("column 'a' has absurd cells")


def test_an_ordinary_column_is_scaled_as_ever():
    for cells in (A, A * 1e300, np.exp(5 * A), np.r_[np.zeros(N - 2), 1.0, 900.0], [1.0, 1e30] * (N // 2)):
        column = Encoder.fit(pl.DataFrame({"a": cells, "y": Y}), "y").columns[0]
        scaled = np.asarray(cells) / max(1.0, np.abs(cells).max())
        assert column.mean == pytest.approx(scaled.mean() * max(1.0, np.abs(cells).max()), rel=1e-9)
        assert column.std == pytest.approx(scaled.std() * max(1.0, np.abs(cells).max()), rel=1e-9)


def test_absurd_cells_at_prediction_are_said():
    encoder = Encoder.fit(pl.DataFrame(PLAIN), "y")
    encoded = encoder.encode(pl.DataFrame({"a": [0.5, 1e30, -math.inf], "g": ["x"] * 3}))
    assert [str(d) for d in encoded.decisions] == [
        f"column 'a' has absurd cells, which are taken for the nearest of the training ({A.min():.6g} to "
        f"{A.max():.6g}): row 2 1e+30, row 3 -inf"
    ]
    assert encoded.X.shape[0] == 3
    with pytest.raises(DataError, match="row 3, column 'a' is infinite"):
        encoder.encode(pl.DataFrame({"a": [0.5, 1e30, -math.inf], "g": ["x"] * 3}), missing="mean")


def test_text_in_numbers_at_prediction():
    encoder = Encoder.fit(pl.DataFrame(PLAIN), "y")
    encoded = encoder.encode(pl.DataFrame({"a": ["0.5", "soon", "1"], "g": ["x"] * 3}))
    assert encoded.X[1, 0] == pytest.approx((np.median(A) - A.mean()) / A.std())
    assert "row 2 'soon'" in str(encoded.decisions[0])
    with pytest.raises(DataError, match="column 'a': 3 of its 3 cells are no numbers, as in row 1 '1,5'"):
        encoder.encode(pl.DataFrame({"a": ["1,5", "2,5", "3,5"], "g": ["x"] * 3}))


@pytest.mark.parametrize(
    ("train", "new", "same"),
    [
        ([True, False], ["TRUE", "false"], [True, False]),
        ([True, False], [1, 0], [True, False]),
        (["1", "0"], ["True", "0"], ["1", "0"]),
        (["a", "b", None], ["NA", "b"], [None, "b"]),
        (["a", "NA"], ["NA", "a"], ["NA", "a"]),
    ],
)
def test_the_same_cells_in_other_words(train, new, same):
    n = 6
    frame = pl.DataFrame({"c": train * n, "y": [0.5 + i for i in range(len(train) * n)]})
    encoder = Encoder.fit(frame, "y")
    encoded = [encoder.encode(pl.DataFrame({"c": cells}), target=False) for cells in (new, same)]
    np.testing.assert_array_equal(encoded[0].X, encoded[1].X)


def test_problems_of_an_encoding_are_told_at_once():
    encoder = Encoder.fit(pl.DataFrame(PLAIN | {"h": GROUPS[::-1]}), "y")
    with pytest.raises(
        DataError, match=r"2 problems: \(1\) row 2, column 'g' .*; \(2\) row 1, column 'h'"
    ) as e:
        encoder.encode(pl.DataFrame({"a": [1, 2], "g": ["x", "new"], "h": ["newer", "x"]}))
    assert len(e.value.problems) == 2


def test_many_alike_are_one_decision():
    frame = pl.DataFrame({f"c{i}": [1.0] * N for i in range(30)} | PLAIN)
    decisions = Encoder.fit(frame, "y").decisions
    assert len(decisions) == 1
    assert str(decisions[0]).startswith("30 columns ('c0', 'c1', ")
    assert "left out as constant" in decisions[0].what


def test_saved_and_loaded(tmp_path):
    encoder = Encoder.fit(pl.DataFrame(CASES["thousands"][0]), "y")
    path = tmp_path / "encoder.json"
    encoder.save(path)
    assert Encoder.load(path) == encoder
    with pytest.raises(CheckpointError, match="cannot be written"):
        encoder.save(tmp_path / "none" / "encoder.json")
    path.write_text(path.read_text().replace('"std"', '"sdt"'))
    with pytest.raises(CheckpointError, match=r"damaged: column 1\.sdt is unknown.*did you mean 'std'"):
        Encoder.load(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        Encoder.load(tmp_path / "none.json")


CELLS = st.none() | st.floats(width=32) | st.sampled_from([1e30, -99999.0, math.nan, math.inf])


@settings(deadline=None, max_examples=60)
@given(
    train=st.lists(CELLS, min_size=12, max_size=40),
    new=st.lists(CELLS, max_size=8),
    words=st.lists(st.none() | st.sampled_from(["a", "b", "ü"]), min_size=40, max_size=40),
)
def test_rows_in_are_rows_out(train, new, words):
    n = len(train)
    schema = {"a": pl.Float64, "w": pl.String, "b": pl.Float64, "y": pl.Float64}
    frame = pl.DataFrame(
        {"a": train, "w": words[:n], "b": A[:1].tolist() * (n - 1) + [2.0], "y": Y[:n]}, schema=schema
    )
    try:
        encoder = Encoder.fit(frame, "y")
    except DataError:  # such as a column of a few infinite cells
        return
    assert Encoder.from_json(json.loads(json.dumps(encoder.to_json(), allow_nan=False))) == encoder
    columns = {"a": new, "w": [None] * len(new), "b": [1.0] * len(new)}
    encoded = encoder.encode(pl.DataFrame(columns, schema={k: schema[k] for k in columns}))
    assert encoded.rows.tolist() == list(range(len(new)))
    assert np.isfinite(encoded.X).all()
