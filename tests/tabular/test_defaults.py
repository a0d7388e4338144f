"""Defaults that follow from the table."""

from __future__ import annotations

import math

import pytest

from xpnet import optim
from xpnet.tabular.settings import Settings
from xpnet.tabular.trainer import build_optimizer, with_rate


@pytest.mark.parametrize(
    ("settings", "rows", "rate", "decay"),
    [
        ({"batch_size": 16}, 105, 0.002, 0.714),  # seven steps an epoch
        ({"batch_size": 64}, 64_000, 0.002, 0.005),
        ({"batch_size": "full"}, 500, 0.002, 1.67),  # 300 steps, as one an epoch is few
        ({"batch_size": 16, "learning_rate": 0.02}, 105, 0.02, 0.0714),
        ({"batch_size": 16, "weight_decay": 0.0}, 105, 0.002, 0.0),
        ({"batch_size": 16, "optimizer": "adam"}, 105, 0.002, None),
        ({"batch_size": 16, "optimizer": "rmsprop"}, 105, 0.01, None),
    ],
)
def test_rate_and_decay(settings, rows, rate, decay):
    made = build_optimizer(with_rate(Settings(**settings)), rows)
    assert made.learning_rate == rate
    assert getattr(made, "weight_decay", None) == decay


def _nothing(predictions, targets, **_):
    return 0.0 * predictions[0, 0]


def test_weights_are_forgotten_within_a_hundred_epochs():
    """Without a gradient 1/e of them is left."""
    import numpy as np

    from xpnet import Trainer, nn

    made = build_optimizer(with_rate(Settings(batch_size=16)), 160)
    assert isinstance(made, optim.AdamW)
    trainer = Trainer(
        nn.Dense(1, bias=False), _nothing, made, backend="numpy", dtype="float64", progress=False
    )
    X, y = np.ones((160, 3)), np.ones(160)
    trainer.fit(X, y, epochs=1, batch_size=16)
    before = np.array(trainer.variables.params.flat)
    trainer.fit(X, y, epochs=101, batch_size=16)
    np.testing.assert_allclose(trainer.variables.params.flat / before, math.exp(-1), rtol=1e-2)
