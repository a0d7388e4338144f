"""Runs from Python: the same bits as by the command line, without the packages of the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from xpnet import runs
from xpnet.cli import main
from xpnet.data import read_table
from xpnet.errors import CheckpointError, ConfigError, DataError
from xpnet.runs.signals import Interrupted
from xpnet.tabular import TableModel
from xpnet.train import checkpoint_file

FAST: dict[str, Any] = {"epochs": 2, "hidden": (8,), "backend": "numpy"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XPNET_BACKEND", raising=False)
    return tmp_path


def table(rows: int = 60) -> pl.DataFrame:
    i = np.arange(rows)
    return pl.DataFrame(
        {
            "length": 1.0 + 2.0 * (i % 2) + 0.01 * i,
            "colour": np.asarray(["red", "blue", "white"])[i % 3],
            "kind": np.asarray(["rose", "tulip"])[i % 2],
        }
    )


def arrays(run: str) -> dict[str, np.ndarray]:
    return checkpoint_file.read(Path(run) / "checkpoints" / "best.safetensors")[0]


def test_a_run_whose_best_epoch_is_that_of_the_highest_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    """Told everywhere, the same when it is resumed, and the restarts are compared by it."""
    settings = {**FAST, "epochs": 6, "monitor": "val_f1", "patience": 5, "validation": 0.4}
    run = runs.train(table(), "kind", "run", restarts=2, **settings)
    assert run.settings.monitor == "validation_f1"
    scores = [max(row["validation_f1"] for row in run.history)]
    told = run.results
    assert run.history.rows[told["best_epoch"] - 1]["validation_f1"] == scores[0]
    assert (told["best_by"], told["restarts"]["measured_by"]) == ("highest validation f1", "validation_f1")
    assert told["restarts"]["maximum"] == pytest.approx(scores[0])
    assert main(["resume", "run"]) == 0
    assert "that of the highest validation f1" in " ".join(capsys.readouterr().out.split())
    again = runs.train(table(), "kind", "again", **{**settings, "epochs": 3}).resume(epochs=6)
    alone = runs.train(table(), "kind", "alone", **settings)
    assert again.results["best_epoch"] == alone.results["best_epoch"]
    assert all(np.array_equal(x, arrays("alone")[name]) for name, x in arrays("again").items())
    with pytest.raises(ConfigError, match=r"monitor: .* of classification .* found validation_r2"):
        runs.train(table(), "kind", "other", **{**settings, "monitor": "validation_r2"})
    with pytest.raises(ConfigError, match="monitor: expected validation rows"):
        runs.train(table(), "kind", "other", **{**settings, "patience": None, "validation": 0.0})


def test_a_run_that_predicts_with_a_mean_of_its_weights() -> None:
    """Numbered checkpoints, the best one and a run that is resumed have it; the refit has one of its own."""
    settings = {**FAST, "epochs": 6, "ema_decay": 0.9, "save_every": 2}
    run = runs.train(table(), "kind", "run", **settings)
    rows, told = run.history.rows, run.results
    best = rows[told["best_epoch"] - 1]["validation_loss"]
    assert told["metrics"]["validation"]["loss"] == pytest.approx(best)
    parts = runs.train(table(), "kind", "parts", **{**settings, "epochs": 4})
    assert arrays("parts").keys() == arrays("run").keys()  # of the best weights alone
    again = parts.resume(epochs=6)
    last = "checkpoints/last.safetensors"
    one, other = (checkpoint_file.read(Path(name) / last)[0] for name in ("run", "parts"))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert "average.params" in one
    assert again.results["metrics"] == told["metrics"]


def test_a_run_in_python() -> None:
    run = runs.train(table(), target="kind", out="run", **FAST)
    assert run.path == Path("run")
    assert len(run.history) == 2
    assert run.report.read_text().startswith("<!DOCTYPE html>")
    assert run.settings.epochs == 2
    assert run.results["metrics"]["test"] == run.evaluate()
    found = run.predict(table())
    assert found.columns == ["prediction", "probability_rose", "probability_tulip"]
    assert run.model.predict(table()).to_list() == found["prediction"].to_list()
    assert TableModel.load("run").predict(table()).to_list() == found["prediction"].to_list()
    assert "accuracy" in repr(run)
    assert "<table>" in run._repr_html_()
    assert set(run.predict({"length": [1.0], "colour": ["red"]})) == set(found.columns)


def test_a_run_keeps_what_its_columns_are() -> None:
    frame = table().with_columns(number=pl.int_range(1, 61), same=pl.lit("x"))
    run = runs.train(frame, target="kind", out="run", **FAST)
    described = {column.name: column for column in run.summary.columns}
    assert {name: column.role for name, column in described.items()} == {
        "length": "feature", "colour": "feature", "kind": "target", "number": "left out", "same": "left out"
    }  # fmt: skip
    assert described["colour"].values == "3: blue, red, white"
    assert "left out as a count of the rows" in described["number"].decided
    assert str(run.summary).startswith("<table in memory>: 60 rows, 5 columns; target kind")
    assert "left out as a count of the rows" in run.report.read_text()
    pruned = run.prune(0.5, "pruned", rounds=1, epochs=1, tolerance=None)
    assert pruned.summary == run.summary
    assert run.resume(epochs=3).summary == run.summary
    run.folder.columns.write_text("{}")
    with pytest.raises(CheckpointError, match=r"columns\.json"):
        _ = run.summary
    resumed = run.resume(epochs=4)  # which needs no summary
    assert "The columns of the table" not in resumed.report.read_text()
    run.folder.columns.unlink()
    with pytest.raises(CheckpointError, match="no summary of its columns"):
        _ = run.summary


def test_the_command_line_gives_the_same_bits() -> None:
    """Nothing differs but the folders, the times, and the command."""
    table().write_csv("flowers.csv")
    flags = [
        "--hidden",
        "8,4",
        "--epochs",
        "3",
        "--seed",
        "7",
        "--l2",
        "0.01",
        "--backend",
        "numpy",
        "--quiet",
    ]
    assert main(["train", "flowers.csv", "--target", "kind", "--out", "by-command", *flags]) == 0
    run = runs.train(
        "flowers.csv", "kind", "by-python", hidden=(8, 4), epochs=3, seed=7, l2=0.01, backend="numpy"
    )
    one, other = arrays("by-command"), arrays("by-python")
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    for name in ("config.toml", "encoder.json", "diagnostics.jsonl"):
        assert Path("by-command", name).read_bytes() == Path("by-python", name).read_bytes()
    assert main(["predict", "by-command", "flowers.csv", "--out", "predictions.csv"]) == 0
    by_command = read_table("predictions.csv")
    by_python = run.predict("flowers.csv")
    by_python.write_csv("by-python.csv")
    assert by_command.equals(read_table("by-python.csv"))
    model = TableModel(hidden=(8, 4), epochs=3, seed=7, l2=0.01, backend="numpy").fit("flowers.csv", "kind")
    assert model.predict_proba("flowers.csv").rows() == [row[1:] for row in by_python.rows()]


def test_resumed_to_the_same_bits() -> None:
    whole = runs.train(table(), "kind", "whole", **{**FAST, "epochs": 4})
    half = runs.train(table(), "kind", "half", **FAST)
    assert half.resume(epochs=4).results["epochs_trained"] == 4
    one, other = arrays("whole"), arrays("half")
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    assert whole.evaluate() == half.evaluate()


def test_a_table_in_memory_is_asked_for_again(capsys: pytest.CaptureFixture[str]) -> None:
    runs.train(table(), "kind", "run", **FAST)
    run = runs.open("run")
    with pytest.raises(DataError, match=r"run\.resume\(table=table\)"):
        run.resume(epochs=3)
    with pytest.raises(DataError, match="has changed"):
        run.resume(table().reverse(), epochs=3)
    assert run.resume(table(), epochs=3).results["epochs_trained"] == 3
    with pytest.raises(DataError, match="pass it again"):
        run.evaluate()
    assert runs.open("run", table()).evaluate() == run.results["metrics"]["test"]
    assert main(["resume", "run", "--epochs", "4"]) == 5
    assert "in memory" in capsys.readouterr().err
    table().write_csv("flowers.csv")
    assert main(["predict", "run", "flowers.csv"]) == 0


def test_pruned() -> None:
    run = runs.train("two-gaussians", out="run", **FAST)
    pruned = run.prune(0.5, rounds=2, epochs=1)
    assert pruned.path == Path("run-pruned")
    assert pruned.results["pruning"]["reached"] == pytest.approx(0.5, abs=0.1)
    assert run.prune(sparsity=0.25, out="other", rounds=1, epochs=1).path == Path("other")
    with pytest.raises(ConfigError, match="sparsity: expected"):
        run.prune()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": "many"}, "^epochs: expected"),
        ({"batch_size": 1000}, "^batch_size: expected at most the 42 training rows"),
        ({"optimizer": "newton", "batch_size": 8}, "choose optimizer='adam'"),
        ({"patience": 3, "validation": 0}, "use validation=0.1"),
        ({"keep_last": 3}, "expected save_every=N with it"),
        ({"epoch": 3}, "no setting 'epoch'; did you mean 'epochs'"),
    ],
)
def test_messages_are_in_the_words_of_python(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as found:
        runs.train(table(), "kind", **settings)
    assert "--" not in str(found.value)
    assert not Path("runs").exists()


def test_a_run_that_is_there_stays() -> None:
    runs.train(table(), "kind", "run", **FAST)
    with pytest.raises(ConfigError, match=r"xpnet\.runs\.open\('run'\)\.resume\(\)"):
        runs.train(table(), "kind", "run", **FAST)
    with pytest.raises(CheckpointError, match="no run folder 'ran'; did you mean 'run'"):
        runs.open("ran")


def test_ctrl_c_saves_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    from xpnet.runs import checkpoints

    end = checkpoints.CSVLog.on_epoch_end

    def interrupted(log: Any, trainer: Any, row: dict[str, Any]) -> None:
        end(log, trainer, row)
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "_SAVE_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.CSVLog, "on_epoch_end", interrupted)
        with pytest.raises(KeyboardInterrupt) as stop:
            runs.train("two-gaussians", out="run", **{**FAST, "epochs": 4})
    assert isinstance(stop.value, Interrupted)
    assert "xpnet.runs.open('run').resume()" in str(stop.value)
    run = runs.open("run")
    assert "not finished" in repr(run)
    with pytest.raises(CheckpointError, match="not finished"):
        _ = run.results
    assert run.resume().results["epochs_trained"] == 4


def test_what_runs_say_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    run = runs.train(table(), "kind", "run", **FAST)
    with caplog.at_level("INFO", logger="xpnet.runs"):
        run.resume(epochs=3)
    assert "continuing after epoch 2 of 3" in caplog.text


_BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"typer", "rich", "click", "pandas"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
import xpnet
from xpnet import runs

run = runs.train("two-gaussians", out="run", epochs=2, hidden=(4,), backend="numpy")
run = run.resume(epochs=3)
pruned = run.prune(0.5, rounds=1, epochs=1)
model = xpnet.tabular.TableModel(epochs=1, backend="numpy").fit("two-gaussians")
print(run.predict({"x0": [0.0], "x1": [0.0]})["prediction"][0], run.report.is_file(), pruned.report.is_file())
assert not {"typer", "rich", "click"} & set(sys.modules)
assert not any(name.startswith("xpnet.cli") for name in sys.modules)
"""


def test_without_the_packages_of_the_command_line() -> None:
    root = str(Path(runs.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == ["True", "True"]


def test_names_of_the_package() -> None:
    for name in runs.__all__:
        assert getattr(runs, name) is not None
    assert set(runs.__all__) <= set(dir(runs))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = runs.nothing


def test_results_are_plain_data() -> None:
    run = runs.train("two-gaussians", out="run", **FAST)
    assert json.loads(json.dumps(run.results)) == run.results
