"""Checkpoints: what is written comes back to the last bit, and training goes on as if never interrupted."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest

from tests.support import told
from tests.train.support import assert_same_training, class_data, flat, make
from xpnet import Trainer, losses, nn, optim
from xpnet.errors import CheckpointError, ConfigError
from xpnet.train import Callback

X, Y = class_data(24)
HELD_OUT = (X[:8], (Y[:8] + 1) % 3)
DRAWN = nn.MLP([5], 3, activation="tanh", dropout=0.3, batch_norm=True)

SETTINGS = {
    "plain": {},
    "regular": {"l1": {"0": 0.01, "biases": 0.1}, "max_norm": 0.7, "label_smoothing": 0.1,
                "gradient_noise": 0.1},
    "everything": {"model": DRAWN, "l2": 0.01, "clip_norm": 0.5, "clip_value": 0.2, "metrics": ["accuracy"],
                   "optimizer": optim.SGD(optim.WarmUp(optim.Cosine(0.1, steps=30), steps=3), momentum=0.9)},
    "groups": {"optimizer": optim.AdamW(0.01), "learning_rate_factors": {"biases": 0.1},
               "weight_decay_factors": {"0.bias": 0.0, "2": 3.0}},
    "fixed": {"batches": "fixed", "seed": 2**63},
    "float32": {"dtype": "float32", "model": DRAWN},
    "patience": {"patience": 4, "min_delta": 0.001, "model": DRAWN},
    "ema": {"ema_decay": 0.9, "model": DRAWN, "monitor": "validation_accuracy", "metrics": ["accuracy"],
            "use_last_best_epoch": True},
    "swa": {"swa_start": 2, "model": DRAWN, "rollback": False},
    "best": {"restore_best": True, "max_steps": 11},
}  # fmt: skip


KEPT = (
    "model", "loss", "optimizer", "dtype", "seed", "compile", "l1", "l2", "max_norm",
    "learning_rate_factors", "weight_decay_factors",
    "label_smoothing", "gradient_noise", "clip_norm", "clip_value", "batches", "max_steps", "patience",
    "min_delta", "ema_decay", "swa_start", "monitor", "use_last_best_epoch",
    "restore_best", "input_shape", "metrics",
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(SETTINGS))
@pytest.mark.parametrize("cut", [1, 2, 4])
def test_two_parts_with_a_checkpoint_between_are_one_training(name, cut, tmp_path):
    straight, first = (make(**SETTINGS[name]) for _ in range(2))
    options = {"batch_size": 7, "validation": HELD_OUT}
    straight.fit(X, Y, epochs=5, **options)
    first.fit(X, Y, epochs=cut, **options)
    first.save(tmp_path)
    second = Trainer.load(tmp_path, "numpy")
    assert_same_training(first, second)
    for name in KEPT:
        assert getattr(first, name) == getattr(second, name), name
    second.fit(X, Y, epochs=5, **options)
    assert_same_training(straight, second)
    assert np.array_equal(straight.predict_proba(X), second.predict_proba(X))


def test_a_checkpoint_after_each_epoch_changes_nothing(tmp_path):
    class Saving(Callback):
        def on_epoch_end(self, trainer, row):
            trainer.save(tmp_path / str(row["epoch"]))

    saving, silent = make(model=DRAWN, callbacks=[Saving()]), make(model=DRAWN)
    for one in (saving, silent):
        one.fit(X, Y, epochs=4, batch_size=7, validation=HELD_OUT)
    assert_same_training(saving, silent)
    for epoch in (1, 2, 3, 4):
        loaded = Trainer.load(tmp_path / str(epoch), "numpy")
        loaded.fit(X, Y, epochs=4, batch_size=7, validation=HELD_OUT)
        assert_same_training(loaded, silent)


def test_where_it_is_written(tmp_path):
    trainer = make()
    trainer.fit(X, Y, epochs=1)
    trainer.save(tmp_path / "deep" / "run")
    trainer.save(tmp_path / "last.safetensors")
    trainer.save(str(tmp_path / "text"))
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == [
        "deep/run/trainer.safetensors",
        "last.safetensors",
        "text/trainer.safetensors",
    ]
    assert_same_training(Trainer.load(tmp_path / "last.safetensors"), Trainer.load(tmp_path / "deep" / "run"))


def test_others_can_read_it(tmp_path):
    safetensors = pytest.importorskip("safetensors")
    trainer = make(model=DRAWN, patience=9)
    trainer.fit(X, Y, epochs=3, validation=HELD_OUT)
    trainer.save(tmp_path)
    with safetensors.safe_open(tmp_path / "trainer.safetensors", framework="numpy") as file:
        assert np.array_equal(file.get_tensor("params"), flat(trainer))
        description = json.loads(file.metadata()["xpnet"])
    assert description["format"] == 1
    assert description["epoch"] == 3
    assert description["model"]["layer"] == "Sequential"
    assert description["optimizer"]["name"] == "adam"


def test_saving_over_an_older_one(tmp_path):
    trainer = make()
    for epoch in (1, 2):
        trainer.fit(X, Y, epochs=epoch)
        trainer.save(tmp_path)
    assert Trainer.load(tmp_path, "numpy").epoch == 2
    assert [p.name for p in tmp_path.iterdir()] == ["trainer.safetensors"]


def test_settings_can_be_changed_on_loading(tmp_path):
    calls = []

    class Noting(Callback):
        def on_epoch_end(self, trainer, row):
            calls.append(row["epoch"])

    trainer = make(max_steps=2)
    trainer.fit(X, Y, epochs=9)
    trainer.save(tmp_path)
    other = Trainer.load(
        tmp_path, "numpy", max_steps=None, callbacks=[Noting()], metrics=["accuracy"], dtype="float32"
    )
    other.fit(X, Y, epochs=4)
    assert calls == [3, 4]
    assert other.history["accuracy"][:2] == [None, None]
    assert flat(other).dtype == np.float32
    with pytest.raises(TypeError, match="patiance"):
        Trainer.load(tmp_path, "numpy", patiance=3)
    with pytest.raises(ConfigError, match="patience: expected"):
        Trainer.load(tmp_path, "numpy", patience=0)


@pytest.mark.parametrize(
    ("optimizer", "kept"), [(optim.Adam(1e-3), True), (optim.AdamW(1e-3), True), (optim.SGD(0.1), False)]
)
def test_another_optimizer_on_loading(tmp_path, optimizer, kept):
    trainer = make()
    trainer.fit(X, Y, epochs=2)
    trainer.save(tmp_path)
    other = Trainer.load(tmp_path, "numpy", optimizer=optimizer)
    other.fit(X, Y, epochs=3)
    assert other.opt_state["step"] == (3 if kept else 1)
    assert other.optimizer == optimizer


# ------------------------------------------------------------------------- of the user's own making
def own_loss(outputs, targets, *, sample_weight=None):
    return losses.softmax_cross_entropy(outputs, targets)


@dataclasses.dataclass(frozen=True)
class _Own(optim.Optimizer):
    learning_rate: float = 0.1
    slots = ("trace",)

    def rule(self, g, slots, p, learning_rate, step):
        trace = 0.5 * slots[0] + g
        return p - learning_rate * trace, (trace,)


@dataclasses.dataclass(frozen=True)
class _Doubled(nn.Layer):
    def forward(self, params, state, x, *, training, key):
        return x * 2.0, state


class _Loose(nn.Layer):
    """Not a dataclass: its factor is unknown to its configuration."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def forward(self, params, state, x, *, training, key):
        return x * self.factor, state


OWN = {
    "loss": own_loss,
    "optimizer": _Own(),
    "model": nn.Sequential(_Doubled(), nn.Dense(3)),
}
MORE = [
    ("loss", functools.partial(own_loss)),
    ("optimizer", optim.SGD(lambda step: 0.1 / step)),
    ("model", nn.Dense(3, weight_init=lambda key, shape: np.ones(shape))),
    ("model", nn.Sequential(_Loose(3.0), nn.Dense(3))),
]


@pytest.mark.parametrize(("what", "own"), [*OWN.items(), *MORE], ids=told)
def test_what_only_code_can_make_must_be_passed(tmp_path, what, own):
    straight, trainer = (make(**{what: own}) for _ in range(2))
    straight.fit(X, Y, epochs=4, batch_size=7)
    trainer.fit(X, Y, epochs=2, batch_size=7)
    trainer.save(tmp_path)
    with pytest.raises(CheckpointError, match=rf"its {what} .*Trainer\.load\(\.\.\., {what}=\.\.\.\)"):
        Trainer.load(tmp_path, "numpy")
    loaded = Trainer.load(tmp_path, "numpy", **{what: own})
    loaded.fit(X, Y, epochs=4, batch_size=7)
    assert_same_training(straight, loaded)


def test_metrics_of_the_users_own_are_left_out_unless_passed(tmp_path):
    def mine(outputs, targets):
        return 1.0

    trainer = make(metrics=["accuracy", mine])
    trainer.fit(X, Y, epochs=1)
    trainer.save(tmp_path)
    assert list(Trainer.load(tmp_path).metrics) == ["accuracy"]
    assert list(Trainer.load(tmp_path, metrics=["accuracy", mine]).metrics) == ["accuracy", "mine"]


def test_another_model_than_the_saved_one(tmp_path):
    trainer = make()
    trainer.fit(X, Y, epochs=1)
    trainer.save(tmp_path)
    for model, wrong in (
        (nn.MLP([6], 3), r"0\.weight of shape \(3, 6\) for the model, found \(3, 5\)"),
        (nn.MLP([5, 4], 3), r"2\.weight of shape \(5, 4\) for the model, found \(5, 3\)"),
        (nn.MLP([5], 3, batch_norm=True), r"1\.scale of shape \(5,\) for the model, found None"),
        (nn.Dense(3), r"expected weight of shape \(3, 3\) for the model, found None"),
    ):
        with pytest.raises(CheckpointError, match=wrong):
            Trainer.load(tmp_path, "numpy", model=model)


def test_an_optimizer_state_that_cannot_be_written(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Hoarding(optim.SGD):
        def init(self, params):
            return {**super().init(params), "seen": {1, 2}}

        def update(self, grads, state, params):
            params, after = super().update(grads, state, params)
            return params, {**after, "seen": state["seen"]}

    trainer = make(optimizer=Hoarding(0.1))
    trainer.fit(X, Y, epochs=1)
    with pytest.raises(CheckpointError, match="optimizer's state may hold"):
        trainer.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_pickled():
    import ast

    import xpnet.train

    for source in Path(xpnet.train.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {
                "pickle",
                "shelve",
                "marshal",
                "dill",
                "joblib",
            }
            assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("eval", "exec"))
