"""Who takes part: estimators with their defaults, and the columns in the form that each expects.

A contestant is asked for by its name and settings that it is made with, as in ``xpnet preset=best`` or
``MLP max_iter=1000``; with a name of one's own before it: ``wide: xpnet hidden=[256,256]``.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import shlex
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

__all__ = ["CONTESTANTS", "Contestant", "Setup", "contestant"]


@dataclasses.dataclass(frozen=True)
class Setup:
    """What an estimator is made with.

    Attributes:
        task: "classification" or "regression".
        categories: columns that hold categories.
        seed, threads: of the estimator.
        settings: further ones, by name.
    """

    task: str
    categories: list[str]
    seed: int
    threads: int
    settings: dict[str, Any]

    def make(self, place: str, **defaults: Any) -> Any:
        """Return the classifier or regressor of a place such as ``"lightgbm.LGBM"``."""
        module, _, stem = place.rpartition(".")
        kind = "Classifier" if self.task == "classification" else "Regressor"
        return getattr(importlib.import_module(module), stem + kind)(**{**defaults, **self.settings})


@dataclasses.dataclass(frozen=True)
class Contestant:
    """An estimator of a library.

    Attributes:
        name: as it is shown.
        package: what has to be installed, by the name that it is imported by.
        make: returns an estimator with ``fit(X, y)`` and ``predict(X)``, which take DataFrames of pandas.
        text: how it was asked for.
        settings: what it is made with.
    """

    name: str
    package: str
    make: Callable[[Setup], Any]
    text: str = ""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return find_spec(self.package) is not None


class _TableModel:
    """xpnet's model of a table, which takes DataFrames; all rows that it is given are for training."""

    def __init__(self, setup: Setup):
        from xpnet.tabular import TableModel

        settings = {"task": setup.task, "seed": setup.seed, "test": 0.0, **setup.settings}
        self.model = TableModel(**settings)

    def fit(self, X: Any, y: Any) -> None:
        self.model.fit(X.assign(**{"the target": y}), "the target", progress=False)

    def predict(self, X: Any) -> Any:
        return self.model.predict(X, missing="impute", unseen="ignore")


def _mlp(setup: Setup) -> Any:
    """Return scikit-learn's MLP behind the usual preprocessing: medians, standardized numbers, one-hot."""
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    mlp = setup.make("sklearn.neural_network.MLP", random_state=setup.seed)
    if setup.task == "regression":
        mlp = TransformedTargetRegressor(mlp, transformer=StandardScaler())
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(
        ColumnTransformer([("categories", categories, setup.categories)], remainder=numbers), mlp
    )


def _gradient_boosting(setup: Setup) -> Any:
    place = "sklearn.ensemble.HistGradientBoosting"
    return setup.make(place, random_state=setup.seed, categorical_features="from_dtype")


def _lightgbm(setup: Setup) -> Any:  # which takes columns of the dtype "category" for categories
    return setup.make("lightgbm.LGBM", random_state=setup.seed, n_jobs=setup.threads, verbose=-1)


def _catboost(setup: Setup) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    named = {"cat_features": setup.categories, "random_seed": setup.seed, "thread_count": setup.threads}
    catboost = setup.make("catboost.CatBoost", **named, verbose=False, allow_writing_files=False)
    return make_pipeline(FunctionTransformer(_as_text), catboost)


def _as_text(X: Any) -> Any:
    """Return the table with categories as text, also those of missing cells, as CatBoost asks for."""
    return X.assign(**{name: X[name].astype(object).map(str) for name in X.select_dtypes("category")})


def _pytabkit(place: str) -> Callable[[Setup], Any]:
    def make(setup: Setup) -> Any:  # they take columns of the dtype "category", but no missing numbers
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline

        parts = [("categories", "passthrough", setup.categories)]
        filled = ColumnTransformer(parts, remainder=SimpleImputer(strategy="median"))
        named = {"random_state": setup.seed, "n_threads": setup.threads, "device": "cpu", "verbosity": 0}
        return make_pipeline(filled.set_output(transform="pandas"), setup.make(place, **named))

    return make


CONTESTANTS = {
    one.name: dataclasses.replace(one, text=one.name)
    for one in (
        Contestant("xpnet", "xpnet", _TableModel),
        Contestant("MLP", "sklearn", _mlp),
        Contestant("HistGradientBoosting", "sklearn", _gradient_boosting),
        Contestant("LightGBM", "lightgbm", _lightgbm),
        Contestant("CatBoost", "catboost", _catboost),
        Contestant("RealMLP-TD", "pytabkit", _pytabkit("pytabkit.RealMLP_TD_")),
        Contestant("TabM", "pytabkit", _pytabkit("pytabkit.TabM_D_")),
    )
}


def contestant(text: str) -> Contestant:
    """Return the contestant that is asked for.

    Raises:
        ValueError: it is not known, or a word is no setting.

    >>> found = contestant("wide: xpnet hidden=[256,256] activation=gelu")
    >>> found.name, found.settings
    ('wide', {'hidden': [256, 256], 'activation': 'gelu'})
    """
    name, has_name, rest = text.partition(": ")
    entry, *words = shlex.split(rest if has_name else text) or [""]
    if entry not in CONTESTANTS:
        raise ValueError(f"{text!r}: expected one of {', '.join(CONTESTANTS)}, and settings such as seed=1")
    pairs = [word.partition("=") for word in words]
    if any(not equals for _, equals, _ in pairs):
        raise ValueError(f"{text!r}: expected settings such as seed=1 after {entry}")
    settings = {setting: _value(value) for setting, _, value in pairs}
    return dataclasses.replace(
        CONTESTANTS[entry], name=name if has_name else text, text=text, settings=settings
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
