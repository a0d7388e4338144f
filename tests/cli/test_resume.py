"""Interrupted runs: killed at any moment or by Ctrl-C, continued to the last bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import FAST
from xpnet import files
from xpnet.runs import checkpoints
from xpnet.train import checkpoint_file

ARGUMENTS = ("two-gaussians", "--epochs", "4", "--hidden", "8", "--backend", "numpy", "--dropout", "0.2",
             "--batch-norm", "--schedule", "cosine")  # fmt: skip
STEPS = 11  # of an epoch: 700 training rows, 64 a step

# Runs the command and sends itself a signal: at a step, or when a file is about to be renamed into place.
DRIVER = """
import os, signal, sys
import xpnet.files
from xpnet.cli import main
from xpnet.runs import checkpoints
where, number, name = sys.argv[1], int(sys.argv[2]), getattr(signal, sys.argv[3])
checkpoints._SAVE_SECONDS, checkpoints._SAVE_SHARE = 0.0, 1e9
seen = 0
def strike(*_):
    global seen
    seen += 1
    if seen == number:
        os.kill(os.getpid(), name)
if where == "step":
    step_end = checkpoints.Keeper.on_step_end
    def on_step_end(self, *arguments):
        strike()
        step_end(self, *arguments)
    checkpoints.Keeper.on_step_end, checkpoints.Keeper.steps_apart = on_step_end, 1
else:
    replace = os.replace
    def watched(source, target):
        if str(target).endswith(where):
            strike()
        replace(source, target)
    os.replace = watched
sys.exit(main(sys.argv[4:]))
"""


def strike(where, number, name, *arguments):
    command = [sys.executable, "-c", DRIVER, where, str(number), name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": _root()})


def _root():
    return str(Path(files.__file__).parents[1])


def tensors(run, name="last"):
    return checkpoint_file.read(Path(run) / "checkpoints" / f"{name}.safetensors")[0]


def assert_same_run(one, other):
    for name in ("last", "best"):
        first, second = tensors(one, name), tensors(other, name)
        assert first.keys() == second.keys()
        for key in first:
            np.testing.assert_array_equal(first[key], second[key])
    first, second = (json.loads((Path(run) / "results.json").read_text()) for run in (one, other))
    for key in ("metrics", "best_epoch", "steps", "epochs_trained", "stopped"):
        assert first[key] == second[key]
    columns = [(Path(run) / "history.csv").read_text().splitlines() for run in (one, other)]
    assert [line.rpartition(",")[0] for line in columns[0]] == [
        line.rpartition(",")[0] for line in columns[1]
    ]


@pytest.mark.parametrize(
    ("where", "number"),
    [
        pytest.param("step", 3, marks=pytest.mark.full),
        ("step", 2 * STEPS + 5),
        pytest.param("last.safetensors", 3, marks=pytest.mark.full),
        pytest.param("best.safetensors", 2, marks=pytest.mark.full),
        pytest.param("results.json", 1, marks=pytest.mark.full),
    ],
    ids=["first epoch", "third epoch", "saving last", "saving best", "before results"],
)
def test_kill_and_resume(where, number, xpnet, folder):
    assert xpnet("train", *ARGUMENTS, "--out", "whole").code == 0
    killed = strike(where, number, "SIGKILL", "train", *ARGUMENTS, "--out", "run")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not Path("run/results.json").exists()
    outcome = xpnet("resume", "run", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["resumed"] is True
    assert_same_run("whole", "run")
    assert len(json.loads(Path("run/environment.json").read_text())["resumed"]) == 1


def test_ctrl_c_saves_the_state(xpnet, folder):
    stopped = strike("step", 2 * STEPS + 5, "SIGINT", "train", *ARGUMENTS, "--out", "run")
    assert stopped.returncode == 130
    assert stopped.stdout == ""
    assert "interrupted after epoch 2; the state is saved. Continue with: xpnet resume run" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert xpnet("train", *ARGUMENTS, "--out", "whole").code == 0
    assert xpnet("resume", "run").code == 0
    assert_same_run("whole", "run")


def test_ctrl_c_before_training(xpnet, folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("xpnet.tabular.dataset.load", interrupted)
    outcome = xpnet("train", *ARGUMENTS)
    assert outcome.code == 130
    assert list(folder.iterdir()) == []


def test_second_ctrl_c_acts_at_once(xpnet, folder, monkeypatch):
    def impatient(self, *_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second one did not act")

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(checkpoints.Keeper, "on_step_end", impatient)
    outcome = xpnet("train", *ARGUMENTS, "--out", "run")
    assert outcome.code == 130
    assert "the state is saved" in outcome.err
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.full
def test_patience_lost_before_the_kill(xpnet, folder):
    arguments = (
        "xor",
        "--patience",
        "1",
        "--epochs",
        "200",
        "--learning-rate",
        "0.1",
        "--hidden",
        "8",
        "--backend",
        "numpy",
    )
    assert xpnet("train", *arguments, "--out", "whole").code == 0
    killed = strike("results.json", 1, "SIGKILL", "train", *arguments, "--out", "run")
    assert killed.returncode == -signal.SIGKILL
    assert xpnet("resume", "run").code == 0
    assert_same_run("whole", "run")


def test_a_finished_run_says_so(xpnet, trained):
    run = trained()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    outcome = xpnet("resume", run)
    assert outcome.code == 0
    assert "is finished: all epochs done, after epoch 2; --epochs N trains on" in outcome.err
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_more_epochs_are_offered_only_where_they_help(xpnet, trained):
    run = trained("two-gaussians", "--max-steps", "5")
    outcome = xpnet("resume", run)
    assert outcome.err.endswith("is finished: all 5 steps done, after epoch 1\n")


def test_more_epochs_give_the_longer_run(xpnet, trained):
    run, longer = trained(), trained("two-gaussians", "--epochs", "5", out="longer")
    outcome = xpnet("resume", run, "--epochs", "5")
    assert outcome.code == 0
    assert_same_run(longer, run)
    assert (longer / "config.toml").read_text() == (run / "config.toml").read_text()


def test_fewer_epochs_are_refused(xpnet, trained):
    run = trained()
    for number in ("1", "0", "x"):
        outcome = xpnet("resume", run, "--epochs", number)
        assert outcome.code == 2
        assert "--epochs: expected" in outcome.err


def test_a_changed_table_is_refused(xpnet, folder):
    table = Path("table.csv")
    table.write_text("x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(50)))
    assert xpnet("train", table, "--out", "run", *FAST).code == 0
    table.write_text(table.read_text().replace("7,1", "7,0"))
    for command in (("resume", "run", "--epochs", "3"), ("evaluate", "run")):
        outcome = xpnet(*command)
        assert outcome.code == 5
        assert "has changed since the training began" in outcome.err
    table.unlink()
    outcome = xpnet("resume", "run", "--epochs", "3")
    assert (outcome.code, "cannot be read" in outcome.err) == (5, True)


def test_a_run_with_the_names_of_before(xpnet, trained):
    """Whose files say ``lr``, ``init`` and ``device``."""
    run = trained("two-gaussians", "--save-every", "1")
    assert xpnet("resume", run, "--epochs", "3", "--lr", "0.01").code == 0
    config, environment = run / "config.toml", run / "environment.json"
    text = config.read_text()
    for name, other in (("learning-rate", "lr"), ("weight-init", "init"), ("backend", "device")):
        assert f"\n{name} = " in text
        text = text.replace(f"\n{name} = ", f"\n{other} = ")
    config.write_text(text)
    environment.write_text(environment.read_text().replace('"learning-rate"', '"lr"'))
    outcome = xpnet("resume", run, "--from", "epoch-1", "--epochs", "4")
    assert outcome.code == 0, outcome.err
    assert "learning-rate: 0.002 -> 0.01 (from epoch 2 on)" in outcome.err
    assert "learning-rate = 0.01\n" in config.read_text()


def test_why_a_device_is_taken_is_true(xpnet, trained, monkeypatch):
    trained("two-gaussians", "--epochs", "1")
    other = "array_api_strict:CPU_DEVICE"
    for flags, said in (
        ((), "device numpy (that of the run so far)"),
        (("--backend", "numpy"), "device numpy (asked for)"),
        (("--backend", "auto"), "device numpy (no CUDA device"),
    ):
        epochs = load_epochs("run") + 1
        outcome = xpnet("resume", "run", "--epochs", epochs, *flags)
        assert said in outcome.err
    monkeypatch.setenv("XPNET_BACKEND", other)
    outcome = xpnet("resume", "run", "--epochs", load_epochs("run") + 1, "--backend", "auto")
    assert f"device {other} (XPNET_BACKEND asks for it)" in outcome.err
    assert "(asked for)" in xpnet("train", "two-gaussians", *FAST, "--out", "asked").err


def load_epochs(run):
    return json.loads((Path(run) / "results.json").read_text())["epochs_trained"]


def test_resume_on_another_device(xpnet, trained):
    run = trained()
    outcome = xpnet("resume", run, "--epochs", "3", "--backend", "array_api_strict", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["device"].startswith("array_api_strict")


def test_a_diverged_run_keeps_its_last_good_state(xpnet, folder):
    arguments = ("--optimizer", "sgd", "--learning-rate", "1e6", "--loss", "squared_error", "--epochs", "30")
    outcome = xpnet("train", "sine", "--out", "run", *FAST, *arguments)
    assert outcome.code == 4
    assert "diverged in epoch" in outcome.err
    assert outcome.out == ""
    assert all(np.isfinite(array).all() for array in tensors("run").values())
    assert "failed: diverged" in Path("run/train.log").read_text()
