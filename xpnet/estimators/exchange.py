"""Fitted estimators from and to scikit-learn, with the same weights and so the same predictions."""

from __future__ import annotations

import copy
from typing import Any

from sklearn import neural_network
from sklearn.base import is_classifier

from xpnet.errors import ConfigError
from xpnet.nn import Layer
from xpnet.nn.activations import activation

__all__ = ["copied_attributes", "sklearn_estimator"]

_ACTIVATIONS = {"ReLU": "relu", "Identity": "identity", "Sigmoid": "logistic", "Tanh": "tanh"}
_SOLVERS = ("lbfgs", "sgd", "adam")
_PRIVATE = ("_label_binarizer", "_no_improvement_count")


def copied_attributes(fitted: Any, made: Any) -> Any:
    """Return ``made`` with the attributes of a fitted estimator: weights, classes, loss curves and so on."""
    for name in (*(n for n in vars(fitted) if n.endswith("_") and n[0] != "_"), *_PRIVATE):
        if hasattr(fitted, name):
            setattr(made, name, copy.deepcopy(getattr(fitted, name)))
    made.coefs_, made.intercepts_ = copy.deepcopy((fitted.coefs_, fitted.intercepts_))
    return made


def sklearn_estimator(fitted: Any) -> Any:
    """Return scikit-learn's estimator with the parameters that it knows, and the weights of a fitted one.

    Raises:
        ConfigError: an activation, or a loss whose predictions are made by a function, that it does not have.
    """
    kind = neural_network.MLPClassifier if is_classifier(fitted) else neural_network.MLPRegressor
    known = kind().get_params()
    given = {name: value for name, value in fitted.get_params().items() if name in known}
    given["activation"] = _activation(given["activation"])
    usual = {"solver": _SOLVERS, "learning_rate": ("constant", "invscaling", "adaptive")}
    for name, values in usual.items():
        if not isinstance(given[name], str) or given[name] not in values:
            given[name] = known[name]
    if is_classifier(fitted):
        several = fitted._label_binarizer.y_type_ == "multiclass"
        wanted = ["softmax" if several else "logistic"]
    else:
        given["loss"] = "poisson" if fitted.out_activation_ == "exp" else "squared_error"
        wanted = ["identity", "exp"]
    if fitted.out_activation_ not in wanted:
        raise ConfigError(
            f"to_sklearn: expected a loss with {' or '.join(wanted)} as output activation, found "
            f"{fitted.loss!r} with {fitted.out_activation_}; train with the default loss"
        )
    return copied_attributes(fitted, kind(**given))


def _activation(given: Any) -> str:
    """Return scikit-learn's name of the activation of all hidden layers."""
    several = [given] if isinstance(given, (str, Layer)) else list(given)
    names = {type(activation(one)).__name__ for one in several}
    if len(names) != 1 or not names <= _ACTIVATIONS.keys():
        raise ConfigError(
            f"to_sklearn: expected one of the activations {', '.join(_ACTIVATIONS.values())}, found {given!r}"
        )
    return _ACTIVATIONS[names.pop()]
