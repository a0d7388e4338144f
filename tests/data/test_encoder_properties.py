"""The encoder's properties: exact round trips, training rows only, and damaged descriptions refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpnet.data import Encoder
from xpnet.errors import CheckpointError, DataError

pl = pytest.importorskip("polars", reason="the encoder needs polars")

CELLS = {
    "number": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "whole": st.integers(-(2**53), 2**53),
    "flag": st.booleans(),
    "word": st.sampled_from(["a", "b", "ü", "A", "1", ""]),
}


@st.composite
def tables(draw):
    n = draw(st.integers(4, 12))
    columns = {
        name: draw(st.lists(st.none() | cells, min_size=n, max_size=n)) for name, cells in CELLS.items()
    }
    y = draw(st.lists(st.sampled_from(["u", "v"]), min_size=n, max_size=n))
    schema = {"number": pl.Float64, "whole": pl.Int64, "flag": pl.Boolean, "word": pl.String, "y": pl.String}
    return pl.DataFrame({**columns, "y": ["u", "v", *y[2:]]}, schema=schema)


def fitted(frame, **arguments):
    """Return an encoder, or None where the drawn table has nothing to fit."""
    try:
        return Encoder.fit(frame, "y", categorical=["word"], **arguments)
    except DataError:
        return None


@settings(deadline=None, max_examples=60)
@given(frame=tables(), missing=st.sampled_from(["impute", "drop", "mean"]))
def test_json_round_trip_is_exact(frame, missing):
    encoder = fitted(frame, missing=missing)
    if encoder is None:
        return
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json(), allow_nan=False)))
    assert again == encoder
    one, two = encoder.encode(frame), again.encode(frame)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert np.isfinite(one.X).all()
    assert np.abs(one.X[:, :3]).max(initial=0.0) < 1e9
    assert encoder.decode_predictions(one.y).tolist() == frame["y"].gather(one.rows).to_list()


@settings(deadline=None, max_examples=60)
@given(frame=tables(), other=tables(), missing=st.sampled_from(["impute", "drop", "mean"]))
def test_only_training_rows_are_looked_at(frame, other, missing):
    rows = np.arange(frame.height)[::2]
    encoder = fitted(frame, rows=rows, missing=missing)
    changed = pl.concat([frame, other])
    assert fitted(changed, rows=rows, missing=missing) == encoder
    assert fitted(frame[rows], missing=missing) == encoder


# ------------------------------------------------------------------------------------ damaged descriptions


def damaged(path, value):
    frame = pl.DataFrame(
        {"size": [1.5, -2.0, 0.25], "colour": ["red", "blue", "red"], "kind": ["a", "b", "a"]}
    )
    data = json.loads(json.dumps(Encoder.fit(frame, "kind").to_json()))
    *way, last = path
    inner = data
    for step in way:
        inner = inner[step]
    if value is KeyError:
        del inner[last]
    else:
        inner[last] = value
    return data


DAMAGED = {
    "newer": (["format"], 4, "format is 4; this version reads formats up to 3"),
    "no version": (["format"], KeyError, "format is None"),
    "no columns": (["columns"], KeyError, "columns is missing"),
    "empty columns": (["columns"], [], "needs columns"),
    "columns of numbers": (["columns"], [1], "damaged"),
    "no target": (["targets"], KeyError, "targets is missing"),
    "target of text": (["targets"], "kind", "damaged"),
    "no policy": (["missing"], KeyError, "missing is missing"),
    "unknown policy": (["missing"], "median", "damaged: missing: expected .* found 'median'"),
    "no mean": (["columns", 0, "mean"], KeyError, "column 1.mean is missing"),
    "mean of text": (["columns", 0, "mean"], "x", "damaged"),
    "mean of null": (["columns", 0, "mean"], None, "damaged"),
    "NaN": (["columns", 0, "mean"], math.nan, "mean nan"),
    "deviation of zero": (["columns", 0, "std"], 0.0, "deviation 0.0"),
    "unknown kind": (["columns", 0, "kind"], "spline", "column 1.kind: expected .* found 'spline'"),
    "name of a number": (["columns", 0, "name"], 3, "column 1.name: expected text, found 3"),
    "mean too large": (["columns", 0, "mean"], 10**400, "expected a number, found 1000"),
    "limits that cross": (["columns", 0, "limits"], [1.0, -1.0], "has the limits 1.0 to -1.0"),
    "no limits": (["columns", 0, "limits"], None, "has limits without a span, or a span without limits"),
    "three limits": (["columns", 0, "limits"], [0.0, 1.0, 2.0], "column 1.limits: expected a list of 2"),
    "fill of text": (["columns", 0, "fill"], "x", "column 1.fill: expected a number"),
    "indicator of a number": (["columns", 0, "indicator"], 1, "column 1.indicator: expected True or False"),
    "marks of a notation": (
        ["columns", 0, "notation"],
        {"decimal": ";"},
        "column 1.notation.thousands is mi",
    ),
    "unknown setting": (["columns", 0, "median"], 0.5, "median is unknown to this version.* a newer xpnet"),
    "same name": (["columns", 0, "name"], "kind", "different names"),
    "unknown cells": (["targets", 0, "cells"], "date", "cells 'date'"),
    "no categories": (["targets", 0, "categories"], [], "categories"),
    "unsorted": (["targets", 0, "categories"], ["b", "a"], "not sorted"),
    "twice": (["targets", 0, "categories"], ["a", "a"], "not sorted"),
    "of another type": (["targets", 0, "categories"], ["a", 1], "not sorted str values"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_descriptions(case):
    path, value, message = DAMAGED[case]
    with pytest.raises(CheckpointError, match=message):
        Encoder.from_json(damaged(path, value))


@pytest.mark.parametrize("data", [None, [], "x", {}])
def test_no_description(data):
    with pytest.raises(CheckpointError, match="format is None"):
        Encoder.from_json(data)
