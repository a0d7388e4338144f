"""Presets: what they choose, what is left to those who ask for something, and how long they take."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import polars as pl
import pytest

from xpnet import losses
from xpnet.errors import ConfigError, DataError
from xpnet.tabular import TableModel
from xpnet.tabular.dataset import prepare
from xpnet.tabular.presets import REALMLP, _seconds, with_preset
from xpnet.tabular.scoring import measure
from xpnet.tabular.settings import Settings, fields_of, settings_from

SMALL: dict[str, Any] = {"hidden": (8,), "epochs": 2, "members": 2, "backend": "numpy"}


def chosen(task: str = "classification", rows: int = 1000, features: int = 10, **given: Any) -> Settings:
    return with_preset(settings_from(Settings, {"preset": "best", **given}), task, rows, features)


def table(rows: int = 120) -> pl.DataFrame:
    i, random = np.arange(rows), np.random.default_rng(0)
    return pl.DataFrame(
        {
            "length": random.normal(size=rows),
            "town": [f"t{k % 12}" for k in i],
            "kind": np.asarray(["a", "b", "c"])[i % 3],
            "warm": np.asarray(["yes", "no"])[i % 2],
            "dry": np.asarray(["yes", "no"])[i // 2 % 2],
            "price": random.normal(size=rows),
            "visits": i % 5,
        }
    )


def features(*targets: str) -> pl.DataFrame:
    return table().select("length", "town", *targets)


# ------------------------------------------------------------------------------------ what is chosen


@pytest.mark.parametrize("name", [name for name in REALMLP if name != "optimizer"])
def test_each_setting_can_be_given_also_as_it_is_by_default(name: str) -> None:
    default = fields_of(Settings)[name].default
    assert getattr(chosen(), name) != default
    # None is what was not given
    expected = getattr(chosen(), name) if default is None else default
    assert getattr(chosen(**{name: default}), name) == expected


def test_fast_and_auto_without_a_limit_are_the_defaults() -> None:
    for preset in ("fast", "auto"):
        assert chosen(preset=preset) == settings_from(Settings, {"preset": preset})
    assert (chosen().activation, chosen("regression").activation) == ("selu", "mish")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"optimizer": "sgd"}, {"learning_rate": None, "beta2": None, "weight_decay": None}),
        ({"optimizer": "adam"}, {"beta2": 0.95, "weight_decay_schedule": "constant"}),
        ({"optimizer": "lbfgs"}, {"schedule": "constant", "batch_size": None, "dropout": 0.0}),
        ({"loss": "hinge"}, {"label_smoothing": 0.0, "use_last_best_epoch": True}),
        ({"loss": "softmax_cross_entropy"}, {"label_smoothing": 0.1}),
        ({"validation": 0.0}, {"monitor": "validation_loss", "use_last_best_epoch": False}),
        ({"network": "mlp"}, {"one_hot_up_to": None, "learning_rate": None, "members": 5, "folds": 5}),
        ({"network": "tabm"}, {"one_hot_up_to": 8, "activation": "relu", "folds": None}),
        ({"network": "realmlp_simple"}, {"dropout": 0.0, "learning_rate": 0.04}),
        ({"hidden": ()}, {"dropout": 0.0}),
        ({"members": 3}, {"members": 3, "epochs": 256, "folds": 5}),
        ({"members": 7}, {"members": 7, "folds": 7}),
        ({"members": 1}, {"folds": None}),
        ({"rows": 20}, {"members": 5, "folds": None}),
        ({"folds": 9}, {"members": 5, "folds": 9}),
        ({"folds": 4}, {"members": 3, "folds": 4}),
        ({"folds": 5, "rows": 200_000}, {"members": 1, "folds": 5}),
        ({"validation": 0.1}, {"members": 5, "folds": None}),
        ({"split_by": "day"}, {"folds": None}),
        ({"group": "patient"}, {"folds": None}),
        ({"loss": "losses.py:mine"}, {"folds": None}),
        ({"epochs": 7}, {"members": 5, "epochs": 7}),
    ],
)
def test_what_does_not_go_with_what_is_given_is_left_out(given: Any, expected: dict[str, Any]) -> None:
    found = chosen(**given)
    assert {name: getattr(found, name) for name in expected} == expected


# ---------------------------------------------------------------------------------------- how long


@pytest.mark.parametrize(("rows", "columns"), [(150, 5), (5_000, 20), (100_000, 20)])
def test_a_longer_limit_gives_no_shorter_training(rows: int, columns: int) -> None:
    lengths = []
    for limit in (5, 20, 60, 300, 3600, 1e6):
        found = chosen(rows=rows, features=columns, preset="auto", time_limit=limit)
        if found.network == "mlp":
            assert not lengths  # there is more time than for a network that was taken
            continue
        assert found.epochs is not None
        assert _seconds(found, found.members, found.epochs, rows, columns) < limit
        lengths.append(found.members * found.epochs)
    assert lengths == sorted(lengths)
    found = chosen(rows=rows, features=columns)
    assert lengths[-1] == found.members * found.epochs  # type: ignore[operator]
    assert chosen(rows=rows, features=columns, time_limit=1e-3).network == "realmlp"  # no matter how short


def test_the_time_of_a_training_that_was_measured() -> None:
    """On one core of an AMD EPYC; a tenth is to be left, and some code was compiled before."""
    for (members, epochs, rows, columns), seconds in {
        (5, 256, 150, 5): 13.4,
        (5, 256, 846, 18): 38.0,
        (1, 256, 3677, 57): 22.0,
        (5, 20, 3677, 57): 28.2,
        (3, 10, 12_000, 16): 20.2,
    }.items():
        made = chosen(rows=rows, features=columns, members=members, epochs=epochs, test=0.0)
        assert 0.9 < _seconds(made, members, epochs, rows, columns) / seconds < 1.8


# ------------------------------------------------------------------------------- what is trained


def own_loss(predictions: Any, targets: Any) -> Any:
    return losses.get("squared_error")(predictions, targets)


@pytest.mark.parametrize(
    ("targets", "given"),
    [
        (["kind"], {"class_weight": "balanced"}),
        (["kind"], {"validation": 0.0}),
        (["kind"], {"batch_size": 16}),
        (["kind"], {"network": "mlp"}),
        (["kind"], {"network": "tabm"}),
        (["kind"], {"network": "realmlp_simple", "optimizer": "sgd"}),
        (["kind"], {"optimizer": "lbfgs", "members": 1}),
        (["warm", "dry"], {}),
        (["warm"], {"hidden": (), "time_limit": 1e-2}),
        (["price"], {"loss": "huber"}),
        (["price", "visits"], {"task": "regression"}),
        (["visits"], {"loss": "poisson", "task": "regression"}),
        (["price"], {"loss": own_loss}),
    ],
    ids=lambda given: re.sub(r" at 0x\w+", "", str(given)),
)
def test_trainings(targets: list[str], given: Any) -> None:
    rows = features(*targets)
    model = TableModel("best", **{**SMALL, **given}).fit(rows, targets, progress=False)
    assert np.isfinite(model.evaluate(rows)["loss"])
    ensemble = model.settings.members > 1
    assert (model.trainer.model.ensemble is not None) == ensemble
    assert len(model.predict(rows)) == len(rows)


def test_batches_are_of_all_rows_where_there_are_too_few() -> None:
    half = features("kind").with_columns(kind=pl.when(pl.int_range(120) % 2 == 0).then("kind"))
    for rows in (features("kind"), half, features("kind").head(9)):
        model = TableModel("best", **SMALL).fit(rows, "kind", progress=False)
        assert model.settings.batch_size == "full"
    with pytest.raises(ConfigError, match="batch_size: expected at most the 96 training rows, found 97"):
        TableModel("best", **SMALL, batch_size=97).fit(features("kind"), "kind")


@pytest.mark.parametrize("preset", ["best", "fast"])
@pytest.mark.parametrize(
    ("column", "says"),
    [
        ({"kind": "a"}, "one class only, 'a'"),
        ({"length": 1.0, "town": "t"}, "no column is left to predict from"),
        ({"length": 1.0}, ""),
        ({"town": [f"{k}" for k in range(120)]}, ""),
        ({"kind": ["a"] * 117 + ["b"] * 3}, ""),
    ],
)
def test_tables_with_little_in_them(preset: str, column: Any, says: str) -> None:
    one = {name: pl.Series(x) if isinstance(x, list) else pl.lit(x) for name, x in column.items()}
    rows, settings = features("kind").with_columns(**one), {**SMALL, "members": 1}
    if says:
        with pytest.raises(DataError, match=says):
            TableModel(preset, **settings).fit(rows, "kind")
        return
    model = TableModel(preset, **settings).fit(rows, "kind", progress=False)
    assert np.isfinite(model.predict_proba(rows, unseen="ignore").to_numpy()).all()


def test_what_the_network_has_not_is_refused() -> None:
    for given, words in {
        ("batch_norm", True): "batch_norm: expected none with network='realmlp'",
        ("warmup", 3): "warmup: expected 0 steps with the schedule coslog",
    }.items():
        with pytest.raises(ConfigError, match=words):
            TableModel("best", **SMALL, **dict([given])).fit(features("kind"), "kind")
    with pytest.raises(ConfigError, match="dropout: expected 0 with network='realmlp_simple'"):
        TableModel("best", **SMALL, network="realmlp_simple", dropout=0.1).fit(features("kind"), "kind")


def test_with_folds_all_rows_train_and_validate() -> None:
    rows = features("kind").with_columns(length=pl.when(pl.int_range(120) != 7).then("length"))
    given = {"members": 3, "hidden": (8,), "epochs": 3, "missing": "drop", "backend": "numpy", "test": 0.2}
    model = TableModel("fast", folds=4, **given).fit(rows, "kind", progress=False)
    prepared = prepare(dataclasses.replace(model.settings, data="rows"), frame=rows)
    parts, fold = prepared.parts, prepared.parts["train"].weight
    assert fold is not None
    assert sum(map(len, (parts["train"], parts["test"]))) == 119 == 120 - prepared.rows_left_out
    assert (fold.sum(axis=1) == np.where(np.isin(parts["train"].rows, parts["validation"].rows), 2, 3)).all()
    measured = measure(model.trainer, model.encoder, parts["validation"]).metrics
    best = model.trainer.history.rows[model.trainer.epoch - 1]
    assert measured["loss"] == pytest.approx(best["validation_loss"], rel=1e-6)
    TableModel("fast", folds=4, group="town", **given).fit(rows, "kind", progress=False)
    one = TableModel("fast", folds=4, **{**given, "members": 1}).fit(rows, "kind", progress=False)
    parts = prepare(dataclasses.replace(one.settings, data="rows"), frame=rows).parts
    assert [len(part) for part in parts.values()] == [72, 24, 23]
    for wrong, says in {
        ("members", 5): "members: expected at most 4, one for each fold, found members=5 with folds=4",
        ("network", "tabm"): "network: expected another one, as members of tabm share weights",
        ("split_by", "length"): "split_by: expected none, as folds are drawn at random",
    }.items():
        with pytest.raises(ConfigError, match=says):
            TableModel("fast", folds=4, **{**given, **dict([wrong])}).fit(features("kind"), "kind")


def test_a_class_that_a_member_does_not_know_is_told() -> None:
    given = {"members": 5, "folds": 5, "test": 0.0, "backend": "numpy", "seed": 0}
    settings = settings_from(Settings, {"data": "rows", "target": "kind", "preset": "fast", **given})
    known = [str(d) for d in prepare(settings, frame=features("kind")).decisions]
    assert not any("know all classes" in told for told in known)
    rare = pl.when(pl.int_range(120) == 1).then(pl.lit("rare")).otherwise("kind")
    told = [str(d) for d in prepare(settings, frame=features("kind").with_columns(kind=rare)).decisions]
    assert any("1 member of the ensemble does not know all classes" in line for line in told)
    one = pl.int_range(120) == 1  # the only row of a class of both targets: one fold, and one member
    both = features("warm", "dry").with_columns(warm=one.cast(pl.String), dry=one.cast(pl.String))
    several = dataclasses.replace(settings, target=("warm", "dry"))
    told = [str(d) for d in prepare(several, frame=both).decisions]
    assert any("1 member of the ensemble does not know all classes" in line for line in told)
