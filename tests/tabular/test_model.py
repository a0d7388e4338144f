"""Models of tables: fitted, used, saved and opened again, on tables of any kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import xpnet
from xpnet import losses, tabular
from xpnet.errors import CheckpointError, ConfigError, DataError
from xpnet.tabular import PRESETS, TableModel
from xpnet.tabular.dataset import prepare
from xpnet.tabular.losses import named_loss

FAST: dict[str, Any] = {"epochs": 5, "hidden": (8,), "backend": "numpy"}
NAMES = ["rose", "tulip"]


def flowers(rows: int = 80) -> pl.DataFrame:
    i = np.arange(rows)
    return pl.DataFrame(
        {
            "length": 1.0 + 2.0 * (i % 2) + 0.01 * i,
            "colour": np.asarray(["red", "blue", "white"])[i % 3],
            "kind": np.asarray(NAMES)[i % 2],
            "price": 10.0 + (i % 2) + 0.1 * (i % 3),
        }
    )


@pytest.fixture(scope="module")
def classifier() -> TableModel:
    return TableModel(**FAST, drop=["price"]).fit(flowers(), "kind")


@pytest.fixture(scope="module")
def regressor() -> TableModel:
    return TableModel(**{**FAST, "epochs": 30}, drop=["kind"]).fit(flowers(), target="price")


def test_classes_are_labels(classifier: TableModel) -> None:
    found = classifier.predict(flowers())
    assert isinstance(found, pl.Series)
    assert found.name == "kind"
    assert set(found) <= set(NAMES)
    shares = classifier.predict_proba(flowers())
    assert shares.columns == NAMES
    np.testing.assert_allclose(shares.to_numpy().sum(axis=1), 1.0, rtol=1e-5)
    assert classifier.evaluate(flowers())["accuracy"] > 0.4


def test_a_trainer_of_a_table_says_that_it_is_one(
    classifier: TableModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    classifier.save(tmp_path / "model")
    TableModel.load(tmp_path / "model", "numpy")
    assert not caplog.records
    for _ in range(2):
        xpnet.Trainer.load(tmp_path / "model" / "model.safetensors", "numpy")
    (record,) = caplog.records
    assert "predicts standardized values or class indices" in record.getMessage()
    assert f"xpnet.tabular.TableModel.load('{tmp_path / 'model'}')" in record.getMessage()


def test_values_are_on_the_scale_of_the_target(regressor: TableModel) -> None:
    found = regressor.predict(flowers())
    assert 9 < found.mean() < 13
    assert regressor.evaluate(flowers())["rmse"] < 1.0
    with pytest.raises(ConfigError, match="found numbers"):
        regressor.predict_proba(flowers())


def test_columns_go_by_name(classifier: TableModel) -> None:
    frame = flowers().select("colour", "length").with_columns(other=pl.lit(1))
    expected = classifier.predict(flowers()).to_list()
    assert classifier.predict(frame).to_list() == expected
    as_dict = classifier.predict({name: frame[name].to_list() for name in frame.columns})
    assert isinstance(as_dict, np.ndarray)
    assert as_dict.tolist() == expected
    with pytest.raises(DataError, match="length"):
        classifier.predict(frame.drop("length"))


def test_pandas_keeps_its_index(classifier: TableModel) -> None:
    pandas = pytest.importorskip("pandas")
    frame = flowers()
    table = pandas.DataFrame({name: frame[name].to_list() for name in frame.columns}, index=range(100, 180))
    found = classifier.predict(table)
    assert isinstance(found, pandas.Series)
    assert list(found.index) == list(table.index)
    assert found.tolist() == classifier.predict(frame).to_list()
    assert list(classifier.predict_proba(table).index) == list(table.index)
    again = TableModel(**FAST, drop=["price"]).fit(table, "kind")
    assert again.predict(table).tolist() == found.tolist()


def test_categories_that_pandas_declares() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"c": pandas.Categorical([0, 1, 2] * 20), 1: [0.5 + i % 3 for i in range(60)]})
    model = TableModel(**FAST).fit(table, 1)
    assert model.encoder.columns[0].kind == "categorical"
    assert len(model.predict(table.head(4))) == 4
    classes = TableModel(**FAST).fit(table, "c")
    assert classes.encoder.target_classes[0] == (0, 1, 2)
    with pytest.raises(DataError, match="no rows: nothing to predict"):
        model.predict(table.head(0))


def test_a_file(classifier: TableModel, tmp_path: Path) -> None:
    flowers().write_csv(tmp_path / "flowers.csv")
    model = TableModel(**FAST, drop=["price"]).fit(str(tmp_path / "flowers.csv"), "kind")
    assert model.predict(tmp_path / "flowers.csv").to_list() == classifier.predict(flowers()).to_list()


def test_several_targets() -> None:
    frame = flowers().with_columns(other=pl.col("price") * 2)
    model = TableModel(**FAST, drop=["kind"]).fit(frame, ["price", "other"])
    found = model.predict(frame)
    assert found.columns == ["price", "other"]
    assert set(model.evaluate(frame)["targets"]) == {"price", "other"}


def test_rows_left_out_are_empty() -> None:
    frame = flowers().with_columns(
        pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("length").alias("length")
    )
    model = TableModel(**FAST, drop=["price"]).fit(flowers(), "kind")
    found = model.predict(
        frame.with_columns(pl.Series("length", [None, *frame["length"][1:]])), missing="drop"
    )
    assert len(found) == frame.height
    assert found[0] is None


WEIGHT = 1.0 + np.arange(80) % 7


@pytest.mark.parametrize("target", ["kind", "price"])
def test_weights_are_those_of_the_validation_loss_too(target: str) -> None:
    frame = flowers().drop(({"kind", "price"} - {target}).pop())
    model = TableModel(**{**FAST, "epochs": 1}, validation=0.25).fit(frame, target, sample_weight=WEIGHT)
    part = prepare(model.settings, model.encoder, frame=frame, sample_weight=WEIGHT).parts["validation"]
    weighted, equal = (
        model.trainer.evaluate(part.X, part.y, sample_weight=weight)["loss"]
        for weight in (WEIGHT[part.rows], None)
    )
    assert model.trainer.history["validation_loss"] == pytest.approx([weighted], rel=1e-6)
    assert weighted != pytest.approx(equal, rel=1e-4)
    other = TableModel(**{**FAST, "epochs": 1}, validation=0.25).fit(frame, target)
    assert other.trainer.history["loss"] != model.trainer.history["loss"]


def test_rows_of_weight_zero_are_left_out_and_told_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "xpnet.tabular")
    TableModel(**FAST).fit(flowers(), "kind", sample_weight=np.arange(80) % 4)
    assert "20 rows of weight 0 are left out: rows are numbered without them" in caplog.text


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (WEIGHT[:-1], r"sample_weight: expected 80 numbers, .*found shape \(79,\)"),
        (WEIGHT[:, None], r"found shape \(80, 1\)"),
        (-1.0 * WEIGHT, r"sample_weight\[0\] is -1.0; weights must not be negative"),
        (0 * WEIGHT, "sample_weight is zero everywhere"),
        (np.where(WEIGHT == 3, np.inf, 1.0), r"sample_weight\[2\] is inf"),
        (["heavy"] * 80, "sample_weight holds"),
    ],
    ids=str,
)
def test_weights_that_cannot_be_used(weight: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        TableModel(**FAST).fit(flowers(), "kind", sample_weight=weight)


def test_importance(classifier: TableModel) -> None:
    model = TableModel(**{**FAST, "epochs": 60}, learning_rate=0.05, drop=["price"]).fit(flowers(), "kind")
    found = model.importance(flowers(), repeats=4, seed=3)
    assert found.columns[0] == "length"
    assert found.mean[0] > 0.2
    assert min(found.spread) >= 0.0
    assert found == model.importance(flowers(), repeats=4, seed=3)
    assert "length" in str(found)
    assert "<table>" in found._repr_html_()


def test_codes_and_scalings(tmp_path: Path) -> None:
    frame = flowers()
    settings: dict[str, Any] = {**FAST, "epochs": 60, "learning_rate": 0.05, "drop": ["kind"]}
    settings |= {"scaling": "quantile", "one_hot_up_to": 2, "clamp": True, "network": "realmlp"}
    model = TableModel(**settings).fit(frame, "price")
    assert model.encoder.blocks.cardinalities == (4,)
    assert any(decision.what.startswith("is taken as codes") for decision in model.encoder.decisions)
    assert model.importance(frame).columns == ("length", "colour")
    model.save(tmp_path / "model")
    again = TableModel.load(tmp_path / "model", "numpy")
    assert again.settings.scaling == "quantile"
    far = frame.with_columns(length=pl.col("length") * 50 - 60)
    assert again.predict(far).to_list() == model.predict(far).to_list()
    low, high = again.encoder.targets[0].span
    assert low <= again.predict(far).min() < again.predict(far).max() <= high
    assert again.evaluate(frame)["r2"] > 0.5


@pytest.mark.parametrize("target", ["kind", "price"])
def test_saved_and_opened(target: str, tmp_path: Path) -> None:
    frame = flowers()
    model = TableModel(**FAST, seed=3).fit(frame, target)
    model.save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "encoder.json",
        "model.safetensors",
    ]
    again = TableModel.load(tmp_path / "model")
    assert again.predict(frame).to_list() == model.predict(frame).to_list()
    assert again.settings == model.settings
    assert repr(again) == repr(model)
    again.save(tmp_path / "again")
    assert TableModel.load(tmp_path / "again").evaluate(frame) == model.evaluate(frame)


def test_files_of_different_models_are_refused(classifier: TableModel, tmp_path: Path) -> None:
    classifier.save(tmp_path / "model")
    path = tmp_path / "model" / "encoder.json"
    encoder = json.loads(path.read_text())
    encoder["columns"][0]["mean"] += 1.0
    path.write_text(json.dumps(encoder))
    with pytest.raises(CheckpointError, match=r"encoder\.json' is not what"):
        TableModel.load(tmp_path / "model")
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        TableModel.load(tmp_path / "model")
    with pytest.raises(CheckpointError):
        TableModel.load(tmp_path / "nothing")


def test_an_array_model_is_no_model_of_a_table(tmp_path: Path) -> None:
    trainer = xpnet.Trainer(xpnet.nn.MLP([4], 1), "squared_error", backend="numpy")
    trainer.fit(np.zeros((8, 2)), np.zeros((8, 1)), epochs=1, batch_size=8)
    trainer.save(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="does not say which encoder"):
        TableModel.load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"preset": "slow"}, "preset: expected"),
        ({"hiden": 3}, "no setting 'hiden'; did you mean 'hidden'"),
        ({"epochs": 0}, "epochs: expected a whole number"),
        ({"time_limit": -1}, "time_limit: expected"),
        ({"loss": lambda predictions, targets: 0.0}, "expected a function with a name"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TableModel(**settings)


def test_settings_by_their_other_names() -> None:
    assert TableModel(lr=0.1, device="numpy").settings.learning_rate == 0.1


def test_presets() -> None:
    assert set(PRESETS) == {"auto", "fast", "best"}


def test_a_time_limit_ends_the_training() -> None:
    model = TableModel(time_limit=1e-9, **{**FAST, "epochs": 1000}).fit("two-gaussians")
    assert len(model.trainer.history) <= 2


def test_before_fit() -> None:
    model = TableModel()
    assert "not trained" in repr(model) + model._repr_html_()
    for call in (model.predict, model.predict_proba, model.evaluate, model.importance):
        with pytest.raises(ConfigError, match="call fit"):
            call(flowers())
    with pytest.raises(ConfigError, match="call fit"):
        model.save("model")


def own_loss(predictions: Any, targets: Any) -> Any:
    return losses.get("squared_error")(predictions, targets)


def test_losses_by_function(tmp_path: Path) -> None:
    assert named_loss({"loss": losses.huber}) == ({"loss": "huber"}, None)
    settings, own = named_loss({"loss": losses.get({"name": "huber", "delta": 0.5})})
    assert (settings, own) == ({"loss": "huber", "loss_option": {"delta": 0.5}}, None)
    model = TableModel(**FAST, loss=own_loss).fit(flowers().drop("kind"), "price")
    model.save(tmp_path)
    with pytest.raises(ConfigError, match="code of your own"):
        TableModel.load(tmp_path)
    again = TableModel.load(tmp_path, loss=own_loss)
    assert again.evaluate(flowers()) == model.evaluate(flowers())


def test_names_of_the_package() -> None:
    for name in tabular.__all__:
        assert getattr(tabular, name) is not None
    assert set(tabular.__all__) <= set(dir(tabular))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tabular.nothing
