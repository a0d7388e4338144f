"""Parameters of the estimators: what they may be, and what they mean."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Hidden, Interval, Options, StrOptions

from xpnet.backends import Backend
from xpnet.nn import Layer
from xpnet.optim import Method, Optimizer

__all__ = ["CONSTRAINTS", "described", "store"]

CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [str, Layer, "array-like"],
    "solver": [str, Optimizer, Method],
    "loss": [str, dict, callable],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), callable],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="left")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "callbacks": ["array-like", Hidden(None)],
    "device": [str, Backend, None],
    "dtype": [StrOptions({"float32", "float64"}), None],
    "compile": [str],
}
"""What each parameter may be, in scikit-learn's notation; names are looked up where they are used."""

_DESCRIPTIONS = """\
        hidden_layer_sizes: widths of the hidden layers, or the width of a single one.
        activation: of the hidden layers: ``"relu"``, ``"identity"``, ``"logistic"``, ``"tanh"``, any other of
            :mod:`xpnet.nn` by name or as a layer, or a list with one for each hidden layer.
        solver: ``"adam"``, ``"sgd"``, ``"lbfgs"`` (SciPy's, on all rows), or any other optimizer of
            :mod:`xpnet.optim` by name (``"rmsprop"``, ``"adamw"``, ``"hessian-free"``, ...) or as an object,
            whose own learning rate then counts.
        alpha: factor of the penalty α / (2 n) Σ w² on the weights; n is the number of rows of a batch, or the
            sum of their weights.
        batch_size: rows of a step; ``"auto"`` for 200, or all if there are fewer. Solvers of second order
            take all.
        learning_rate: of ``"sgd"``: ``"constant"``; ``"invscaling"``, after each epoch learning_rate_init
            divided by (rows seen + 1) to the power ``power_t``; ``"adaptive"``, divided by 5 whenever
            training would end, until it is 1e-6. Of any solver by name: a schedule of :mod:`xpnet.optim` or a
            function of the step.
        learning_rate_init: learning rate of solvers of first order.
        power_t: exponent of ``"invscaling"``.
        max_iter: epochs at most; iterations at most of solvers of second order.
        shuffle: whether rows are shuffled before each epoch, by the same draws as scikit-learn's.
        random_state: of first weights, shuffles, the split for early stopping, and dropout.
        tol: by how much the training loss (or the validation score) must improve to count; of ``"lbfgs"`` the
            bound of the gradient's largest entry.
        verbose: whether each epoch is printed.
        warm_start: whether ``fit`` goes on from the weights of the last one.
        momentum: of ``"sgd"``, in [0, 1).
        nesterovs_momentum: whether it is Nesterov's.
        early_stopping: whether to end by the score on validation rows, and to keep the weights of the best
            one.
        validation_fraction: share of the rows that is split off for that, unless ``fit`` gets ``X_val``.
        beta_1, beta_2, epsilon: of ``"adam"``.
        n_iter_no_change: epochs without improvement after which training ends.
        max_fun: evaluations of the objective at most, of ``"lbfgs"``.
        dropout: share of the units of each hidden layer that is dropped in training.
        callbacks: :class:`xpnet.train.Callback` objects.
        device: where to compute, as for :func:`xpnet.backend`; None: where ``X`` is, NumPy's arrays on the
            host.
        dtype: ``"float32"`` or ``"float64"``; None: that of ``X``, and of ``"lbfgs"`` float64.
        compile: how steps are run, as for :class:`xpnet.Trainer`. ``"auto"``: on NumPy by its functions, or
            compiled by numba for fits of many steps, and once a process has fitted the same network several
            times; results are the same up to rounding. ``"numpy"`` and ``"numba"`` give the same bits
            each time."""

_ATTRIBUTES = """\
        coefs_, intercepts_: weights (in, out) and intercepts (out,) of each layer, on the host. What is set
            or changed counts from the next call on.
        loss_curve_, loss_, best_loss_: the objective of each epoch, of the last, and the lowest.
        validation_scores_, best_validation_score_: with ``early_stopping`` or ``X_val``; else None.
        validation_loss_curve_: with ``X_val``, the loss on it without penalty; else None.
        n_iter_, t_: epochs of the last fit, and rows seen in all.
        n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_: as in scikit-learn.
        history_: the epochs of the last fit, with their learning rates and seconds.
        trainer_: the :class:`xpnet.Trainer` with these weights, which :mod:`xpnet.export` takes."""


def described(kind: type) -> type:
    """Return the class with its parameters and attributes described in its docstring."""
    text = kind.__doc__ or ""
    kind.__doc__ = text.replace("        <parameters>", _DESCRIPTIONS).replace(
        "        <attributes>", _ATTRIBUTES
    )
    return kind


def store(estimator: Any, given: dict[str, Any]) -> None:
    """Store the arguments of a constructor as they are."""
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)
