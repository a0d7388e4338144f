"""Several initializations in one run: the best is kept, and a kill at any moment loses nothing."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_resume import STEPS, assert_same_run, strike
from xpnet.cli import main
from xpnet.runs import checkpoints
from xpnet.train import checkpoint_file
from xpnet.train.random_restarts import restart_seed

RUN = ("two-gaussians", "--epochs", "3", "--hidden", "8", "--backend", "numpy", "--dropout", "0.2")
THREE = (*RUN, "--restarts", "3", "--save-every", "2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of three restarts."""
    run = tmp_path_factory.mktemp("restarts") / "run"
    assert main(["train", *THREE, "--out", str(run), "--quiet"]) == 0
    return run


def table(run="run"):
    with Path(run, "restarts.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(run):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in table(run)]


def test_the_best_is_kept(xpnet, folder):
    outcome = xpnet("train", *THREE, "--out", "run", "--json")
    assert outcome.code == 0, outcome.err
    for number in (1, 2, 3):
        assert f"restart {number}/3  epoch 1/3" in outcome.err
    rows = table()
    losses = [float(row["validation_loss"]) for row in rows]
    assert [int(row["seed"]) for row in rows] == [restart_seed(0, number) for number in (1, 2, 3)]
    told, best = outcome.json["restarts"], int(np.argmin(losses))
    assert (told["n"], told["best"], told["lost"], told["count"]) == (3, best + 1, 0, 3)
    assert (told["minimum"], told["maximum"], told["median"]) == (min(losses), max(losses), sorted(losses)[1])
    assert told["standard_deviation"] == pytest.approx(np.std(losses, ddof=1))
    assert outcome.json["metrics"]["validation"]["loss"] == pytest.approx(min(losses), rel=1e-6)
    assert outcome.json == json.loads(Path("run/results.json").read_text())
    assert not Path("run/restarts").exists()
    assert sorted(path.name for path in Path("run/checkpoints").iterdir()) == [
        "best.safetensors", "epoch-000002.safetensors", "last.safetensors"]  # fmt: skip
    assert len(Path("run/history.csv").read_text().splitlines()) == 1 + 3
    assert xpnet("predict", "run", "two-gaussians").code == 0


def test_the_first_restart_is_the_run_without_restarts(xpnet, folder):
    assert xpnet("train", *RUN, "--out", "alone").code == 0
    assert xpnet("train", *THREE, "--out", "run").code == 0
    history = Path("alone/history.csv").read_text().splitlines()[-1].split(",")
    assert history[2] == table()[0]["loss"]


def test_the_spread_is_shown(xpnet, folder):
    outcome = xpnet("train", *THREE, "--out", "run")
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("restarts")]
    assert "of 3 is the best, seed " in line
    assert "validation loss: min " in line


@pytest.mark.full
@pytest.mark.parametrize(
    ("where", "number"),
    [("step", 4 * STEPS + 5), ("restarts.csv", 1), ("last.safetensors", 7), ("results.json", 1)],
)
def test_kill_and_resume(where, number, xpnet, whole):
    killed = strike(where, number, "SIGKILL", "train", *THREE, "--out", "run")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    outcome = xpnet("resume", "run", "--json")
    assert outcome.code == 0, outcome.err
    assert_same_run(whole, "run")
    assert without_seconds(whole) == without_seconds("run")
    whole, resumed = (json.loads(Path(run, "results.json").read_text())["restarts"] for run in (whole, "run"))
    assert whole == resumed
    assert not Path("run/restarts").exists()
    assert "is finished" in xpnet("resume", "run").err


def test_a_changed_table_of_restarts_is_refused(xpnet, folder):
    """The losses in it say which restart is the best."""
    strike("step", 4 * STEPS + 5, "SIGKILL", "train", *THREE, "--out", "run")
    path = Path("run/restarts.csv")
    text = path.read_text()
    for changed, words in (
        (text.replace(",done,", ",lost,"), "is not what 'last.safetensors' was trained with"),
        (text.replace("\n1,", "\n2,"), "row 1 is not that of restart 1"),
        (text.replace("restart,", "restart,surprise,"), "is damaged"),
    ):
        assert changed != text
        path.write_text(changed)
        outcome = xpnet("resume", "run")
        assert (outcome.code, words in outcome.err) == (1, True), outcome.err


@pytest.mark.full
def test_ctrl_c_keeps_the_best_so_far(xpnet, whole, monkeypatch):
    step_end, steps = checkpoints.Keeper.on_step_end, []

    def interrupting(self, *arguments):
        steps.append(arguments)
        if len(steps) == 4 * STEPS + 2:
            os.kill(os.getpid(), signal.SIGINT)
        step_end(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Keeper, "on_step_end", interrupting)
        patch.setattr(checkpoints.Keeper, "steps_apart", 1)
        outcome = xpnet("train", *THREE, "--out", "run")
    assert outcome.code == 130
    assert "interrupted after epoch 1 of restart 2/3; the state is saved" in outcome.err
    assert len(table()) == 1
    assert xpnet("evaluate", "run", "--checkpoint", "last", "--json").json["checkpoint_epoch"] == 3
    refused = xpnet("resume", "run", "--learning-rate", "0.1")
    assert (refused.code, "while restarts are under way (1 of 3 are done)" in refused.err) == (2, True)
    assert xpnet("resume", "run", "--from", "epoch-2").code == 2
    outcome = xpnet("resume", "run")
    assert outcome.code == 0, outcome.err
    assert "continuing with 1 of 3 restarts done" in outcome.err
    assert_same_run(whole, "run")


def test_ctrl_c_before_the_first_epoch(xpnet, folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.Keeper, "save", interrupted)
    assert xpnet("train", *THREE, "--out", "run").code == 130
    assert not Path("run").exists()


def test_more_epochs_for_the_best(xpnet, whole):
    run = shutil.copytree(whole, "run")
    seed = json.loads((whole / "results.json").read_text())["restarts"]["seed"]
    outcome = xpnet("resume", run, "--epochs", "4", "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.json["epochs_trained"], outcome.json["restarts"]["seed"]) == (4, seed)
    assert checkpoint_file.read("run/checkpoints/last.safetensors")[1]["settings"]["seed"] == seed
    assert xpnet("resume", run, "--from", "epoch-2").code == 0
    assert xpnet("resume", run, "--restarts", "5").code == 2


@pytest.mark.full
@pytest.mark.parametrize("lost", [{1}, {2}, {1, 2, 3}], ids=str)
def test_restarts_that_diverge(lost, xpnet, folder, monkeypatch):
    fit_begin, begun = checkpoints.Keeper.on_fit_begin, []

    def spoiling(self, trainer, epochs):
        fit_begin(self, trainer, epochs)
        begun.append(1)
        if len(begun) in lost:
            trainer.variables.params.flat[0] = float("nan")

    monkeypatch.setattr(checkpoints.Keeper, "on_fit_begin", spoiling)
    outcome = xpnet("train", *THREE, "--out", "run", "--json")
    for number in lost:
        assert f"restart {number}/3 is lost: diverged in epoch 1" in outcome.err
    assert [row["outcome"] == "diverged" for row in table()] == [number in lost for number in (1, 2, 3)]
    if len(lost) == 3:
        assert (outcome.code, "all 3 restarts diverged" in outcome.err) == (4, True)
        assert xpnet("resume", "run").code == 4
    else:
        assert outcome.json["restarts"]["lost"] == 1
        assert outcome.json["restarts"]["count"] == 2


@pytest.mark.full
@pytest.mark.parametrize("init", ["constant", "zeros"])
def test_equal_weights_are_warned_of(init, xpnet, folder):
    outcome = xpnet("train", *RUN[:-2], "--weight-init", init, "--restarts", "3", "--out", "run")
    assert outcome.code == 0
    assert outcome.err.count("warning: all units of layer 0 (8 units) begin with equal weights") == 1
    assert outcome.err.count("warning: restarts do not help here") == 1
    assert "restarts do not help here" in Path("run/train.log").read_text()
    quiet = xpnet("train", *RUN[:-2], "--weight-init", init, "--out", "quiet", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")


def test_no_warning_for_a_linear_model(xpnet, folder):
    linear = (
        "two-gaussians",
        "--hidden",
        "none",
        "--weight-init",
        "zeros",
        "--epochs",
        "1",
        "--backend",
        "numpy",
    )
    assert "warning" not in xpnet("train", *linear, "--out", "run").err


@pytest.mark.full
def test_a_damaged_table_of_restarts(xpnet, folder):
    killed = strike("restarts.csv", 2, "SIGKILL", "train", *THREE, "--out", "run")
    assert killed.returncode == -signal.SIGKILL
    Path("run/restarts.csv").write_text("restart,seed\n1,x\n")
    outcome = xpnet("resume", "run")
    assert (outcome.code, "restarts.csv' is damaged" in outcome.err) == (1, True)
