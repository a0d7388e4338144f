"""What a first run on a small table shows: when it ends, what its scores are worth, and how to go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import flowers


def results_of(run):
    return json.loads((Path(run) / "results.json").read_text())


@pytest.fixture
def table(folder):
    path = Path("flowers.csv")
    path.write_text(flowers())
    return path


OPEN = ("--target", "price", "--drop", "kind", "--backend", "numpy", "--quiet", "--json")


def test_training_goes_on_until_the_loss_has_stopped_falling(xpnet, table):
    told = xpnet("train", table, *OPEN, "--out", "run").json
    assert told["stopped"] == "no validation loss lower by 0.001 for 25 epochs"
    assert told["steps"] >= 500
    assert told["metrics"]["test"]["r2"] > 0.9
    assert (told["advice"], told["verdicts"], told["timed_out"]) == ([], [], False)
    assert "# epochs is not set" in Path("run/config.toml").read_text()  # what was asked for
    # and 'resume' has the same end, until epochs are asked for
    assert xpnet("resume", "run", "--json").json["resumed"] is False
    assert "--epochs N trains on" in xpnet("resume", "run").err
    further = told["epochs_trained"] + 30
    again = xpnet("resume", "run", "--epochs", further, "--json").json
    assert (again["epochs_trained"], again["stopped"]) == (further, "all epochs done")


LENGTHS = {
    "epochs": (("--epochs", "7"), (7, None, None)),
    "epochs and patience": (("--epochs", "70", "--patience", "2"), (70, 2, None)),
    "steps": (("--max-steps", "7"), (3, None, None)),  # three of each epoch
    "patience": (("--patience", "3"), (1000, 3, 600.0)),
    "time": (("--time-limit", "1m"), (256, None, 60.0)),  # preset auto: RealMLP
    "time, of a small network": (("--time-limit", "1m", "--preset", "fast"), (1000, 25, 60.0)),
    "no validation rows": (("--validation", "0"), (50, None, None)),
    "a schedule that spans the training": (("--schedule", "cosine"), (50, None, None)),
    "one that does not": (("--schedule", "inverse"), (1000, 25, 600.0)),
    "a method of second order": (("--optimizer", "l-bfgs"), (1000, 25, 600.0)),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_length_that_settings_ask_for(name, xpnet, table):
    flags, (epochs, patience, seconds) = LENGTHS[name]
    told = xpnet("train", table, *OPEN, *flags, "--dry-run").json
    assert (told["epochs"], told["patience"], told["time_limit"]) == (epochs, patience, seconds)


def test_a_time_limit_ends_a_run_that_resume_continues(xpnet, table):
    arguments = ("train", table, *OPEN, "--epochs", "6", "--dropout", "0.2")
    whole = xpnet(*arguments, "--out", "whole").json
    first = xpnet(*arguments, "--time-limit", "0.000001", "--out", "run").json
    assert (first["epochs_trained"], first["stopped"], first["timed_out"]) == (1, "time limit", True)
    assert first["advice"] == [{"why": "the best epoch is the last one", "set": {}}]
    assert xpnet("resume", "run", "--json").json["epochs_trained"] == 2
    last = xpnet("resume", "run", "--time-limit", "none", "--json").json
    assert (last["epochs_trained"], last["stopped"]) == (6, "all epochs done")
    assert last["metrics"] == whole["metrics"]


def test_a_run_says_how_to_go_on_where_the_best_epoch_is_the_last(xpnet, table):
    outcome = xpnet("train", table, *OPEN[:-2], "--epochs", "3", "--out", "a run")
    assert (
        "\nadvice      the best epoch is the last one; train on with: xpnet resume 'a run' --epochs 6\n"
        in outcome.out
    )
    assert "warning: under-trained: the validation loss was still falling at the end" in outcome.err
    (advice,) = results_of("a run")["advice"]
    assert advice["set"] == {"epochs": 6}


def test_one_test_row_has_the_interval_of_one_row(xpnet, folder):
    Path("five.csv").write_text("a,t\n1,yes\n2,yes\n3,yes\n-1,no\n-2,no\n")
    outcome = xpnet("train", "five.csv", "--target", "t", "--backend", "numpy", "--quiet", "--out", "run")
    told = results_of("run")
    assert told["rows"] == {"train": 3, "validation": 1, "test": 1}
    (accuracy,) = {told["metrics"]["test"]["accuracy"]}
    assert told["intervals"]["test"]["accuracy"] == pytest.approx(
        [0.2065, 1.0] if accuracy else [0, 0.7935], abs=1e-3
    )
    line = next(line for line in outcome.out.splitlines() if line.strip().startswith("test"))
    assert ("20.7 to 100 %" if accuracy else "0 to 79.3 %") in line
    assert any(line.strip().startswith("always '") for line in outcome.out.splitlines())
    again = xpnet("evaluate", "run", "--json").json
    assert again["intervals"]["test"] == told["intervals"]["test"]
    assert again["baseline"]["metrics"]["test"] == told["baseline"]["metrics"]["test"]
