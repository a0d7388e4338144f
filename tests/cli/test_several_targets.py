"""Several targets from table to figures: values and labels."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.cli.conftest import FAST
from xpnet.data import Encoder

FAST = (*FAST[:-1], "numpy", "--epochs", "25", "--learning-rate", "0.03")


def weather(rows: int = 150) -> pl.DataFrame:
    random = np.random.default_rng(0)
    X = random.normal(size=(rows, 3))
    slopes = random.normal(size=(3, 2))
    values = np.tanh(X @ slopes) * [3, 50] + [1, 100]
    labels = X > [0.2, -0.2, 0.0]
    return pl.DataFrame(dict(zip("abc", X.T, strict=True))).with_columns(
        width=values[:, 0],
        price=values[:, 1],
        warm=np.where(labels[:, 0], "yes", "no"),
        wet=labels[:, 1].astype(int),
        windy=labels[:, 2],
        kind=np.asarray(["x", "y", "z"])[np.arange(rows) % 3],
    )


@pytest.fixture
def table(folder) -> str:
    weather().write_csv("weather.csv")
    return "weather.csv"


VALUES = ("--target", "width", "--target", "price", "--drop", "warm,wet,windy,kind")
LABELS = ("--target", "warm,wet,windy", "--drop", "width,price,kind")


def predictions(outcome):
    assert outcome.code == 0, outcome.err
    return pl.read_csv(io.StringIO(outcome.out))


def test_values(table, xpnet):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    outcome = xpnet("train", table, *VALUES, "--out", "run", "--json", "--diagnostics", "0", *FAST)
    assert outcome.code == 0, outcome.err
    results = outcome.json
    assert (results["target"], results["task"], results["classes"]) == (["width", "price"], "regression", [])
    assert (results["layers"], results["loss"]) == ("3-8-2", "squared_error")
    assert results["metrics"]["test"]["r2"] > 0.8
    predicted = predictions(xpnet("predict", "run", table))
    assert predicted.columns == ["prediction_width", "prediction_price"]
    evaluated = xpnet("evaluate", "run", table, "--json").json
    true = pl.read_csv(table)[["width", "price"]].to_numpy()
    references = {
        "r2": metrics.r2_score,
        "rmse": metrics.root_mean_squared_error,
        "mae": metrics.mean_absolute_error,
    }
    for name, found in references.items():
        want = found(true, predicted.to_numpy(), multioutput="raw_values")
        each = evaluated["target_metrics"]["file"]
        assert [each["width"][name], each["price"][name]] == pytest.approx(want.tolist())
    assert evaluated["metrics"]["file"]["r2"] == pytest.approx(metrics.r2_score(true, predicted.to_numpy()))
    figures = {path.name for path in Path("run/figures").iterdir()}
    assert figures == {
        "learning_rate.svg",
        "loss.svg",
        "r2.svg",
        "predicted_vs_true_1_width.svg",
        "predicted_vs_true_2_price.svg",
    }
    shown = xpnet("evaluate", "run")
    assert shown.code == 0
    for words in ("width", "price", "R²", "RMSE", "MAE"):
        assert words in shown.out


def test_a_target_is_trained_on_the_same_scale_as_alone(table, xpnet):
    both = xpnet("train", table, *VALUES, "--out", "both", *FAST)
    assert both.code == 0
    alone = xpnet(
        "train", table, "--target", "price", "--drop", "warm,wet,windy,kind,width", "--out", "one", *FAST
    )
    assert alone.code == 0
    encoders = [
        Encoder.from_json(json.loads(Path(run, "encoder.json").read_text())) for run in ("both", "one")
    ]
    assert encoders[0].targets[1] == encoders[1].targets[0]


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "hinge"])
def test_labels(loss, table, xpnet):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    given = () if loss == "binary_cross_entropy" else ("--loss", loss)
    outcome = xpnet("train", table, *LABELS, *given, "--out", "run", "--json", "--diagnostics", "0", *FAST)
    assert outcome.code == 0, outcome.err
    results = outcome.json
    assert (results["loss"], results["layers"]) == (loss, "3-8-3")
    assert results["classes"] == {"warm": ["no", "yes"], "wet": [0, 1], "windy": [False, True]}
    assert results["metrics"]["test"]["accuracy"] > 0.85
    predicted = predictions(xpnet("predict", "run", table))
    names = ["prediction_warm", "prediction_wet", "prediction_windy"]
    chances = ["probability_warm=yes", "probability_wet=1", "probability_windy=True"]
    assert predicted.columns == (names + chances if loss == "binary_cross_entropy" else names)
    if loss == "binary_cross_entropy":
        likely = predicted[:, 3:].to_numpy() > 0.5
        assert predicted["prediction_warm"].to_list() == np.where(likely[:, 0], "yes", "no").tolist()
        assert predicted["prediction_windy"].to_list() == likely[:, 2].tolist()
    bits = [
        np.stack([frame[f"{p}warm"] == "yes", frame[f"{p}wet"] == 1, frame[f"{p}windy"]], axis=1).astype(int)
        for frame, p in ((pl.read_csv(table), ""), (predicted, "prediction_"))
    ]
    evaluated = xpnet("evaluate", "run", table, "--json").json
    found = evaluated["metrics"]["file"]
    assert found["subset_accuracy"] == pytest.approx(metrics.accuracy_score(*bits))
    assert found["accuracy"] == pytest.approx(np.mean(bits[0] == bits[1]))
    for name, average in (("f1", "macro"), ("f1_micro", "micro")):
        assert found[name] == pytest.approx(metrics.f1_score(*bits, average=average))
    for index, each in enumerate(evaluated["target_metrics"]["file"].values()):
        true, guessed = bits[0][:, index], bits[1][:, index]
        assert each["accuracy"] == pytest.approx(metrics.accuracy_score(true, guessed))
        assert each["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(true, guessed))
        assert each["f1"] == pytest.approx(metrics.f1_score(true, guessed))
    assert {path.name for path in Path("run/figures").iterdir()} == {
        "learning_rate.svg", "loss.svg", "accuracy.svg", "confusion_matrix_1_warm.svg",
        "confusion_matrix_2_wet.svg",
        "confusion_matrix_3_windy.svg",
    }  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("arguments", [VALUES, LABELS])
def test_a_run_goes_on_and_is_repeated(arguments, table, xpnet):
    assert xpnet("train", table, *arguments, "--out", "run", *FAST).code == 0
    results = json.loads(Path("run/results.json").read_text())
    assert (
        xpnet("evaluate", "run", "--json").json["target_metrics"]["test"] == results["target_metrics"]["test"]
    )
    resumed = xpnet("resume", "run", "--epochs", "27", "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json["epochs_trained"] == 27
    assert xpnet("train", "--config", "run/config.toml", "--out", "again", "--quiet").code == 0
    assert Path("run/encoder.json").read_text() == Path("again/encoder.json").read_text()
    plan = xpnet("train", table, *arguments, "--dry-run")
    kind = "width, price: numbers" if arguments is VALUES else "warm, wet, windy: 2 classes each"
    assert kind in plan.out
    assert xpnet("graph", "run", "--rows", "2").code == 0


@pytest.mark.full
def test_training_keeps_a_row_of_each_class(folder, xpnet):
    rows = weather(60)
    rare = np.zeros(60, dtype=int)
    for seed in range(3):  # one of the seeds would draw the row for another part
        rare[:] = 0
        rare[17 + seed] = 1
        rows.with_columns(rare=rare)[["a", "b", "wet", "rare"]].write_csv("rare.csv")
        outcome = xpnet("train", "rare.csv", "--target", "wet,rare", "--out", f"run{seed}", "--json", *FAST)
        assert outcome.code == 0, outcome.err
        assert sum(outcome.json["rows"].values()) == 60


def test_a_missing_label_drops_its_row(folder, xpnet):
    lines = weather(60)[["a", "b", "warm", "wet"]].write_csv().splitlines()
    lines[5] = lines[5].rpartition(",")[0] + ","
    Path("holes.csv").write_text("\n".join(lines) + "\n")
    refused = xpnet("train", "holes.csv", "--target", "warm,wet", "--missing", "error", *FAST)
    assert (refused.code, "row 5, column 'wet' is missing" in refused.err) == (5, True)
    outcome = xpnet("train", "holes.csv", "--target", "warm,wet", "--out", "run", "--json", *FAST)
    assert (outcome.code, outcome.json["rows_left_out"]) == (0, 1)


REFUSED = {
    "both kinds": (("--target", "width,warm"), 5, ["classes in warm", "numbers in width", "--task"]),
    "three classes": (
        ("--target", "kind,wet", "--task", "classification"), 2,
        ["two classes in each", "a model for each target"],
    ),
    "softmax": (
        (*LABELS, "--loss", "softmax_cross_entropy"), 2, ["expected one target", "binary_cross_entropy"],
    ),
    "values under labels": ((*VALUES, "--loss", "hinge"), 2, ["--loss hinge", "squared_error"]),
    "labels under values": ((*LABELS, "--loss", "huber"), 2, ["loss huber", "classes"]),
    "negative counts": ((*VALUES, "--loss", "poisson"), 5, ["row ", "column 'width'", "not negative"]),
    "unknown": (("--target", "width,prize"), 5, ["no column 'width,prize'"]),
    "dropped": ((*VALUES, "--drop", "price"), 5, ["'price' is a target"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case, table, xpnet):
    arguments, code, words = REFUSED[case]
    outcome = xpnet("train", table, *arguments, "--out", "run", *FAST)
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert len(outcome.err.splitlines()) == 1
    for word in words:
        assert word in outcome.err
    assert not Path("run").exists()
