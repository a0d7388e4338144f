"""The encoder: agreement with scikit-learn, round trips, training rows only, and every bad cell."""

from __future__ import annotations

import datetime
import decimal
import functools
import json
import math
import time

import numpy as np
import pytest

from xpnet.data import Encoder
from xpnet.errors import ConfigError, DataError

pl = pytest.importorskip("polars", reason="the encoder needs polars")

NUMBERS = [1.5, -2.0, 0.25, 8.0, 3.0, 3.0]
COLOURS = ["red", "blue", "red", "green", "blue", "red"]


def table(**changes):
    columns = {
        "size": NUMBERS,
        "count": [3, 1, 4, 1, 5, 9],
        "ripe": [True, False, True, True, False, False],
        "colour": COLOURS,
        "kind": ["a", "b", "a", "b", "b", "a"],
    }
    return pl.DataFrame({**columns, **changes})


def replaced(column, row, value):
    cells = table()[column].to_list()
    cells[row] = value
    return {column: pl.Series(column, cells, strict=False)}


# ------------------------------------------------------------------------------------ what comes out


def test_features_and_classes():
    encoder = Encoder.fit(table(), "kind")
    encoded = encoder.encode(table())
    assert encoder.feature_names == ("size", "count", "ripe", "colour=blue", "colour=green", "colour=red")
    assert (encoder.task, encoder.classes, encoder.n_classes, encoder.n_features) == (
        "classification",
        ("a", "b"),
        2,
        6,
    )
    assert (encoded.X.dtype, encoded.y.dtype, encoded.rows.dtype) == (np.float64, np.int64, np.int64)
    assert encoded.X.shape == (6, 6)
    assert encoded.y.tolist() == [0, 1, 0, 1, 1, 0]
    assert encoded.X[:, 3:].tolist() == [[c == k for k in ("blue", "green", "red")] for c in COLOURS]
    assert encoder.decode_predictions(encoded.y).tolist() == ["a", "b", "a", "b", "b", "a"]


REPEATED = {
    "numbers": {},
    "numbers with missing cells": {"size": [1.5, None, 0.25, 8.0, 3.0, 3.0]},
    "equal numbers": {"size": [7.0, 7.0, 7.0, 7.0, 7.0, 8.0]},
    "dates": {"size": [datetime.date(2020, 1 + k, 3 * k + 1) for k in range(6)]},
    "dates with missing cells": {"size": [None, *(datetime.date(2018 + k, 1 + k, 9) for k in range(5))]},
}


@pytest.mark.parametrize("name", REPEATED)
@pytest.mark.parametrize("target", ["kind", "price"])
def test_a_weight_is_a_number_of_equal_rows(name, target):
    frame = table(**REPEATED[name], price=[5.0, 1.0, 2.5, 8.0, 0.5, 4.0])
    times = np.asarray([3, 1, 2, 5, 1, 2])
    fit = functools.partial(Encoder.fit, target=target, missing="mean")  # medians are those of the rows
    weighted = fit(frame, sample_weight=times / 8).encode(frame)
    expected = fit(frame[np.repeat(np.arange(6), times)]).encode(frame)
    np.testing.assert_allclose(weighted.X, expected.X, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(weighted.y, expected.y, rtol=1e-9)


def test_agrees_with_scikit_learn():
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="scikit-learn is the outside truth")
    generator = np.random.default_rng(0)
    X = generator.normal(size=(500, 4)) * [1.0, 1e-8, 1e8, 1.0] + [0.0, 5.0, -3e9, 0.0]
    X[:, 3] = 7.0
    letters = generator.choice(list("zyxäA"), size=(500, 2))
    frame = pl.DataFrame(
        {**{f"n{i}": X[:, i] for i in range(4)}, **{f"c{i}": letters[:, i] for i in range(2)}}
    )
    frame = frame.with_columns(y=pl.Series(generator.normal(size=500)))
    train = np.arange(0, 500, 2)
    encoded = Encoder.fit(frame, "y", rows=train, use=["n3"]).encode(frame)
    scaler = preprocessing.StandardScaler().fit(X[train])
    hot = preprocessing.OneHotEncoder(sparse_output=False).fit(letters[train])
    np.testing.assert_allclose(encoded.X[:, :4], scaler.transform(X), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(encoded.X[:, 4:], hot.transform(letters))
    y = frame["y"].to_numpy()[:, None]
    np.testing.assert_allclose(
        encoded.y, preprocessing.StandardScaler().fit(y[train]).transform(y)[:, 0], rtol=1e-12
    )


def test_regression_round_trip():
    frame = table(kind=[10.5, -3.0, 7.25, 1e6, 0.0, 2.5])
    encoder = Encoder.fit(frame, "kind")
    encoded = encoder.encode(frame)
    assert (encoder.task, encoder.classes, encoder.n_classes) == ("regression", (), 0)
    np.testing.assert_allclose([encoded.y.mean(), encoded.y.std()], [0.0, 1.0], atol=1e-12)
    for predictions in (encoded.y, encoded.y[:, None], encoded.y.astype(np.float32)):
        np.testing.assert_allclose(
            encoder.decode_predictions(predictions), frame["kind"], rtol=1e-6, atol=1e-1
        )


CLASSES = {
    "text": (["b", "a", "b"], ("a", "b"), "U"),
    "categorical": (pl.Series(["b", "a", "b"], dtype=pl.Categorical), ("a", "b"), "U"),
    "whole numbers": ([7, -1, 7], (-1, 7), "i"),
    "booleans": ([True, False, True], (False, True), "b"),
    "whole floats": ([2.0, 1.0, 2.0], (1.0, 2.0), "f"),
    "beyond int64": ([2**64 - 1, 5, 2**64 - 1], (5, 2**64 - 1), "u"),
    "beyond uint64": ([2**80, -(2**80), 2**80], (-(2**80), 2**80), "O"),
    "around int64": ([2**63, -1, 2**63], (-1, 2**63), "O"),
    "decimals": ([decimal.Decimal(10**25 + 1), decimal.Decimal(10**25)] * 2, (10**25, 10**25 + 1), "O"),
}


@pytest.mark.parametrize("case", CLASSES)
def test_classes_keep_their_type(case):
    values, classes, kind = CLASSES[case]
    frame = pl.DataFrame({"x": np.arange(len(values)) + 0.5, "y": values})
    encoder = Encoder.from_json(json.loads(json.dumps(Encoder.fit(frame, "y").to_json())))
    assert encoder.classes == classes
    assert [type(label) for label in encoder.classes] == [type(label) for label in classes]
    encoded = encoder.encode(frame)
    decoded = encoder.decode_predictions(encoded.y)
    assert decoded.dtype.kind == kind
    assert decoded.tolist() == list(values)
    with pytest.raises(DataError, match="class index is out of range"):
        encoder.decode_predictions([2])


def test_the_same_category_in_other_types():
    frame = pl.DataFrame({"zone": [1, 2, 1, 2], "y": [0, 1, 0, 1]})
    encoder = Encoder.fit(frame, "y", categorical=["zone"])
    for zones in (["1", "2"], [1.0, 2.0], pl.Series([1, 2], dtype=pl.UInt8)):
        assert encoder.encode(pl.DataFrame({"zone": zones})).X.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    for other in ([1.0, 1.5], ["1", "1.5"], [1, 2**64 - 1], [1, -1], [True, False]):
        with pytest.raises(DataError, match=r"row 2, column 'zone' holds .*; known: 1, 2:"):
            encoder.encode(pl.DataFrame({"zone": other}))
    for dtype in (pl.Object, pl.List(pl.Int64)):
        with pytest.raises(DataError, match=r"column 'zone' holds (Object|List.*) values"):
            encoder.encode(pl.DataFrame({"zone": pl.Series([[1], [2]], dtype=dtype)}))


def test_text_columns():
    assert Encoder.fit(table(), "kind", categorical=["count"]).text_columns == ("colour", "kind")


# ------------------------------------------------------------------------------------ columns at prediction


def test_columns_are_found_by_name():
    encoder = Encoder.fit(table(), "kind")
    shuffled = table().select("colour", "kind", "ripe", "size", "count").with_columns(extra=pl.lit("x"))
    np.testing.assert_array_equal(encoder.encode(shuffled).X, encoder.encode(table()).X)
    assert encoder.encode(table().drop("kind")).y is None
    assert encoder.encode(table(kind=["?"] * 6), target=False).y is None
    with pytest.raises(DataError, match=r"lacks 1 of the 5 columns.*'kind'"):
        encoder.encode(table().drop("kind"), target=True)


def test_all_missing_columns_are_named():
    encoder = Encoder.fit(table(), "kind")
    with pytest.raises(
        DataError, match=r"lacks 2 of the 4.*'size' \(did you mean 'Size'\?\), 'colour' \(.*'color'"
    ):
        encoder.encode(table().rename({"size": "Size", "colour": "color"}), target=False)


def test_rows_are_those_asked_for():
    encoder = Encoder.fit(table(), "kind")
    encoded = encoder.encode(table(), rows=[4, 1])
    assert encoded.rows.tolist() == [4, 1]
    np.testing.assert_array_equal(encoded.X, encoder.encode(table()).X[[4, 1]])


def test_numbers_of_another_type_at_prediction():
    encoder = Encoder.fit(table(), "kind")
    reference = encoder.encode(table(), target=False).X
    for change in ({"count": ["3", "1", " 4", "1", "5", "9"]}, {"ripe": [1, 0, 1, 1, 0, 0]}):
        np.testing.assert_array_equal(encoder.encode(table(**change), target=False).X, reference)


# ------------------------------------------------------------------------------------ missing cells

HOLES = {
    "null number": ("size", None),
    "NaN": ("size", math.nan),
    "null whole number": ("count", None),
    "null boolean": ("ripe", None),
    "null category": ("colour", None),
    "text among numbers": ("size", "abc"),
}


@pytest.mark.parametrize("case", HOLES)
@pytest.mark.parametrize("step", ["fit", "encode"])
def test_missing_cells_are_errors(case, step):
    column, value = HOLES[case]
    frame = table(**replaced(column, 2, value))
    whole = table() if step == "encode" else frame
    with pytest.raises(DataError, match=f"row 3, column '{column}'.*missing='impute' .* or missing='drop'"):
        Encoder.fit(whole, "kind", missing="error").encode(frame)
    if value == "abc":
        with pytest.raises(DataError, match=r"'abc'.*categorical='size'"):
            Encoder.fit(frame, "kind", missing="error")


@pytest.mark.parametrize("case", HOLES)
def test_missing_rows_are_dropped(case):
    column, value = HOLES[case]
    frame = table(**replaced(column, 2, value))
    encoder = Encoder.fit(frame, "kind", missing="drop")
    assert encoder == Encoder.fit(table(), "kind", rows=[0, 1, 3, 4, 5], missing="drop")
    encoded = encoder.encode(frame)
    assert encoded.rows.tolist() == [0, 1, 3, 4, 5]
    assert encoded.X.shape == (5, encoder.n_features)
    assert encoded.y.tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("case", HOLES)
def test_missing_cells_take_the_mean(case):
    column, value = HOLES[case]
    frame = table(**replaced(column, 2, value))
    encoder = Encoder.fit(frame, "kind", missing="mean")
    encoded = encoder.encode(frame)
    mine = [i for i, name in enumerate(encoder.feature_names) if name.split("=")[0] == column]
    assert encoded.rows.tolist() == list(range(6))
    assert encoded.X[2, mine].tolist() == [0.0] * len(mine)
    if column != "colour":
        present = frame[column].cast(pl.Float64, strict=False).fill_nan(None).drop_nulls()
        fitted = next(c for c in encoder.columns if c.name == column)
        assert (fitted.mean, fitted.std) == pytest.approx((present.mean(), present.std(ddof=0)))
    assert np.isfinite(encoded.X).all()


@pytest.mark.parametrize("missing", ["error", "mean"])
@pytest.mark.parametrize("value", [math.inf, -math.inf])
@pytest.mark.parametrize("categorical", [[], ["size"]])
def test_infinity_is_never_replaced(missing, value, categorical):
    frame = table(**replaced("size", 4, value))
    with pytest.raises(DataError, match=r"row 5, column 'size' is infinite .*missing='drop'"):
        Encoder.fit(frame, "kind", missing=missing, categorical=categorical)
    assert Encoder.fit(frame, "kind", missing="drop", categorical=categorical).encode(
        frame
    ).rows.tolist() == [0, 1, 2, 3, 5]


@pytest.mark.parametrize("missing", ["impute", "drop", "mean"])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_missing_targets(missing, task):
    values = (
        ["a", "b", None, "a", "b", "a"] if task == "classification" else [1.5, 2.5, math.nan, 3.0, 1.0, 0.0]
    )
    with pytest.raises(
        DataError, match=r"row 3, column 'kind' is (missing|NaN) .*missing='drop' .*rows out.$"
    ):
        Encoder.fit(table(kind=values), "kind", missing="error")
    encoder = Encoder.fit(table(kind=values), "kind", missing=missing)
    assert encoder.task == task
    assert encoder == Encoder.fit(table(kind=values), "kind", rows=[0, 1, 3, 4, 5], missing=missing)
    assert encoder.encode(table(kind=values)).rows.tolist() == [0, 1, 3, 4, 5]


def test_the_policy_may_be_another_at_prediction():
    encoder = Encoder.fit(table(), "kind", missing="error")
    frame = table(**replaced("size", 2, None))
    assert encoder.encode(frame, missing="drop").rows.tolist() == [0, 1, 3, 4, 5]
    assert encoder.encode(frame, missing="mean").X[2, 0] == 0.0
    alone = pl.DataFrame({"size": [None], "count": [None], "ripe": [None], "colour": [None]})
    assert encoder.encode(alone, missing="mean").X.tolist() == [[0.0] * 6]
    assert encoder.encode(alone, missing="drop").X.shape == (0, 6)


# ------------------------------------------------------------------------------------ what is refused

MANY = 60
WIDE = {"x": np.arange(MANY) / 7.0, "y": ["a", "b"] * (MANY // 2)}

BAD_FITS = {
    "no such target": (table(), {"target": "kin"}, r"no column 'kin'; did you mean 'kind'\?"),
    "no such categorical": (
        table(),
        {"categorical": ["color"]},
        r"no column 'color'; did you mean 'colour'\?",
    ),
    "no such column to drop": (table(), {"drop": ["sizes"]}, r"no column 'sizes'; did you mean 'size'\?"),
    "target dropped": (table(), {"drop": ["kind"]}, "'kind' is a target"),
    "target categorical": (table(), {"categorical": ["kind"]}, "use task='classification'"),
    "dropped and used": (table(), {"drop": ["size"], "use": ["size"]}, "'size' is given to drop and to use"),
    "no features": (table().select("kind"), {}, "no column besides the target"),
    "no rows": (table(), {"rows": []}, "no training rows"),
    "one class": (table(kind=["a"] * 6), {}, "one class only, 'a'"),
    "one class in the training rows": (table(), {"rows": [0, 2]}, "one class only, 'a', in 2 training rows"),
    "one class after dropping": (
        table(size=[1.0, None, 2.0, None, None, 3.0]),
        {"missing": "drop"},
        "one class only",
    ),
    "one value": (table(kind=[2.5] * 6), {}, "2.5 in all 6"),
    "each row its class": (
        pl.DataFrame({**WIDE, "y": [f"c{i}" for i in range(MANY)]}),
        {"target": "y"},
        "task='regression'",
    ),
    "nothing left": (table(size=[None] * 6), {"missing": "drop"}, "none is left"),
    "no finite number": (
        table(size=[math.inf, -math.inf] * 3),
        {},
        "'size' holds no finite number.*drop='size'",
    ),
    "lists": (table(size=[[1]] * 6), {}, "column 'size' holds List"),
    "date target": (table(kind=[datetime.date(2020, 1, 1)] * 6), {}, "target 'kind' holds dates"),
    "date target as text": (table(kind=["2020-01-01", "2020-01-02"] * 3), {}, "target 'kind' holds dates"),
    "nothing but an identifier": (
        pl.DataFrame({"id": [f"n{i}" for i in range(MANY)], "y": ["a", "b"] * (MANY // 2)}),
        {"target": "y"},
        "no column is left to predict from: 'id' an identifier: each of .* keep one with categorical='id'",
    ),
    "too many categories": (
        pl.DataFrame({"id": [f"n{i % 1001}" for i in range(2002)], "y": [0, 1] * 1001}),
        {"target": "y", "categorical": ["id"]},
        "1,001 categories.*drop='id'",
    ),
    "several problems": (
        table(size=[[1]] * 6, colour=[b"x"] * 6, kind=["a"] * 6),
        {},
        r"the table has 3 problems: \(1\) column 'size' holds .*; \(2\) column 'colour' .*; \(3\) target",
    ),
    "whole target beyond 2**53": (
        table(kind=[1, 2, 2**60, 4, 5, 6]),
        {"task": "regression"},
        "row 3, column 'kind'.*task='classification'",
    ),
    "range of float64": (table(size=[5e-324, 0.0] * 3), {}, "cannot be standardized"),
    "text for regression": (
        table(),
        {"task": "regression"},
        "^column 'kind': 6 of its 6 cells are no numbers, as in row 1 'a'.*task='classification'",
    ),
    "text in a numeric target": (
        pl.DataFrame({"x": WIDE["x"], "y": [str(i) for i in range(MANY - 1)] + ["oops"]}),
        {"target": "y", "missing": "error"},
        "row 60, column 'y' holds text 'oops' in a numeric target.*task='classification'",
    ),
    "a target of dates in text": (
        pl.DataFrame({"x": WIDE["x"], "y": [f"2020-01-{1 + i % 30:02}" for i in range(MANY)]}),
        {"target": "y"},
        "target 'y' holds dates or times, which are not predicted as such",
    ),
    "a target without cells": (
        pl.DataFrame({"x": WIDE["x"], "y": [None] * MANY}, schema={"x": pl.Float64, "y": pl.String}),
        {"target": "y"},
        "target 'y' is missing in all 60 training rows: nothing to learn from; fill it in",
    ),
    "one row": (
        pl.DataFrame({"x": [1.5], "y": [2.5]}),
        {"target": "y"},
        "1 training row: too few to learn 'y' from; give more rows",
    ),
    "dates in several forms": (
        pl.DataFrame(
            {
                "d": [f"2020-01-{i:02}" for i in range(1, 21)] + [f"{i}.1.2020" for i in range(1, 21)],
                "y": WIDE["x"][:40],
            }
        ),
        {"target": "y"},
        "'d' holds dates in several forms, such as '2020-01-01' and '1.1.2020': write all .*categorical='d'",
    ),
    "too many categories alone": (
        pl.DataFrame({"k": [f"k{i % 1001}" for i in range(3000)], "y": [i / 7 for i in range(3000)]}),
        {"target": "y"},
        "1,001 categories in 3,000 rows, and at most 1,000 are taken; add columns$",
    ),
    "a target to drop": (table(), {"drop": ["kind"]}, "'kind' is a target .* to drop; name another target"),
    "infinite target": (
        table(kind=[1.5, 2.5, math.inf, 0.0, 1.0, 2.0]),
        {},
        "row 3, column 'kind' is infinite",
    ),
}


@pytest.mark.parametrize("case", BAD_FITS)
def test_bad_tables(case):
    frame, arguments, message = BAD_FITS[case]
    with pytest.raises(DataError, match=message):
        Encoder.fit(frame, **{"target": "kind", **arguments})


@pytest.mark.parametrize("setting", [{"task": "classify"}, {"missing": "median"}, {"task": None}], ids=str)
def test_unknown_settings(setting):
    with pytest.raises(ConfigError, match=f"{next(iter(setting))} cannot be"):
        Encoder.fit(table(), "kind", **setting)
    if "missing" in setting:
        with pytest.raises(ConfigError, match="missing cannot be 'median'"):
            Encoder.fit(table(), "kind").encode(table(), **setting)


BAD_ENCODES = {
    "unseen category": (
        replaced("colour", 3, "violet"),
        "row 4, column 'colour' holds 'violet'.*known: 'blue', 'green', 'red'",
    ),
    "unseen label": (replaced("kind", 5, "c"), "row 6, column 'kind' holds 'c'.*known: 'a', 'b'"),
    "dates for numbers": (
        {"size": [datetime.date(2020, 1, 1)] * 6},
        "column 'size' holds Date values; expected numbers, as in training: convert it",
    ),
}


@pytest.mark.parametrize("case", BAD_ENCODES)
@pytest.mark.parametrize("missing", ["error", "mean", "drop"])
def test_bad_cells_at_prediction(case, missing):
    change, message = BAD_ENCODES[case]
    encoder = Encoder.fit(table(), "kind", missing=missing)
    with pytest.raises(DataError, match=message):
        encoder.encode(table(**change))


# cells of a feature, the first of which floating-point numbers cannot hold, and what it is taken for
BEYOND = {
    "whole": ([1, 2, 3, 2**53 + 1, 5, 6], 4, 2**53),
    "negative": ([1, -(2**60) - 1, 3, 4, 5, 6], 2, -(2**60)),
    "unsigned": ([1, 2, 2**64 - 1, 4, 5, 6], 3, 2**64),
    "text": (["9" * 30, "1", "2", "3", "4", "5"], 1, int(float("9" * 30))),
    "exact": ([1, 2, 3, 2**60, 5, 6], None, None),
}


def test_whole_numbers_that_floats_do_not_tell_apart():
    encoder = Encoder.fit(table(count=[2**60, 2**60 + 1] * 3), "kind")
    assert "count" not in encoder.feature_names
    assert "beyond 2**53 that differ in their last digits alone" in " ".join(map(str, encoder.decisions))


@pytest.mark.parametrize("case", BEYOND)
def test_whole_numbers_beyond_the_exact_ones(case):
    cells, row, taken = BEYOND[case]
    encoder = Encoder.fit(table(count=cells), "kind")
    told = [str(decision) for decision in encoder.decisions if "last digits are lost" in decision.what]
    assert len(told) == (row is not None)
    if row:
        assert f"row {row}, column 'count' holds {cells[row - 1]}, which is taken as {taken}; cat" in told[0]
    assert Encoder.fit(table(count=cells), "kind", categorical=["count"]).n_features == encoder.n_features + 5
    new = Encoder.fit(table(), "kind").encode(table(count=cells), target=False)
    assert ("last digits are lost" in str(new.decisions)) == (row is not None)


def test_row_numbers_are_those_of_the_table():
    frame = table(**replaced("size", 4, None))
    with pytest.raises(DataError, match="row 5, column 'size'"):
        Encoder.fit(frame, "kind", rows=[1, 4, 0], missing="error")
    encoder = Encoder.fit(table(), "kind", missing="error")
    with pytest.raises(DataError, match="row 5, column 'size'"):
        encoder.encode(frame, rows=[1, 4, 0])
    with pytest.raises(DataError, match="row 5, column 'colour' holds 'violet'"):
        encoder.encode(table(**replaced("colour", 4, "violet")), rows=[1, 4, 0])


def test_huge_and_tiny_numbers():
    for scale in (1e-300, 1e300):
        frame = table(size=[scale * value for value in NUMBERS])
        X = Encoder.fit(frame, "kind").encode(frame).X
        np.testing.assert_allclose(X, Encoder.fit(table(), "kind").encode(table()).X, rtol=1e-9)


def test_mostly_numeric_threshold():
    def task_of(numbers, texts):
        cells = [str(i) for i in range(numbers)] + ["x"] * texts
        frame = pl.DataFrame({"a": cells, "y": [0, 1] * (len(cells) // 2)})
        return Encoder.fit(frame, "y", missing="drop").columns[0].kind

    assert (task_of(8, 2), task_of(6, 4)) == ("numeric", "categorical")
    frame = pl.DataFrame({"a": ["1", "2", "3", "4", "x"] * 2, "y": [0, 1] * 5})
    encoder = Encoder.fit(frame, "y", categorical=["a"])
    assert encoder.columns[0].categories == ("1", "2", "3", "4", "x")


def test_wide_tables_are_encoded_quickly():
    """Looking a column up took a time that grew with their number: 20,000 took 27 s."""
    names = [f"c{i}" for i in range(20_000)]
    frame = pl.DataFrame({**{name: [1.0, 2.0, 3.0] for name in names}, "y": [1.0, 2.0, 4.0]})
    begun = time.process_time()
    encoder = Encoder.fit(frame, "y")
    assert encoder.encode(frame).X.shape == (3, 20_000)
    with pytest.raises(DataError, match=r"lacks 10000 of the 20001 columns.*'c10019', \.\.\.; rename"):
        encoder.encode(frame.select([*names[:10_000], "y"]).with_columns(other=1.0), target=True)
    assert time.process_time() - begun < 8
