"""`TabularClassifier` and `TabularRegressor`: scikit-learn's contract, and tables as they are."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from xpnet.estimators import TabularClassifier, TabularRegressor

N = 60
QUICK: dict[str, Any] = {"device": "numpy", "random_state": 0, "settings": {"epochs": 30}}


def flowers() -> pd.DataFrame:
    """Numbers with missing cells, categories, dates and booleans."""
    i = np.arange(N)
    return pd.DataFrame(
        {
            "length": np.where(i % 10 == 3, np.nan, np.where(i % 2, 3.0, 1.0) + 0.01 * i),
            "colour": np.where(i % 7 == 0, None, np.asarray(["red", "blue", "white"], dtype=object)[i % 3]),
            "seen": pd.date_range("2026-01-01", periods=N),
            "wild": i % 3 == 0,
            "kind": pd.Categorical(np.where(i % 4 < 2, "u", "v")),
        }
    )


LABELS = np.where(np.arange(N) % 2, "rose", "tulip")


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_tables_as_they_are(package) -> None:
    table = flowers() if package == "pandas" else pl.from_pandas(flowers())
    model = TabularClassifier(**QUICK).fit(table, LABELS)
    assert model.score(table, LABELS) > 0.95
    assert (list(model.feature_names_in_), model.n_features_in_) == (list(flowers().columns), 5)
    probabilities = model.predict_proba(table)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.classes_[probabilities.argmax(axis=1)], model.predict(table))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(table), model.predict(table))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[["colour", "length", "seen", "wild", "kind"]])
    unknown = flowers().assign(colour="green")
    assert len(model.predict(unknown if package == "pandas" else pl.from_pandas(unknown))) == N


def test_arrays_with_text() -> None:
    X = flowers()[["length", "colour"]].to_numpy(dtype=object)
    pipeline = make_pipeline(FunctionTransformer(), TabularClassifier(**QUICK)).fit(X, LABELS)
    assert pipeline.score(X, LABELS) > 0.95


def test_several_targets_in_their_units() -> None:
    X = np.linspace(-1, 1, N)[:, None]
    y = np.hstack([1000 + 100 * X, -X])
    model = TabularRegressor(**QUICK).fit(X, y)
    assert model.predict(X).shape == (N, 2)
    assert model.score(X, y) > 0.9


def test_parameters_are_kept_and_the_same_seed_gives_the_same_bits() -> None:
    one, other = (clone(TabularClassifier(**QUICK)).fit(flowers(), LABELS) for _ in range(2))
    assert one.get_params()["settings"] == QUICK["settings"]
    np.testing.assert_array_equal(one.predict_proba(flowers()), other.predict_proba(flowers()))


WEIGHT = np.random.default_rng(3).uniform(0.5, 2, N) * (np.arange(N) % 5 > 0)
COUNTING = WEIGHT > 0
# Weights of all rows, rows that are given instead, and the weights of these: both fits are the same.
ALIKE: dict[str, tuple[Any, Any, Any]] = {
    "rows of weight 0 are not there": (WEIGHT, COUNTING, WEIGHT[COUNTING]),
    "only ratios matter": (4.0 * WEIGHT, COUNTING, 0.5 * WEIGHT[COUNTING]),
    "equal ones are none": (np.full(N, 3.0), np.full(N, True), None),
}


@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
@pytest.mark.parametrize("name", ALIKE)
def test_weights_of_rows(name: str, kind: Any) -> None:
    """Also of those that are set aside: they tell when to stop."""
    weight, rows, of_rows = ALIKE[name]
    y = LABELS if kind is TabularClassifier else 100.0 + (np.arange(N) % 2) + 0.1 * np.sin(np.arange(N))
    settings = {**QUICK, "validation_fraction": 0.2, "settings": {"patience": 3, "min_steps": 50}}
    one = kind(**settings).fit(flowers(), y, sample_weight=weight)
    other = kind(**settings).fit(flowers()[rows], y[rows], sample_weight=of_rows)
    assert one.n_iter_ == other.n_iter_
    predicted = [getattr(model, "predict_proba", model.predict)(flowers()) for model in (one, other)]
    np.testing.assert_allclose(*predicted, rtol=1e-9)


def test_classes_of_weight_zero_are_not_there() -> None:
    y = np.where(np.arange(N) % 3 == 0, "none", LABELS)
    model = TabularClassifier(**QUICK).fit(flowers(), y, sample_weight=y != "none")
    assert model.classes_.tolist() == ["rose", "tulip"]
    assert model.predict_proba(flowers()).shape == (N, 2)


def test_large_weights_win() -> None:
    X, y = np.zeros((N, 1)) + np.arange(N)[:, None] % 3, np.arange(N) % 2
    for favoured in (0, 1):
        weight = np.where(y == favoured, 20.0, 1.0)
        assert set(TabularClassifier(**QUICK).fit(X, y, sample_weight=weight).predict(X)) == {favoured}


# Which rows, how many of them are set aside, and the rows of a batch.
FEW: dict[str, tuple[Any, int, Any]] = {
    "19": (np.arange(19), 0, "full"),
    "20": (np.arange(20), 2, 16),
    "48, of which 12 differ": (np.arange(48) % 12, 0, "full"),
    "60, of which 12 differ": (np.arange(60) % 12, 6, 16),
}


@pytest.mark.parametrize("name", FEW)
def test_few_rows_are_all_trained_on_at_once(name: str) -> None:
    rows, held_out, size = FEW[name]
    model = TabularClassifier(device="numpy").fit(flowers().iloc[rows], LABELS[rows])
    settings = model.model_.settings
    assert round(settings.validation * len(rows)) == held_out
    assert settings.batch_size == size
    assert held_out or model.n_iter_ == 100


@pytest.mark.parametrize(
    ("y", "options", "words"),
    [
        (["one"] * N, {}, "at least 2 classes, found 1 class"),
        (None, {}, "requires y to be passed"),
        (LABELS[:-1], {}, "inconsistent numbers of samples"),
        (LABELS, {"preset": "quick"}, "'preset' parameter of TabularClassifier"),
        (LABELS, {"time_limit": 0}, "'time_limit' parameter"),
    ],
)
def test_what_cannot_be_fitted(y, options, words) -> None:
    with pytest.raises(ValueError, match=words):
        TabularClassifier(**{**QUICK, **options}).fit(flowers(), y)


def test_a_loss_without_probabilities_and_an_estimator_that_is_not_fitted() -> None:
    with pytest.raises(NotFittedError):
        TabularRegressor().predict([[1.0]])
    settings = {"settings": {"epochs": 2, "loss": "multiclass_hinge"}}
    model = TabularClassifier(**{**QUICK, **settings}).fit(flowers(), LABELS)
    assert not hasattr(model, "predict_proba")
