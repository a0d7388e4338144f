"""Arrays from memory: what is accepted, and the first thing wrong that is named."""

from __future__ import annotations

import numpy as np
import pytest

from xpnet.data import check_arrays, check_labels
from xpnet.errors import DataError

X = np.arange(6.0).reshape(3, 2)


def with_cell(value, dtype=np.float64):
    array = X.astype(dtype)
    array[1, 0] = value
    return array


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, bool])
def test_good_arrays(dtype):
    checked = check_arrays(X.astype(dtype), [0, 1, 0], [1.0, 0.0, 2.0], dtype="float32")
    assert checked.X.dtype == dtype
    assert checked.y.shape == (3,)
    assert checked.sample_weight.shape == (3,)
    assert check_arrays(X, np.eye(3)).y.shape == (3, 3)
    assert check_arrays(X)[1:] == (None, None)


def test_other_libraries():
    torch = pytest.importorskip("torch", reason="an array of another library")
    assert check_arrays(torch.ones(3, 2)).X.shape == (3, 2)


BAD = {
    "one dimension": ({"X": np.arange(3.0)}, r"shape \(3,\).*X\[:, None\]"),
    "three dimensions": ({"X": np.zeros((3, 2, 2))}, r"\(3, 2, 2\).*reshape"),
    "a number": ({"X": 1.0}, r"shape \(\)"),
    "no rows": ({"X": np.zeros((0, 2))}, r"\(0, 2\)"),
    "no features": ({"X": np.zeros((2, 0))}, r"\(2, 0\)"),
    "text": ({"X": np.array([["a"]])}, "Encoder"),
    "objects": ({"X": np.array([[None]])}, "objects"),
    "ragged": ({"X": [[1, 2], [3]]}, "no array of numbers"),
    "complex": ({"X": X + 1j}, "complex128"),
    "NaN": ({"X": with_cell(np.nan)}, r"X\[1, 0\] is nan"),
    "infinity": ({"X": with_cell(-np.inf, np.float32)}, r"X\[1, 0\] is -inf"),
    "beyond float32": (
        {"X": with_cell(1e300), "dtype": "float32"},
        r"X\[1, 0\] is 1e\+300, too large for float32",
    ),
    "length of y": ({"y": [1, 2]}, r"shape \(3, 2\).*shape \(2,\)"),
    "dimensions of y": ({"y": np.zeros((3, 1, 1))}, r"\(3, 1, 1\)"),
    "y of no dimension": ({"y": 1}, r"y has shape \(\)"),
    "NaN in y": ({"y": [0.0, 1.0, np.nan]}, r"y\[2\] is nan"),
    "text in y": ({"y": ["a", "b", "c"]}, "Encoder"),
    "huge integers in y": ({"y": [2**70, 0, 1]}, "beyond 64 bits"),
    "weight length": ({"sample_weight": [1.0]}, r"shape \(3, 2\).*shape \(1,\)"),
    "weight shape": ({"sample_weight": np.ones((3, 1))}, r"\(3, 1\)"),
    "negative weight": ({"sample_weight": [1, -2, 1]}, r"sample_weight\[1\] is -2"),
    "NaN weight": ({"sample_weight": [1, np.nan, 1]}, r"sample_weight\[1\] is nan"),
    "zero weights": ({"sample_weight": [0, 0, 0]}, "zero everywhere"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", BAD)
def test_bad_arrays(case):
    arguments, message = BAD[case]
    with pytest.raises(DataError, match=message):
        check_arrays(**{"X": X, **arguments})


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.float32, np.float64])
def test_good_labels(dtype):
    labels = check_labels(np.array([0, 2, 1], dtype=dtype), 3)
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 2, 1]
    assert check_labels([True, False], 2).tolist() == [1, 0]


BAD_LABELS = {
    "too large": ([0, 3, 9], r"y\[1\] is 3; .* from 0 to 2|y\[1\] is 3; .* of 0 to 2"),
    "negative": ([0, 1, -1], r"y\[2\] is -1"),
    "fraction": ([0.0, 0.5], r"y\[1\] is 0.5"),
    "NaN": ([0.0, np.nan], r"y\[1\] is nan"),
    "infinity": ([np.inf], r"y\[0\] is inf"),
    "uint64 that would wrap around": (np.array([0, 2**64 - 1], dtype=np.uint64), rf"y\[1\] is {2**64 - 1}"),
    "float beyond int64": ([0.0, 1e30], r"y\[1\] is 1e\+30"),
    "beyond 64 bits": ([2**80], "beyond 64 bits"),
    "one-hot": ([[0, 1]], r"\(1, 2\)"),
    "text": (["cat"], "Encoder"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels(case):
    labels, message = BAD_LABELS[case]
    with pytest.raises(DataError, match=message):
        check_labels(labels, 3)
