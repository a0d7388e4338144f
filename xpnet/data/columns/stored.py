"""Columns as JSON: their schemas, and columns made of JSON again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from xpnet import checks
from xpnet.data.columns.categorical import CATEGORICAL_FORMS, Categorical
from xpnet.data.columns.cells import PLAIN
from xpnet.data.columns.choice import Column
from xpnet.data.columns.date_text import FORMS
from xpnet.data.columns.dates import CYCLES, Dates
from xpnet.data.columns.numeric import Numeric
from xpnet.data.columns.scaling import MOST_QUANTILES, Quantile, Robust, Scaling
from xpnet.data.notations import Notation
from xpnet.schema import ANY, NUMBER, TEXT, check

__all__ = ["SCHEMAS", "column_from_json"]

_PAIR = [NUMBER, NUMBER]
_OLD_NUMERIC = {"kind": TEXT, "name": TEXT, "mean": NUMBER, "std": NUMBER}
_SCALINGS = {
    Robust.kind: {"kind": TEXT, "center": NUMBER, "factor": NUMBER},
    Quantile.kind: {"kind": TEXT, "quantiles": [NUMBER]},
}
_NUMERIC = {
    **_OLD_NUMERIC,
    "fill?": (None, NUMBER),
    "limits?": (None, _PAIR),
    "span?": (None, _PAIR),
    "indicator?": checks.flag,
    "notation?": {
        "decimal": TEXT,
        "thousands": TEXT,
        "percent": checks.flag,
        "currency": TEXT,
        "parentheses": checks.flag,
        "behind?": checks.flag,
        "scaled?": checks.flag,
    },
    "boolean?": checks.flag,
    "scaling?": {"kind": checks.one_of(*_SCALINGS), ...: ANY},
    "clamp?": checks.flag,
}
_OLD_CATEGORICAL = {
    "kind": TEXT,
    "name": TEXT,
    "cells": TEXT,
    "categories": [(TEXT, NUMBER, checks.flag)],
}
_DATES = {
    "kind": TEXT,
    "name": TEXT,
    "form": checks.one_of(*FORMS),
    "cycles": [checks.one_of(*CYCLES)],
    "year": (None, _NUMERIC),
    "elapsed": _NUMERIC,
    "indicator": checks.flag,
}

SCHEMAS: dict[bool, dict[str, Any]] = {
    False: {Numeric.kind: _OLD_NUMERIC, Categorical.kind: _OLD_CATEGORICAL},
    True: {
        Numeric.kind: _NUMERIC,
        Categorical.kind: {
            **_OLD_CATEGORICAL,
            "own_missing?": checks.flag,
            "form?": checks.one_of(*CATEGORICAL_FORMS),
            "scales?": [_PAIR],
        },
        Dates.kind: _DATES,
    },
}
"""Schemas of columns by kind: in the formats 1 and 2 (False), and from format 3 on (True)."""


def column_from_json(data: Mapping[str, Any], place: str, *, new: bool) -> Column:
    """Return the column that ``to_json`` described; whatever is wrong raises KeyError or ValueError.

    Args:
        data: the description.
        place: names it in errors.
        new: whether it is of format 3 or later.
    """
    schemas = SCHEMAS[new]
    check(data, {"kind": checks.one_of(*schemas), ...: ANY}, place)
    check(data, schemas[data["kind"]], place)
    kind = data["kind"]
    if kind == Numeric.kind:
        return _numeric(data)
    return _categorical(data) if kind == Categorical.kind else _dates(data)


def _numeric(data: Mapping[str, Any]) -> Numeric:
    name, mean, std = data["name"], float(data["mean"]), float(data["std"])
    if not (math.isfinite(mean) and 0.0 < std < math.inf):
        raise ValueError(f"column '{name}' has mean {mean} and deviation {std}")
    fill, limits, span = data.get("fill"), _pair(data, "limits"), _pair(data, "span")
    if (limits is None) != (span is None):
        raise ValueError(f"column '{name}' has limits without a span, or a span without limits")
    if fill is not None and not math.isfinite(fill):
        raise ValueError(f"column '{name}' fills missing cells with {fill}")
    notation = Notation.from_json(data["notation"]) if "notation" in data else PLAIN
    scaling, clamp = data.get("scaling"), data.get("clamp", False)
    if limits is None and (scaling is not None or clamp):
        raise ValueError(f"column '{name}' has a scaling, or is clamped, without limits")
    return Numeric(
        name,
        mean,
        std,
        fill=None if fill is None else float(fill),
        limits=limits,
        span=span,
        indicator=data.get("indicator", False),
        notation=notation,
        boolean=data.get("boolean", False),
        scaling=None if scaling is None else _scaling(scaling, f"column '{name}'"),
        clamp=clamp,
    )


def _scaling(data: Mapping[str, Any], place: str) -> Scaling:
    check(data, _SCALINGS[data["kind"]], f"{place}.scaling")
    if data["kind"] == Robust.kind:
        return _robust(data["center"], data["factor"], place)
    quantiles = tuple(map(float, data["quantiles"]))
    if not (2 <= len(quantiles) <= MOST_QUANTILES and np.isfinite(quantiles).all()):
        raise ValueError(f"{place} has {len(quantiles)} quantiles; expected 2 to {MOST_QUANTILES} numbers")
    if any(one > other for one, other in itertools.pairwise(quantiles)):
        raise ValueError(f"{place} has quantiles that do not ascend")
    return Quantile(quantiles)


def _robust(center: float, factor: float, place: str) -> Robust:
    center, factor = float(center), float(factor)
    if not (math.isfinite(center) and 0.0 <= factor < math.inf):
        raise ValueError(f"{place} is scaled by the center {center} and the factor {factor}")
    return Robust(center, factor)


def _pair(data: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    if data.get(key) is None:
        return None
    low, high = map(float, data[key])
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"column '{data['name']}' has the {key} {low} to {high}")
    return low, high


def _categorical(data: Mapping[str, Any]) -> Categorical:
    name, cells, categories = data["name"], data["cells"], data["categories"]
    kind = {"str": str, "int": int, "float": float, "bool": bool}.get(cells)
    if kind is None or not isinstance(categories, list) or not categories:
        raise ValueError(f"column '{name}' has cells {cells!r} and categories {categories!r}")
    if any(type(category) is not kind for category in categories) or sorted(set(categories)) != categories:
        raise ValueError(f"column '{name}' has categories that are not sorted {cells} values")
    own, form = data.get("own_missing", False), data.get("form", "one-hot")
    if own and form != "one-hot":
        raise ValueError(f"column '{name}' has the form {form} and missing cells as a category")
    scales = tuple(_robust(center, factor, f"column '{name}'") for center, factor in data.get("scales", ()))
    column = Categorical(name, cells, tuple(categories), own, form, scales)
    if scales and (form == "codes" or len(scales) != len(column.feature_names)):
        raise ValueError(f"column '{name}' has {len(scales)} scales; expected one for each one-hot feature")
    return column


def _dates(data: Mapping[str, Any]) -> Dates:
    if len(set(data["cycles"])) < len(data["cycles"]):
        raise ValueError(f"column '{data['name']}' has the cycles {data['cycles']}")
    year = None if data["year"] is None else _numeric(data["year"])
    elapsed = _numeric(data["elapsed"])
    if elapsed.limits is None:
        raise ValueError(f"column '{data['name']}' has no limits of time")
    return Dates(
        data["name"], data["form"], tuple(data["cycles"]), year, elapsed, data["indicator"]
    )  # fmt: skip
