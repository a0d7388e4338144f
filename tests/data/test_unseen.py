"""Categories that no training row has, and how many cells an error stands for."""

from __future__ import annotations

import numpy as np
import pytest

from xpnet.data import Encoder
from xpnet.errors import ConfigError, DataError

pl = pytest.importorskip("polars", reason="the encoder needs polars")

FRAME = pl.DataFrame(
    {
        "colour": ["red", "blue", "pink", "pink", "teal", None, "teal"],
        "shape": ["round", "flat", "flat", "long", "round", "long", "flat"],
        "size": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, None],
        "price": [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5],
    }
)


@pytest.fixture
def encoder():
    return Encoder.fit(FRAME, "price", rows=[0, 1])


def test_the_first_row_of_each_unseen_category(encoder):
    assert encoder.unseen(FRAME).tolist() == [2, 3, 4]  # pink, long, teal
    assert encoder.unseen(FRAME, [3, 6]).tolist() == [3, 6]
    assert encoder.unseen(FRAME, [0, 1]).tolist() == []
    assert encoder.unseen(FRAME, []).dtype == np.int64


def test_categories_of_numbers_may_be_missing():
    frame = pl.DataFrame({"code": [1, None, 2, 1], "price": [0.5, 1.5, 2.5, 3.5]})
    encoder = Encoder.fit(frame, "price", rows=[0, 1], categorical=["code"])
    assert encoder.unseen(frame).tolist() == [2]
    assert encoder.encode(frame, unseen="ignore").X.tolist() == [[1, 0], [0, 1], [0, 0], [1, 0]]


def test_rows_that_are_left_out_are_passed_over():
    encoder = Encoder.fit(FRAME, "price", rows=[0, 1], missing="drop")
    assert encoder.unseen(FRAME, [5, 6]).tolist() == []
    with pytest.raises(DataError, match="row 6, column 'colour' is missing"):
        Encoder.fit(FRAME, "price", rows=[0, 1], missing="error").unseen(FRAME, [4, 5])


def test_unseen_categories_are_an_error_that_counts_them(encoder):
    with pytest.raises(DataError, match=r"row 3, column 'colour' holds 'pink'.*\(3 more such cells\)"):
        encoder.encode(FRAME)
    with pytest.raises(DataError, match=r"2 problems: .*no training row has; known: .*unseen='ignore'"):
        encoder.encode(FRAME, rows=[3])


def test_ignored_they_are_no_category(encoder):
    X = encoder.encode(FRAME, unseen="ignore").X
    assert encoder.feature_names == ("colour=blue", "colour=red", "shape=flat", "shape=round", "size")
    assert X[[0, 1, 2, 3], :4].tolist() == [[0, 1, 0, 1], [1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    with pytest.raises(ConfigError, match="unseen cannot be 'skip'"):
        encoder.encode(FRAME, unseen="skip")


def test_an_unseen_class_is_always_an_error():
    encoder = Encoder.fit(FRAME, "shape", rows=[0, 1], missing="mean")
    with pytest.raises(DataError, match="column 'shape' holds 'long'") as caught:
        encoder.encode(FRAME, unseen="ignore")
    assert "unseen=" not in str(caught.value)


def test_missing_cells_are_counted():
    frame = pl.DataFrame({"size": [1.0, None, None, None], "y": [0, 1, 0, 1]})
    with pytest.raises(DataError, match=r"row 2, column 'size' is missing .* \(2 more such cells\)"):
        Encoder.fit(frame, "y", missing="error")
    with pytest.raises(DataError, match=r"row 3, column 'size' is missing .* \(1 more such cell\)"):
        Encoder.fit(frame, "y", rows=[0, 2, 3], missing="error")
    with pytest.raises(DataError, match="row 2, column 'size' is missing in a numeric column: correct"):
        Encoder.fit(frame, "y", rows=[0, 1], missing="error")
