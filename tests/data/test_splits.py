"""Splits: every row once, in proportion, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpnet.data import split_rows, strata
from xpnet.errors import ConfigError

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
    except ConfigError:
        asked = sum(
            max(1, round(fraction * len(labels) + 1e-9)) for fraction in (validation, test) if fraction
        )
        kept_for_training = len(set(labels)) if stratified else 1
        assert len(labels) - kept_for_training < asked
        return
    assert np.concatenate(parts).dtype == np.int64
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert all(np.all(np.diff(part) > 0) for part in parts)
    again = split_rows(len(labels), validation=validation, test=test, seed=seed, stratify=stratify)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    assert (len(parts[1]) > 0, len(parts[2]) > 0) == (validation > 0, test > 0)
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
    "one row": ({"n": 1, "test": 0.5}, "leaves no row"),
    "two rows, three parts": ({"n": 2, "test": 0.3, "validation": 0.3}, "leaves no row"),
    "every class once": ({"n": 3, "test": 0.3, "stratify": [0, 1, 2]}, "3 classes leaves no row"),
    "stratify shape": ({"stratify": [0, 1]}, r"10 rows; found shape \(2,\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_splits(case):
    settings, message = BAD[case]
    with pytest.raises(ConfigError, match=message):
        split_rows(**{"n": 10, "validation": 0.0, "test": 0.0, "seed": 0, **settings})


def test_strata():
    pl = pytest.importorskip("polars", reason="tables need polars")
    for values in (["b", "a", None, "b"], [2.5, 1.5, None, 2.5], [True, False, None, True], [9, 3, None, 9]):
        assert strata(pl.Series(values)).tolist() == [2, 1, 0, 2]
    assert strata(pl.Series([2.0, float("nan")])).tolist() == [1, 0]
    assert strata(pl.Series(["u", "v", "u"], dtype=pl.Categorical)).tolist() == [1, 2, 1]
