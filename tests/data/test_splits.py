"""Splits: every row once, in proportion, the same for the same seed."""

from __future__ import annotations

import datetime
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpnet.data import split_rows, strata
from xpnet.data.splits import exchange, fold_rows, order_of
from xpnet.errors import ConfigError, DataError


def asked(n, fraction):
    """Return how many rows a part is to have."""
    return max(1, math.floor(fraction * n + 0.5)) if fraction else 0


FRACTIONS = st.sampled_from([0.0, 0.1, 0.25, 0.4])


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    validation=FRACTIONS,
    test=FRACTIONS,
    seed=st.integers(0, 5),
    stratified=st.booleans(),
)
def test_every_row_once(labels, validation, test, seed, stratified):
    stratify = labels if stratified else None
    try:
        parts = split_rows(len(labels), validation=validation, test=test, seed=seed, stratify=stratify)
    except DataError:
        kept_for_training = len(set(labels)) if stratified else 1
        assert len(labels) - kept_for_training < asked(len(labels), validation) + asked(len(labels), test)
        return
    assert np.concatenate(parts).dtype == np.int64
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert all(np.all(np.diff(part) > 0) for part in parts)
    again = split_rows(len(labels), validation=validation, test=test, seed=seed, stratify=stratify)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert [len(part) for part in parts[1:]] == [asked(len(labels), f) for f in (validation, test)]
    if stratified:
        assert {labels[row] for row in parts[0]} == set(labels)


def test_sizes():
    sizes = [len(part) for part in split_rows(1797, validation=0.1, test=0.2, seed=0)]
    assert sizes == [1797 - 180 - 359, 180, 359]


def test_stratified_counts():
    labels = np.repeat([5, 7, 9], [70, 20, 10])
    train, validation, test = split_rows(100, validation=0.1, test=0.25, seed=1, stratify=labels)
    for part, counts in ((validation, [7, 2, 1]), (test, [18, 5, 2])):
        assert [int(np.sum(labels[part] == label)) for label in (5, 7, 9)] == counts
    assert len(train) == 65


def test_seed_moves_rows():
    one, two = (split_rows(200, validation=0.2, test=0.0, seed=seed)[1] for seed in (0, 1))
    assert not np.array_equal(one, two)
    assert abs(one.mean() - 99.5) < 30


BAD = {
    "validation of 1": ({"validation": 1.0}, "validation must be a fraction"),
    "negative": ({"test": -0.1}, "test must be a fraction"),
    "nan": ({"test": float("nan")}, "test must be a fraction"),
    "text": ({"test": "0.1"}, "test must be a fraction"),
    "sum": ({"validation": 0.5, "test": 0.5}, "leave no rows for training"),
    "n": ({"n": 0}, "number of rows"),
    "order and classes": ({"order": [0] * 10, "stratify": [0] * 10}, "order: expected no stratify"),
    "order and groups": ({"order": [0] * 10, "groups": [0] * 10}, "order: expected no groups"),
    "order shape": ({"order": [0, 1]}, r"10 rows; found shape \(2,\)"),
    "stratify shape": ({"stratify": [0, 1]}, r"10 rows; found shape \(2,\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_splits(case):
    settings, message = BAD[case]
    with pytest.raises(ConfigError, match=message):
        split_rows(**{"n": 10, "validation": 0.0, "test": 0.0, "seed": 0, **settings})


TOO_FEW = {
    "one row": ({"n": 1, "test": 0.5}, r"1 row: too few to split, as 1 test row is .* with test=0$"),
    "two rows, three parts": (
        {"n": 2, "test": 0.3, "validation": 0.3}, "1 validation and 1 test rows .* validation=0 and test=0",
    ),
    "every class once": ({"n": 3, "test": 0.3, "stratify": [0, 1, 2]}, "3 rows in 3 classes: too few"),
    "every row a class": (
        {"n": 9, "test": 0.3, "stratify": list(range(9))}, "9 rows has a class of its own.*'regression'",
    ),
    "in order": ({"n": 2, "test": 0.3, "validation": 0.3, "order": [1, 0]}, "2 rows: too few"),
    "groups": ({"test": 0.2, "groups": [7] * 10}, "1 group for 2 parts .* validation=0 or test=0"),
    "a class in one group": (
        {"n": 4, "test": 0.5, "groups": [0, 0, 1, 1], "stratify": [0, 0, 1, 1]}, "in 1 of 2 groups only",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TOO_FEW)
def test_too_few_rows(case):
    settings, message = TOO_FEW[case]
    with pytest.raises(DataError, match=message):
        split_rows(**{"n": 10, **settings})


def test_in_order_the_last_rows_are_the_test():
    order = np.random.default_rng(0).permutation(50)
    train, validation, test = split_rows(50, validation=0.1, test=0.2, seed=3, order=order)
    assert [len(part) for part in (train, validation, test)] == [35, 5, 10]
    assert order[train].max() < order[validation].min()
    assert order[validation].max() < order[test].min()
    assert np.array_equal(test, split_rows(50, validation=0.1, test=0.2, seed=4, order=order)[2])


@given(groups=st.lists(st.integers(0, 9), min_size=30, max_size=80), seed=st.integers(0, 3))
def test_a_group_stays_together(groups, seed):
    if len(set(groups)) < 3:
        return
    parts = split_rows(len(groups), validation=0.2, test=0.3, seed=seed, groups=groups)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(groups)))
    held = [{groups[row] for row in part} for part in parts]
    assert all(held)
    assert sum(map(len, held)) == len(set(groups))


def test_groups_come_close_to_what_was_asked_for():
    random = np.random.default_rng(1)
    groups = random.integers(0, 100, 1000)
    labels = (random.random(1000) < 0.2).astype(int)
    parts = split_rows(1000, validation=0.1, test=0.2, seed=0, groups=groups, stratify=labels)
    assert [len(part) for part in parts] == pytest.approx([700, 100, 200], abs=5)
    assert [labels[part].mean() for part in parts] == pytest.approx([labels.mean()] * 3, abs=0.01)
    one, two = (split_rows(1000, test=0.2, seed=seed, groups=groups)[2] for seed in (0, 1))
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("folds", [2, 5, 7])
def test_folds_have_their_share_of_each_class_and_whole_groups(folds):
    classes = np.repeat([0, 1, 2], [40, 33, 8])
    found = fold_rows(81, folds, seed=3, stratify=classes)
    assert set(np.bincount(found)) <= {81 // folds, -(-81 // folds)}
    for number in range(3):
        counts = np.bincount(found[classes == number], minlength=folds)
        assert counts.max() - counts.min() <= 1
    assert (found != fold_rows(81, folds, seed=4, stratify=classes)).any()
    assert (found != np.sort(found)).any()
    groups = np.arange(81) % 11
    found = fold_rows(81, folds, groups=groups)
    assert all(len(set(found[groups == group])) == 1 for group in range(11))
    assert np.bincount(found, minlength=folds).min() >= 7
    with pytest.raises(DataError, match=f"11 groups for {12} folds"):
        fold_rows(81, 12, groups=groups)


def test_exchanged_rows_leave_the_sizes():
    classes = np.asarray([0] * 6 + [1] * 4)
    drawn = [np.asarray([0, 1, 2, 6, 7]), np.asarray([3, 8]), np.asarray([4, 5, 9])]
    parts, left = exchange(drawn, np.asarray([8, 4]), np.asarray([0, 4, 8]), classes, seed=0)
    assert left.tolist() == []
    assert [len(part) for part in parts] == [5, 2, 3]
    assert {0, 4, 8} <= set(parts[0].tolist())
    assert [classes[part].tolist() for part in parts] == [classes[part].tolist() for part in drawn]


@pytest.mark.parametrize(
    ("cells", "ranks"),
    [
        ([3.5, -1.0, 3.5], [2, 1, 2]),
        (["10", "9", "-1"], [3, 2, 1]),
        (["2024-01-10", "2023-12-31", "2024-01-02"], [3, 1, 2]),
        (["2024-01-02 10:00:00", "2024-01-02 09:59:59", "2023-01-01 00:00:00"], [3, 2, 1]),
        (["$1,000", "$200.5", "$3"], [3, 2, 1]),
        (["01/23/2024", "02/01/2023", "01/24/2024"], [2, 1, 3]),
        (["2.1.2024", "1.2.2024", "3.1.2024"], [1, 3, 2]),
        (["007", "10", "009"], [1, 3, 2]),
        ([True, False, True], [2, 1, 2]),
        ([datetime.date(2024, 1, 2), datetime.date(2024, 1, 1), datetime.date(2025, 1, 1)], [2, 1, 3]),
    ],
)
def test_order_of_a_column(cells, ranks):
    pl = pytest.importorskip("polars", reason="tables need polars")
    assert order_of(pl.Series("day", cells)).tolist() == ranks


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["soon", "2024-01-02", "late"], "column 'day' is text without an order, such as 'soon'"),
        (["3/4/2021", "5/4/2021"], "column 'day' holds dates that can be read in two ways"),
        (["9.569", "987", "1.234"], "column 'day' can be read in two ways"),
        ([7, 7, 7], "column 'day' holds 7 in all 3 rows, which is no order: split by another column"),
        ([1, None, 2], "column 'day' is empty in 1 of 3 rows, the first of which is row 2"),
        ([1.0, 2.0, float("nan")], "the first of which is row 3"),
    ],
)
def test_columns_without_an_order(cells, message):
    pl = pytest.importorskip("polars", reason="tables need polars")
    with pytest.raises(DataError, match=message):
        order_of(pl.Series("day", cells))


def test_strata():
    pl = pytest.importorskip("polars", reason="tables need polars")
    for values in (["b", "a", None, "b"], [2.5, 1.5, None, 2.5], [True, False, None, True], [9, 3, None, 9]):
        assert strata(pl.Series(values)).tolist() == [2, 1, 0, 2]
    assert strata(pl.Series([2.0, float("nan")])).tolist() == [1, 0]
    assert strata(pl.Series(["u", "v", "u"], dtype=pl.Categorical)).tolist() == [1, 2, 1]
