"""scikit-learn's multilayer perceptrons."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from scripts.benchmarks.contestants import Training
from scripts.benchmarks.works import Optimizer, Work

__all__ = ["fit", "partial_fit"]


def fit(work: Work, optimizer: Optimizer, device: str) -> Training:
    """``fit`` with a warm start, which checks its data once for all epochs of a call."""
    X, y, model = _begin(work, optimizer)

    def run(epochs: int) -> None:
        model.max_iter = epochs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y)

    run(1)  # makes the arrays that the weights go to
    model.coefs_ = [weight for weight, _ in work.weights()]
    model.intercepts_ = [bias for _, bias in work.weights()]
    return Training(run, lambda: list(zip(model.coefs_, model.intercepts_, strict=True)))


def partial_fit(work: Work, optimizer: Optimizer, device: str) -> Training:
    """``partial_fit``, one epoch a call."""
    X, y, model = _begin(work, optimizer)
    options = {"classes": range(work.sizes[-1])} if work.classifies else {}

    def run(epochs: int) -> None:
        for _ in range(epochs):
            model.partial_fit(X, y, **options)

    return Training(run, lambda: list(zip(model.coefs_, model.intercepts_, strict=True)))


def _begin(work: Work, optimizer: Optimizer) -> tuple[Any, Any, Any]:
    X, y = work.data()
    # Its squared error is halved, which Adam alone does not notice.
    halved = not work.classifies and optimizer.name != "adam"
    make = MLPClassifier if work.classifies else MLPRegressor
    model = make(
        hidden_layer_sizes=work.sizes[1:-1],
        activation={"relu": "relu", "sigmoid": "logistic"}[work.activation],
        solver="adam" if optimizer.name == "adam" else "sgd",
        learning_rate_init=optimizer.learning_rate * (2 if halved else 1),
        momentum=optimizer.momentum,
        nesterovs_momentum=optimizer.nesterov,
        batch_size=work.batch,
        alpha=0,
        n_iter_no_change=10**9,  # an epoch without improvement does not end the training
        warm_start=True,
    )
    return X, y if work.classifies else y[:, 0], model
