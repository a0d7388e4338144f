"""Numbered checkpoints, going back to one of them, and going on with other settings."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.cli.test_resume import STEPS, assert_same_run, strike, tensors
from xpnet.cli import main
from xpnet.runs import checkpoints
from xpnet.runs.settings import FIXED, setting_fields
from xpnet.train import Checkpoints, checkpoint_file

RUN = ("two-gaussians", "--hidden", "8", "--backend", "numpy", "--dropout", "0.2")


def names(run="run"):
    return sorted(path.name.removesuffix(".safetensors") for path in Path(run, "checkpoints").iterdir())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp("numbered") / "run"
    assert main(["train", *RUN, "--epochs", "6", "--save-every", "2", "--out", str(run), "--quiet"]) == 0
    return run


@pytest.fixture
def six(finished):
    """A run of six epochs that kept those after two, four and six."""
    return Path(shutil.copytree(finished, "run"))


@pytest.fixture
def whole(finished):
    """What a run of six epochs gives."""
    return finished


@pytest.mark.full
def test_which_are_kept(xpnet, six):
    assert names() == ["best", "epoch-000002", "epoch-000004", "epoch-000006", "last"]
    arguments = (*RUN, "--epochs", "6", "--save-every", "1", "--keep-last", "2")
    assert xpnet("train", *arguments, "--out", "few").code == 0
    assert names("few") == ["best", "epoch-000005", "epoch-000006", "last"]
    assert xpnet("train", *RUN, "--epochs", "2", "--save-every", "1h", "--out", "none").code == 0
    assert names("none") == ["best", "last"]
    assert_same_run("run", "few")


def test_the_last_is_never_behind_a_numbered_one(xpnet, folder, monkeypatch):
    save, behind = Checkpoints.save, []

    def watched(self, trainer):
        last = checkpoint_file.read("run/checkpoints/last.safetensors")[1]["epoch"]
        behind.append(trainer.epoch - last)
        save(self, trainer)

    monkeypatch.setattr(Checkpoints, "save", watched)
    monkeypatch.setattr(checkpoints, "_SAVE_SECONDS", 1e9)
    assert xpnet("train", *RUN, "--epochs", "5", "--save-every", "2", "--out", "run").code == 0
    assert behind == [0, 0]


@pytest.mark.parametrize("name", ["4", "epoch-4", "epoch-000004"])
def test_predicting_with_one(name, xpnet, six):
    outcome = xpnet("evaluate", six, "--checkpoint", name, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["checkpoint_epoch"] == 4
    assert xpnet("predict", six, "two-gaussians", "--checkpoint", name).code == 0
    assert xpnet("graph", six, "--checkpoint", name).code == 0


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("5", 1, ["no checkpoint of epoch 5", "best, last, epoch-2, epoch-4, epoch-6"]),
        ("epoch", 2, ["best or last, or an epoch such as epoch-50", "'epoch'"]),
        ("epoch--4", 2, ["'epoch--4'"]),
    ],
)
def test_one_that_is_not_there(name, code, words, xpnet, six):
    for command in (("evaluate", "run", "--checkpoint"), ("resume", "run", "--from")):
        outcome = xpnet(*command, name)
        assert outcome.code == code
        assert all(word in outcome.err for word in words), outcome.err


def test_keep_last_without_numbers(xpnet, folder):
    outcome = xpnet("train", *RUN, "--keep-last", "3")
    assert (outcome.code, "--keep-last: expected --save-every" in outcome.err) == (2, True)


# ------------------------------------------------------------------------------------- going back
def test_going_back_gives_the_same_run_again(xpnet, six, whole):
    outcome = xpnet("resume", six, "--from", "epoch-2", "--json")
    assert outcome.code == 0, outcome.err
    assert (
        "continuing after epoch 2 of 6, from 'epoch-2'; what was trained after it is given up" in outcome.err
    )
    assert " -> " not in outcome.err
    assert outcome.json["changes"] == []
    assert_same_run(whole, "run")
    assert names() == ["best", "epoch-000002", "epoch-000004", "epoch-000006", "last"]


def test_going_back_cuts_the_history_and_forgets_what_came_later(xpnet, six, monkeypatch):
    def interrupted(self, *_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Keeper, "on_step_end", interrupted)
        assert xpnet("resume", six, "--from", "4").code == 130
    assert names() == ["best", "epoch-000002", "epoch-000004", "last"]
    assert len((six / "history.csv").read_text().splitlines()) == 1 + 4
    assert not (six / "results.json").exists()
    assert xpnet("evaluate", six, "--checkpoint", "last", "--json").json["checkpoint_epoch"] == 4


@pytest.mark.full
@pytest.mark.parametrize("where", ["last.safetensors", "best.safetensors", "config.toml"])
def test_killed_while_going_back(where, xpnet, six, whole):
    killed = strike(where, 1, "SIGKILL", "resume", six, "--from", "epoch-2")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert xpnet("resume", six, "--from", "epoch-2").code == 0
    assert_same_run(whole, "run")


@pytest.mark.full
def test_killed_after_going_back(xpnet, six, whole):
    killed = strike("step", STEPS + 3, "SIGKILL", "resume", six, "--from", "epoch-2")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert checkpoint_file.read(six / "checkpoints" / "last.safetensors")[1]["epoch"] == 3
    assert xpnet("resume", six).code == 0
    assert_same_run(whole, "run")


def test_from_what_cannot_be_gone_on_from(xpnet, six):
    outcome = xpnet("resume", six, "--from", "best")
    assert (outcome.code, "no state to train on from" in outcome.err) == (2, True)
    outcome = xpnet("resume", six, "--from", "epoch-6")
    assert (outcome.code, "nothing is left to train after epoch 6 (all epochs done)" in outcome.err) == (
        2,
        True,
    )
    assert (six / "results.json").exists()


# -------------------------------------------------------------------------------------- other settings
# setting: (flag's text, what was, what is)
CHANGED = {
    "dropout": ("0.4", "0.2", "0.4"),
    "dropout_schedule": ("cosine", "constant", "cosine"),
    "optimizer": ("rmsprop", "adamw", "rmsprop"),
    "learning_rate": ("0.01", "0.002", "0.01"),
    "momentum": None,  # with an optimizer that has it, below
    "beta2": None,  # likewise
    "nesterov": None,  # likewise
    "schedule": ("cosine", "constant", "cosine"),
    "warmup": ("9", "0", "9"),
    "weight_decay": None,  # likewise
    "weight_decay_schedule": None,  # likewise
    "l1": ("0.002", "0.0", "0.002"),
    "l2": ("0.001", "0.0", "0.001"),
    "learning_rate_factors": None,  # numbers by name, as of l2; tests/train/test_groups.py
    "weight_decay_factors": None,  # likewise
    "max_norm": ("3", "none", "3.0"),
    "label_smoothing": ("0.1", "0.0", "0.1"),
    "gradient_noise": ("0.2", "0.0", "0.2"),
    "clip_norm": ("0.1", "none", "0.1"),
    "clip_value": ("0.01", "none", "0.01"),
    "ema_decay": ("0.9", "none", "0.9"),
    "swa_start": None,  # one of both; tests/train/test_averaging.py
    "class_weight": ("balanced", "none", "balanced"),
    "epochs": ("7", "6", "7"),
    "max_steps": ("99", "none", "99"),
    "batch_size": ("100", "64", "100"),
    "refit": None,  # a switch; tests/runs/test_refit.py
    "batches": ("fixed", "reshuffle", "fixed"),
    "drop_last": None,  # a switch; tests/train/test_batches.py
    "training_metrics": None,  # likewise
    "time_limit": ("10m", "none", "600.0"),
    "patience": ("3", "none", "3"),
    "min_steps": ("9", "none", "9"),
    "min_delta": ("1e-05", "0.0", "1e-05"),
    "monitor": ("validation_accuracy", "validation_loss", "validation_accuracy"),
    "use_last_best_epoch": None,  # a switch; tests/train/test_stopping.py
    "backend": None,  # test_resume
    "dtype": ("float64", "float32", "float64"),
    "precision": None,  # of devices; tests/cli/test_devices.py
    "device_memory": None,  # likewise
    "compile": ("off", "auto", "off"),
    "save_every": ("1", "2", "1"),
    "keep_last": ("1", "none", "1"),
    "tensorboard": None,  # test_report, where TensorBoard is installed
    "diagnostics": ("3", "none", "3"),
}


def test_every_setting_can_be_changed_or_is_fixed():
    assert set(CHANGED) | set(FIXED) == set(setting_fields())
    assert not set(CHANGED) & set(FIXED)


def test_changes_are_told_and_recorded(xpnet, six):
    cases = {name.replace("_", "-"): case for name, case in CHANGED.items() if case}
    flags = [part for key, (text, _, _) in cases.items() for part in (f"--{key}", text)]
    outcome = xpnet("resume", six, "--from", "epoch-4", *flags)
    assert outcome.code == 0, outcome.err
    lines = {f"{key}: {before} -> {after} (from epoch 5 on)" for key, (_, before, after) in cases.items()}
    assert {line for line in outcome.err.splitlines() if " -> " in line} == lines
    log, config = ((six / name).read_text() for name in ("train.log", "config.toml"))
    assert all(line in log for line in lines)
    assert all(f"\n{key} = " in config for key in cases)
    records = json.loads((six / "results.json").read_text())["changes"]
    assert [(r["epoch"], r["setting"], str(r["after"])) for r in records] == [
        (5, field.key, cases[field.key][2]) for field in setting_fields().values() if field.key in cases
    ]
    again = xpnet("resume", six)
    assert (again.code, " -> " in again.err) == (0, False)


@pytest.mark.full
@pytest.mark.parametrize(
    "name", ["dropout", "optimizer", "learning_rate", "schedule", "l2", "clip_value", "batches", "dtype"]
)
def test_a_change_changes_the_training(name, xpnet, six):
    before = tensors(six)["params"]
    assert (
        xpnet("resume", six, "--from", "epoch-4", f"--{name.replace('_', '-')}", CHANGED[name][0]).code == 0
    )
    assert (before != tensors(six)["params"]).any()


FIXED_VALUES = {
    "target": "kind", "task": "regression", "decimal": ",", "thousands": ".", "drop": "x",
    "categorical": "x", "missing": "drop", "use": "x", "dayfirst": "true",
    "scaling": "robust", "one_hot": "signed", "one_hot_up_to": "3", "clamp": None,
    "validation": "0.3", "folds": "3", "test": "0.3", "split_by": "x", "group": "x", "preset": "best",
    "network": "realmlp", "members": "2", "hidden": "9",
    "activation": "tanh", "weight_init": "zeros",
    "batch_norm": None, "loss": "hinge", "loss_option": "delta=2", "seed": "3", "restarts": "2",
    "out": "elsewhere",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FIXED if name != "data"])
def test_what_is_fixed_is_refused(name, xpnet, six):
    key, value = name.replace("_", "-"), FIXED_VALUES[name]
    before = {path: path.read_bytes() for path in six.rglob("*") if path.is_file()}
    outcome = xpnet("resume", six, f"--{key}", *([] if value is None else [value]))
    assert outcome.code == 2
    assert f"--{key}: {FIXED[name]}" in outcome.err
    assert "train anew" in outcome.err
    assert before == {path: path.read_bytes() for path in six.rglob("*") if path.is_file()}


@pytest.mark.full
def test_another_optimizer_with_settings_of_its_own(xpnet, six):
    outcome = xpnet("resume", six, "--from", "4", "--momentum", "0.9")
    assert (outcome.code, "--momentum: expected an optimizer that has it" in outcome.err) == (2, True)
    arguments = ("--optimizer", "sgd", "--momentum", "0.9", "--nesterov", "--epochs", "7")
    outcome = xpnet("resume", six, *arguments)
    assert outcome.code == 0, outcome.err
    assert "optimizer: adamw -> sgd (from epoch 7 on)" in outcome.err
    assert "nesterov: False -> True (from epoch 7 on)" in outcome.err
    outcome = xpnet("resume", six, "--epochs", "8", "--optimizer", "adamw", "--weight-decay", "0.1")
    assert (outcome.code, "--momentum" in outcome.err) == (2, True)
    arguments = ("--momentum", "0", "--no-nesterov", "--optimizer", "adamw", "--weight-decay", "0.1")
    outcome = xpnet("resume", six, "--epochs", "8", *arguments)
    assert "weight-decay: none -> 0.1 (from epoch 8 on)" in outcome.err


def test_what_is_none_again(xpnet, six):
    assert xpnet("resume", six, "--epochs", "7", "--clip-norm", "0.5", "--max-steps", "99").code == 0
    outcome = xpnet("resume", six, "--epochs", "8", "--clip-norm", "none", "--max-steps", "none")
    assert "clip-norm: 0.5 -> none (from epoch 8 on)" in outcome.err
    assert "# clip-norm is not set" in (six / "config.toml").read_text()
    epochs = [(c["epoch"], c["setting"]) for c in json.loads((six / "results.json").read_text())["changes"]]
    assert epochs == [(7, "epochs"), (7, "clip-norm"), (7, "max-steps"),
                      (8, "epochs"), (8, "clip-norm"), (8, "max-steps")]  # fmt: skip


@pytest.mark.full
def test_going_back_behind_a_change_counts_from_what_was_then(xpnet, six):
    assert xpnet("resume", six, "--epochs", "8", "--l2", "0.1").code == 0
    outcome = xpnet("resume", six, "--from", "epoch-4", "--l2", "0.0")
    assert outcome.code == 0, outcome.err
    assert [line for line in outcome.err.splitlines() if " -> " in line] == [
        "epochs: 6 -> 8 (from epoch 5 on)"
    ]
    changes = json.loads((six / "results.json").read_text())["changes"]
    assert [(c["epoch"], c["setting"]) for c in changes] == [(5, "epochs")]
    assert xpnet("train", *RUN, "--epochs", "8", "--out", "whole").code == 0
    assert_same_run("whole", "run")


def test_dropout_that_was_switched_off_can_be_switched_on(xpnet, six):
    assert xpnet("resume", six, "--from", "epoch-4", "--dropout", "0").code == 0
    assert xpnet("resume", six, "--epochs", "7", "--dropout", "0.5").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--l2", "0.1"), ["--l2: nothing is left to train after epoch 6", "raise --epochs"]),
        (("--epochs", "5"), ["--epochs: expected at least the 6 epochs that are done, found 5", "--from"]),
        (("--epochs", "9", "--max-steps", "20"), ["max_steps: expected at least the 66 steps"]),
        (("--epochs", "9", "--batch-size", "9999"), ["--batch-size: expected at most the 700"]),
        (
            ("--epochs", "9", "--save-every", "none", "--keep-last", "2"),
            ["--keep-last: expected --save-every"],
        ),
        (("--epochs", "9", "--l1", "none"), ["--l1: expected", "'none'"]),
    ],
)
def test_changes_that_cannot_be_meant(arguments, words, xpnet, six):
    before = {path: path.read_bytes() for path in six.rglob("*") if path.is_file()}
    outcome = xpnet("resume", six, *arguments)
    assert outcome.code == 2
    assert all(word in outcome.err for word in words), outcome.err
    assert before == {path: path.read_bytes() for path in six.rglob("*") if path.is_file()}


def test_dropout_where_there_is_none(xpnet, trained):
    outcome = xpnet("resume", trained(), "--epochs", "3", "--dropout", "0.5")
    assert (outcome.code, "the model has no Dropout layers" in outcome.err) == (2, True)


def test_patience_without_validation_rows(xpnet, trained):
    run = trained("two-gaussians", "--validation", "0")
    outcome = xpnet("resume", run, "--epochs", "3", "--patience", "2")
    assert (outcome.code, "--patience: expected validation rows" in outcome.err) == (2, True)


@pytest.mark.full
def test_more_patience_trains_on(xpnet, folder):
    arguments = ("xor", "--epochs", "60", "--learning-rate", "0.1", "--hidden", "8", "--backend", "numpy")
    stopped = xpnet("train", *arguments, "--patience", "1", "--out", "run", "--json").json
    assert stopped["epochs_trained"] < 60
    outcome = xpnet("resume", "run", "--patience", "none", "--json")
    assert outcome.json["epochs_trained"] == 60
    assert xpnet("train", *arguments, "--out", "whole").code == 0
    assert_same_run("whole", "run")


def test_settings_killed_after_a_change_stay_changed(xpnet, six):
    killed = strike("step", 5, "SIGKILL", "resume", six, "--epochs", "8", "--l2", "0.01")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    outcome = xpnet("resume", six)
    assert (outcome.code, " -> " in outcome.err) == (0, False)
    changes = json.loads((six / "results.json").read_text())["changes"]
    assert {(c["epoch"], c["setting"]) for c in changes} == {(7, "epochs"), (7, "l2")}
    assert "l2 = 0.01" in (six / "config.toml").read_text()
