"""``xpnet train``: what it says, what it leaves behind, and that it learns."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import FAST, flowers
from xpnet.backends import probe
from xpnet.losses import LOSSES
from xpnet.train import checkpoint_file

FILES = {
    "config.toml",
    "environment.json",
    "columns.json",
    "encoder.json",
    "history.csv",
    "history.jsonl",
    "diagnostics.jsonl",
    "train.log",
    "results.json",
    "report.html",
    "checkpoints/last.safetensors",
    "checkpoints/best.safetensors",
    "figures/loss.svg",
    "figures/activation_scale.svg",
    "figures/dead_units.svg",
    "figures/gradient_norms.svg",
    "figures/update_ratios.svg",
    "figures/accuracy.svg",
    "figures/learning_rate.svg",
    "figures/confusion_matrix.svg",
}


def files_of(folder):
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


def test_digits_reach_97_percent_with_the_defaults(xpnet, folder):
    outcome = xpnet("train", "digits", "--backend", "numpy", "--out", "run", "--quiet")
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"test\s+359\s", outcome.out)
    results = json.loads(Path("run/results.json").read_text())
    assert results["metrics"]["test"]["accuracy"] >= 0.97
    assert results["seconds"] < 60
    assert files_of("run") == FILES | {"checkpoints/final.safetensors"}


def test_run_folder(trained):
    run = trained("two-gaussians", "--seed", "3")
    assert files_of(run) == FILES
    config = tomllib.loads((run / "config.toml").read_text())
    assert (config["task"], config["loss"], config["learning-rate"]) == (
        "classification",
        "softmax_cross_entropy",
        0.002,
    )
    assert (config["target"], config["backend"], config["batch-size"], config["seed"]) == (
        "class",
        "numpy",
        64,
        3,
    )
    environment = json.loads((run / "environment.json").read_text())
    assert environment["backend"]["spec"] == "numpy"
    assert environment["versions"]["numpy"] == np.__version__
    assert {"platform", "blas", "command", "data"} <= set(environment)
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate"} <= set(rows[0])
    assert "epoch 2" in (run / "train.log").read_text()
    assert "finished: all epochs done" in (run / "train.log").read_text()
    for figure in (run / "figures").iterdir():
        assert figure.read_text().startswith("<?xml")
    results = json.loads((run / "results.json").read_text())
    best = min(rows, key=lambda row: float(row["validation_loss"]))
    assert results["best_epoch"] == int(best["epoch"])
    assert results["metrics"]["validation"]["loss"] == pytest.approx(float(best["validation_loss"]))


def test_messages_go_to_stderr_and_results_to_stdout(xpnet, folder):
    outcome = xpnet("train", "two-gaussians", "--out", "run", *FAST)
    assert "epoch 2/2" in outcome.err
    assert "device numpy" in outcome.err
    assert "epoch 2/2" not in outcome.out
    for words in ("train", "validation", "test", "accuracy", "run folder", "run"):
        assert words in outcome.out


def test_json_is_all_that_stdout_holds(xpnet, folder):
    outcome = xpnet("train", "two-gaussians", "--out", "run", *FAST, "--json")
    assert outcome.json == json.loads(Path("run/results.json").read_text())
    assert set(outcome.json["metrics"]) == {"train", "validation", "test"}


def test_many_epochs_are_told_in_few_lines(xpnet, folder):
    outcome = xpnet("train", "two-gaussians", "--out", "run", *FAST, "--epochs", "100", "--max-steps", "1200")
    assert 15 <= sum(line.startswith("epoch") for line in outcome.err.splitlines()) <= 30


def test_dry_run_writes_nothing(xpnet, folder):
    outcome = xpnet("train", "digits", "--dry-run", "--hidden", "32,16", "--out", "run")
    assert outcome.code == 0
    for words in (
        "1,258",
        "180",
        "359",
        "-32-16-10",
        "parameters",
        "10 classes",
        "dry run",
        "left out as constant",
    ):
        assert words in outcome.out
    assert list(folder.iterdir()) == []
    plan = xpnet("train", "digits", "--dry-run", "--json").json
    assert plan["rows"] == {"train": 1258, "validation": 180, "test": 359}


def test_print_config_is_read_back(xpnet, folder):
    printed = xpnet("train", "digits", "--print-config", "--hidden", "32,16", "--drop", "pixel_0_0")
    Path("run.toml").write_text(printed.out)
    again = xpnet("train", "--config", "run.toml", "--print-config")
    assert (again.code, again.out) == (0, printed.out)
    assert [path.name for path in folder.iterdir()] == ["run.toml"]


def test_config_then_flags(xpnet, folder):
    Path("run.toml").write_text('[train]\ndata = "two-gaussians"\nepochs = 1\nhidden = [4]\nseed = 5\n')
    outcome = xpnet("train", "--config", "run.toml", "--seed", "6", "--out", "run", "--json", "--quiet")
    assert outcome.json["layers"] == "2-4-2"
    assert (outcome.json["epochs"], outcome.json["seed"]) == (1, 6)


def test_run_config_repeats_the_run(xpnet, trained):
    run = trained("two-gaussians", "--dropout", "0.2", "--schedule", "cosine")
    outcome = xpnet("train", "--config", run / "config.toml", "--out", "again")
    assert outcome.code == 0
    assert (run / "config.toml").read_text() == Path("again/config.toml").read_text()
    one, other = (checkpoint_file.read(r / "checkpoints/last.safetensors")[0] for r in (run, Path("again")))
    np.testing.assert_array_equal(one["params"], other["params"])


@pytest.mark.full
def test_default_folders_do_not_meet(xpnet, folder):
    for _ in range(3):
        assert xpnet("train", "sine", *FAST, "--epochs", "1").code == 0
    names = sorted(path.name for path in Path("runs").iterdir())
    assert len(names) == 3
    assert all(re.fullmatch(r"sine-\d{8}-\d{6}(-\d)?", name) for name in names)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("policy", ["drop", "mean"])
def test_a_table_with_categories_and_missing_cells(task, policy, xpnet, folder):
    Path("flowers.csv").write_text(flowers(missing=True))
    target, other = ("kind", "price") if task == "classification" else ("price", "kind")
    arguments = ("--target", target, "--drop", other, "--missing", policy)
    fast = ("--backend", "numpy", "--epochs", "60", "--learning-rate", "0.02")
    outcome = xpnet("train", "flowers.csv", *arguments, *fast, "--out", "run", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["task"] == task
    assert outcome.json["features"] == 5
    assert outcome.json["rows_left_out"] == (6 if policy == "drop" else 0)
    test = outcome.json["metrics"]["test"]
    if task == "classification":
        assert test["accuracy"] > 0.8
        assert outcome.json["classes"] == ["rose", "tulip"]
    else:
        assert test["r2"] > 0.5
        assert test["rmse"] < 0.4
        assert Path("run/figures/predicted_vs_true.svg").exists()
    predicted = xpnet("predict", "run", "flowers.csv")
    assert predicted.code == 0
    assert len(predicted.out.splitlines()) == 61
    assert xpnet("evaluate", "run", "flowers.csv", "--json").json["rows"] == {
        "file": 54 if policy == "drop" else 60
    }
    assert xpnet("evaluate", "run", "--json").json["metrics"]["test"] == test


@pytest.mark.full
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_trains(loss, xpnet, folder):
    data = "two-gaussians" if LOSSES[loss].targets in ("classes", "binary", "signs") else "sine"
    if LOSSES[loss].targets == "counts":
        data = "counts.csv"
        Path(data).write_text("x,y\n" + "".join(f"{i % 7},{(i % 7) ** 2 + i % 2}\n" for i in range(120)))
    arguments = ("--loss", loss, "--out", "run", "--json", *FAST, "--epochs", "30", "--learning-rate", "0.01")
    outcome = xpnet("train", data, *arguments, "--task", "regression" if data != "two-gaussians" else "auto")
    assert outcome.code == 0, outcome.err
    test = outcome.json["metrics"]["test"]
    assert test["accuracy"] > 0.9 if data == "two-gaussians" else test["r2"] > 0.3
    assert xpnet("predict", "run", data).code == 0


@pytest.mark.full
@pytest.mark.parametrize(
    "device", ["array_api_strict", "array_api_strict:device1", "torch:cpu", "jax:cpu", "cuda"]
)
def test_devices_agree(device, xpnet, folder):
    name = {"cuda": "cupy"}.get(device, device.partition(":")[0])
    if not probe(name).usable:
        pytest.skip(f"{name}: {probe(name).reason}")
    arguments = ("--epochs", "6", "--hidden", "8", "--learning-rate", "0.01", "--json", "--quiet")
    reference = xpnet("train", "two-gaussians", "--backend", "numpy", *arguments).json
    outcome = xpnet("train", "two-gaussians", "--backend", device, *arguments)
    assert outcome.code == 0, outcome.err
    for part, metrics in outcome.json["metrics"].items():
        assert metrics["accuracy"] == pytest.approx(reference["metrics"][part]["accuracy"], abs=0.01)


@pytest.mark.full
@pytest.mark.parametrize(
    "arguments",
    [
        ("--optimizer", "sgd", "--learning-rate", "0.1", "--momentum", "0.9", "--nesterov"),
        ("--optimizer", "adamw", "--weight-decay", "0.1"),
        ("--schedule", "inverse", "--optimizer", "sgd", "--learning-rate", "0.5"),
        ("--schedule", "step", "--warmup", "5"),
        ("--schedule", "exponential"),
        ("--hidden", "8,4", "--activation", "tanh,gelu", "--weight-init", "orthogonal"),
        ("--hidden", "none"),
        ("--dropout", "0.2", "--batch-norm", "--l2", "0.001"),
        ("--clip-norm", "1", "--clip-value", "0.1"),
        ("--batch-size", "full", "--dtype", "float64"),
        ("--batch-size", "1", "--batches", "fixed", "--max-steps", "30"),
        ("--validation", "0", "--test", "0"),
        ("--patience", "1", "--epochs", "200", "--learning-rate", "0.1"),
    ],
)
def test_settings_reach_the_training(arguments, xpnet, folder):
    outcome = xpnet("train", "xor", "--out", "run", *FAST, *arguments, "--json")
    assert outcome.code == 0, outcome.err
    if "--max-steps" in arguments:
        assert (outcome.json["steps"], outcome.json["stopped"]) == (30, "all 30 steps done")
    if "--patience" in arguments:
        assert outcome.json["epochs_trained"] < 200
        assert outcome.json["stopped"] == "no better validation loss for 1 epoch"
    if "--validation" in arguments:
        assert outcome.json["best_epoch"] is None
        assert set(outcome.json["metrics"]) == {"train"}
        assert Path("run/checkpoints/best.safetensors").exists()


def test_best_weights_are_those_that_are_measured(xpnet, folder):
    arguments = (
        "--learning-rate",
        "0.3",
        "--hidden",
        "64",
        "--epochs",
        "25",
        "--backend",
        "numpy",
        "--seed",
        "1",
    )
    results = xpnet("train", "spirals", "--out", "run", *arguments, "--json").json
    assert results["best_epoch"] < 25
    for name, expected in (("best", True), ("last", False)):
        measured = xpnet("evaluate", "run", "--checkpoint", name, "--json").json
        assert (measured["metrics"]["test"] == results["metrics"]["test"]) is expected
