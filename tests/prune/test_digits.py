"""What pruning is worth on real data: the handwritten digits, with a 64-128-10 network."""

from __future__ import annotations

import numpy as np
import pytest

from xpnet import Trainer, nn, optim
from xpnet.data import digits_arrays, split_rows
from xpnet.prune import Pruned, prune, sparse_predictor


def digits(seed: int, **options) -> Pruned:
    X, y = digits_arrays()
    X = X / 16
    train, validation, test = split_rows(len(X), validation=0.1, test=0.2, seed=seed, stratify=y)
    held_out = (X[validation], y[validation])
    trainer = Trainer(
        nn.MLP([128], 10),
        "softmax_cross_entropy",
        optim.Adam(0.003),
        seed=seed,
        backend="numpy",
        metrics=["accuracy"],
        progress=False,
    )
    trainer.fit(X[train], y[train], epochs=50, batch_size=64, validation=held_out)
    rows = {"batch_size": 64, "validation": held_out, "test": (X[test], y[test])}
    return prune(trainer, X[train], y[train], **rows, **options)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(1, 4))])
def test_a_tenth_of_the_weights_loses_at_most_a_point_of_accuracy(seed):
    report = digits(seed, sparsity=0.9, tolerance=None).report
    assert report.before.metrics["accuracy"] > 0.96
    assert report.after.metrics["accuracy"] >= report.before.metrics["accuracy"] - 0.01
    assert report.before.nonzero == 9472
    assert 937 < report.after.nonzero <= 947  # a few more may lose their last connection in the last round
    assert report.after.sparse_bytes < report.before.bytes / 4


@pytest.mark.full
def test_half_of_the_units_are_half_of_the_work():
    pruned = digits(0, sparsity=0.5, scope="unit", rounds=4)
    report = pruned.report
    assert pruned.trainer.model.layers[0].units == 64
    # 64-64-10 rather than 64-128-10: a multiplication for each weight and row
    assert (report.before.weights, report.after.weights) == (9472, 4736)
    assert report.after.bytes == 4 * (4736 + 64 + 10)
    assert report.after.metrics["accuracy"] >= report.before.metrics["accuracy"] - 0.01


def test_sparse_predictions_of_the_pruned_digits_are_the_dense_ones():
    trainer = digits(0, sparsity=0.9, rounds=1, epochs_per_round=1).trainer
    X = digits_arrays()[0] / 16
    np.testing.assert_array_equal(sparse_predictor(trainer).predict(X), trainer.predict(X))
