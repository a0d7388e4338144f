"""Settings: every one read from flags and TOML, checked, and written so that it is read back."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xpnet as package
from xpnet.cli.flags import resolve
from xpnet.errors import ConfigError
from xpnet.optim import SCHEDULES
from xpnet.runs.settings import Settings, setting_fields, to_toml
from xpnet.tabular.trainer import build_optimizer

# setting: (flag text, its value, TOML value of a wrong type, flag text of a wrong value)
CASES = {
    "data": ("a.csv", "a.csv", 3, ""),
    "target": (["a", "b"], ("a", "b"), [1], ""),
    "task": ("Regression", "regression", 1, "clustering"),
    "decimal": (",", ",", 1, ";"),
    "thousands": (".", ".", 1, "10"),
    "drop": (["a", ""], ("a", ""), 1, None),
    "categorical": (["a"], ("a",), [1], [""]),
    "use": (["a"], ("a",), [1], [""]),
    "dayfirst": ("true", True, "maybe", "2"),
    "missing": ("mean", "mean", True, "median"),
    "scaling": ("Robust", "robust", True, "log"),
    "one_hot": ("signed", "signed", 2, "hashed"),
    "one_hot_up_to": ("8", 8, 8.5, "-1"),
    "clamp": (True, True, 1, None),
    "validation": ("0.3", 0.3, "0.3", "1.0"),
    "folds": ("3", 3, "3", "0"),
    "test": ("0", 0.0, "x", "-0.1"),
    "split_by": ("day", "day", 3, ""),
    "group": ("house", "house", 3, ""),
    "preset": ("Best", "best", 1, "quick"),
    "network": ("RealMLP", "realmlp", 1, "cnn"),
    "members": ("8", 8, 8.5, "0"),
    "hidden": ("32,16", (32, 16), ["32"], "32,0"),
    "activation": ("relu,tanh", ("relu", "tanh"), 3, "relu,rleu"),
    "weight_init": ("he_normal", "he_normal", 3, "he"),
    "dropout": ("0.5", 0.5, "0.5", "1"),
    "dropout_schedule": ("flat_cosine", "flat_cosine", 0, "flat"),
    "batch_norm": (True, True, 1, None),
    "loss": ("huber", "huber", False, "hubert"),
    "loss_option": ("delta=0.5", {"delta": 0.5}, {"delta": "x"}, "delta"),
    "class_weight": ("Balanced", "balanced", {"a": -1}, "a=-1"),
    "optimizer": ("SGD", "sgd", {"name": "sgd"}, "adm"),
    "learning_rate": ("1e-2", 0.01, "fast", "-0.1"),
    "momentum": ("0.9", 0.9, [], "1"),
    "beta2": ("0.95", 0.95, "x", "1"),
    "nesterov": (True, True, "yes", None),
    "schedule": ("flat-cos", "flat_cosine", 0, "cosinus"),
    "warmup": ("10", 10, 1.5, "-1"),
    "weight_decay": ("0.1", 0.1, "x", "-0.1"),
    "weight_decay_schedule": ("cos", "cosine", 0, "cosinus"),
    "l1": ("weights=0.1, 0.bias=2", {"weights": 0.1, "0.bias": 2.0}, [1], "0=-1"),
    "l2": ("0", 0.0, None, "weights=x"),
    "learning_rate_factors": ("biases=0.1, 0=6", {"biases": 0.1, "0": 6.0}, 1, "biases"),
    "weight_decay_factors": ("biases=0", {"biases": 0.0}, {"a": "x"}, "biases=-1"),
    "max_norm": ("2", 2.0, True, "0"),
    "label_smoothing": ("0.1", 0.1, "x", "1"),
    "gradient_noise": ("0.1", 0.1, "x", "-1"),
    "clip_norm": ("1", 1.0, True, "0"),
    "clip_value": ("1", 1.0, True, "inf"),
    "ema_decay": ("0.99", 0.99, "x", "1"),
    "swa_start": ("5", 5, 5.5, "0"),
    "epochs": ("7", 7, 7.0, "0"),
    "max_steps": ("7", 7, "7", "0"),
    "batch_size": ("full", "full", 3.5, "0"),
    "refit": (False, False, 1, None),
    "batches": ("fixed", "fixed", 1, "shuffled"),
    "drop_last": (True, True, 1, None),
    "training_metrics": (False, False, 1, None),
    "time_limit": ("1.5m", 90.0, True, "soon"),
    "patience": ("3", 3, "3", "0"),
    "min_steps": ("7", 7, "7", "0"),
    "min_delta": ("0.01", 0.01, "x", "-1"),
    "monitor": ("val_acc", "validation_accuracy", 1, "accuracy"),
    "use_last_best_epoch": (True, True, 1, None),
    "backend": ("torch:cpu", "torch:cpu", 0, ""),
    "dtype": ("float64", "float64", 64, "float16"),
    "precision": ("TF32", "tf32", 32, "bf16"),
    "device_memory": ("4GiB", "4GiB", 1.5, "4 apples"),
    "compile": ("off", "off", 1, "jit"),
    "diagnostics": ("0", 0, 1.5, "-1"),
    "seed": ("12", 12, 1.5, "-1"),
    "restarts": ("3", 3, "3", "0"),
    "save_every": ("30s", "30s", 1.5, "0"),
    "keep_last": ("3", 3, "3", "0"),
    "tensorboard": (True, True, "yes", None),
    "out": ("folder", "folder", 1, ""),
}


def test_every_setting_is_in_the_table():
    assert set(CASES) == set(setting_fields())


@pytest.mark.parametrize("name", CASES)
def test_flag(name):
    text, value, _, wrong = CASES[name]
    assert getattr(resolve({name: text}), name) == value
    if wrong is not None:
        with pytest.raises(ConfigError, match=r"expected .*, found ") as caught:
            resolve({name: wrong})
        assert setting_fields()[name].key in str(caught.value) or name == "data"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("spelling", ["dashes", "underscores", "table"])
def test_toml(name, spelling, folder):
    _, value, _, _ = CASES[name]
    settings = Settings(**{name: value})
    line = next(
        line for line in to_toml(settings).splitlines() if line.startswith(setting_fields()[name].key)
    )
    if spelling == "underscores":
        key, _, rest = line.partition("=")
        line = f"{key.replace('-', '_')}={rest}"
    elif spelling == "table":
        line = f"[train]\n{line}"
    Path("run.toml").write_text(line)
    assert resolve({}, "run.toml") == settings


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][2] is not None])
def test_toml_of_the_wrong_type(name, folder):
    wrong, key = CASES[name][2], setting_fields()[name].key
    shown = str(wrong).lower() if isinstance(wrong, bool) else repr(wrong).replace("':", "'=")
    Path("run.toml").write_text(f"{key} = {shown}\n")
    with pytest.raises(ConfigError, match=rf"'run.toml', key '{key}': expected .*, found "):
        resolve({}, "run.toml")


@pytest.mark.parametrize(
    ("other", "text", "name", "value"),
    [("lr", "0.5", "learning_rate", 0.5), ("init", "zeros", "weight_init", "zeros"),
     ("device", "numpy", "backend", "numpy")],
)  # fmt: skip
def test_other_names(other, text, name, value, xpnet, folder):
    key = setting_fields()[name].key
    shown = text if name == "learning_rate" else f'"{text}"'
    Path("old.toml").write_text(f"{other} = {shown}\n")  # as written before there was the long name
    assert getattr(resolve({}, "old.toml"), name) == value
    assert f"{key} = {shown}\n" in xpnet("train", "sine", f"--{other}", text, "--print-config").out
    Path("both.toml").write_text(f"{other} = {shown}\n{key} = {shown}\n")
    with pytest.raises(ConfigError, match=f"the key '{key}' is given twice, as '{other}' and '{key}'; keep"):
        resolve({}, "both.toml")
    outcome = xpnet("train", "sine", f"--{key}", text, f"--{other}", text, "--print-config")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"--{other}: expected either this or --{key}, which are the same, found both" in outcome.err


def test_help_tells_other_names(xpnet, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "also --lr" in xpnet("train", "--help").out
    assert "also --device" in xpnet("predict", "--help").out


# A field that is added to the settings of the trainer, before anything else is imported.
ONE_FIELD_MORE = """
import dataclasses, sys
from xpnet import checks
from xpnet.train import settings

@dataclasses.dataclass(frozen=True)
class More(settings.Settings):
    warmth: float = settings.setting(0.5, checks.fraction, "how ``warm`` it is. More of it.")
    silent: bool = settings.setting(False, checks.flag, "none of the command line's.", flag=False)
    depth: int | None = settings.setting(None, checks.count, "how deep.", fixed="it is dug")

settings.Settings = More

import inspect
from xpnet import Trainer, nn
from xpnet.cli import main

assert inspect.signature(Trainer).parameters["warmth"].default == 0.5
assert "warmth: how ``warm`` it is. More of it." in Trainer.__doc__
assert Trainer(nn.Dense(1), "squared_error", warmth=0.25).warmth == 0.25
run = ["train", "sine", "--epochs", "1", "--hidden", "none", "--backend", "numpy", "--out", "run", "--quiet"]
assert main([*run, "--warmth", "0.25", "--depth", "3"]) == 0
last = Trainer.load("run/checkpoints/last.safetensors", "numpy")
assert (last.warmth, last.silent, last.depth) == (0.25, False, 3)
assert main(["resume", "run", "--epochs", "2", "--warmth", "0.75"]) == 0
assert main(["train", "--config", "run/config.toml", "--print-config"]) == 0
for wrong in (["--warmth", "2"], ["--silent"]):
    assert main([*run, *wrong]) == 2
assert main(["resume", "run", "--depth", "4"]) == 2
main(["train", "--help", "all"])
"""


def test_one_field_is_an_argument_a_stored_value_a_flag_and_a_key(folder):
    environment = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(Path(package.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", ONE_FIELD_MORE], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    for line in ("warmth = 0.75", "depth = 3", "how warm it is (default: 0.5)"):
        assert line in done.stdout
    for line in (
        "warmth: 0.25 -> 0.75 (from epoch 2 on)",
        "error: --warmth: expected a number of at least 0 and below 1, found 2.0; correct it",
        "No such option: --silent",
        "error: --depth: it is dug, and stays as it is; train anew",
    ):
        assert line in done.stderr


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("none", "none"),
        ("a=1", {"a": 1.0}),
        ("a=1,b=0.5", {"a": 1.0, "b": 0.5}),
        ("a, or b=1,c=2,d,e=3", {"a, or b": 1.0, "c": 2.0, "d,e": 3.0}),
        ("a=b=2", {"a=b": 2.0}),
    ],
)
def test_weights_by_name(text, value, folder):
    settings = resolve({"class_weight": text})
    assert settings.class_weight == value
    Path("run.toml").write_text(to_toml(settings))
    assert resolve({}, "run.toml") == settings


@pytest.mark.parametrize("text", ["a", "=1", "a=1,", "a=1,a=2", "a=x", "a=nan", "a,=1,b"])
def test_weights_that_cannot_be_meant(text):
    with pytest.raises(ConfigError, match=r"--class-weight: expected 'none', 'balanced', or a finite number"):
        resolve({"class_weight": text})


@pytest.mark.parametrize("text", ["mine.py:f", "package.module:f", "C:\\losses.py:f"])
def test_places_of_code(text):
    assert resolve({"loss": text}).loss == text


@pytest.mark.parametrize("text", ["mine.py:3", ":f", "f.py:"])
def test_places_that_cannot_be_meant(text):
    with pytest.raises(ConfigError, match=r"expected one of the known names, file.py:function or module"):
        resolve({"loss": text})


def test_one_target_is_a_text(folder):
    Path("run.toml").write_text('target = ["a"]\n')
    assert resolve({}, "run.toml") == resolve({"target": ["a"]}) == Settings(target="a")
    assert 'target = "a"\n' in to_toml(Settings(target="a"))


def test_flags_win_over_the_file_and_the_file_over_defaults(folder):
    Path("run.toml").write_text('epochs = 3\nlearning-rate = 0.5\ndrop = ["a"]\n')
    settings = resolve({"epochs": "9", "drop": [], "learning_rate": None}, "run.toml")
    assert (settings.epochs, settings.learning_rate, settings.drop) == (9, 0.5, ("a",))
    assert settings.optimizer == Settings().optimizer


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", r"unknown key 'epoch'; did you mean 'epochs'\?"),
        ("[train]\nlearning = 3", "unknown key 'learning'"),
        ("[model]\nhidden = [3]", "unknown key 'model'"),
        ("learning-rate = 1\nepochs = \nseed = 1", r"not valid TOML: .*line 2"),
        ("epochs = 1\nepochs = 2", r"not valid TOML"),
        ("batch-size = 1\nbatch_size = 2", "'batch-size' is given twice"),
        ("epochs = 1\n[train]\nepochs = 2\n", None),
        ('optimizer = "adma"', "did you mean 'adam'"),
        ("epochs = -1", "at least 1, found -1"),
    ],
)
def test_files_that_cannot_be_meant(text, message, folder):
    Path("run.toml").write_text(text)
    if message is None:
        assert resolve({}, "run.toml").epochs == 2  # the table [train] is the nearer one
        return
    with pytest.raises(ConfigError, match=message):
        resolve({}, "run.toml")


def test_files_that_cannot_be_read(folder):
    Path("latin.toml").write_bytes("out = 'Übung'".encode("latin-1"))
    for name, message in (("none.toml", "cannot be read"), (".", "cannot be read"), ("latin.toml", "UTF-8")):
        with pytest.raises(ConfigError, match=message):
            resolve({}, name)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(
    st.builds(
        Settings,
        data=st.none() | texts,
        drop=st.lists(texts).map(tuple),
        hidden=st.lists(st.integers(1, 10**6)).map(tuple),
        learning_rate=st.none() | st.floats(1e-300, 1e300),
        seed=st.integers(0, 2**63 - 1),
        batch_size=st.none() | st.just("full") | st.integers(1, 10**9),
        batch_norm=st.booleans(),
        activation=st.sampled_from(["relu", ("relu", "tanh"), ("gelu",)]),
        patience=st.none() | st.integers(1),
    )
)
def test_written_settings_are_read_back(tmp_path_factory, settings):
    path = tmp_path_factory.mktemp("toml") / "run.toml"
    path.write_text(to_toml(settings), encoding="utf-8", newline="\n")
    tomllib.loads(to_toml(settings))
    assert resolve({}, path) == settings


def test_schedules_are_those_of_the_library():
    check = setting_fields()["schedule"].check
    assert set(check.choices()) == set(SCHEDULES) - {"warmup"}  # which --warmup asks for


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [("constant", 0.9, 0.9), ("inverse", 0.9, 0.9 / 30), ("step", 0.9, 0.009), ("exponential", 0.9, 0.009),
     ("cosine", 0.9, 0.0), ("flat_cosine", 0.9, 0.0)],
)  # fmt: skip
@pytest.mark.parametrize("warmup", ["0", "6"])
def test_a_schedule_spans_the_training(schedule, first, last, warmup):
    """Three epochs of twelve steps, or thirty in all; what comes before them is the warm-up."""
    steps = 30 + int(warmup)
    flags = {"schedule": schedule, "learning_rate": "0.9", "epochs": "3", "batch_size": "10"}
    settings = resolve(flags | {"warmup": warmup, "max_steps": str(steps)})
    optimizer = build_optimizer(settings, rows=120)
    assert optimizer.learning_rate_at(int(warmup) + 1) == pytest.approx(first, rel=0.15)
    assert optimizer.learning_rate_at(steps) == pytest.approx(last, rel=0.2, abs=0.01)
    if warmup != "0":
        assert optimizer.learning_rate_at(1) < 0.2


def test_four_waves_span_the_training_and_need_no_warm_up():
    flags = {"schedule": "coslog4", "learning_rate": "0.9", "epochs": "5", "batch_size": "10"}
    optimizer = build_optimizer(resolve(flags), rows=30)
    assert [k for k in range(1, 17) if optimizer.learning_rate_at(k) < 1e-12] == [1, 2, 4, 8, 16]
    with pytest.raises(ConfigError, match="warmup: expected 0 steps with the schedule coslog"):
        build_optimizer(resolve(flags | {"warmup": "3"}), rows=30)
