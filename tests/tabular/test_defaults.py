"""Defaults that follow from the table."""

from __future__ import annotations

import dataclasses
import math

import pytest

from xpnet import optim
from xpnet.errors import ConfigError
from xpnet.tabular.settings import Settings, settings_from
from xpnet.tabular.trainer import build_optimizer, dropout_of, with_rate


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


def test_the_course_of_weight_decay_and_dropout_spans_the_training():
    made = {"optimizer": "adamw", "weight_decay": 0.02, "weight_decay_schedule": "flat_cos", "dropout": 0.15}
    settings = settings_from(Settings, made | {"batch_size": 10, "warmup": 3, "dropout_schedule": "cos"})
    for limits, steps in (({}, 50 * 3), ({"epochs": 4}, 12), ({"max_steps": 7}, 7)):
        limited = with_rate(dataclasses.replace(settings, **limits))
        assert build_optimizer(limited, 30).weight_decay == optim.FlatCosine(0.02, steps=steps)
        assert dropout_of(limited, 30) == optim.Cosine(0.15, steps=steps)
    none = dataclasses.replace(settings, dropout=0.0, weight_decay=0.0)
    assert (dropout_of(none, 30), build_optimizer(with_rate(none), 30).weight_decay) == (0.0, 0.0)
    with pytest.raises(ConfigError, match=r"weight_decay_schedule: expected an optimizer that has it .adamw"):
        build_optimizer(with_rate(dataclasses.replace(settings, optimizer="sgd", weight_decay=None)), 30)


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
