"""``--diagnostics``: the file in the run folder, warnings, the results, and runs that are resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import FAST
from xpnet import Trainer
from xpnet.runs import fit


def rows_of(run):
    return [json.loads(line) for line in (Path(run) / "diagnostics.jsonl").read_text().splitlines()]


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "epochs"),
    [
        ((), [0, 4, 8, 11]),
        (("--diagnostics", "11"), list(range(12))),
        (("--diagnostics", "5"), [0, 3, 6, 9, 11]),
        (("--diagnostics", "1"), [0, 11]),
        (("--diagnostics", "1000"), list(range(12))),
        (("--max-steps", "33", "--diagnostics", "4"), [0, 1, 2, 3]),
    ],
)
def test_log_points(arguments, epochs, xpnet):
    outcome = xpnet("train", "two-gaussians", "--out", "run", *FAST, "--epochs", "11", *arguments)
    assert outcome.code == 0, outcome.err
    rows = rows_of("run")
    assert [row["epoch"] for row in rows] == epochs
    assert [layer["layer"] for layer in rows[0]["layers"]] == ["0 (Dense)", "1 (ReLU)", "2 (Dense)"]
    verdicts = json.loads(Path("run/results.json").read_text())["verdicts"]
    assert {verdict["kind"] for verdict in verdicts} <= {"under-trained"}


def test_none_are_asked_for(xpnet):
    assert xpnet("train", "two-gaussians", "--out", "run", *FAST, "--diagnostics", "0").code == 0
    assert not Path("run/diagnostics.jsonl").exists()
    (verdict,) = json.loads(Path("run/results.json").read_text())["verdicts"]
    assert verdict["kind"] == "under-trained"  # which no layer is asked for


@pytest.mark.parametrize("quiet", [False, True])
def test_a_verdict_is_shown_logged_and_kept(quiet, xpnet):
    arguments = ["--weight-init", "zeros", *(["--quiet"] if quiet else [])]
    outcome = xpnet("train", "two-gaussians", "--out", "run", *FAST, *arguments)
    assert outcome.code == 0
    warning = "identical units in 0 (Dense), before the first epoch: all units"
    shown = [line for line in outcome.err.splitlines() if line.startswith(f"warning: {warning}")]
    assert len(shown) == (0 if quiet else 1)
    assert warning in Path("run/train.log").read_text()
    verdict = json.loads(Path("run/results.json").read_text())["verdicts"][0]
    assert (verdict["epoch"], verdict["kind"], verdict["layer"]) == (0, "identical units", "0 (Dense)")
    assert verdict["message"]
    assert rows_of("run")[0]["verdicts"][0]["kind"] == "identical units"


def test_a_resumed_run_has_the_rows_of_one_in_one_go(xpnet, monkeypatch):
    arguments = ("two-gaussians", *FAST, "--epochs", "6", "--diagnostics", "6", "--dropout", "0.2")
    assert xpnet("train", *arguments, "--out", "straight").code == 0

    class Interrupting(fit.Keeper):
        def on_epoch_end(self, trainer, row):
            super().on_epoch_end(trainer, row)
            if row["epoch"] == 3:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit, "Keeper", Interrupting)
        assert xpnet("train", *arguments, "--out", "run").code == 130
    assert [row["epoch"] for row in rows_of("run")] == [0, 1, 2]
    with open("run/diagnostics.jsonl", "a") as file:
        file.write('{"epoch": 3, "lay')
    assert xpnet("resume", "run").code == 0
    assert rows_of("run") == rows_of("straight")


def test_the_rows_are_those_of_the_best_restart(xpnet):
    """Each restart is measured on its own; what stays is that of the one that is kept."""
    assert xpnet("train", "two-gaussians", "--restarts", "3", *FAST, "--out", "run").code == 0
    rows = rows_of("run")
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    last = Trainer.load("run/checkpoints/last.safetensors", "numpy").variables.params
    weights = np.concatenate([last["0.weight"].ravel(), last["0.bias"]])
    assert rows[-1]["layers"][0]["weight_norm"] == pytest.approx(np.linalg.norm(weights), rel=1e-5)
