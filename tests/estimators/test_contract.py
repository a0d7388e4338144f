"""scikit-learn's own checks of estimators, and its own tests of its perceptrons with the classes replaced.

All of them run with ``--full``; a few that are quick run every day.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any
from unittest import mock

import pytest
import sklearn
from sklearn import neural_network
from sklearn.utils.estimator_checks import estimator_checks_generator

from xpnet import optim
from xpnet.estimators import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor
from xpnet.train import Callback

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # as scikit-learn's own configuration has it
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

# ---- the checks of estimators

ESTIMATORS: dict[str, Any] = {
    "classifier": MLPClassifier(),
    "classifier, lbfgs": MLPClassifier(
        activation="tanh", solver="lbfgs", alpha=0.5, hidden_layer_sizes=[80], class_weight="balanced"
    ),
    "classifier, schedule": MLPClassifier(
        [20], "logistic", solver="sgd", learning_rate=optim.Inverse(0.5, 0.001), shuffle=False
    ),
    "regressor, more": MLPRegressor(
        "huber",
        [40],
        "silu",
        solver=optim.AdamW(optim.WarmUp(0.01, 20)),
        dtype="float64",
        callbacks=[Callback()],
    ),
    "TabularClassifier, defaults": TabularClassifier(),
    "TabularRegressor, limits": TabularRegressor(
        device="numpy",
        random_state=0,
        time_limit=60.0,
        settings={"epochs": 12, "hidden": (16, 16), "activation": "tanh"},
    ),
}
OF_WEIGHTS = {
    name: {"check_sample_weight_equivalence_on_dense_data", "check_classifiers_one_label_sample_weights"}
    for name in ("TabularClassifier, defaults", "TabularRegressor, limits")
}
"""Quick ones for everyday. They have no meaning where rows are drawn to be set aside for validation: a row of
weight 2 and two rows go different ways then."""
EVERYDAY = {
    "check_estimator_cloneable", "check_estimators_unfitted", "check_readonly_memmap_input",
    "check_mixin_order", "check_n_features_in_after_fitting", "check_f_contiguous_array_estimator",
    "check_do_not_raise_errors_in_init_or_set_param",
}  # fmt: skip


def _checks():
    """Return all checks of all estimators; the quick ones of one of them are for everyday."""
    found = []
    for name, estimator in ESTIMATORS.items():
        for number, (made, check) in enumerate(estimator_checks_generator(estimator, legacy=True)):
            what = check.func.__name__ if hasattr(check, "func") else check.__name__
            everyday = (name == "classifier" and what in EVERYDAY) or what in OF_WEIGHTS.get(name, ())
            marks = [] if everyday else [pytest.mark.full]
            found.append(pytest.param(made, check, id=f"{name}-{what}-{number}", marks=marks))
    return found


@pytest.mark.parametrize(("estimator", "check"), _checks())
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


# ---- the tests of its perceptrons

PRIVATE = {
    "test_gradient": "calls _loss_grad_lbfgs with lists of its own intermediate results",
    "test_learning_rate_warmstart": "reads _optimizer.learning_rate",
    "test_adaptive_learning_rate": "reads _optimizer.learning_rate",
}
"""Tests that read private attributes, which are others here; why. `test_equal.py` covers the rates."""
QUICK = {
    "test_fit", "test_partial_fit_unseen_classes", "test_warm_start_full_iteration", "test_verbose_sgd",
    "test_minimum_input_sample_size", "test_partial_fit_errors", "test_early_stopping_stratified",
}  # fmt: skip


def _theirs():
    """Return the module of scikit-learn's tests, loaded anew with the classes of this package."""
    path = os.path.join(os.path.dirname(neural_network.__file__), "tests", "test_mlp.py")
    spec = importlib.util.spec_from_file_location("their_test_mlp", path)
    module = importlib.util.module_from_spec(spec)
    ours = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}
    with mock.patch.multiple(neural_network, **ours):
        spec.loader.exec_module(module)
    return {name: value for name, value in vars(module).items() if name.startswith("test_")}


_THEIRS = _theirs()
for _name, _function in _THEIRS.items():
    if _name not in PRIVATE:
        globals()[_name] = _function if _name in QUICK else pytest.mark.full(_function)


@pytest.fixture
def global_random_seed():
    return 42


def test_their_tests_are_those_that_are_known():
    assert PRIVATE.keys() | QUICK <= _THEIRS.keys()
    assert len(_THEIRS) == 43 or sklearn.__version__ > "1.9.1"
