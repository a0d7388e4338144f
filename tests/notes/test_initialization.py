"""Homework 1 of note 004: weights that are all zero, all one, all equal or random at the start."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.experiments import initialization, report
from scripts.experiments.drawing import BLUE, Curve, Panel, draw
from scripts.experiments.gaussians import weights_of
from tests.notes.pages import DOCS, assert_shown
from xpnet.train import Callback


class _Units(Callback):
    """Remembers how far the units of the hidden layer were apart at most, in weights and biases."""

    def __init__(self):
        self.apart = []

    def on_epoch_end(self, trainer, row):
        params = trainer.variables.params
        units = np.vstack([params["0.weight"], params["0.bias"], params["2.weight"].T])  # a column each
        self.apart.append(abs(units - units[:, :1]).max())


@pytest.fixture(scope="module")
def line():
    return initialization.best_line(*initialization.exclusive_or())


@pytest.fixture(scope="module")
def initialized():
    made = {}
    for name in initialization.INITIALIZERS:
        units = _Units()
        made[name] = initialization.train(name, callbacks=[units]), units.apart
    return made


def test_the_best_line_is_found():
    X, y = initialization.exclusive_or()
    angles = np.linspace(0, 2 * np.pi, 721)
    normals = np.stack([np.cos(angles), np.sin(angles)])
    offsets = np.linspace(-1.5, 1.5, 301)[:, None, None]
    searched = (((X @ normals) > offsets) == (y == 1)[:, None]).mean(axis=1).max()
    assert searched <= initialization.best_line(X, y) <= searched + 0.02
    assert initialization.best_line(np.eye(4)[:, :2] + 0.1 * np.arange(4)[:, None], np.eye(4)[0]) == 1.0


@pytest.mark.parametrize("name", ["all zero", "all one", "all 0.3"])
def test_equal_weights_stay_equal_to_the_bit_all_through_training(name, initialized):
    """Equal units get equal gradients, in exact arithmetic and in that of a product of 8 columns."""
    trainer, apart = initialized[name]
    assert len(apart) == initialization.ITERATIONS
    assert max(apart) == 0.0
    moved = trainer.variables.params["0.weight"]
    assert moved.any() == (name != "all zero")


def test_from_zero_nothing_is_learnt_but_the_share_of_the_classes(initialized):
    """tanh(0) = 0 and W₂ = 0: the gradients of both weight matrices are 0, that of the last bias is not."""
    trainer, _ = initialized["all zero"]
    _, y = initialization.exclusive_or()
    assert not weights_of(trainer).any()
    bias = float(trainer.variables.params["2.bias"][0])
    assert bias == pytest.approx(np.log(y.mean() / (1 - y.mean())), rel=1e-6)  # σ(b) = share of class 1
    assert trainer.history["accuracy"][-1] == max(y.mean(), 1 - y.mean())


@pytest.mark.parametrize("name", ["all one", "all 0.3"])
def test_identical_units_are_no_better_than_a_line(name, initialized, line):
    """H equal units make H v tanh(w·x + b) + c: a monotone function of one projection."""
    trainer, _ = initialized[name]
    X, _ = initialization.exclusive_or()
    params = trainer.variables.params
    along = X @ params["0.weight"][:, 0]
    outputs = np.ravel(trainer.outputs(X))[np.argsort(along)]
    steps = np.diff(outputs) * np.sign(params["2.weight"][0, 0])
    assert (steps >= -1e-12).all()
    assert max(trainer.history["accuracy"]) <= line < 0.75


def test_random_weights_do_well(initialized, line):
    for name in ("random, N(0, 1)", "random, Glorot"):
        trainer, apart = initialized[name]
        assert min(apart) > 0.1
        assert trainer.history["accuracy"][-1] > 0.94 > line + 0.2


def test_rounding_alone_keeps_units_nearly_equal():
    """A product of 5 columns may round the last one otherwise; that is all that can tell units apart."""
    units = _Units()
    initialization.train("all one", hidden=5, callbacks=[units])
    assert max(units.apart) < 1e-6


def test_the_page_has_these_numbers(initialized, line):
    trained = {name: one for name, (one, _) in initialized.items()}
    assert_shown(DOCS / "homework.md", report.initialization_table(trained, line))


def test_pictures_are_the_same_each_time(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: no pictures")
    curve = Curve("x²", range(1000), [x * x for x in range(1000)], BLUE)
    panels = [Panel("one", "x", "y", [curve]), Panel("two", "x", "y", [curve], "xy", ends=(900, 1))]
    one, again = tmp_path / "one.svg", tmp_path / "again.svg"
    draw(one, panels)
    draw(again, panels)
    assert one.read_bytes() == again.read_bytes()


def test_the_picture_is_that_of_these_trainings(initialized, line):
    shown = (DOCS / "images" / "homework-initialization.svg").read_text(encoding="utf-8")
    assert len(shown) < 60_000
    for panel in report.initialization_panels({name: one for name, (one, _) in initialized.items()}, line):
        assert panel.title in shown
        assert all(curve.label in shown for curve in panel.curves)
