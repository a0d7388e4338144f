"""What the estimators do beyond scikit-learn's, and that they get along with its tools and other arrays."""

from __future__ import annotations

import multiprocessing
import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xpnet import Trainer, extras, losses, nn, optim
from xpnet.backends import array_namespace
from xpnet.errors import ConfigError
from xpnet.estimators import MLPClassifier, MLPRegressor, programs
from xpnet.program.lowerings.base import LOWERINGS
from xpnet.train import Callback

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = (X[:, 0] + 0.3 * RNG.normal(size=60) > 0.4).astype(int)
THREE = np.asarray(["a", "b", "c"])[Y + (X[:, 1] > 0.5)]
SMALL = {"hidden_layer_sizes": 5, "max_iter": 3, "random_state": 0, "n_iter_no_change": np.inf}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(**parameters):
    return MLPClassifier(**{**SMALL, **parameters})


# Parameters -> the output activation that follows, and targets.
FITS = {
    "a solver by name": ({"solver": "rmsprop"}, "softmax", THREE),
    "a solver as an object": ({"solver": optim.AdamW(0.01)}, "softmax", THREE),
    "a method of second order": ({"solver": "l-bfgs"}, "softmax", THREE),
    "an activation": ({"activation": "swish"}, "softmax", THREE),
    "activations": ({"activation": [nn.GELU(), "elu"], "hidden_layer_sizes": (4, 3)}, "softmax", THREE),
    "dropout": ({"dropout": 0.5}, "softmax", THREE),
    "a schedule": ({"learning_rate": optim.Cosine(0.1, steps=50)}, "logistic", Y),
    "a loss": ({"loss": "symmetric_kl"}, "softmax", THREE),
    "two classes as such": ({"loss": losses.get("softmax_cross_entropy")}, "softmax", Y),
    "a hinge": ({"loss": "hinge"}, "identity", Y),
    "several classes with a hinge": ({"loss": "multiclass_hinge"}, "identity", THREE),
    "float32": ({"dtype": "float32", "compile": "off"}, "logistic", Y),
}


@pytest.mark.parametrize("name", FITS)
def test_everything_of_xpnet_by_name_or_object(name):
    parameters, activation, y = FITS[name]
    fitted = clone(classifier(**parameters)).fit(X, y)
    assert fitted.out_activation_ == activation
    assert fitted.n_iter_ == len(fitted.loss_curve_) == 3
    assert set(fitted.predict(X)) <= set(y)
    assert hasattr(fitted, "predict_proba") == (activation != "identity")
    assert fitted.partial_fit(X, y).n_iter_ == 1 if parameters.get("solver") != "l-bfgs" else True


def test_learning_rates_of_a_schedule_and_of_a_solver_are_used():
    schedule = optim.Step(0.5, every=1, factor=0.5)
    fitted = classifier(learning_rate=schedule, solver="sgd").fit(X, Y)
    assert fitted.history_["learning_rate"] == [0.5, 0.25, 0.125]
    assert (
        classifier(solver="rmsprop", learning_rate_init=0.25).fit(X, Y).history_["learning_rate"]
        == [0.25] * 3
    )


def test_a_validation_set_of_ones_own_and_callbacks():
    class Seen(Callback):
        rows: list = []  # noqa: RUF012  # clones share it

        def on_epoch_end(self, trainer, row):
            self.rows.append(row["validation_loss"])
            return len(self.rows) == 2

    fitted = classifier(callbacks=[Seen()]).fit(X, THREE, X_val=X[:20], y_val=THREE[:20])
    assert fitted.n_iter_ == 2
    assert fitted.validation_loss_curve_ == Seen.rows
    assert fitted.validation_scores_[-1] == fitted.score(X[:20], THREE[:20])
    stopped = classifier(early_stopping=True, n_iter_no_change=2, max_iter=50, tol=1.0)
    stopped.fit(X, THREE, X_val=X[:20], y_val=THREE[:20])
    assert stopped.n_iter_ == 4
    assert (
        stopped.score(X[:20], THREE[:20]) == stopped.best_validation_score_ == max(stopped.validation_scores_)
    )
    with pytest.raises(ValueError, match="y_val has classes that are not in `y`"):
        classifier().fit(X, THREE, X_val=X, y_val=np.full(60, "d"))


def test_class_weights_are_weights_of_rows():
    weights = {0: 1.0, 1: 3.0}
    one = classifier(class_weight=weights).fit(X, Y)
    other = classifier().fit(X, Y, sample_weight=1.0 + 2.0 * Y)
    assert one.loss_curve_ == other.loss_curve_ != classifier().fit(X, Y).loss_curve_
    with pytest.raises(ValueError, match="class_weight: expected a dict for partial_fit"):
        classifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1])


def test_rows_of_weight_zero_are_as_if_they_were_not_there():
    weight = (np.arange(60) % 3).astype(float)
    one = classifier(batch_size=7).fit(X, Y, sample_weight=weight)
    other = classifier(batch_size=7).fit(X[weight > 0], Y[weight > 0], sample_weight=weight[weight > 0])
    assert one.loss_curve_ == other.loss_curve_


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_arrays_stay_where_they_are(backend, solver):
    """Fitted and predicted on the backend of X, to the same numbers as on NumPy."""
    dtype = "float32" if "float64" not in backend._dtype_names() else "float64"
    there = backend.asarray(X.astype(dtype))
    host = classifier(solver=solver).fit(X.astype(dtype), Y)
    fitted = classifier(solver=solver).fit(there, backend.asarray(Y))
    assert fitted._trainer.backend == backend
    found = fitted.predict_proba(there)
    assert array_namespace(found) is array_namespace(there)
    np.testing.assert_allclose(backend.to_host(found), host.predict_proba(X), atol=1e-4)
    assert array_namespace(fitted.predict(there)) is array_namespace(there)
    assert fitted.score(there, backend.asarray(Y)) == host.score(X, Y)


def test_sparse_rows_are_dense_ones():
    thin = np.where(X > 0.5, X, 0.0)
    dense, found = classifier().fit(thin, Y), classifier().fit(sparse.csc_array(thin), Y)
    assert found.loss_curve_ == dense.loss_curve_
    np.testing.assert_allclose(found.predict_proba(sparse.csr_array(thin)), dense.predict_proba(thin))


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("parameters", [{}, {"activation": "tanh", "solver": "lbfgs"}])
def test_to_and_from_scikit_learn(kind, parameters):
    theirs = getattr(neural_network, kind)(**{**SMALL, **parameters}).fit(X, Y)
    ours = (MLPClassifier if "C" in kind else MLPRegressor).from_sklearn(theirs)
    back = ours.to_sklearn()
    assert type(back) is type(theirs)
    assert back.get_params() == theirs.get_params()
    method = "predict_proba" if "C" in kind else "predict"
    wanted = getattr(theirs, method)(X)
    for estimator in (ours, back, pickle.loads(pickle.dumps(ours))):
        np.testing.assert_allclose(getattr(estimator, method)(X), wanted, rtol=1e-12)
    if not parameters:  # both go on from the same weights
        assert ours.partial_fit(X, Y).loss_curve_ == pytest.approx(
            [*theirs.loss_curve_, ours.loss_], rel=1e-12
        )
    with pytest.raises(ConfigError, match="to_sklearn: expected one of the activations relu, identity"):
        classifier(activation="gelu").fit(X, Y).to_sklearn()


def test_changed_weights_count():
    fitted = classifier().fit(X, Y)
    fitted.coefs_[-1][:] = 0.0
    fitted.intercepts_[-1] = np.asarray([2.0])
    np.testing.assert_allclose(fitted.predict_proba(X)[:, 1], 1 / (1 + np.exp(-2.0)))
    fitted.intercepts_[-1] = np.zeros(2)
    with pytest.raises(ValueError, match="expected the shapes"):
        fitted.predict(X)


def test_pickled_it_goes_on_as_it_would_have():
    one = classifier(batch_size=20).partial_fit(X, THREE, classes=["a", "b", "c", "d"])
    other = pickle.loads(pickle.dumps(one))
    assert one.partial_fit(X, THREE).loss_curve_ == other.partial_fit(X, THREE).loss_curve_


def test_in_pipelines_calibration_and_cross_validation():
    model = make_pipeline(StandardScaler(), classifier(max_iter=40, learning_rate_init=0.05))
    assert cross_val_score(model, X, Y, cv=2).mean() > 0.6
    calibrated = CalibratedClassifierCV(classifier(), cv=2).fit(X, Y)
    assert calibrated.predict_proba(X).shape == (60, 2)


def test_a_training_that_diverges_keeps_the_best_weights_or_says_so():
    parameters = {
        **SMALL,
        "solver": "sgd",
        "learning_rate_init": 1e6,
        "activation": "identity",
        "max_iter": 50,
    }
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        MLPRegressor(**parameters).fit(X, X[:, 0])
    stopping = MLPRegressor(**parameters, early_stopping=True)
    with pytest.warns(ConvergenceWarning, match="the best weights before are kept"):
        stopping.fit(X, X[:, 0])
    assert np.isfinite(stopping.predict(X)).all()


def test_ctrl_c_keeps_what_is_trained(monkeypatch):
    class Interrupt(Callback):
        def on_epoch_end(self, trainer, row):
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        fitted = classifier(callbacks=[Interrupt()]).fit(X, Y)
    assert fitted.predict(X).shape == (60,)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"activation": "rellu"}, "did you mean 'relu'"),
        ({"solver": "adamm"}, "did you mean 'adam'"),
        ({"loss": "squared_error"}, "expected one for classes"),
        ({"loss": "hinge"}, "expected two classes, found 3"),
        ({"solver": "lbfgs", "dropout": 0.5}, "solver lbfgs: expected dropout=0"),
        ({"momentum": 1.0}, "The 'momentum' parameter of MLPClassifier must be a float in the range"),
    ],
)
def test_parameters_that_cannot_be_meant(parameters, message):
    with pytest.raises(ValueError, match=message):
        classifier(**parameters).fit(X, THREE)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        extras.MissingExtraError, match=r"pip install scikit-learn \(of the extra 'sklearn'\)"
    ):
        extras.require("sklearn", extra="sklearn")


def test_equal_networks_are_compiled_once():
    classifier(hidden_layer_sizes=17).fit(X, Y)
    compiled = programs._idle[-1].steps
    classifier(hidden_layer_sizes=17, random_state=1).fit(X, Y)
    assert programs._idle[-1].steps is compiled
    classifier(hidden_layer_sizes=17, alpha=0.1).fit(X, Y)
    assert programs._idle[-1].steps is not compiled


@pytest.mark.skipif(bool(LOWERINGS["numba"].reason()), reason="numba cannot work here")
@pytest.mark.parametrize(
    ("asked", "before", "now", "process", "expected"),
    [
        ("auto", 0.0, 0.6, "MainProcess", "numba"),
        ("auto", 0.0, 0.4, "MainProcess", "auto"),
        ("auto", 0.2, 0.0, "MainProcess", "numba"),
        ("auto", 0.2, 0.0, "LokyProcess-1", "auto"),
        ("numpy", 0.2, 0.6, "MainProcess", "numpy"),
    ],
)
def test_numba_is_for_fits_of_many_steps(monkeypatch, backend, asked, before, now, process, expected):
    monkeypatch.setattr(multiprocessing.current_process(), "name", process)
    found = programs._lowering(asked, backend, before, now)
    assert found == (expected if backend.name == "numpy" else asked)


def test_fits_before_are_counted():
    programs._idle.clear()
    counted = []
    for seed in range(2):
        classifier(hidden_layer_sizes=19, random_state=seed, max_iter=5).fit(X, Y)
        counted.append(programs._idle[-1].seconds)
    assert counted[1] == pytest.approx(2 * counted[0])


def test_no_rows_are_kept():
    fitted = classifier().fit(X, Y)
    assert isinstance(fitted._trainer, Trainer)
    assert fitted._trainer.fitting is None
