"""Encoders of several targets: each is treated as it would be alone."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from xpnet.data import Encoder, infer_tasks, joint_strata, listed, load, strata
from xpnet.errors import CheckpointError, ConfigError, DataError

FRAME = pl.DataFrame(
    {
        "size": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
        "width": [0.5, 1.5, 2.5, 0.0, 1.0, 2.0],
        "price": [100.5, 250.0, 300.0, 120.0, 180.0, 90.0],
        "warm": ["yes", "no", "yes", "no", "no", "yes"],
        "wet": [1, 0, 0, 1, 0, 1],
        "windy": [True, True, False, False, True, False],
    }
)
VALUES, LABELS = ("width", "price"), ("warm", "wet", "windy")
ROWS = np.asarray([0, 1, 2, 4])


@pytest.mark.parametrize("targets", [VALUES, LABELS, ("price",)])
def test_each_target_is_encoded_as_alone(targets):
    others = [name for name in FRAME.columns if name not in ("size", *targets)]
    encoder = Encoder.fit(FRAME, targets, rows=ROWS, drop=others)
    y = encoder.encode(FRAME).y
    assert encoder.target_names == targets
    assert encoder.feature_names == ("size",)
    decoded = encoder.decode_targets(y)
    for index, name in enumerate(targets):
        rest = [other for other in FRAME.columns if other not in ("size", name)]
        alone = Encoder.fit(FRAME, name, rows=ROWS, drop=rest)
        assert encoder.task == alone.task
        np.testing.assert_array_equal(y.reshape(6, -1)[:, index], alone.encode(FRAME).y)
        assert encoder.target_classes[index] == alone.classes
        assert decoded[name].tolist() == pytest.approx(FRAME[name].to_list()) if not alone.classes else True
        if alone.classes:
            assert decoded[name].tolist() == FRAME[name].to_list()
    assert y.shape == ((6,) if len(targets) == 1 else (6, len(targets)))


@pytest.mark.parametrize("targets", [VALUES, LABELS, "price", ["warm"]])
def test_json_there_and_back(targets):
    encoder = Encoder.fit(FRAME, targets)
    data = json.loads(json.dumps(encoder.to_json()))
    assert data["format"] == 3
    assert Encoder.from_json(data) == encoder


def test_an_encoder_of_an_earlier_run():
    data = {
        "format": 1,
        "missing": "drop",
        "target": {"kind": "categorical", "name": "kind", "cells": "str", "categories": ["a", "b"]},
        "columns": [{"kind": "numeric", "name": "size", "mean": 2.0, "std": 0.5}],
    }
    encoder = Encoder.from_json(data)
    assert (encoder.target_names, encoder.classes, encoder.task) == (("kind",), ("a", "b"), "classification")
    assert encoder.encode(pl.DataFrame({"size": [2.5]})).X.tolist() == [[1.0]]
    assert encoder.decode_predictions([1, 0]).tolist() == ["b", "a"]
    assert encoder.to_json() == data
    two = {key: value for key, value in data.items() if key != "target"}
    two |= {"format": 2, "targets": [data["target"], {**data["target"], "name": "other"}]}
    assert Encoder.from_json(two).to_json() == two
    with pytest.raises(CheckpointError, match="damaged: missing: expected"):
        Encoder.from_json(data | {"missing": "impute"})
    with pytest.raises(CheckpointError, match=r"column 1\.indicator is unknown"):
        Encoder.from_json(data | {"columns": [{**data["columns"][0], "indicator": True}]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 1, "missing": "drop"}, "targets is unknown to this version .did you mean 'target'"),
        ({"targets": []}, "targets of one kind"),
        ({"targets": [{"kind": "numeric", "name": "size", "mean": 0.0, "std": 1.0}]}, "different names"),
        ({"targets": 3}, "damaged"),
    ],
)
def test_damaged_descriptions(change, message):
    data = Encoder.fit(FRAME, VALUES).to_json() | change
    with pytest.raises(CheckpointError, match=message):
        Encoder.from_json(data)
    mixed = Encoder.fit(FRAME[["size", *VALUES]], VALUES).to_json()
    mixed["targets"][0] = Encoder.fit(FRAME, "warm").to_json()["targets"][0]
    with pytest.raises(CheckpointError, match="targets of one kind"):
        Encoder.from_json(mixed)


def test_targets_are_taken_where_all_are_there():
    encoder = Encoder.fit(FRAME, VALUES)
    assert encoder.encode(FRAME.drop("width")).y is None
    with pytest.raises(DataError, match=r"lacks 1 of the .* columns .*'width'"):
        encoder.encode(FRAME.drop("width"), target=True)


def test_missing_targets():
    holes = FRAME.with_columns(pl.Series("price", [None, 250.0, 300.0, 120.0, 180.0, 90.0]))
    with pytest.raises(DataError, match="row 1, column 'price' is missing in a numeric target column"):
        Encoder.fit(holes, VALUES, missing="error")
    encoder = Encoder.fit(holes, VALUES, missing="drop")
    assert encoder.encode(holes).rows.tolist() == [1, 2, 3, 4, 5]


BAD = {
    "both kinds": (("width", "warm"), {}, "classes in warm, numbers in width; train a model for each"),
    "constant": (("width", "price"), {"rows": [0, 0]}, "target 'width' is 0.5 in all 2 training rows"),
    "one class": (("warm", "wet"), {"rows": [0, 5]}, "target 'warm' has one class only"),
    "unknown": (("width", "prize"), {}, "no column 'prize'; did you mean 'price'"),
    "dropped": (VALUES, {"drop": ["price"]}, "'price' is a target and cannot be given to drop"),
    "none": ((), {}, "expected a target, found none"),
    "all": (
        tuple(FRAME.columns),
        {"task": "classification"},
        "besides the targets 'size', 'width'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_targets(case):
    targets, arguments, message = BAD[case]
    with pytest.raises(DataError, match=message):
        Encoder.fit(FRAME, targets, **arguments)


def test_what_is_for_one_target_alone():
    encoder = Encoder.fit(FRAME, LABELS)
    for use in (lambda: encoder.classes, lambda: encoder.decode_predictions(np.zeros((2, 3)))):
        with pytest.raises(ConfigError, match="expected one target, found 3"):
            use()
    with pytest.raises(DataError, match=r"shape \(2, 2\); expected one column for each of the 3 targets"):
        encoder.decode_targets(np.zeros((2, 2)))


def test_tasks_and_strata():
    assert infer_tasks(FRAME, VALUES) == "regression"
    assert infer_tasks(FRAME, LABELS) == infer_tasks(FRAME, ["warm"]) == "classification"
    a, b = pl.Series("a", [0, 1] * 30), pl.Series("b", [0] * 45 + [1] * 15)
    joint = joint_strata([a, b])
    both = strata(a) * 3 + strata(b)
    counts = {pair: int(np.sum(both == pair)) for pair in np.unique(both)}
    assert {int(number) for number in joint} - {-1} == set(range(len(counts))) - {
        index for index, size in enumerate(counts.values()) if size < 10
    }
    for number in np.unique(joint[joint >= 0]):
        assert len(np.unique(both[joint == number])) == 1


def test_loading(tmp_path):
    path = tmp_path / "t.csv"
    FRAME.write_csv(path)
    for given in (["width", "price"], ["width,price"], "width,price", ["width", "price", "width"]):
        assert load(path, target=given).target == VALUES
    assert load(path, target=["price"]).target == "price"
    with pytest.raises(DataError, match="no column 'prise'; did you mean 'price'"):
        load(path, target=["width", "prise"])
    assert listed(["a,b", "c,d"], ["a", "b", "c"]) == ("a", "b", "c,d")
