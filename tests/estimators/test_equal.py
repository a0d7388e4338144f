"""Equal parameters give the results of scikit-learn's own estimators, to rounding."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning

from xpnet import estimators

RNG = np.random.default_rng(0)
X = RNG.normal(size=(47, 4))
CLASSES = np.asarray(["a", "b", "c"])[RNG.integers(0, 3, 47)]
LABELS = RNG.integers(0, 2, (47, 3))
VALUES = X[:, 0] - X[:, 1] ** 2
PAIRS = np.stack([VALUES, np.abs(X[:, 2])], axis=1)
COUNTS = RNG.poisson(np.exp(0.3 * X[:, 0])).astype(float)
WEIGHT = RNG.uniform(0.5, 3.0, 47)
SMALL = {"hidden_layer_sizes": (5, 3), "max_iter": 6, "batch_size": 10, "tol": 0.0}

# Kind, targets, weights, parameters beside SMALL: 47 rows in batches of 10 leave a ragged one of 7.
CASES = {
    "adam": ("Classifier", CLASSES, None, {}),
    "in order": ("Classifier", CLASSES, None, {"shuffle": False, "activation": "tanh", "alpha": 0.5}),
    "two classes": ("Classifier", CLASSES == "a", WEIGHT, {"activation": "logistic", "alpha": 0.3}),
    "labels": ("Classifier", LABELS, None, {"solver": "sgd", "momentum": 0.5, "learning_rate_init": 0.1}),
    "early stopping": (
        "Classifier", CLASSES, WEIGHT,
        {"early_stopping": True, "max_iter": 60, "n_iter_no_change": 3, "learning_rate_init": 0.02},
    ),
    "values": ("Regressor", VALUES, None, {"activation": "identity", "alpha": 1.0, "shuffle": False}),
    "outputs": ("Regressor", PAIRS, WEIGHT, {"activation": "tanh", "alpha": 0.5}),
    "counts": (
        "Regressor", COUNTS, WEIGHT, {"loss": "poisson", "solver": "sgd", "nesterovs_momentum": False}
    ),
    "inverse scaling": (
        "Regressor", VALUES, None,
        {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2, "momentum": 0.0},
    ),
    "adaptive": (
        "Regressor", VALUES, None,
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e-2, "n_iter_no_change": 2, "max_iter": 100},
    ),
    "single rows": ("Regressor", COUNTS, None, {"batch_size": 1, "max_iter": 2, "solver": "sgd"}),
    "lbfgs": ("Classifier", CLASSES, WEIGHT, {"solver": "lbfgs", "activation": "logistic", "max_iter": 12}),
    "lbfgs of counts": ("Regressor", COUNTS, None, {"solver": "lbfgs", "loss": "poisson", "max_iter": 12}),
}  # fmt: skip


def _fitted(module, name, **more):
    kind, y, weight, parameters = CASES[name]
    estimator = getattr(module, f"MLP{kind}")(**{**SMALL, "random_state": 3, **parameters, **more})
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return estimator.fit(X, y, sample_weight=weight)


def _attributes(estimator):
    """Return what is compared to rounding, by name; loss curves are lists."""
    found = {name: value for name, value in vars(estimator).items() if name.endswith("_") and name[0] != "_"}
    found |= {"coefs_": estimator.coefs_, "intercepts_": estimator.intercepts_}
    found.pop("validation_loss_curve_", None)
    return found


def _assert_equal(theirs, ours, rtol):
    theirs, ours = _attributes(theirs), _attributes(ours)
    assert theirs.keys() == ours.keys()
    for name, value in theirs.items():
        if name in ("out_activation_", "classes_") or value is None:
            assert np.array_equal(value, ours[name]), name
            continue
        pairs = [(value, ours[name])] if np.isscalar(value) else zip(value, ours[name], strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(other, one, rtol=rtol, atol=rtol, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_every_attribute_is_the_same(name):
    theirs, ours = _fitted(neural_network, name), _fitted(estimators, name)
    _assert_equal(theirs, ours, 1e-6 if "lbfgs" in name else 1e-11)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        if hasattr(theirs, method) and theirs.predict(X).dtype.kind in "if":
            found = getattr(ours, method)(X)
            np.testing.assert_allclose(found, getattr(theirs, method)(X), rtol=1e-5, atol=1e-7)
    assert np.array_equal(ours.predict(X), theirs.predict(X)) or CASES[name][0] == "Regressor"
