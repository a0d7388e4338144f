"""What the trainer's tests share: small data, a small trainer, and comparisons to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import Trainer, nn, optim
from xpnet.containers import leaves

__all__ = ["assert_same_training", "class_data", "flat", "make", "value_data"]


def class_data(n: int = 30, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return ``classes`` well separated clouds of points in three dimensions, read-only."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = random.normal(size=(n, 3)) * 0.5 + 2.0 * np.eye(3)[y % 3]
    X.flags.writeable = y.flags.writeable = False
    return X, y


def value_data(n: int = 30, outputs: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return X (n, 3) and smooth values of it, (n,) for one output."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 3))
    y = np.tanh(X @ random.normal(size=(3, outputs))) + 0.3
    return X, (y[:, 0] if outputs == 1 else y)


def make(**options: Any) -> Trainer:
    """Return a trainer of a small classifier on NumPy in float64; every argument can be given otherwise."""
    settings: dict[str, Any] = {
        "model": nn.MLP([5], 3, activation="tanh"),
        "loss": "softmax_cross_entropy",
        "optimizer": optim.Adam(0.05),
        "backend": "numpy",
        "dtype": "float64",
    }
    settings |= options
    return Trainer(settings.pop("model"), settings.pop("loss"), settings.pop("optimizer"), **settings)


def flat(trainer: Trainer) -> np.ndarray:
    """Return the parameters as a host vector."""
    return np.array(trainer.backend.to_host(trainer.variables.params.flat))


def _host(trainer: Trainer, tree: Any) -> list[np.ndarray]:
    if isinstance(tree, dict):
        tree = [tree[name] for name in sorted(tree)]
    return [
        np.asarray(trainer.backend.to_host(x)) if hasattr(x, "shape") else np.asarray(x) for x in leaves(tree)
    ]


def without_seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return history rows without the column that no two runs share."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def assert_same_training(one: Trainer, other: Trainer) -> None:
    """Assert that two trainers stand at the same point, to the last bit."""
    assert (one.epoch, one.step) == (other.epoch, other.step)
    assert without_seconds(one.history.rows) == without_seconds(other.history.rows)
    for name in ("variables", "last", "opt_state", "average"):
        assert (getattr(one, name) is None) == (getattr(other, name) is None), name
        pairs = zip(_host(one, getattr(one, name)), _host(other, getattr(other, name)), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs), name
    assert (one.best is None) == (other.best is None)
    if one.best is not None:
        assert (one.best.epoch, one.best.loss) == (other.best.epoch, other.best.loss)
        pairs = zip(_host(one, one.best.variables), _host(other, other.best.variables), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
