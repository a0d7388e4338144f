"""Tables with columns of all kinds, and models of them, for the tests of exports."""

from __future__ import annotations

import datetime
import functools
from typing import Any

import numpy as np
import pytest

from xpnet.tabular import TableModel

__all__ = ["CASES", "MODELS", "cells", "clamped", "model_of", "table"]

ROWS = 40


def cells(missing: str = "impute") -> dict[str, list[Any]]:
    """Return columns of all kinds, with the missing and absurd cells that a policy takes."""
    i = range(ROWS)
    noise = np.random.default_rng(0).normal(size=ROWS).tolist()
    found: dict[str, list[Any]] = {
        "size": [100.0 + 20 * x for x in noise],
        "count": [k * 7 % 11 for k in i],
        "on": [k % 3 == 0 for k in i],
        "price": [f"${1000 + 37 * k:,}.50" for k in i],
        "percent": [f"{k} %" for k in i],
        "colour": [("red", "blue", "white")[k % 3] for k in i],
        "code": [f"0{k % 4}" for k in i],
        "day": [datetime.date(2020, 1, 31) + datetime.timedelta(days=41 * k) for k in i],
        "moment": [datetime.datetime(2020, 2, 29, 23, 59, 30) + datetime.timedelta(hours=31 * k) for k in i],
        "written": [f"{1 + k % 28}.{1 + k % 12}.20{10 + k % 9}" for k in i],
        "lasted": [datetime.timedelta(seconds=90.5 * k % 700, microseconds=k) for k in i],
        "clock": [f"{k % 24}:{(k * 7) % 60:02}" for k in i],
    }
    if missing != "error":
        for name, column in found.items():
            column[len(name) % 5 + 3] = None
            column[len(name) % 5 + 20] = None
        found["size"][1] = 1e9  # absurd
        found["size"][2] = 1e5 if missing == "mean" else float("inf")
    found["kind"] = [("rose", "tulip", "iris")[k % 3] for k in i]
    found["grade"] = [3 + k % 2 for k in i]
    found["good"] = [k % 4 == 1 for k in i]
    found["value"] = [50.0 + 3 * x + k for k, x in zip(i, noise, strict=True)]
    found["other"] = [5.0 - 3 * x for x in noise]
    found["visits"] = [k * 5 % 7 for k in i]
    return found


TARGETS = ("kind", "grade", "good", "value", "other", "visits")

ROBUST: dict[str, Any] = {
    "scaling": "robust", "one_hot": "signed", "one_hot_up_to": 2, "clamp": True, "network": "realmlp",
    "categorical": ("count", "on"),
}  # fmt: skip

BEST: dict[str, Any] = {"preset": "best", "members": 2, "one_hot_up_to": 3, "categorical": ("count",)}

# By name: the target, the policy, and settings.
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "classes": ("kind", {}),
    "two-classes": ("grade", {"loss": "binary_cross_entropy", "missing": "mean"}),
    "truth-values": ("good", {"missing": "drop"}),
    "values": ("value", {}),
    "counts": ("visits", {"loss": "poisson", "task": "regression"}),
    "several-values": (["value", "other"], {"missing": "error"}),
    "several-labels": (["grade", "good"], {}),
    "hinge": ("good", {"loss": "hinge"}),
    "multiclass-hinge": ("kind", {"loss": "multiclass_hinge"}),
    "declared": ("kind", {"categorical": ("count", "on")}),
    "robust": ("value", ROBUST),
    "robust-mean": ("kind", {**ROBUST, "missing": "mean", "one_hot_up_to": 0}),
    "quantile": (["value", "other"], {**ROBUST, "scaling": "quantile", "one_hot": "plain"}),
    "quantile-drop": (
        "good",
        {"scaling": "quantile", "one_hot_up_to": 3, "missing": "drop", "network": "tabm"},
    ),
    "clamped-counts": ("visits", {"loss": "poisson", "task": "regression", "clamp": True}),
    "best": ("kind", BEST),
    "best-values": (["value", "other"], BEST),
    "signed-error": ("other", {**ROBUST, "missing": "error", "one_hot_up_to": None}),
}

EVERYDAY = ("classes", "truth-values", "several-values", "several-labels", "robust", "quantile", "best")
CASES = [name if name in EVERYDAY else pytest.param(name, marks=pytest.mark.full) for name in MODELS]


@functools.cache
def model_of(name: str) -> TableModel:
    """Return a model after an epoch."""
    target, settings = MODELS[name]
    drop = [t for t in TARGETS if t != target and t not in target]
    settings = {"epochs": 1, "hidden": (6,), "backend": "numpy", "compile": "off", **settings}
    settings = {"drop": drop, "use": ("count",), **settings}
    return TableModel(**settings).fit(cells(settings.get("missing", "impute")), target)


def table(name: str) -> dict[str, list[Any]]:
    """Return rows to predict: those of the training, and some whose cells are odd."""
    found = cells(MODELS[name][1].get("missing", "impute"))
    found["colour"][7] = "pink"  # which no training row has
    return {column: values for column, values in found.items() if column not in TARGETS}


@functools.cache
def clamped(loss: str) -> tuple[TableModel, dict[str, list[float]]]:
    """Return a model of a line that is clamped, and rows for which the line leaves the training targets."""
    x = np.linspace(0.0, 1.0, 40)
    values = np.round(8 * x) if loss == "poisson" else 3 + 5 * x
    settings: dict[str, Any] = {
        "hidden": (),
        "optimizer": "newton",
        "epochs": 9,
        "backend": "numpy",
        "seed": 1,
    }
    model = TableModel(loss=loss, task="regression", clamp=True, test=0, **settings)
    return model.fit({"x": x, "y": values}, "y"), {"x": [-9.0, 0.5, 9.0]}
