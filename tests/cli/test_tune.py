"""A search over settings: trials of the same rows, and the best of them as an ordinary run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from xpnet import extras
from xpnet.runs import search
from xpnet.tabular.settings import Settings
from xpnet.tabular.spaces import space_of

pytest.importorskip("optuna")

BRIEF = ("two-gaussians", "--epochs", "2", "--hidden", "8", "--backend", "numpy")
TUNE = ("tune", *BRIEF, "--trials", "3")


def rows(folder="run", without=("seconds",)):
    lines = Path(folder, "trials.jsonl").read_text().splitlines()
    return [{k: x for k, x in json.loads(line).items() if k not in without} for line in lines]


@pytest.fixture
def stopped(monkeypatch):
    """Ctrl-C in the second trial."""
    begin, begun = search.fit_trainer, []

    def interrupting(*arguments):
        begun.append(arguments)
        if len(begun) == 2:
            raise KeyboardInterrupt
        begin(*arguments)

    monkeypatch.setattr(search, "fit_trainer", interrupting)


def test_the_best_settings_become_a_run_that_its_configuration_repeats(xpnet, folder):
    outcome = xpnet(*TUNE, "--out", "run", "--json")
    assert outcome.code == 0, outcome.err
    told, tried = outcome.json, rows()
    assert told == json.loads(Path("run/results.json").read_text())
    assert (told["trials"], told["outcomes"], told["measured_by"]) == (3, {"done": 3}, "validation_loss")
    assert "hidden" not in told["settings"]
    assert told["score"] == min(row["score"] for row in tried) == tried[told["best_trial"] - 1]["score"]
    with Path("run/trials.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["validation_loss"]) for row in table] == [row["score"] for row in tried]
    assert table[told["best_trial"] - 1]["dropout"] == str(told["settings"]["dropout"])
    assert tried[0]["parameters"] == {}
    page = Path("run/report.html").read_text()
    assert "Tuning report" in page
    assert page.count("<tr>") > 3
    losses = [
        json.loads(line)["validation_loss"]
        for line in Path("run/best/history.jsonl").read_text().splitlines()
    ]
    assert losses == tried[told["best_trial"] - 1]["values"]
    assert xpnet("train", "--config", "run/best/config.toml", "--out", "again").code == 0
    metrics = [json.loads(Path(run, "results.json").read_text())["metrics"] for run in ("run/best", "again")]
    assert metrics[0] == metrics[1] == told["metrics"]
    assert xpnet("predict", "run/best", "two-gaussians").code == 0
    assert "its best settings is 'run/best'" in xpnet("predict", "run", "two-gaussians").err


def test_a_search_that_goes_on_tries_what_it_would_have_tried(xpnet, folder, stopped, monkeypatch):
    outcome = xpnet(*TUNE, "--network", "realmlp", "--out", "run")
    assert outcome.code == 130
    assert "1 trial saved. Continue with: xpnet resume run" in outcome.err
    assert len(rows()) == 1
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    outcome = xpnet("resume", "run", "--quiet")
    assert outcome.code == 0, outcome.err
    assert "--weight-decay" in outcome.out
    assert xpnet(*TUNE, "--network", "realmlp", "--out", "whole").code == 0
    assert rows() == rows("whole")
    assert "is finished" in xpnet("resume", "run").err


def test_ctrl_c_in_the_last_training(xpnet, folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(search, "train_run", interrupted)
        assert xpnet(*TUNE, "--out", "run").code == 130
    assert (len(rows()), Path("run/results.json").exists()) == (3, False)
    assert xpnet("resume", "run").code == 0
    assert Path("run/best/results.json").exists()


def test_trials_do_not_look_at_the_test_rows(xpnet, folder):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(100, 2))
    labels = (x[:, 0] > 0).astype(int)
    found = []
    for name, shown in (("as-it-is", labels), ("flipped", np.where(np.arange(100) < 80, labels, 1 - labels))):
        table = {"day": np.arange(100), "a": x[:, 0], "b": x[:, 1], "target": shown}
        pl.DataFrame(table).write_csv(f"{name}.csv")
        given = ("--split-by", "day", "--drop", "day", "--task", "classification")
        outcome = xpnet("tune", f"{name}.csv", *TUNE[2:], *given, "--out", name, "--json")
        assert outcome.code == 0, outcome.err
        found.append((rows(name), outcome.json["metrics"]["test"]["accuracy"]))
    assert found[0][0] == found[1][0]
    assert found[0][1] == pytest.approx(1 - found[1][1])


def test_a_trial_that_falls_behind_is_ended(xpnet, folder, monkeypatch):
    monkeypatch.setattr(search, "_UNPRUNED", 1)
    monkeypatch.setattr(search, "_WARM_UP", 0.0)
    given = ("--epochs", "4", "--hidden", "8", "--backend", "numpy", "--trials", "8")
    outcome = xpnet("tune", "two-gaussians", *given, "--out", "run", "--json")
    assert outcome.code == 0, outcome.err
    pruned = [row for row in rows() if row["outcome"] == "pruned"]
    assert pruned
    assert all(len(row["values"]) == row["epochs"] <= 4 for row in pruned)
    assert min(row["epochs"] for row in pruned) < 4
    assert rows()[outcome.json["best_trial"] - 1]["outcome"] == "done"


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ((), 2, "expected --trials N or --time-limit SECONDS"),
        (("--trials", "0"), 2, "--trials: expected a whole number of at least 1, found 0"),
        (("--trials", "2", "--validation", "0"), 2, "--validation: expected validation rows"),
        (("--trials", "2", "--network", "tabm"), 2, "--network: expected one with a search space"),
        (("--trials", "2", "--learning-rate", "1e30", "--optimizer", "sgd"), 4, "all 2 trials failed"),
        (
            ("--trials", "2", "--activation", "relu", "--dropout", "0", "--lr", "0.1", "--scaling", "robust"),
            2,
            "expected a setting to search",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(flags, code, words, xpnet, folder):
    outcome = xpnet("tune", *BRIEF, *flags, "--out", "run")
    assert (outcome.code, words in outcome.err) == (code, True), outcome.err
    assert Path("run").exists() == (code == 4)


def test_without_optuna(xpnet, folder, monkeypatch):
    found = extras.importlib.util.find_spec
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda n: None if n == "optuna" else found(n))
    outcome = xpnet(*TUNE, "--out", "run")
    assert (outcome.code, "needs optuna: pip install optuna (of the extra 'tune')" in outcome.err) == (
        1,
        True,
    )


def test_a_folder_of_something_else_is_refused(xpnet, folder, stopped, monkeypatch):
    draw = np.random.default_rng(0)
    x = draw.normal(size=60)
    pl.DataFrame({"x": x, "target": np.where(x > 0, "a", "b")}).write_csv("table.csv")
    assert xpnet("tune", "table.csv", *TUNE[2:], "--out", "run").code == 130
    assert "continue it with: xpnet resume run" in xpnet("tune", *TUNE[1:], "--out", "run").err
    assert "--epochs: expected nothing but --time-limit" in xpnet("resume", "run", "--epochs", "5").err
    trials, content = Path("run/trials.jsonl"), Path("run/trials.jsonl").read_text()
    for changed, words in (
        (content.replace('"trial": 1', '"trial": 2'), "line 1: expected trial 1, found 2"),
        (content + content.replace('"trial": 1', '"trial": 2'), "of the space that is searched"),
        (content[:20], "is damaged"),
    ):
        trials.write_text(changed)
        outcome = xpnet("resume", "run")
        assert (outcome.code, words in outcome.err) == (1, True), outcome.err
    trials.write_text(content)
    with open("table.csv", "a") as file:
        file.write("0.5,a\n")
    outcome = xpnet("resume", "run")
    assert (outcome.code, "has changed" in outcome.err) == (5, True), outcome.err


class _Ranges:
    """A trial that notes what is suggested."""

    def __init__(self):
        self.found = {}

    def suggest_float(self, name, low, high, *, log=False):
        self.found[name] = (low, high, log)
        return low

    def suggest_int(self, name, low, high, *, log=False):
        return int(self.suggest_float(name, low, high, log=log))

    def suggest_categorical(self, name, choices):
        self.found[name] = choices
        return choices[0]


def test_the_space_of_realmlp_is_that_of_its_package():
    """pytabkit 1.8.0, ``hpo_space_name="tabarena-new"``, and of the paper's space the activations."""
    trial = _Ranges()
    space = space_of(Settings(network="realmlp"), smoothed=True, categorical=True)
    drawn = {name: draw(trial) for name, draw in space.items()}
    assert trial.found == {
        "width": (256, 384, 512), "layers": (2, 4, False),
        "activation": ("selu", "mish", "relu"),
        "dropout": (0.0, 0.5, False),
        "learning_rate": (2e-2, 3e-1, True),
        "weight_decay": (1e-3, 5e-2, True),
        "1 - beta2": (5e-3, 5e-2, True),
        "smoothed": (False, True), "label_smoothing": (5e-3, 1e-1, True),
        "one_hot_up_to": (3, 31, True),
    }  # fmt: skip
    assert (drawn["hidden"], drawn["beta2"], drawn["label_smoothing"]) == ((256, 256), 0.995, 0.0)
    left = space_of(Settings(network="realmlp", chosen=("hidden",), optimizer="sgd"))
    assert set(left) == {"activation", "dropout", "learning_rate"}
