"""Losses on the command line: which fit which targets, options, weights of classes, code of one's own."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.cli.conftest import FAST
from xpnet import losses
from xpnet.data import Encoder
from xpnet.errors import CheckpointError, ConfigError
from xpnet.tabular.losses import import_loss
from xpnet.train import Trainer

ROWS = 90


@pytest.fixture
def table(folder) -> str:
    """A table with a target of every kind; only ``x`` and ``z`` are features where the others are dropped."""
    random = np.random.default_rng(0)
    x, z = random.normal(size=(2, ROWS))
    pl.DataFrame(
        {
            "x": x,
            "z": z,
            "value": np.tanh(x) + 0.1 * z,
            "other": x - z,
            "count": random.poisson(np.exp(0.5 * x + 1)),
            "counts": random.poisson(np.exp(0.5 * z + 1)),
            "kind": np.where(x > 0.4, "high", "low"),
            "bit": (z > 0).astype(int),
            "colour": np.asarray(["blue", "green", "red"])[np.digitize(x, [-0.5, 0.5])],
        }
    ).write_csv("table.csv")
    return "table.csv"


TARGETS = ("value", "other", "count", "counts", "kind", "bit", "colour")


def predicting(*targets: str) -> tuple[str, ...]:
    """Return the flags to predict targets from ``x`` and ``z``."""
    dropped = ",".join(name for name in TARGETS if name not in targets)
    return ("--target", ",".join(targets), "--drop", dropped)


# --------------------------------------------------------------------------- which loss fits which targets
NUMBERS = {"squared_error", "absolute_error", "huber"}
CLASSES = {"softmax_cross_entropy", "multiclass_hinge", "kl_divergence", "symmetric_kl"}
PAIRS = {"binary_cross_entropy", "hinge"}
FITTING: dict[str, tuple[tuple[str, ...], tuple[str, ...], set[str]]] = {
    "value": (("value",), (), NUMBERS),
    "values": (("value", "other"), (), NUMBERS),
    "count": (("count",), ("--task", "regression"), NUMBERS | {"poisson"}),
    "counts": (("count", "counts"), ("--task", "regression"), NUMBERS | {"poisson"}),
    "two classes": (("kind",), (), CLASSES | PAIRS),
    "three classes": (("colour",), (), CLASSES),
    "labels": (("kind", "bit"), (), PAIRS),
}


@pytest.mark.full
@pytest.mark.parametrize("case", FITTING)
@pytest.mark.parametrize("loss", sorted(losses.LOSSES))
def test_which_loss_fits_which_targets(loss, case, table, xpnet):
    targets, task, fitting = FITTING[case]
    arguments = (*predicting(*targets), *task, "--loss", loss, "--out", "run", "--quiet", "--json", *FAST)
    outcome = xpnet("train", table, *arguments)
    if loss not in fitting:
        assert outcome.code in (2, 5)
        assert loss in outcome.err
        assert len(outcome.err.splitlines()) == 1
        for words in ("expected", ";"):  # what was expected, and what to do
            assert words in outcome.err
        assert not Path("run").exists()
        return
    assert outcome.code == 0, outcome.err
    predicted = xpnet("predict", "run", table)
    assert predicted.code == 0, predicted.err
    frame, true = pl.read_csv(io.StringIO(predicted.out)), pl.read_csv(table)
    classes = case in ("two classes", "three classes", "labels")
    names = ["prediction"] if len(targets) == 1 else [f"prediction_{name}" for name in targets]
    assert frame.columns[: len(names)] == names
    if classes:
        for name, target in zip(names, targets, strict=True):
            assert set(frame[name]) <= set(true[target])
    evaluated = xpnet("evaluate", "run", "--json")
    assert evaluated.json["metrics"]["test"] == outcome.json["metrics"]["test"]
    picture = "confusion_matrix" if classes else "predicted_vs_true"
    assert len(list(Path("run/figures").glob(f"{picture}*.svg"))) == len(targets)


# ------------------------------------------------------------------------------------------------ options
def test_options_of_a_loss(table, xpnet):
    arguments = (*predicting("value"), "--loss", "huber", "--quiet", "--json", *FAST)
    results = {}
    for delta in (None, 1.0, 0.2):
        given = () if delta is None else ("--loss-option", f"delta={delta}")
        outcome = xpnet("train", table, *arguments, *given, "--out", f"run{delta}")
        assert outcome.code == 0, outcome.err
        results[delta] = outcome.json
    assert results[None]["metrics"] == results[1.0]["metrics"] != results[0.2]["metrics"]
    assert results[0.2]["loss_option"] == {"delta": 0.2}
    trainer = Trainer.load("run0.2/checkpoints/last.safetensors", "numpy")
    assert losses.to_config(trainer.loss) == {"name": "huber", "delta": 0.2}
    again = xpnet("evaluate", "run0.2", "--json")
    assert again.json["metrics"]["test"] == results[0.2]["metrics"]["test"]
    assert xpnet("resume", "run0.2", "--epochs", "3", "--quiet").code == 0
    assert (
        xpnet("train", "--config", "run0.2/config.toml", "--out", "copy", "--quiet", "--epochs", "2").code
        == 0
    )
    copied = json.loads(Path("copy/results.json").read_text())
    assert copied["metrics"] == results[0.2]["metrics"]


@pytest.mark.parametrize(
    ("loss", "option", "words"),
    [
        ("huber", "delta=-1", "huber: delta: expected a finite number above 0, found -1"),
        ("huber", "detla=1", "loss huber has no option 'detla'; did you mean 'delta'?"),
        ("squared_error", "delta=1", "loss squared_error has no option 'delta'"),
        ("auto", "delta=1", "loss squared_error has no option 'delta'"),
    ],
)
def test_options_that_do_not_fit(loss, option, words, table, xpnet):
    outcome = xpnet("train", table, *predicting("value"), "--loss", loss, "--loss-option", option, *FAST)
    assert (outcome.code, words in outcome.err) == (2, True), outcome.err


@pytest.mark.full
# -------------------------------------------------------------------------------------- weights of classes
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "binary_cross_entropy", "hinge"])
def test_class_weights_are_those_of_the_trainer(loss, table, xpnet):
    low, high = (-1, 1) if loss == "hinge" else (0, 1)  # sorted, "high" comes first
    given = {
        "balanced": "balanced",
        "high=3,low=0.5": {low: 3.0, high: 0.5},
        "high=3": {low: 3.0, high: 1.0},
        "none": None,
    }
    seen = []
    frame = pl.read_csv(table)
    for number, (text, weights) in enumerate(given.items()):
        run = f"run{number}"
        arguments = (*predicting("kind"), "--loss", loss, "--class-weight", text, "--validation", "0")
        outcome = xpnet("train", table, *arguments, "--test", "0", "--out", run, "--quiet", *FAST)
        assert outcome.code == 0, outcome.err
        loaded = Trainer.load(f"{run}/checkpoints/last.safetensors", "numpy")
        X, y, _ = Encoder.from_json(json.loads(Path(run, "encoder.json").read_text())).encode(frame)
        size = json.loads(Path(run, "results.json").read_text())["batch_size"]
        trainer = Trainer(loaded.model, loss, loaded.optimizer, backend="numpy")
        trainer.fit(X, 2 * y - 1 if loss == "hinge" else y, epochs=2, batch_size=size, class_weight=weights)
        np.testing.assert_array_equal(loaded.variables.params.flat, trainer.variables.params.flat)
        seen.append(np.array(loaded.variables.params.flat))
    assert all(np.any(one != other) for i, one in enumerate(seen) for other in seen[:i])


def test_balanced_classes_raise_the_balanced_accuracy(folder, xpnet):
    random = np.random.default_rng(1)
    rare = random.random(400) < 0.06
    pl.DataFrame({"x": random.normal(size=400) + 1.2 * rare, "rare": rare}).write_csv("rare.csv")
    found = {}
    for weights in ("none", "balanced"):
        arguments = (
            "--target",
            "rare",
            "--class-weight",
            weights,
            "--learning-rate",
            "0.02",
            "--epochs",
            "30",
        )
        outcome = xpnet(
            "train", "rare.csv", *arguments, "--hidden", "none", "--out", weights, "--quiet", "--json",
            "--backend", "numpy",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        found[weights] = outcome.json["metrics"]["train"]
    assert found["balanced"]["balanced_accuracy"] > found["none"]["balanced_accuracy"] + 0.1
    assert found["none"]["accuracy"] > found["balanced"]["accuracy"]


@pytest.mark.parametrize(
    ("targets", "weights", "words"),
    [
        (("kind",), "hihg=2", "there is no class 'hihg'; did you mean 'high'?"),
        (("kind",), "high=0,low=0", "expected a weight above 0"),
        (("value",), "balanced", "expected one target with classes, found the loss squared_error"),
        (("kind", "bit"), "balanced", "expected one target with classes, found 2 targets"),
    ],
)
def test_class_weights_that_do_not_fit(targets, weights, words, table, xpnet):
    outcome = xpnet("train", table, *predicting(*targets), "--class-weight", weights, "--out", "run", *FAST)
    assert outcome.code in (2, 5)
    assert words in outcome.err
    assert not Path("run").exists()


# -------------------------------------------------------------------------------------- code of one's own
CODE = """
from pathlib import Path

from xpnet import losses
from xpnet.autodiff.functions import sigmoid
from xpnet.backends import array_namespace

with Path({trace!r}).open("a") as file:
    file.write("x")


@losses.make
def squares(predictions, targets):
    return (predictions - targets) ** 2


@losses.make(targets="binary", link=sigmoid)
def logistic(logits, targets):
    xp = array_namespace(logits)
    return xp.log(1 + xp.exp(logits)) - targets * logits


def plain(predictions, targets):
    return array_namespace(predictions).mean((predictions - targets) ** 2)


def rows(predictions, targets):
    return (predictions - targets) ** 2


def faulty(predictions, targets):
    return no_such_name


def mutable(predictions, targets):
    return array_namespace(predictions).mean(predictions)


mutable.targets = "number"
NUMBER = 3


class Squares:
    pass
"""


@pytest.fixture
def code(folder, monkeypatch) -> Path:
    """The file ``mine.py``, which notes each time that it is run in the file that is returned."""
    trace = folder / "trace"
    Path("mine.py").write_text(CODE.format(trace=str(trace)))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return trace


def train_own(xpnet, table, out="run", place="mine.py:squares", targets=("value",)):
    outcome = xpnet(
        "train", table, *predicting(*targets), "--loss", place, "--out", out, "--quiet", "--json", *FAST
    )
    assert outcome.code == 0, outcome.err
    return outcome.json


@pytest.mark.full
@pytest.mark.parametrize("place", ["mine.py:squares", "mine:squares", "./mine.py:squares"])
def test_a_loss_of_the_users_own(place, table, code, xpnet, monkeypatch):
    monkeypatch.delitem(__import__("sys").modules, "mine", raising=False)
    own = train_own(xpnet, table, place=place)
    usual = train_own(xpnet, table, "usual", "squared_error")
    assert own["metrics"]["test"] == pytest.approx(usual["metrics"]["test"], rel=1e-5)
    expected = place if "py" not in place else f"{Path('mine.py').resolve()}:squares"
    assert f'loss = "{expected}"' in Path("run/config.toml").read_text()
    one, other = xpnet("predict", "run", table, "--loss", place), xpnet("predict", "usual", table)
    assert one.code == 0, one.err
    np.testing.assert_allclose(
        pl.read_csv(io.StringIO(one.out))["prediction"],
        pl.read_csv(io.StringIO(other.out))["prediction"],
        rtol=1e-4,
    )
    for command in (("evaluate", "run"), ("evaluate", "run", table), ("graph", "run")):
        assert xpnet(*command, "--loss", place).code == 0
    resumed = xpnet("resume", "run", "--epochs", "3", "--loss", place, "--json")
    assert (resumed.code, resumed.json["epochs_trained"]) == (0, 3), resumed.err


def test_an_own_loss_declares_its_targets(table, code, xpnet):
    results = train_own(xpnet, table, place="mine.py:logistic", targets=("kind", "bit"))
    assert (results["task"], results["layers"]) == ("classification", "2-8-2")
    predicted = xpnet("predict", "run", table, "--loss", "mine.py:logistic")
    assert predicted.out.splitlines()[0].endswith("probability_kind=low,probability_bit=1")
    assert train_own(xpnet, table, "plain", "mine.py:plain")["task"] == "regression"


def test_a_file_never_runs_code(table, code, xpnet):
    """Neither a run folder nor a checkpoint nor a configuration does, whatever it names."""
    train_own(xpnet, table)
    runs = len(code.read_text())
    config = Path("run/config.toml")
    other = Path(shutil.copytree("run", "other"))
    evil = Path("evil.py")
    evil.write_text(Path("mine.py").read_text())
    for run, place in ((Path("run"), "mine.py:squares"), (other, "evil.py:squares"), (other, "evil:squares")):
        text = config.read_text().replace(f"{Path('mine.py').resolve()}:squares", place)
        (run / "config.toml").write_text(text)
        for command in (
            ("predict", run, table),
            ("evaluate", run),
            ("evaluate", run, table),
            ("resume", run, "--epochs", "9"),
            ("graph", run),
            ("train", "--config", run / "config.toml", "--out", "new"),
            ("train", "--config", run / "config.toml", "--out", "new", "--dry-run"),
            ("train", "--config", run / "config.toml", "--print-config"),
        ):
            outcome = xpnet(*command)
            if "--print-config" not in command:
                assert outcome.code == 2, command
                assert "run only where it is named; add --loss " in outcome.err
            assert len(code.read_text()) == runs, command
    with pytest.raises(CheckpointError, match=r"its loss is the user's own code"):
        Trainer.load("run/checkpoints/last.safetensors", "numpy")
    assert len(code.read_text()) == runs
    assert not Path("new").exists()


def test_a_configuration_and_a_flag_that_names_the_code(table, code, xpnet):
    train_own(xpnet, table)
    config = ("--config", "run/config.toml", "--quiet")
    outcome = xpnet("train", *config, "--loss", "mine.py:squares", "--out", "new")
    assert outcome.code == 0, outcome.err
    assert Path("new/config.toml").read_text() == Path("run/config.toml").read_text()
    changed = xpnet("train", *config, "--loss", "huber", "--out", "huber")
    assert changed.code == 0, changed.err


@pytest.mark.parametrize("command", ["predict", "evaluate", "resume", "graph"])
def test_a_loss_is_asked_for_only_where_it_is_code(command, trained, code, xpnet):
    trained()
    arguments = {"predict": ("two-gaussians",), "resume": ("--epochs", "3")}.get(command, ())
    outcome = xpnet(command, "run", *arguments, "--loss", "mine.py:squares")
    assert outcome.code == 2
    assert "expected none for a run whose loss is softmax_cross_entropy" in outcome.err
    assert not code.exists()


BAD = {
    "no file": ("none.py:f", "there is no file 'none.py'"),
    "no module": ("nowhere:f", "ModuleNotFoundError"),
    "no function": ("mine.py:square", "has no function 'square'; did you mean 'squares'?"),
    "no function at all": ("mine.py:NUMBER", "expected a function, found 3"),
    "a class": ("mine.py:Squares", "expected a function, found <class"),
    "rows": ("mine.py:rows", r"loss rows: expected a 0-d array .*found shape (3, 1); wrap the function by"),
    "faulty": ("mine.py:faulty", "NameError: name 'no_such_name' is not defined"),
    "unknown kind": ("mine.py:mutable", "expected targets of a known kind, found 'number'"),
    "syntax": ("broken.py:f", "its code cannot be run (SyntaxError"),
    "raises": ("raises.py:f", "its code cannot be run (ValueError: by itself)"),
    "for classes": ("mine.py:logistic", "--loss logistic: expected a loss for numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_code_that_is_no_loss(case, table, code, xpnet):
    Path("broken.py").write_text("def f(:\n")
    Path("raises.py").write_text("raise ValueError('by itself')\n")
    place, words = BAD[case]
    outcome = xpnet("train", table, *predicting("value"), "--loss", place, "--out", "run", *FAST)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    for part in words.split(".*"):
        assert part in line
    assert not Path("run").exists()


def test_an_own_loss_has_no_options(table, code, xpnet):
    arguments = (*predicting("value"), "--loss", "mine.py:squares", "--loss-option", "delta=1", *FAST)
    outcome = xpnet("train", table, *arguments)
    assert (outcome.code, "--loss-option: expected a loss of xpnet" in outcome.err) == (2, True)


def test_a_name_is_no_code():
    assert import_loss(None) is None
    assert import_loss("huber") is None
    with pytest.raises(ConfigError, match="there is no file"):
        import_loss("huber.py:huber")
