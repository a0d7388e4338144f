"""Losses in the trainer: every one, with options, and of the user's own making."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tests.train.support import assert_same_training, class_data, flat, make, value_data
from xpnet import Trainer, losses, nn, optim
from xpnet.autodiff.functions import sigmoid, softmax
from xpnet.backends import array_namespace
from xpnet.errors import CheckpointError, ConfigError, DataError

X, CLASSES = class_data()
VALUES = value_data(outputs=2)[1]
COUNTS = np.floor(3 * np.abs(VALUES))
BITS = (VALUES > 0.3).astype(int)
WEIGHTS = np.linspace(0.2, 1.7, len(X))
# kind of targets: outputs of the model, targets
TARGETS = {
    "values": (2, VALUES),
    "counts": (2, COUNTS),
    "classes": (3, CLASSES),
    "binary": (2, BITS),
    "signs": (2, 2 * BITS - 1),
}


def trained(loss, outputs, y, *, epochs=12, weight=None, **options):
    trainer = make(model=nn.MLP([6], outputs, activation="tanh"), loss=loss, **options)
    trainer.fit(X, y, epochs=epochs, batch_size=10, sample_weight=weight, validation=(X, y))
    return trainer


# ---------------------------------------------------------------------------------------- every loss
@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_every_loss_from_fit_to_load(name, tmp_path):
    kind = losses.LOSSES[name].targets
    outputs, y = TARGETS[kind]
    trainer = trained(name, outputs, y, weight=WEIGHTS)
    assert trainer.history.rows[-1]["loss"] < trainer.history.rows[0]["loss"]
    predicted = trainer.predict(X)
    assert predicted.shape == y.shape
    if kind in ("classes", "binary", "signs"):
        assert set(np.unique(predicted)) <= set(np.unique(y))
        assert np.mean(predicted == y) > 0.6
    if kind == "counts":
        assert (predicted > 0).all()
    if kind == "binary" or losses.LOSSES[name].link is softmax:
        chances = trainer.predict_proba(X)
        assert chances.shape == (len(X), outputs)
        guessed = chances.argmax(axis=1) if kind == "classes" else (chances > 0.5).astype(int)
        np.testing.assert_array_equal(guessed, predicted)
    else:
        with pytest.raises(ConfigError, match="expected a loss with probabilities"):
            trainer.predict_proba(X)
    weighted = trainer.evaluate(X, y, WEIGHTS)["loss"]
    assert weighted == pytest.approx(
        float(losses.LOSSES[name](trainer.outputs(X), y, sample_weight=WEIGHTS)), rel=1e-12
    )
    trainer.save(tmp_path)
    loaded = Trainer.load(tmp_path, "numpy")
    assert loaded.loss is losses.LOSSES[name]
    assert_same_training(trainer, loaded)
    np.testing.assert_array_equal(loaded.predict(X), predicted)


def test_weights_count_like_repeated_rows():
    repeats = np.arange(len(X)) % 3
    rows = np.repeat(np.arange(len(X)), repeats)
    for name, y in (("squared_error", VALUES), ("binary_cross_entropy", BITS)):
        one, other = (make(model=nn.MLP([4], 2), loss=name) for _ in range(2))
        one.fit(X, y, epochs=4, sample_weight=repeats)
        other.fit(X[rows], y[rows], epochs=4)
        np.testing.assert_allclose(flat(one), flat(other), rtol=1e-9)


# ------------------------------------------------------------------- several targets, beside scikit-learn
def _as_in(regressor, trainer):
    """Set a fitted estimator's weights to those of a trainer of Dense layers."""
    params = trainer.variables.params
    names = params.layout.names
    regressor.coefs_ = [np.asarray(params[n]) for n in names if params[n].ndim == 2]
    regressor.intercepts_ = [np.asarray(params[n]) for n in names if params[n].ndim == 1]
    return regressor


@pytest.mark.parametrize("kind", ["values", "binary"])
def test_several_targets_as_in_scikit_learn(kind, tmp_path):
    networks = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    outputs, y = TARGETS[kind]
    loss = "squared_error" if kind == "values" else "binary_cross_entropy"
    own = ["r2", "rmse", "mae"] if kind == "values" else ["accuracy", "subset_accuracy", "f1", "f1_micro"]
    # from the same weights, the same full-batch steps; scikit-learn's squared error is half of ours
    rate = 0.05
    scale = 1.0 if kind == "binary" else 0.5
    trainer = make(
        model=nn.MLP([6], outputs, activation="tanh"),
        loss=loss,
        optimizer=optim.SGD(rate * scale),
        metrics=own,
    )
    trainer.fit(X, y, epochs=1)
    estimator = networks.MLPRegressor if kind == "values" else networks.MLPClassifier
    reference = estimator(
        hidden_layer_sizes=(6,), activation="tanh", solver="sgd", alpha=0.0, momentum=0.0,
        learning_rate_init=rate, batch_size=len(X), shuffle=False, random_state=0,
    )  # fmt: skip
    reference.partial_fit(X, y, **({} if kind == "values" else {"classes": [0, 1]}))
    _as_in(reference, trainer)
    trainer.fit(X, y, epochs=20)
    for _ in range(19):
        reference.partial_fit(X, y)
    np.testing.assert_allclose(trainer.predict(X), reference.predict(X), rtol=1e-9)
    measured = trainer.evaluate(X, y)
    predicted = trainer.predict(X)
    if kind == "values":
        assert measured["r2"] == pytest.approx(metrics.r2_score(y, predicted))
        assert measured["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, predicted))
        assert measured["mae"] == pytest.approx(metrics.mean_absolute_error(y, predicted))
    else:
        np.testing.assert_allclose(trainer.predict_proba(X), reference.predict_proba(X), rtol=1e-9)
        assert measured["subset_accuracy"] == pytest.approx(metrics.accuracy_score(y, predicted))
        assert measured["f1"] == pytest.approx(metrics.f1_score(y, predicted, average="macro"))
        assert measured["f1_micro"] == pytest.approx(metrics.f1_score(y, predicted, average="micro"))
        assert measured["accuracy"] == pytest.approx(np.mean(y == predicted))
    trainer.save(tmp_path)
    loaded = Trainer.load(tmp_path, "numpy")
    assert list(loaded.metrics) == own
    assert loaded.evaluate(X, y) == measured


# --------------------------------------------------------------------------------------------- options
OPTIONS = {
    "table": {"name": "huber", "delta": 0.3},
    "partial": functools.partial(losses.huber, delta=0.3),
    "partial of a partial": functools.partial(functools.partial(losses.huber, delta=9.0), delta=0.3),
    "whole number": {"name": "huber", "delta": np.float32(0.30000001192092896)},
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_are_kept_with_all_the_rest(case, tmp_path):
    def by_hand(predictions, targets, *, sample_weight=None):
        return losses.huber(predictions, targets, sample_weight=sample_weight, delta=delta)

    trainer = trained(OPTIONS[case], 2, VALUES, weight=WEIGHTS)
    delta = trainer.loss.options[0][1]
    assert type(delta) is float
    assert delta == pytest.approx(0.3)
    assert trainer.loss.targets == "values"
    assert trainer.loss.__name__ == f"huber(delta={delta!r})"
    np.testing.assert_array_equal(flat(trainer), flat(trained(by_hand, 2, VALUES, weight=WEIGHTS)))
    trainer.save(tmp_path)
    loaded = Trainer.load(tmp_path, "numpy")
    assert loaded.loss == trainer.loss
    assert losses.to_config(loaded.loss) == {"name": "huber", "delta": delta}
    assert_same_training(trainer, loaded)
    other = Trainer.load(tmp_path, "numpy", loss="huber")
    assert other.loss is losses.huber


BAD_OPTIONS = {
    "unknown option": (
        {"name": "huber", "beta": 1.0},
        "huber has no option 'beta'; did you mean 'delta'",
    ),
    "no option": ({"name": "hinge", "delta": 1.0}, "loss hinge has no option 'delta'"),
    "value": ({"name": "huber", "delta": -1}, "huber: delta: expected a finite number above 0, found -1"),
    "text": ({"name": "huber", "delta": "1"}, "huber: delta: expected a finite number above 0, found '1'"),
    "partial": (functools.partial(losses.huber, delta=0), "huber: delta: expected .*, found 0"),
    "no name": ({"delta": 1.0}, "loss: expected a known name, found {'delta': 1.0}"),
    "wrong name": ({"name": "hubert"}, "did you mean 'huber'"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_options_that_cannot_be_meant(case):
    loss, message = BAD_OPTIONS[case]
    with pytest.raises(ConfigError, match=message):
        make(loss=loss)


def test_links_and_kinds_go_with_options():
    partial = functools.partial(losses.softmax_cross_entropy)
    assert losses.get(partial) is losses.softmax_cross_entropy
    own = losses.make(lambda p, y, *, power: abs(p - y) ** power)
    fixed = losses.get(functools.partial(own, power=2.0))
    assert float(fixed(VALUES, COUNTS)) == pytest.approx(float(losses.squared_error(VALUES, COUNTS)))
    assert losses.to_config(fixed) is None


# ----------------------------------------------------------------------------- of the user's own making
def plain(predictions, targets, *, sample_weight=None):
    return losses.squared_error(predictions, targets, sample_weight=sample_weight)


def unweighted(predictions, targets):
    xp = array_namespace(predictions)
    return 2 * xp.mean((predictions - targets) ** 2)


def powers(predictions, targets, *, power):
    return array_namespace(predictions).mean(abs(predictions - targets) ** power)


squares = losses.make(lambda p, y: (p - y) ** 2)


@losses.make(targets="binary", link=sigmoid)
def own_logistic(logits, targets):
    xp = array_namespace(logits)
    return xp.log(1 + xp.exp(logits)) - targets * logits


@losses.make(targets="classes", link=softmax)
def own_softmax(logits, targets):
    xp = array_namespace(logits)
    rows = losses.distributions("own_softmax", logits, targets)
    return -xp.sum(rows * xp.log(softmax(logits)), axis=-1)


OWN = {
    "plain": (plain, "squared_error", 2, VALUES),
    "without weights": (unweighted, "squared_error", 2, VALUES),
    "entries": (squares, "squared_error", 2, VALUES),
    "one output": (squares, "squared_error", 1, VALUES[:, 0]),
    "binary": (own_logistic, "binary_cross_entropy", 2, BITS),
    "classes": (own_softmax, "softmax_cross_entropy", 3, CLASSES),
}


@pytest.mark.parametrize("case", OWN)
def test_own_losses_train_like_those_of_the_package(case, tmp_path):
    own, name, outputs, y = OWN[case]
    weight = None if own is unweighted else WEIGHTS
    one, other = (trained(loss, outputs, y, weight=weight) for loss in (own, name))
    np.testing.assert_allclose(flat(one), flat(other), rtol=1e-7)
    np.testing.assert_allclose(one.predict(X), other.predict(X), rtol=1e-7)
    if name.endswith("entropy"):
        np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-7)
    one.save(tmp_path)
    with pytest.raises(CheckpointError, match=r"its loss is .* own .*Trainer\.load\(\.\.\., loss="):
        Trainer.load(tmp_path, "numpy")
    loaded = Trainer.load(tmp_path, "numpy", loss=own)
    assert_same_training(one, loaded)


@pytest.mark.parametrize("spec", ["torch:cpu", "array_api_strict"])
def test_own_losses_on_other_backends(spec):
    name = spec.partition(":")[0]
    pytest.importorskip(name, reason=f"{name} is not installed")
    for own, y, outputs in ((squares, VALUES, 2), (own_logistic, BITS, 2), (own_softmax, CLASSES, 3)):
        there = trained(own, outputs, y, backend=spec)
        np.testing.assert_allclose(there.predict(X), trained(own, outputs, y).predict(X), rtol=1e-9)


def test_an_own_loss_says_what_it_takes():
    def mine(predictions, targets, *, sample_weight=None):
        return losses.hinge(predictions, targets, sample_weight=sample_weight)

    mine.targets = "signs"
    trainer = trained(mine, 2, 2 * BITS - 1)
    assert set(np.unique(trainer.predict(X))) == {-1, 1}
    with pytest.raises(DataError, match="expected -1 or 1"):
        trainer.fit(X, BITS, epochs=20)


def rows_of(predictions, targets, *, sample_weight=None):
    return array_namespace(predictions).sum((predictions - targets) ** 2, axis=-1)


def entries_of(predictions, targets, *, sample_weight=None):
    return (predictions - targets) ** 2


def in_a_list(predictions, targets, *, sample_weight=None):
    return array_namespace(predictions).reshape(unweighted(predictions, targets), (1,))


def whole(predictions, targets, *, sample_weight=None):
    return array_namespace(predictions).sum(predictions > targets)


def number(predictions, targets, *, sample_weight=None):
    return 0.5


BAD = {
    "rows": (
        rows_of,
        r"loss rows_of: expected a 0-d array .*found shape \(30,\); wrap the function by .*make",
    ),
    "entries": (entries_of, r"found shape \(30, 2\); wrap the function by xpnet.losses.make"),
    "list": (in_a_list, r"loss in_a_list: .*found shape \(1,\); take the mean over the rows"),
    "whole": (whole, "loss whole: .*a floating dtype, .*found one of dtype int64"),
    "number": (number, "loss number: .*found 0.5; compute it with array functions"),
    "made, mean": (
        losses.make(unweighted),
        r"loss unweighted: expected one number for each of 30 rows .*\(\)",
    ),
    "made, number": (losses.make(number), "loss number: expected one number for each of 30 rows .*found 0.5"),
    "made, three axes": (
        losses.make(lambda p, y: p[:, :, None]),
        r"loss <lambda>: .*found shape \(30, 2, 1\)",
    ),
}


@pytest.mark.parametrize("lower", ["auto", "off"])
@pytest.mark.parametrize("case", BAD)
def test_own_losses_that_give_no_mean(case, lower):
    loss, message = BAD[case]
    trainer = make(model=nn.MLP([4], 2), loss=loss, compile=lower)
    with pytest.raises(ConfigError, match=message):
        trainer.fit(X, VALUES, epochs=1)
    assert trainer.epoch == 0


def test_weights_that_a_loss_does_not_take():
    message = "loss unweighted: expected an argument sample_weight, .*losses.make"
    trainer = make(model=nn.MLP([4], 2), loss=unweighted)
    for given in ({"sample_weight": WEIGHTS}, {"validation": (X, VALUES, WEIGHTS)}):
        with pytest.raises(ConfigError, match=message):
            trainer.fit(X, VALUES, epochs=1, **given)
    trainer.fit(X, VALUES, epochs=1)
    with pytest.raises(ConfigError, match=message):
        trainer.evaluate(X, VALUES, WEIGHTS)
    scaled = make(model=nn.MLP([4], 2), loss=functools.partial(powers, power=2.0))
    scaled.fit(X, VALUES, epochs=1)
    with pytest.raises(ConfigError, match=r"loss powers\(power=2.0\): expected an argument sample_weight"):
        scaled.fit(X, VALUES, epochs=1, sample_weight=WEIGHTS)
    options = functools.partial(losses.make(lambda p, y, *, power: abs(p - y) ** power), power=2.0)
    trained(options, 2, VALUES, weight=WEIGHTS)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"targets": "value"}, "expected targets of a known kind, found 'value'; did you mean 'values'"),
        ({"link": 3}, "expected a function of raw outputs as link, found 3"),
    ],
)
def test_own_losses_that_declare_what_cannot_be_meant(attributes, message):
    def mine(predictions, targets, *, sample_weight=None):
        return unweighted(predictions, targets)

    with pytest.raises(ConfigError, match=message):
        losses.make(unweighted, **attributes)
    for name, value in attributes.items():
        setattr(mine, name, value)
    with pytest.raises(ConfigError, match=f"loss mine: {message}"):
        make(loss=mine)


def test_an_own_loss_without_link_has_no_probabilities():
    trainer = trained(losses.make(lambda p, y: (p - y) ** 2, targets="binary"), 2, BITS)
    with pytest.raises(ConfigError, match="expected a loss with probabilities"):
        trainer.predict_proba(X)
